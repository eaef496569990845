"""Mean teacher: a student learns from labels and from the moving average of itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from transect.errors import TransectError
from transect.train.averaging import Ema
from transect.train.plan import Batch, Step

__all__ = ["Consistency", "MeanTeacher", "Teachers", "ramp_up", "squared_difference"]

Consistency = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]
"""From the student's and the teacher's outputs to a scalar."""


def ramp_up(progress: float, share: float) -> float:
    """Sigmoid ramp exp(-5 (1 - t)^2) over the first ``share`` of the stage (Laine 2017).

    Example:
        >>> [round(ramp_up(t, 0.5), 3) for t in (0.0, 0.25, 0.5, 1.0)]
        [0.007, 0.287, 1.0, 1.0]
    """
    t = 1.0 if share <= 0 else min(1.0, progress / share)
    return math.exp(-5 * (1 - t) ** 2)


def squared_difference(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
    """Mean squared difference of the probabilities of all outputs named ``logits`` or ``empty``."""
    names = [name for name in ("logits", "empty") if name in student]
    if not names:
        raise TransectError(
            f"mean teacher compares the outputs logits and empty; the model gives "
            f"{', '.join(student)}. Pass a consistency of your own."
        )
    terms = [
        (student[name].float().sigmoid() - teacher[name].float().sigmoid()).square().mean()
        for name in names
    ]
    return torch.stack(terms).sum()


class MeanTeacher:
    """A step that adds the disagreement with the moving average of the student.

    Tarvainen 2017, as the template in the salt 14th place's repository has it: sigmoid ramp-up,
    consistency on mask and probability. Batches hold labelled items under their usual names and
    unlabelled ones under ``unlabelled``; the teacher may see another view of them in
    ``unlabelled_view`` (colour only, so that the geometry agrees).
    """

    def __init__(
        self,
        step: Step,
        *,
        weight: float = 1.0,
        decay: float = 0.99,
        ramp: float = 0.3,
        consistency: Consistency = squared_difference,
    ) -> None:
        """Wrap a supervised step.

        Args:
            step: The loss on the labelled items.
            weight: Of the consistency, after the ramp.
            decay: Of the teacher's moving average.
            ramp: Share of the stage over which the weight rises.
            consistency: Compares outputs.
        """
        self._step, self._weight, self._decay = step, weight, decay
        self._ramp, self._consistency = ramp, consistency
        self._teacher: Ema | None = None

    def start_stage(self, model: nn.Module) -> None:
        """Begin with a teacher equal to the student."""
        self._teacher = Ema(model, self._decay)

    def __call__(
        self, model: nn.Module, batch: Batch, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        """The supervised loss plus the weighted consistency."""
        assert self._teacher is not None, "the engine calls start_stage first"
        extra = {"unlabelled", "unlabelled_view"}
        labelled = {name: value for name, value in batch.items() if name not in extra}
        loss, parts = self._step(model, labelled, progress)
        if "unlabelled" not in batch:
            return loss, parts
        with torch.no_grad():
            view = batch.get("unlabelled_view", batch["unlabelled"])
            theirs = self._teacher.model(view)
        term = self._consistency(model(batch["unlabelled"]), theirs)
        weight = self._weight * ramp_up(progress, self._ramp)
        return loss + weight * term, {**parts, "consistency": float(term.detach())}

    def after_update(self, model: nn.Module) -> None:
        """Let the teacher follow."""
        assert self._teacher is not None
        self._teacher.update(model)

    def state_dict(self) -> dict[str, Tensor]:
        """The teacher, for the state of the run."""
        assert self._teacher is not None
        updates = torch.tensor(self._teacher.updates)
        return {**self._teacher.model.state_dict(), "_updates": updates}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the teacher of a state."""
        assert self._teacher is not None
        weights = dict(state)
        self._teacher.updates = int(weights.pop("_updates"))
        self._teacher.model.load_state_dict(weights)


class Teachers:
    """The mean answer of fixed models, e.g. of an ensemble that a small student shall replace."""

    def __init__(self, models: list[nn.Module]) -> None:
        self._models = [model.eval().requires_grad_(False) for model in models]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """Mean of each output over the models; lists of outputs are left out."""
        answers = [model(x) for model in self._models]
        names = [n for n, value in answers[0].items() if isinstance(value, Tensor)]
        return {name: torch.stack([a[name] for a in answers]).mean(0) for name in names}
