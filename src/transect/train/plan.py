"""What the engine is handed and what it hands back: stages, batches, events, snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from transect.recipe import Stage
from transect.types import Progress

__all__ = [
    "Batch",
    "Batches",
    "FitResult",
    "Health",
    "Hopeless",
    "ProgressEvent",
    "Snapshot",
    "StagePlan",
    "Stateful",
    "Step",
    "no_better_than",
    "told",
    "watches",
]

Batch = dict[str, Tensor]
"""Named tensors whose first axis is the items of the batch."""

Step = Callable[[nn.Module, Batch, float], tuple[Tensor, dict[str, float]]]
"""From a model, a batch and the progress of the stage in [0, 1) to the loss (scalar) and its parts.

A step object may also have any of these methods, which the engine then calls:
``start_stage(model)`` before the first epoch, ``after_update(model)`` after each update, and both
of ``Stateful`` if it carries tensors that a resumed run needs.
"""


class Batches(Protocol):
    """The training batches of one stage.

    An object may also have ``prepare(model, epoch)``, called before each epoch with the model in
    evaluation mode (mining), the methods of ``Stateful``, and ``shard(rank, world)`` that gives
    the batches of one of several devices.
    """

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        ...

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch (from 0), the same at every call.

        It runs in a thread of its own, so it must not draw from torch's global random state.
        """
        ...


@runtime_checkable
class Stateful(Protocol):
    """Something whose tensors belong in the state of a run."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Tensors by name."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state_dict`` gave."""
        ...


@dataclass(frozen=True)
class Health:
    """How a stage is doing at the end of an epoch.

    Attributes:
        stage: Its name.
        epoch: Epochs done, from 1.
        step: Updates done in this stage.
        loss: Mean training loss of the epoch.
        metric: The watched metric, or None if the epoch was not evaluated.
        best: The best metric of the stage so far, or None.
    """

    stage: str
    epoch: int
    step: int
    loss: float
    metric: float | None
    best: float | None


Hopeless = Callable[[Health], str | None]
"""Says in one sentence why training should stop, or None to go on."""


def no_better_than(trivial: float, *, after_steps: int) -> Hopeless:
    """Stop a stage whose best metric has not passed that of a trivial answer.

    Args:
        trivial: The metric of the trivial answer (all empty, the mean count, the commonest
            identity).
        after_steps: Updates that the stage gets to do better.

    Returns:
        A check for ``StagePlan.hopeless``.

    Example:
        >>> check = no_better_than(0.39, after_steps=100)
        >>> check(Health("main", 2, 200, 0.7, 0.35, 0.38))
        'the best metric is 0.38 after 200 steps; the trivial answer reaches 0.39'
    """

    def check(health: Health) -> str | None:
        if health.best is None or health.step < after_steps or health.best > trivial:
            return None
        return (
            f"the best metric is {health.best:.4g} after {health.step} steps; "
            f"the trivial answer reaches {trivial:.4g}"
        )

    return check


@dataclass(frozen=True)
class StagePlan:
    """One stage with its ingredients made.

    Attributes:
        stage: The recipe's stage: optimiser, schedule, what to keep.
        batches: Its training batches.
        step: Its loss.
        hopeless: Checked after each epoch; a sentence from it ends the run with an error.
        evaluate_every: Epochs between evaluations; ends of cycles and of the stage always are.
    """

    stage: Stage
    batches: Batches
    step: Step
    hopeless: Hopeless | None = None
    evaluate_every: int = 1


def watches(stages: Sequence[Stage]) -> bool:
    """Whether any stage asks how good an epoch is, so that all epochs of a training are measured.

    Args:
        stages: Of one training.

    Returns:
        True if a stage keeps its best epochs, waits for progress or begins with the best.

    Example:
        >>> watches([Stage(keep="last")]), watches([Stage(), Stage(name="b", start="best")])
        (False, True)
    """
    return any(
        stage.keep not in {"last", "cycle_end"}
        or stage.patience > 0
        or stage.start == "best"
        or stage.schedule.name == "plateau"
        for stage in stages
    )


@dataclass(frozen=True)
class ProgressEvent:
    """Where training stands, after every update.

    Attributes:
        stage: Name of the stage.
        epoch: The current epoch, from 1.
        epochs: Epochs of the stage.
        step: Updates done in this epoch, from 1.
        steps: Updates per epoch.
        loss: Latest known training loss.
        seconds: Since the call of ``fit``.
        eta_seconds: Until the end of the last stage at the present rate.
    """

    stage: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    seconds: float
    eta_seconds: float


def told(progress: Progress, member: str, fold: int) -> Callable[[ProgressEvent], None]:
    """Pass the engine's events on to whoever is told what happens.

    Args:
        progress: A bar, a log, or nobody.
        member: Name of the member that trains.
        fold: The fold that it does not see.

    Returns:
        What ``fit`` calls after every update.
    """

    def tell(event: ProgressEvent) -> None:
        done = (event.epoch - 1) * event.steps + event.step
        phase = f"training {member}, fold {fold}, {event.stage}"
        progress.step(phase, done, event.epochs * event.steps, f"loss {event.loss:.3f}")

    return tell


@dataclass(frozen=True)
class Snapshot:
    """Weights to predict with.

    Attributes:
        path: A safetensors file of the model's ``state_dict``.
        weight: Share in the member's prediction; the weights of a fit sum to 1.
        metric: On the validation items, or None.
        stage: Name of the stage it comes from.
        epoch: Epochs of that stage that it has seen.
    """

    path: Path
    weight: float
    metric: float | None = None
    stage: str = ""
    epoch: int = 0


@dataclass(frozen=True)
class FitResult:
    """What training gave.

    Attributes:
        snapshots: Weights to predict with.
        history: One row per epoch: stage, epoch, step, lr, loss, parts, metric, metrics, seconds.
        micro: Pieces that each batch had to be cut into to fit the device's memory.
    """

    snapshots: tuple[Snapshot, ...]
    history: list[dict[str, Any]] = field(default_factory=list)
    micro: int = 1
