"""One epoch: batches in, updates out. Knows losses and memory, not stages or files."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transect.errors import TransectError, unknown_name
from transect.recipe import Stage
from transect.train.averaging import Ema
from transect.train.optim import set_lr
from transect.train.plan import Batch, Batches, Step
from transect.train.prefetch import prefetch

__all__ = [
    "Epoch",
    "NotFiniteError",
    "TooBigError",
    "autocast",
    "move",
    "place_model",
    "split",
    "updates_of",
]

_CUDA_CHECK_EVERY = 16  # updates between looks at the loss, each of which waits for the device


class TooBigError(Exception):
    """A batch did not fit the device's memory."""


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


def autocast(stage: Stage, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The precision of a stage: ``auto`` is bf16 on a GPU and fp32 elsewhere.

    Raises:
        TransectError: On another word than auto, fp32 or bf16.
    """
    if stage.precision not in {"auto", "fp32", "bf16"}:
        raise unknown_name(
            f"precision of stage {stage.name}", stage.precision, ["auto", "fp32", "bf16"]
        )
    half = stage.precision == "bf16" or (stage.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if half else contextlib.nullcontext()


def move(batch: Batch, device: torch.device) -> Batch:
    """Bring a batch to the device, images (4 axes) with channels last in memory."""
    moved = {}
    for name, tensor in batch.items():
        value = tensor
        if value.ndim == 4 and value.is_floating_point():
            value = value.contiguous(memory_format=torch.channels_last)
        if device.type == "cuda":
            value = value.pin_memory().to(device, non_blocking=True)
        moved[name] = value
    return moved


def place_model(model: nn.Module, device: torch.device) -> nn.Module:
    """Bring a model to the device, its convolutions with channels last in memory."""
    model = model.to(device)
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def split(batch: Batch, pieces: int) -> list[tuple[Batch, float]]:
    """Cut a batch along its first axis.

    Args:
        batch: Tensors; those whose first axis is not the items' go whole into every piece.
        pieces: At most so many.

    Returns:
        (piece, its share of the items) pairs; the shares sum to 1.
    """
    if pieces == 1:
        return [(batch, 1.0)]
    size = len(next(iter(batch.values())))
    edges = [round(size * k / pieces) for k in range(pieces + 1)]
    cut = []
    for start, end in itertools.pairwise(edges):
        if end > start:
            piece = {
                name: tensor[start:end] if tensor.ndim and len(tensor) == size else tensor
                for name, tensor in batch.items()
            }
            cut.append((piece, (end - start) / size))
    return cut


@dataclass
class Epoch:
    """One pass over the batches of a stage.

    Attributes:
        stage: Its numbers.
        step: Its loss.
        batches: Its batches.
        model: What is called: the model itself, compiled, or wrapped for several devices.
        raw: The model itself.
        optimizer: Over its parameters.
        device: Where.
        number: The epoch, from 0.
        micro: Pieces that each batch is cut into; gradients add up to those of the whole batch,
            except that batch norm sees the pieces one by one and losses over the whole batch
            (batch Dice, mined triplets) are means of the pieces' losses.
        ema: Is updated after each update, or None.
        lr_at: Learning rate by update of the stage.
        on_update: Is told the updates done in this epoch and the latest known loss.
        rank: Of this process among ``world``.
        world: Processes that train the model together.
        depth: Batches built ahead.
    """

    stage: Stage
    step: Step
    batches: Batches
    model: nn.Module
    raw: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    number: int
    micro: int
    ema: Ema | None
    lr_at: Callable[[int], float]
    on_update: Callable[[int, float], None]
    rank: int = 0
    world: int = 1
    depth: int = 2

    def __post_init__(self) -> None:
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
        total = self.updates * self.stage.epochs
        update = self.number * self.updates + self._done
        set_lr(self.optimizer, self.lr_at(update))
        self.optimizer.zero_grad(set_to_none=True)
        pieces = [
            (piece, share / len(group))
            for batch in group
            for piece, share in split(batch, self.micro)
        ]
        value = torch.zeros((), device=self.device)
        for number, (piece, share) in enumerate(pieces):
            last = number == len(pieces) - 1
            value = value + self._backward(piece, share, update / total, last)
        if self.stage.optimizer.clip > 0:
            nn.utils.clip_grad_norm_(self.raw.parameters(), self.stage.optimizer.clip)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.raw)
        after = getattr(self.step, "after_update", None)
        if after is not None:
            after(self.raw)
        self._done += 1
        self._losses.append(value)
        if self.device.type != "cuda" or self._done % _CUDA_CHECK_EVERY == 0:
            self._look()
        self.on_update(self._done, self._known[-1] if self._known else math.nan)
        return value

    def _backward(self, piece: Batch, share: float, progress: float, last: bool) -> Tensor:
        """Add the gradient of one piece; its weighted loss."""
        quiet = getattr(self.model, "no_sync", None)
        together = contextlib.nullcontext() if last or quiet is None else quiet()
        try:
            with together:
                with autocast(self.stage, self.device):
                    loss, parts = self.step(self.model, piece, progress)
                weighted = loss * share
                weighted.backward()
            failed = False
        except torch.OutOfMemoryError:
            failed = True
        if failed:  # outside of the handler, whose traceback would hold on to the activations
            self._out_of_memory(piece)
        self._add(parts, share)
        return weighted.detach().float()

    def _out_of_memory(self, piece: Batch) -> None:
        """Ask for smaller pieces, or say that there are none."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(next(iter(piece.values()))) > 1:
            raise TooBigError
        raise TransectError(
            f"the memory of {self.device} does not hold one picture of stage {self.stage.name}. "
            "Make geometry.size_hw smaller or choose a smaller encoder."
        )

    def _add(self, parts: Mapping[str, float], share: float) -> None:
        for name, value in parts.items():
            self._parts[name] = self._parts.get(name, 0.0) + float(value) * share

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
