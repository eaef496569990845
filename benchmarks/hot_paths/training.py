"""A whole epoch of the engine against bare steps on a fixed tensor: what feeding costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.hot_paths import Row, work_of
from transect.recipe import Network, Optimizer, Schedule, Stage
from transect.train.batches import IndexBatches
from transect.train.engine import fit
from transect.train.plan import Batch, ProgressEvent, StagePlan
from transect.train.process import kept_memory
from transect.train.samplers import Draws, Items, sampler_for

__all__ = ["run"]

_SIZE = 128
_BATCH = 16


def run(quick: bool = True) -> list[Row]:
    """Measure seconds per step at 128 px, batch 16, on one thread.

    A bare step and the step of an epoch that decodes nothing but flips, normalises and stacks
    uint8 pictures from memory, writes its state and its snapshots, are taken in turn.

    Args:
        quick: One round of 12 steps instead of three of 50.

    Returns:
        Bare steps (ratio 1), and a whole epoch with batches built ahead and without (ratio to the
        updates inside it).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    steps = 12 if quick else 50
    depths = {"epoch": 2, "epoch, not built ahead": 0}
    bare: list[float] = []
    whole: dict[str, list[tuple[float, float]]] = {name: [] for name in depths}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for turn in range(1 if quick else 3):
                bare.append(_bare(steps))
                for name, depth in depths.items():
                    place = Path(folder) / f"{turn}-{depth}"
                    whole[name].append(_epoch(place, steps, depth=depth))
    finally:
        torch.set_num_threads(threads)
    work = work_of(_model(), torch.zeros(1, 3, _SIZE, _SIZE))
    path = f"training epoch {_SIZE} px x {_BATCH}"
    # The least: a busy machine only adds to CPU seconds. A neighbour's load changes within seconds
    # by more than what is looked for, so an epoch is compared with the updates inside it.
    rows = [Row(path, "bare steps", min(bare), 1.0, work=work)]
    for name, found in whole.items():
        seconds, inside = min(found, key=lambda pair: pair[0] / pair[1])
        note = f"updates alone {inside:.4f}; the ratio is to them"
        rows.append(Row(path, name, seconds, seconds / inside, note, work))
    return rows


def _model() -> nn.Module:
    """The default network from scratch."""
    from transect.models import build

    return build(Network(weights=None), in_channels=3, outputs=1)


def _loss(model: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
    """Binary cross-entropy."""
    logits = model(batch["image"])["logits"].float()
    return functional.binary_cross_entropy_with_logits(logits, batch["target"]), {}


class _Timed:
    """The loss, which notes the CPU seconds from its call to the end of the update."""

    def __init__(self) -> None:
        self.inside: list[float] = []
        self._began = 0.0

    def __call__(
        self, model: nn.Module, batch: Batch, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        """Binary cross-entropy."""
        self._began = time.thread_time()
        return _loss(model, batch, progress)

    def after_update(self, model: nn.Module) -> None:
        """Called by the engine after each update."""
        self.inside.append(time.thread_time() - self._began)


class _Fixed:
    """The same tensors at every step."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        generator = torch.Generator().manual_seed(0)
        image = torch.rand((_BATCH, 3, _SIZE, _SIZE), generator=generator)
        self.batch = {
            "image": image.contiguous(memory_format=torch.channels_last),
            "target": (torch.rand((_BATCH, 1, _SIZE, _SIZE), generator=generator) > 0.5).float(),
        }

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the fixed batch."""
        for _ in range(self.steps):
            yield self.batch


def _bare(steps: int) -> float:
    """Seconds per step of a plain loop on a fixed tensor, after two steps to warm up."""
    torch.manual_seed(0)
    model = _model().to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    batch = _Fixed(steps).batch
    start = 0.0
    with kept_memory():  # as training has it
        for step in range(steps + 2):
            if step == 2:
                start = time.process_time()
            optimiser.zero_grad(set_to_none=True)
            loss, _ = _loss(model, batch, 0.0)
            loss.backward()
            optimiser.step()
        return (time.process_time() - start) / steps


def _epoch(folder: Path, steps: int, *, depth: int) -> tuple[float, float]:
    """CPU seconds per step of all threads, and of the updates alone.

    From the second step of a stage of one epoch to its last file.
    """
    pictures, masks = _pictures()
    stage = Stage(
        epochs=1, batch=_BATCH, steps=steps + 2, optimizer=Optimizer(),
        schedule=Schedule("constant", warmup=0),
    )  # fmt: skip
    batches = IndexBatches(
        sampler_for(stage, Items(len(pictures)), seed=0), _maker(pictures, masks),
        batch=_BATCH, seed=0,
    )  # fmt: skip
    began = 0.0
    loss = _Timed()

    def watch(event: ProgressEvent) -> None:
        nonlocal began
        if len(loss.inside) == 2:
            began = time.process_time()

    fit(
        _model, [StagePlan(stage, batches, loss)], folder=folder, seed=0, depth=depth,
        progress=watch,
    )  # fmt: skip
    return (time.process_time() - began) / steps, sum(loss.inside[2:]) / steps


def _pictures() -> tuple[np.ndarray, np.ndarray]:
    """Decoded pictures and masks as a cache holds them."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (64, _SIZE, _SIZE, 3), np.uint8)
    return pictures, (pictures[..., :1] > 127).astype(np.uint8)


def _maker(
    pictures: np.ndarray, masks: np.ndarray
) -> Callable[[Draws, Sequence[np.random.Generator], float], Batch]:
    """A builder of batches: flips, one table of colour, stacking."""

    def make(draws: Draws, rngs: Sequence[np.random.Generator], fraction: float) -> Batch:
        images = np.empty((len(draws), _SIZE, _SIZE, 3), np.float32)
        targets = np.empty((len(draws), 1, _SIZE, _SIZE), np.float32)
        for k, (index, rng) in enumerate(zip(draws.index, rngs, strict=True)):
            turn = slice(None, None, -1) if rng.random() < 0.5 else slice(None)
            table = (np.arange(256, dtype=np.float32) / 255 - 0.45) * rng.uniform(3.6, 4.8)
            images[k] = table.astype(np.float32)[pictures[index][:, turn]]
            targets[k, 0] = masks[index][:, turn, 0]
        return {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "target": torch.from_numpy(targets),
        }

    return make
