"""Heads from an embedding to identities: cosine classifiers with margins, ready for their loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from transect.errors import TransectError, unknown_name
from transect.recipe import Embedding

__all__ = ["HEADS", "CosineHead", "LinearHead", "build_head", "dynamic_margins"]

HEADS = ("arcface", "cosface", "sphereface", "combined", "subcenter", "softmax", "bce_hard")
_OFF = -1e4  # the logit of a class that takes no part; finite, so that halves survive


def build_head(
    embedding: Embedding, n_identities: int, counts: Sequence[int], *, dim: int | None = None
) -> nn.Module:
    """Build the head that a recipe names.

    Args:
        embedding: The recipe: ``head``, ``scale``, ``margin``, ``dynamic_margin``,
            ``subcenters``, ``flip_labels`` and ``neutral_twin`` apply.
        n_identities: Known identities, N; with ``flip_labels`` the head has 2 N classes, and the
            mirrored twin of class k is k + N.
        counts: Training pictures per identity, length N; used by ``dynamic_margin``.
        dim: D, if it is not the recipe's (necks ``none`` and ``bn`` keep the pooled length:
            ``EmbeddingNetwork.dim``).

    Returns:
        A module ``(embedding (B, D), label (B,) or None) -> logits (B, classes)`` with
        ``.inference(embedding)`` for new pictures. D is ``dim``, or the embedding's own.

    Raises:
        TransectError: On an unknown head, or margins that do not fit it.
    """
    if embedding.head not in HEADS:
        raise unknown_name("head", embedding.head, HEADS)
    if n_identities < 1 or len(counts) != n_identities:
        raise TransectError(
            f"a head needs the number of pictures of every identity; got {len(counts)} counts "
            f"for {n_identities} identities. Give one count each."
        )
    length = embedding.dim if dim is None else dim
    twin = n_identities if embedding.flip_labels else 0
    classes = n_identities + twin
    if embedding.head == "softmax":
        return LinearHead(length, classes)
    m1, m2, m3 = _margins(embedding)
    per_class: Tensor | None = None
    if embedding.dynamic_margin is not None:
        per_class = dynamic_margins(counts, *embedding.dynamic_margin)
        if twin:
            per_class = torch.cat([per_class, per_class])
    return CosineHead(
        length,
        classes,
        scale=16.0 if embedding.head == "bce_hard" else embedding.scale,  # whale 1st place
        multiplicative=m1,
        angular=m2,
        cosine=m3,
        per_class=per_class,
        per_class_of="cosine" if embedding.head == "cosface" else "angular",
        subcenters=max(1, embedding.subcenters, 2 * (embedding.head == "subcenter")),
        twin=twin if embedding.neutral_twin else 0,
    )


def dynamic_margins(counts: Sequence[int], a: float, b: float, c: float) -> Tensor:
    """Margin per class, larger for rare ones: a + b * n ** -c.

    Args:
        counts: Pictures per class; 0 counts as 1.
        a: The margin of a very frequent class; 0.05 at Happywhale's 1st place.
        b: What a class of one picture gets in addition; 0.271 there.
        c: How fast it falls; 0.364 there.

    Returns:
        (N,) float32.

    References:
        Happywhale 2022, 1st place; after Ha et al. 2020, Google Landmarks.

    Example:
        >>> [round(m, 3) for m in dynamic_margins([1, 100], 0.05, 0.271, 0.364).tolist()]
        [0.321, 0.101]
    """
    n = torch.as_tensor(list(counts), dtype=torch.float32).clamp(min=1)
    return a + b * n**-c


def _margins(embedding: Embedding) -> tuple[float, float, float]:
    """The three margins of the combined form cos(m1 t + m2) - m3 that a head's name means."""
    head, given = embedding.head, embedding.margin
    if head == "combined":
        values = tuple(given) if isinstance(given, tuple) else (1.0, given, 0.0)
        if len(values) != 3:
            raise TransectError(
                f"head combined takes three margins m1, m2, m3; got {given}. The whale 9th "
                "place had (1.0, 0.4, 0.15)."
            )
        return values[0], values[1], values[2]
    if isinstance(given, tuple):
        raise TransectError(f"head {head} takes one margin; got {given}. Use head combined.")
    if head == "bce_hard":
        return 1.0, 0.0, 0.0
    if head == "sphereface":
        return max(1.0, given), 0.0, 0.0
    if head == "cosface":
        return 1.0, 0.0, given
    return 1.0, given, 0.0


