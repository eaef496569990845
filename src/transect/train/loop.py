"""One epoch: batches in, updates out. Knows batches and losses, not stages or files."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from transect.errors import TransectError
from transect.recipe import Stage
from transect.train.plan import Batch, Batches
from transect.train.prefetch import prefetch
from transect.train.update import Update, move

__all__ = ["Epoch", "NotFiniteError", "updates_of"]

_CUDA_CHECK_EVERY = 16  # updates between looks at the loss, each of which waits for the device


class NotFiniteError(Exception):
    """The loss of an update (from 1) was not a finite number."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(f"the loss was {value} at step {step}")
        self.step = step
        self.value = value


def updates_of(stage: Stage, steps: int) -> int:
    """Optimiser updates of an epoch of ``steps`` batches, repeated ones included.

    Example:
        >>> updates_of(Stage(accumulate=2, repeat_worst=5), 21)
        13
    """
    updates = math.ceil(steps / stage.accumulate)
    return updates + (updates // stage.repeat_worst if stage.repeat_worst else 0)


@dataclass
class Epoch:
    """One pass over the batches of a stage.

    Attributes:
        update: What a group of batches does to the model.
        batches: The stage's batches.
        number: The epoch, from 0.
        lr_at: Learning rate by update of the stage.
        on_update: Is told the updates done in this epoch and the latest known loss.
        rank: Of this process among ``world``.
        world: Processes that train the model together.
        depth: Batches built ahead.
    """

    update: Update
    batches: Batches
    number: int
    lr_at: Callable[[int], float]
    on_update: Callable[[int, float], None]
    rank: int = 0
    world: int = 1
    depth: int = 2

    def __post_init__(self) -> None:
        self.stage, self.device = self.update.stage, self.update.device
        self._losses: list[Tensor] = []
        self._known: list[float] = []
        self._parts: dict[str, float] = {}
        self._done = 0

    @property
    def steps(self) -> int:
        """Batches of this process."""
        return max(1, self.batches.steps // self.world)

    @property
    def updates(self) -> int:
        """Updates of the epoch."""
        return updates_of(self.stage, self.steps)

    def run(self) -> tuple[float, dict[str, float]]:
        """Train.

        Returns:
            The mean loss, and the mean of each of its parts.

        Raises:
            NotFiniteError: On a loss that is not a number.
            TooBigError: If a batch does not fit the memory.
            TransectError: If one picture alone does not fit the memory.
        """
        source = prefetch(
            self._source(), depth=self.depth, move=lambda batch: move(batch, self.device)
        )
        with contextlib.closing(source) as ready:
            self._consume(ready)
        self._look()
        if not self._known:
            raise TransectError(
                f"stage {self.stage.name} got no batches. Are there training pictures in this fold?"
            )
        parts = {name: value / self._done for name, value in self._parts.items()}
        return math.fsum(self._known) / len(self._known), parts

    def _source(self) -> Iterator[Batch]:
        """This process's batches."""
        if self.world == 1:
            return self.batches.epoch(self.number)
        shard = getattr(self.batches, "shard", None)
        if shard is not None:
            part: Batches = shard(self.rank, self.world)
            return itertools.islice(part.epoch(self.number), self.steps)
        every = self.batches.epoch(self.number)
        return itertools.islice(every, self.rank, self.steps * self.world, self.world)

    def _consume(self, ready: Iterator[Batch]) -> None:
        """All updates, the worst of each window of batches once more."""
        window = self.stage.repeat_worst
        worst: tuple[float, list[Batch]] | None = None
        groups = 0
        while group := list(itertools.islice(ready, self.stage.accumulate)):
            value = self._update(group)
            groups += 1
            if not window:
                continue
            self._look()
            if worst is None or float(value) > worst[0]:
                worst = (float(value), group)
            if groups % window == 0:
                self._update(worst[1])
                worst = None

    def _update(self, group: list[Batch]) -> Tensor:
        """One update from the batches of a group; the mean of their losses."""
        number = self.number * self.updates + self._done
        progress = number / (self.updates * self.stage.epochs)
        value, parts = self.update(group, self.lr_at(number), progress)
        for name, part in parts.items():
            self._parts[name] = self._parts.get(name, 0.0) + part
        self._done += 1
        self._losses.append(value)
        if self.device.type != "cuda" or self._done % _CUDA_CHECK_EVERY == 0:
            self._look()
        self.on_update(self._done, self._known[-1] if self._known else math.nan)
        return value

    def _look(self) -> None:
        """Bring the losses since the last look to the CPU and check them."""
        if not self._losses:
            return
        values: list[float] = torch.stack(self._losses).tolist()
        first = self._done - len(values) + 1
        self._losses = []
        for step, value in enumerate(values, first):
            if not math.isfinite(value):
                raise NotFiniteError(step, value)
        self._known.extend(values)
