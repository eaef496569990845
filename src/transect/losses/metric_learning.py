"""Losses of embeddings: what pulls pictures of one individual together and others apart.

Embedding losses are modules called ``loss(embedding (N, D), identity (N,))``; identity -1 stands
for "none we know": such pictures are negatives of everybody and positives of nobody. Losses with
``on == "logits"`` are called ``loss(logits (N, I), identity (N,))`` instead. Margin softmax heads
(ArcFace and its kin) are layers, and stand with the models.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transect.errors import unknown_name

__all__ = [
    "LOSSES",
    "CenterLoss",
    "Contrastive",
    "HardestClassBce",
    "MarginLoss",
    "NPairs",
    "OhemFocal",
    "RingLoss",
    "TripletHard",
    "build",
]


class Contrastive(nn.Module):
    """Pairs of one identity closer than nothing, all others further than ``margin``.

    Mean over the pairs that cost something, of each kind (Hadsell, Chopra and LeCun 2006).

    Args:
        margin: Distance on the unit sphere, in (0, 2].
    """

    on = "embedding"

    def __init__(self, *, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embedding: Tensor, identity: Tensor) -> Tensor:
        """Embeddings (N, D), identities (N,) to a scalar."""
        distance = _distances(embedding)
        same, other = _pairs(identity)
        near = _mean_of_active(distance**2, same)
        return near + _mean_of_active((self.margin - distance).clamp_min(0) ** 2, other)


class TripletHard(nn.Module):
    """The furthest positive must be nearer than the closest negative, by ``margin``.

    Batch-hard triplets (Hermans, Beyer and Leibe 2017); margin 0.3 at the whale 1st and 2nd place.

    Args:
        margin: Of the hinge.
        soft: log(1 + exp(d_ap - d_an)) instead of the hinge: no margin, never flat.
    """

    on = "embedding"

    def __init__(self, *, margin: float = 0.3, soft: bool = False) -> None:
        super().__init__()
        self.margin = margin
        self.soft = soft

    def forward(self, embedding: Tensor, identity: Tensor) -> Tensor:
        """Embeddings (N, D), identities (N,) to a scalar; 0 if no anchor has both kinds."""
        distance = _distances(embedding)
        same, other = _pairs(identity)
        furthest = torch.where(same, distance, torch.full_like(distance, -1e9)).amax(1)
        closest = torch.where(other, distance, torch.full_like(distance, 1e9)).amin(1)
        anchors = same.any(1) & other.any(1)
        gap = (furthest - closest)[anchors]
        if not len(gap):
            return embedding.sum() * 0
        return (F.softplus(gap) if self.soft else (gap + self.margin).clamp_min(0)).mean()


class MarginLoss(nn.Module):
    """Positives within beta - margin, negatives beyond beta + margin, beta learned.

    Negatives are drawn with the inverse of how often their distance occurs on a sphere (Wu et al.
    2017), or are the closest ones beyond ``cutoff`` (whale 10th place: margin .2, beta 1.2).

    Args:
        margin: Half width of the band.
        beta: Its first middle.
        cutoff: Negatives nearer than this are taken as if at it.
        sampling: ``distance`` or ``closest``.
        seed: Of the draws.
    """

    on = "embedding"
    draws: Tensor

    def __init__(
        self,
        *,
        margin: float = 0.2,
        beta: float = 1.2,
        cutoff: float = 0.5,
        sampling: str = "distance",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if sampling not in ("distance", "closest"):
            raise unknown_name("sampling", sampling, ("distance", "closest"))
        self.margin = margin
        self.beta = nn.Parameter(torch.tensor(float(beta)))
        self.cutoff = cutoff
        self.sampling = sampling
        self.register_buffer("draws", torch.tensor(seed, dtype=torch.int64))

    def forward(self, embedding: Tensor, identity: Tensor) -> Tensor:
        """Embeddings (N, D), identities (N,) to a scalar."""
        distance = _distances(embedding)
        same, other = _pairs(identity)
        anchor, positive = torch.nonzero(same & other.any(1, keepdim=True), as_tuple=True)
        if not len(anchor):
            return embedding.sum() * 0 + self.beta * 0
        negative = self._negatives(distance.detach(), other, anchor, embedding.shape[1])
        near = (distance[anchor, positive] - self.beta + self.margin).clamp_min(0)
        far = (self.beta - distance[anchor, negative] + self.margin).clamp_min(0)
        active = ((near > 0).sum() + (far > 0).sum()).clamp_min(1)
        return (near.sum() + far.sum()) / active

    def _negatives(self, distance: Tensor, other: Tensor, anchor: Tensor, length: int) -> Tensor:
        """One negative for every anchor."""
        clipped = distance.clamp_min(self.cutoff)
        if self.sampling == "closest":
            beyond = other & (distance >= self.cutoff)
            usable = torch.where(beyond.any(1, keepdim=True), beyond, other)
            return torch.where(usable, distance, torch.full_like(distance, 1e9)).argmin(1)[anchor]
        # Density of distances between random points of the unit sphere in ``length`` dimensions.
        clipped = clipped.clamp_max(1.4)  # beyond sqrt(2) the inverse density explodes
        log_weight = (2 - length) * clipped.log() - (length - 3) / 2 * (
            1 - clipped**2 / 4
        ).clamp_min(1e-6).log()
        log_weight = torch.where(other, log_weight, torch.full_like(log_weight, -1e9))
        weight = torch.exp(log_weight - log_weight.amax(1, keepdim=True)) * other
        # The state is a buffer, so that a resumed run draws what the uninterrupted one would.
        generator = torch.Generator().manual_seed(int(self.draws))
        self.draws += 1
        chosen = torch.multinomial(weight[anchor].cpu(), 1, generator=generator)
        return chosen[:, 0].to(anchor.device)


class NPairs(nn.Module):
    """Each positive pair against one picture of every other identity, by softmax (Sohn 2016).

    Args:
        scale: Of the cosines; embeddings here are of unit length, so a scale is needed.
    """

    on = "embedding"

    def __init__(self, *, scale: float = 16.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, embedding: Tensor, identity: Tensor) -> Tensor:
        """Embeddings (N, D), identities (N,) to a scalar."""
        cosine = (
            self.scale
            * F.normalize(embedding.float(), dim=1)
            @ F.normalize(embedding.float(), dim=1).mT
        )
        same, other = _pairs(identity)
        rivals = torch.logsumexp(torch.where(other, cosine, torch.full_like(cosine, -1e9)), 1)
        values = F.softplus(rivals[:, None] - cosine)
        return (values * same).sum() / same.sum().clamp_min(1)


class CenterLoss(nn.Module):
    """Squared distance to a learned centre per identity (Wen et al. 2016).

    Args:
        identities: Number of identities.
        dim: Length of the embedding.
        alpha: Step of the centres towards their pictures per batch; .5 at the whale 7th place.
    """

    on = "embedding"
    centres: Tensor

    def __init__(self, *, identities: int, dim: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.alpha = alpha
        self.register_buffer("centres", torch.zeros(identities, dim))

    def forward(self, embedding: Tensor, identity: Tensor) -> Tensor:
        """Embeddings (N, D), identities (N,) to a scalar; moves the centres while training."""
        known = identity >= 0
        if not known.any():
            return embedding.sum() * 0
        x, label = embedding[known].float(), identity[known]
        # As in the paper, the loss sees the centres as they were before this batch.
        value = ((x - self.centres[label]) ** 2).sum(1).mean() / 2
        if self.training:
            with torch.no_grad():
                step = torch.zeros_like(self.centres).index_add_(0, label, self.centres[label] - x)
                count = torch.bincount(label, minlength=len(self.centres))
                self.centres -= self.alpha * step / (1 + count)[:, None]
        return value


class RingLoss(nn.Module):
    """All embeddings of one length, which is learned (Zheng et al. 2018); before normalisation.

    Args:
        weight: .01 at the whale 7th place.
        radius: Its start, 1.5 there.
    """

    on = "features"

    def __init__(self, *, weight: float = 0.01, radius: float = 1.5) -> None:
        super().__init__()
        self.weight = weight
        self.radius = nn.Parameter(torch.tensor(float(radius)))

    def forward(self, embedding: Tensor, identity: Tensor | None = None) -> Tensor:
        """Features (N, D), not normalised, to a scalar."""
        return self.weight * ((embedding.float().norm(dim=1) - self.radius) ** 2).mean()


class HardestClassBce(nn.Module):
    """Binary cross-entropy over the ``hardest`` classes of each picture, plus its true class.

    The whale 1st place's: e = |onehot - sigmoid|, the 30 largest of 10,008, and the known
    pictures' own class again. A picture of nobody we know has an all-zero target.

    Args:
        hardest: Classes kept per picture.
    """

    on = "logits"

    def __init__(self, *, hardest: int = 30) -> None:
        super().__init__()
        self.hardest = hardest

    def forward(self, logits: Tensor, identity: Tensor) -> Tensor:
        """Logits (N, I), identities (N,) to a scalar."""
        target = _one_hot(logits, identity)
        values = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
        # The error |onehot - sigmoid| and its cross-entropy -log(1 - e) have the same order.
        hard = values.topk(min(self.hardest, values.shape[1]), dim=1).values.mean()
        return hard + _true_class(values, identity)


class OhemFocal(nn.Module):
    """Cross-entropy plus focal loss over the hardest share of classes, plus focal on the true one.

    The whale 2nd place's; its share fell over training: .01, .007 (epoch 10), .006 (40),
    .005 (50), .004 (60). Set ``share`` between epochs to follow it.

    Args:
        share: Share of the classes kept per picture, at least one.
        gamma: Of the focal loss.
    """

    on = "logits"

    def __init__(self, *, share: float = 0.01, gamma: float = 2.0) -> None:
        super().__init__()
        self.share = share
        self.gamma = gamma

    def forward(self, logits: Tensor, identity: Tensor) -> Tensor:
        """Logits (N, I), identities (N,) to a scalar."""
        target = _one_hot(logits, identity)
        plain = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
        focal = plain * (1 - torch.exp(-plain)) ** self.gamma
        kept = max(1, round(self.share * logits.shape[1]))
        hard = (plain + focal).topk(kept, dim=1).values.mean()
        return hard + _true_class(focal, identity)


class _Wrapped(nn.Module):
    """A loss of pytorch-metric-learning; unknown pictures get identities of their own."""

    on = "embedding"

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, embedding: Tensor, identity: Tensor) -> Tensor:
        """Embeddings (N, D), identities (N,) to a scalar."""
        alone = (
            identity.max().clamp_min(0) + 1 + torch.arange(len(identity), device=identity.device)
        )
        value: Tensor = self.loss(embedding.float(), torch.where(identity >= 0, identity, alone))
        return value


def _library(name: str, **defaults: Any) -> Callable[..., nn.Module]:
    """A factory for a loss of pytorch-metric-learning, imported when first asked for."""

    def make(**parameters: Any) -> nn.Module:
        from pytorch_metric_learning import losses

        return _Wrapped(getattr(losses, name)(**{**defaults, **parameters}))

    return make


LOSSES: dict[str, Callable[..., nn.Module]] = {
    "center": CenterLoss,
    "circle": _library("CircleLoss"),
    "contrastive": Contrastive,
    "hardest_bce": HardestClassBce,
    "margin": MarginLoss,
    "multi_similarity": _library("MultiSimilarityLoss"),
    "n_pairs": NPairs,
    "nt_xent": _library("NTXentLoss"),
    "ohem_focal": OhemFocal,
    "ring": RingLoss,
    "supervised_contrastive": _library("SupConLoss"),
    "triplet": TripletHard,
    "triplet_soft": lambda **parameters: TripletHard(soft=True, **parameters),
}


def build(name: str, *, identities: int, dim: int, **parameters: Any) -> nn.Module:
    """Make an embedding loss by name, giving it what it needs to know.

    Args:
        name: Of ``LOSSES``.
        identities: Number of identities.
        dim: Length of the embedding.
        **parameters: Of that loss.

    Returns:
        A module; its attribute ``on`` says what it is called with.

    Raises:
        TransectError: If the name or a parameter is unknown.
    """
    if name not in LOSSES:
        raise unknown_name("an embedding loss", name, LOSSES)
    make = LOSSES[name]
    known = inspect.signature(make).parameters
    if "parameters" not in known:
        for key in parameters:
            if key not in known:
                raise unknown_name(f"a parameter of {name}", key, known)
    given = {"identities": identities, "dim": dim}
    return make(**{key: value for key, value in given.items() if key in known}, **parameters)


def _distances(embedding: Tensor) -> Tensor:
    """(N, N) Euclidean distances of the normalised embeddings, with a finite gradient at zero."""
    x = F.normalize(embedding.float(), dim=1)
    return (2 - 2 * x @ x.mT).clamp_min(1e-8).sqrt()


def _pairs(identity: Tensor) -> tuple[Tensor, Tensor]:
    """(N, N) who is the same individual as whom (never oneself), and who is another's."""
    alike = (identity[:, None] == identity[None]) & (identity >= 0)[:, None]
    oneself = torch.eye(len(identity), dtype=torch.bool, device=identity.device)
    return alike & ~oneself, ~alike & ~oneself


def _mean_of_active(values: Tensor, pairs: Tensor) -> Tensor:
    """Mean over the pairs that cost something; 0 if none does."""
    kept = values * pairs
    return kept.sum() / (kept > 0).sum().clamp_min(1)


def _one_hot(logits: Tensor, identity: Tensor) -> Tensor:
    """(N, I) targets; all zero for an unknown picture."""
    target = torch.zeros_like(logits, dtype=torch.float32)
    known = identity >= 0
    target[known] = F.one_hot(identity[known], logits.shape[1]).to(target.dtype)
    return target


def _true_class(values: Tensor, identity: Tensor) -> Tensor:
    """Mean value at the true class of the known pictures; 0 if there are none."""
    known = identity >= 0
    if not known.any():
        return values.sum() * 0
    return values[known].gather(1, identity[known][:, None]).mean()