class LinearHead(nn.Module):
    """A plain classifier on the features as they are; wants ``features``, not ``embedding``."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes)

    def forward(self, embedding: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, D) to (B, classes)."""
        del label
        return self.linear(embedding)

    def inference(self, embedding: Tensor) -> Tensor:
        """The same: there is no margin."""
        return self.linear(embedding)


class CosineHead(nn.Module):
    """Cosines to class centres, a margin against the true class, times a scale.

    The true class's cosine cos t becomes cos(m1 t + m2) - m3: ArcFace with m2, CosFace with m3,
    SphereFace with m1, the combined margin with all. Where m1 t + m2 passes pi, the first term goes
    on falling as SphereFace's psi does, so that a hopeless picture is still pulled the right way.

    Args:
        dim: D.
        classes: Number of classes.
        scale: s.
        multiplicative: m1 >= 1.
        angular: m2 in radians.
        cosine: m3.
        per_class: (classes,) margins that replace m2 (or m3), or None.
        per_class_of: ``angular`` or ``cosine``: which margin they replace.
        subcenters: Centres per class; the nearest counts.
        twin: N if class k + N is the mirror image of k and neither is to be pushed away from
            the other: the twin's logit takes no part in the softmax; 0 is off.

    References:
        Deng et al. 2019 (ArcFace), Wang et al. 2018 (CosFace), Liu et al. 2017 (SphereFace),
        Deng et al. 2020 (sub-center); neutral twin: whale 3rd place.
    """

    margins: Tensor

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        scale: float = 30.0,
        multiplicative: float = 1.0,
        angular: float = 0.0,
        cosine: float = 0.0,
        per_class: Tensor | None = None,
        per_class_of: str = "angular",
        subcenters: int = 1,
        twin: int = 0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes * subcenters, dim))
        nn.init.xavier_uniform_(self.weight)
        self.scale = scale
        self.multiplicative = multiplicative
        self.subcenters = subcenters
        self.twin = twin
        table = torch.tensor([angular, cosine]).repeat(classes, 1)  # (classes, 2)
        if per_class is not None:
            table[:, 0 if per_class_of == "angular" else 1] = per_class
        # Not in the state: it follows from the recipe and the table of identities.
        self.register_buffer("margins", table, persistent=False)

    def forward(self, embedding: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits for the loss.

        Args:
            embedding: (B, D), of any length.
            label: (B,) classes, or None for no margin.

        Returns:
            (B, classes), already scaled.
        """
        cosine = self.inference(embedding)
        if label is None:
            return cosine * self.scale
        rows = torch.arange(len(label), device=label.device)
        true = cosine[rows, label]
        changed = cosine.index_put((rows, label), self._with_margin(true, self.margins[label]))
        logits = changed * self.scale
        if self.twin:
            other = (label + self.twin) % (2 * self.twin)
            off = torch.full_like(true, _OFF)
            logits = logits.index_put((rows, other), off)
        return logits

    def inference(self, embedding: Tensor) -> Tensor:
        """Cosines without margin or scale: (B, D) to (B, classes) in [-1, 1]."""
        # Angles need float32 even where the network runs in halves.
        unit = functional.normalize(embedding.float())
        cosine = unit @ functional.normalize(self.weight.float()).T
        if self.subcenters > 1:
            cosine = cosine.unflatten(1, (-1, self.subcenters)).amax(2)
        return cosine

    def _with_margin(self, cosine: Tensor, margins: Tensor) -> Tensor:
        """cos(m1 t + m2) - m3 of the true class, made to fall over the whole half circle."""
        angular, subtracted = margins.unbind(1)
        angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
        moved = self.multiplicative * angle + angular
        # Beyond pi the cosine would rise again; psi = (-1)^k cos - 2 k falls on (Liu et al.).
        turns = torch.floor(moved / math.pi)
        sign = 1 - 2 * torch.remainder(turns, 2)
        return sign * torch.cos(moved) - 2 * turns - subtracted
