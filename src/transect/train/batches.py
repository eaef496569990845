"""Batches from a sampler and a builder, each item by a random stream of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from transect.errors import TransectError
from transect.train.plan import Batch
from transect.train.samplers import Draws, Sampler

__all__ = ["IndexBatches", "Make"]

Make = Callable[[Draws, Sequence[np.random.Generator], float], Batch]
"""From the draws of a batch, a random generator for each, and the progress of the stage in [0, 1)
to tensors whose first axis is the batch. Called in a background thread: everything random must
come from the generators."""


class IndexBatches:
    """Batches for the engine: the same in every run, whatever was trained before.

    The item at a position of an epoch gets ``default_rng([seed, epoch, position])``, so that a
    resumed run, several devices, or a batch cut in two see the same pictures.

    Attributes:
        steps: Batches per epoch.
    """

    def __init__(
        self,
        sampler: Sampler,
        make: Make,
        *,
        batch: int,
        seed: int,
        epochs: int = 1,
        drop_last: bool = True,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Join a sampler and a builder.

        Args:
            sampler: Draws by epoch, always equally many.
            make: Builds a batch.
            batch: Items per batch.
            seed: Of everything random in the items.
            epochs: Of the stage, for the progress that ``make`` is told.
            drop_last: Leave out an incomplete last batch (batch norm dislikes a batch of one);
                it is kept if it is the only one.
            rank: This process's place among ``world``; it builds every ``world``-th batch.
            world: Processes that train together.

        Raises:
            TransectError: If an epoch has no items.
        """
        self._sampler, self._make, self._batch = sampler, make, batch
        self._seed, self._epochs, self._drop_last = seed, epochs, drop_last
        self._rank, self._world = rank, world
        length = len(sampler(0))
        if length == 0:
            raise TransectError("an epoch has no items. Are there training pictures in this fold?")
        whole = length // batch if drop_last else math.ceil(length / batch)
        self.steps = max(1, max(1, whole) // world)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        draws = self._sampler(epoch)
        for step in range(self.steps):
            first = (step * self._world + self._rank) * self._batch
            part = draws[first : first + self._batch]
            rngs = [np.random.default_rng([self._seed, epoch, first + k]) for k in range(len(part))]
            yield self._make(part, rngs, epoch / self._epochs)

    def shard(self, rank: int, world: int) -> IndexBatches:
        """The batches of one of several processes that train one model."""
        return IndexBatches(
            self._sampler, self._make, batch=self._batch, seed=self._seed, epochs=self._epochs,
            drop_last=self._drop_last, rank=rank, world=world,
        )  # fmt: skip
