"""The network that is trained: image to vector to a logit for every label, and its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from transect import models
from transect.errors import TransectError
from transect.losses import parse_loss, scheduled
from transect.recipe import Embedding, Member, Stage
from transect.tabular.linear import LinearClassifier

__all__ = ["Classifier", "embedding_of", "label_step", "probabilities", "regresses"]

_REGRESSIONS = frozenset(("l1", "mse", "smooth_l1"))
GRADE_SPREAD = 0.5
"""Deviation, in grades, of the bell that stands for a regressed grade; calibration changes it."""

Step = Callable[[nn.Module, dict[str, Tensor], float], tuple[Tensor, dict[str, float]]]


class Classifier(nn.Module):
    """An embedding network with a linear layer on top.

    Args:
        embedding: The recipe's; its dropout stands before the layer.
        in_channels: Of the input.
        outputs: Labels, or 1 for a regressed grade.
        pretrained: False if trained weights are going to be loaded.
        start: What the linear layer begins as; None is at random.
    """

    def __init__(
        self,
        embedding: Embedding,
        *,
        in_channels: int,
        outputs: int,
        pretrained: bool = True,
        start: LinearClassifier | None = None,
    ) -> None:
        super().__init__()
        self.trunk: nn.Module = models.build(
            embedding, in_channels=in_channels, outputs=0, pretrained_allowed=pretrained
        )
        self.head = nn.Linear(int(self.trunk.dim), outputs)  # type: ignore[arg-type]
        if start is not None:
            with torch.no_grad():
                self.head.weight.copy_(torch.from_numpy(start.weights))
                self.head.bias.copy_(torch.from_numpy(start.bias))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) to ``features`` (N, D) and ``logits`` (N, outputs)."""
        features = self.trunk(x)["features"]
        return {"features": features, "logits": self.head(features)}

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The part that may be pretrained."""
        yield from self.trunk.encoder_parameters()  # type: ignore[operator]

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Pooling, neck and the linear layer: the last layer, which is trained first."""
        inside = {id(p) for p in self.encoder_parameters()}
        yield from (p for p in self.parameters() if id(p) not in inside)


def embedding_of(member: Member) -> Embedding:
    """The member's network, which must turn images into vectors."""
    if not isinstance(member.network, Embedding):
        raise TransectError(
            f"member {member.name} has a dense network; labels need an Embedding. Choose a recipe "
            "for labels, or auto."
        )
    return member.network


def regresses(stages: Sequence[Stage]) -> bool:
    """Whether a member's losses compare numbers (smooth L1 on a grade) and no probabilities.

    Raises:
        TransectError: If some of its losses do and others do not.
    """
    texts = [text for s in stages for text in (s.loss, s.loss_end) if text]
    names = {term.name for text in texts for term in parse_loss(text).terms}
    if names & _REGRESSIONS and not names <= _REGRESSIONS:
        raise TransectError(
            f"{', '.join(sorted(names & _REGRESSIONS))} train one number, and "
            f"{', '.join(sorted(names - _REGRESSIONS))} one for each label: a network cannot do "
            "both. Give them members of their own."
        )
    return bool(names) and names <= _REGRESSIONS


def label_step(stage: Stage) -> Step:
    """The loss of a stage over a batch of ``image`` and ``target`` (N, outputs)."""
    end = parse_loss(stage.loss_end) if stage.loss_end else None
    loss = scheduled(parse_loss(stage.loss), end, stage.loss_change)

    def step(
        model: nn.Module, batch: dict[str, Tensor], progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        logits = model(batch["image"])["logits"].float()
        return loss(logits, batch["target"], progress=progress), {}

    return step


def probabilities(logits: Tensor, classes: int, *, several: bool) -> Tensor:
    """What logits say of every label.

    Args:
        logits: (N, C), or (N, 1): a regressed grade, which becomes a bell over the grades.
        classes: C.
        several: Whether labels are told one by one.

    Returns:
        (N, C) in [0, 1]; rows sum to 1 unless ``several``.
    """
    if several:
        return logits.sigmoid()
    if logits.shape[1] == 1 and classes > 1:
        grades = torch.arange(classes, device=logits.device, dtype=logits.dtype)
        logits = -((logits - grades) ** 2) / (2 * GRADE_SPREAD**2)
    return logits.softmax(dim=1)
