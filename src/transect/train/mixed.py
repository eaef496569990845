"""Batches of two sources side by side: labelled with pseudo-labelled, or with unlabelled ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from transect.train.plan import Batches

__all__ = ["MixedBatches", "UnlabelledBatches", "shares_of"]


def shares_of(batch: int, share: float) -> tuple[int, int]:
    """Items of the first and the second source in a batch, at least one each.

    Args:
        batch: Of both together, at least 2.
        share: Of the second.

    Example:
        >>> shares_of(16, 1 / 3)
        (11, 5)
    """
    other = min(max(round(batch * share), 1), batch - 1)
    return batch - other, other


class _Beside:
    """Batches of a first source that gives the length of an epoch, and of a second one."""

    def __init__(self, first: Batches, second: Batches) -> None:
        self._first, self._second = first, second
        self.steps = first.steps

    def prepare(self, model: nn.Module, epoch: int) -> None:
        """Let the first source look at the model, if it wants to."""
        look = getattr(self._first, "prepare", None)
        if look is not None:
            look(model, epoch)


class MixedBatches(_Beside):
    """Every batch holds items of two sources; the first gives the length of an epoch.

    The second is drawn on, epoch after epoch of its own, as long as the first lasts.
    """

    def epoch(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of one epoch; those of the first source come first in each."""
        other = _endless(self._second, epoch)
        for batch in self._first.epoch(epoch):
            more = next(other)
            yield {name: torch.cat([value, more[name]]) for name, value in batch.items()}


class UnlabelledBatches(_Beside):
    """Batches of the first source, with pictures of the second under ``unlabelled``."""

    def epoch(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of one epoch."""
        other = _endless(self._second, epoch)
        for batch in self._first.epoch(epoch):
            yield {**batch, "unlabelled": next(other)["image"]}


def _endless(batches: Batches, epoch: int) -> Iterator[dict[str, Tensor]]:
    """Batches without end: further epochs follow, different ones for every epoch of the stage."""
    turn = 0
    while True:
        yield from batches.epoch(epoch + 10_000 * turn)
        turn += 1
