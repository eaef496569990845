"""One update of a model: the only training step there is, trained, timed and swept alike."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transect.errors import TransectError, unknown_name
from transect.recipe import Stage
from transect.train.averaging import Ema
from transect.train.optim import build_optimizer, freeze, hold_frozen_norms, set_lr
from transect.train.plan import Batch, StagePlan, Step

__all__ = ["TooBigError", "Update", "autocast", "equipped", "fresh", "move", "place_model", "split"]


class TooBigError(Exception):
    """A batch did not fit the device's memory."""


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
class Update:
    """What one optimiser step does to the model of a stage.

    Attributes:
        stage: Precision, clipping.
        step: The loss.
        model: What is called: the model itself, compiled, or wrapped for several devices.
        raw: The model itself.
        optimizer: Over its parameters.
        device: Where.
        ema: Is updated after each update, or None.
        micro: Pieces that each batch is cut into; gradients add up to those of the whole batch,
            except that batch norm sees the pieces one by one and losses over the whole batch
            (batch Dice, mined triplets) are means of the pieces' losses.
    """

    stage: Stage
    step: Step
    model: nn.Module
    raw: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    ema: Ema | None = None
    micro: int = 1

    def __call__(
        self, group: Sequence[Batch], lr: float, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        """Update from the batches of a group.

        Args:
            group: Batches whose gradients are accumulated, on the device.
            lr: The base rate.
            progress: Of the stage, in [0, 1).

        Returns:
            The mean of the batches' losses, on the device and not looked at, and of their parts.

        Raises:
            TooBigError: If a batch does not fit the memory.
            TransectError: If one picture alone does not fit the memory.
        """
        set_lr(self.optimizer, lr)
        self.optimizer.zero_grad(set_to_none=True)
        pieces = [
            (piece, share / len(group))
            for batch in group
            for piece, share in split(batch, self.micro)
        ]
        value = torch.zeros((), device=self.device)
        means: dict[str, float] = {}
        for number, (piece, share) in enumerate(pieces):
            last = number == len(pieces) - 1
            loss, parts = self._backward(piece, share, progress, last)
            value = value + loss
            for name, part in parts.items():
                means[name] = means.get(name, 0.0) + float(part) * share
        if self.stage.optimizer.clip > 0:
            nn.utils.clip_grad_norm_(self.raw.parameters(), self.stage.optimizer.clip)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.raw)
        after = getattr(self.step, "after_update", None)
        if after is not None:
            after(self.raw)
        return value, means

    def _backward(
        self, piece: Batch, share: float, progress: float, last: bool
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Add the gradient of one piece; its weighted loss and its parts."""
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
        return weighted.detach().float(), parts

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


def equipped(
    model: nn.Module,
    plan: StagePlan,
    device: torch.device,
    *,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
) -> Update:
    """Begin a stage: freeze what it freezes, make its optimiser and its moving average.

    Args:
        model: On the device; told to loss and batches if they want to know it (``start_stage``).
        plan: The stage.
        device: Where.
        wrap: Makes of the model what is called in training; None calls the model itself.

    Returns:
        The update, with a model in the mode that it last had.
    """
    freeze(model, plan.stage.freeze)
    update = Update(
        plan.stage,
        plan.step,
        model,
        model,
        build_optimizer(model, plan.stage.optimizer),
        device,
        ema=Ema(model, plan.stage.ema) if plan.stage.average == "ema" else None,
    )
    if wrap is not None:
        update.model = wrap(model)
    for part in (plan.step, plan.batches):
        begin = getattr(part, "start_stage", None)
        if begin is not None:
            begin(model)
    return update


def fresh(build: Callable[[], nn.Module], plan: StagePlan, device: torch.device) -> Update:
    """A model of its own at the start of a stage, in training mode: to be timed or swept.

    Args:
        build: Makes the model.
        plan: The stage; its batches may look at the model first (``prepare``), as in training.
        device: Where.

    Returns:
        The update.
    """
    model = place_model(build(), device)
    update = equipped(model, plan, device)
    prepare = getattr(plan.batches, "prepare", None)
    if prepare is not None:
        prepare(model.eval(), 0)
    model.train()
    hold_frozen_norms(model)
    return update
