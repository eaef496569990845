"""The network that is trained: picture to vector, the head above it, and the losses of a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from transect import models
from transect.errors import TransectError
from transect.losses import metric_learning
from transect.losses.expression import CombinedLoss, parse
from transect.models.heads import build_head
from transect.models.siamese import PairHead
from transect.recipe import Embedding, Stage

__all__ = ["Recogniser", "identity_step", "pair_step", "uses_unknown"]

Batch = dict[str, Tensor]
Step = Callable[[nn.Module, Batch, float], tuple[Tensor, dict[str, float]]]


def _ce(logits: Tensor, target: Tensor) -> Tensor:
    """Stands for the cross-entropy of the margin head in a recipe's sum of losses."""
    return functional.cross_entropy(logits.float(), target)


_KNOWN: dict[str, Any] = {"ce": _ce, **metric_learning.LOSSES}


class Recogniser(nn.Module):
    """An embedding network with its head and the parts of its losses that learn.

    Args:
        embedding: The recipe's.
        in_channels: Of the input.
        counts: Training photos per identity; without any there is no margin head.
        stages: Whose losses may have parameters.
        pretrained: False if trained weights are going to be loaded.
    """

    def __init__(
        self,
        embedding: Embedding,
        *,
        in_channels: int,
        counts: Sequence[int] = (),
        stages: Sequence[Stage] = (),
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.trunk: nn.Module = models.build(
            embedding, in_channels=in_channels, outputs=0, pretrained_allowed=pretrained
        )
        dim = int(self.trunk.dim)  # type: ignore[arg-type]
        self.dim = dim
        self.head: nn.Module | None = None
        if embedding.head == "siamese":
            self.head = PairHead(dim)
        elif embedding.head != "none" and len(counts):
            self.head = build_head(embedding, len(counts), counts, dim=dim)
        self.plain_head = embedding.head == "softmax"
        classes = len(counts) * (2 if embedding.flip_labels else 1)
        self.losses = nn.ModuleDict()
        if embedding.head != "siamese":
            for stage in stages:
                for term in _terms(stage):
                    key = _key(term.name, term.parameters)
                    if term.name != "ce" and key not in self.losses:
                        self.losses[key] = metric_learning.build(
                            term.name, identities=classes, dim=dim, **term.parameters
                        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) to ``embedding`` (N, D), of length 1, and ``features`` (N, D)."""
        found: dict[str, Tensor] = self.trunk(x)
        return found

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The part that may be pretrained."""
        yield from self.trunk.encoder_parameters()  # type: ignore[operator]

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Everything else."""
        inside = {id(p) for p in self.encoder_parameters()}
        yield from (p for p in self.parameters() if id(p) not in inside)


def identity_step(stage: Stage) -> Step:
    """The loss of a stage over a batch of ``image`` and ``label`` (-1: none we know)."""
    if stage.adversarial:
        raise TransectError(
            f"stage {stage.name} has adversarial {stage.adversarial:g}, which is for the pairs of "
            "a Siamese head. Set it to 0, or network.head to siamese."
        )
    start = _parsed(stage.loss)
    end = _parsed(stage.loss_end) if stage.loss_end else None

    def step(model: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, Recogniser)
        found = model(batch["image"])
        share = 0.0 if end is None else progress
        if stage.loss_change == "switch":
            share = float(share >= 0.5)
        parts: dict[str, float] = {}
        loss = _sum(start, model, found, batch["label"], parts) * (1 - share)
        if end is not None and share > 0:
            loss = loss + _sum(end, model, found, batch["label"], parts) * share
        return loss, parts

    return step


def pair_step(stage: Stage) -> Step:
    """Binary cross-entropy of a Siamese head over ``left``, ``right`` and ``same``.

    With ``stage.adversarial`` every picture is also shown moved by that much along the sign of the
    loss's gradient, and the loss is the mean of both (Goodfellow et al. 2015, section 6, with equal
    shares).
    """
    if stage.loss not in ("bce", "ce"):
        raise TransectError(
            f"stage {stage.name} trains a Siamese head, whose loss is bce; got '{stage.loss}'. Set "
            "loss='bce'."
        )

    def step(model: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, Recogniser)
        images = torch.cat([batch["left"], batch["right"]])
        if not stage.adversarial:
            loss, right = _pair_loss(model, images, batch["same"])
            return loss, {"right": right}
        images.requires_grad_()
        loss, right = _pair_loss(model, images, batch["same"])
        (slope,) = torch.autograd.grad(loss, images, retain_graph=True)
        moved = (images + stage.adversarial * slope.sign()).detach()
        harder, _ = _pair_loss(model, moved, batch["same"])
        return (loss + harder) / 2, {"right": right, "moved": float(harder.detach())}

    return step


def _pair_loss(model: Recogniser, images: Tensor, same: Tensor) -> tuple[Tensor, float]:
    """The loss of pairs whose left pictures stand before all right ones, and the share right."""
    assert model.head is not None
    features = model(images)["features"]
    pairs = len(same)
    logits = model.head(features[:pairs], features[pairs:])
    right = ((logits > 0) == (same > 0.5)).float().mean()
    loss = functional.binary_cross_entropy_with_logits(logits.float(), same)
    return loss, float(right)


def uses_unknown(stage: Stage) -> bool:
    """Whether a stage's losses have a use for photos of none we know (as negatives)."""
    return any(term.name != "ce" for term in _terms(stage))


def _sum(
    loss: CombinedLoss,
    model: Recogniser,
    found: dict[str, Tensor],
    label: Tensor,
    parts: dict[str, float],
) -> Tensor:
    """The weighted sum of a stage's losses."""
    total = found["embedding"].new_zeros((), dtype=torch.float32)
    vector = found["features"] if model.plain_head else found["embedding"]
    for term in loss.terms:
        if term.name == "ce":
            known = label >= 0
            if not known.any():
                continue
            if model.head is None:
                raise TransectError("loss ce needs a margin head; set network.head, e.g. arcface.")
            value = _ce(model.head(vector[known], label[known]), label[known])
        else:
            module = model.losses[_key(term.name, term.parameters)]
            if module.on == "logits":
                if model.head is None:
                    raise TransectError(f"loss {term.name} needs a head; set network.head.")
                value = module(model.head(vector, None), label)
            else:
                value = module(found[str(module.on)], label)
        parts[term.name] = float(value.detach())
        total = total + term.weight * value
    return total


def _parsed(text: str) -> CombinedLoss:
    """A sum of embedding losses."""
    return parse(text, _KNOWN, {})


def _terms(stage: Stage) -> list[Any]:
    """All terms of a stage, those of its end included."""
    texts = [stage.loss, *([stage.loss_end] if stage.loss_end else [])]
    return [term for text in texts for term in _parsed(text).terms]


def _key(name: str, parameters: Any) -> str:
    """A name for a loss module; dots are not allowed there."""
    more = "_".join(f"{k}{v}" for k, v in sorted(parameters.items()))
    return f"{name}_{more}".replace(".", "p").rstrip("_")
