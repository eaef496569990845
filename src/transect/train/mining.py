"""Pairs for a Siamese head: the hardest negatives by linear assignment, deranged positives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.errors import TransectError, unknown_name
from transect.recipe import Stage
from transect.train.plan import Batch

__all__ = [
    "PairBatches",
    "PairSchedule",
    "Pairs",
    "derangements",
    "mine_negatives",
    "noise_at",
    "random_negatives",
]

_FORBIDDEN = np.float32(10_000.0)  # cost of a pair of one identity (whale kernel)
_STRIP = 1024  # rows of the matrix at a time
Scores = Callable[[], NDArray[np.float32]]


@dataclass(frozen=True)
class Pairs:
    """Pairs of items.

    Attributes:
        left: (P,) int64.
        right: (P,) int64.
        same: (P,) float32, 1 for one identity, 0 for two.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.left)


def mine_negatives(
    scores: NDArray[np.float32],
    identities: NDArray[np.int64],
    *,
    noise: float,
    epochs: int,
    rng: np.random.Generator,
    blocks: int = 1,
) -> NDArray[np.int64]:
    """The hardest pairs of different identities, every item once on each side.

    For each of ``epochs`` a linear assignment on the cost -(S + A * U(0, 1)); the pairs found get
    a prohibitive cost in both directions, so that the next epoch finds others (whale kernel).

    Args:
        scores: (N, N) similarity; only its order of magnitude against ``noise`` matters.
        identities: (N,) int.
        noise: Amplitude A, how easy the pairs are: 0 is the hardest, 1000 is random.
        epochs: Assignments from this matrix.
        rng: Of noise and blocks.
        blocks: Diagonal blocks of a shuffle, drawn anew each epoch: B blocks cost 1 / B**2 of the
            time, and mine pairs that score less (10 % less with 8, see performance).

    Returns:
        (epochs, N) int64, the partner of each item, or -1 where no allowed one was left (an
        identity that has more than half of the items).

    Raises:
        TransectError: If the shapes disagree.
    """
    count = len(identities)
    if scores.shape != (count, count):
        raise TransectError(
            f"scores must be ({count}, {count}), one row and column per item; got {scores.shape}."
        )
    cost = np.empty((count, count), np.float32)
    for top in range(0, count, _STRIP):  # the matrix may lie on disk: one copy of it, no more
        rows = slice(top, min(top + _STRIP, count))
        np.negative(scores[rows], out=cost[rows])
        if noise > 0:
            cost[rows] -= np.float32(noise) * rng.random(cost[rows].shape, np.float32)
        cost[rows][identities[rows, None] == identities[None, :]] = _FORBIDDEN
    partners = np.full((epochs, count), -1, np.int64)
    for epoch in range(epochs):
        shuffled = rng.permutation(count)
        for block in np.array_split(shuffled, min(blocks, max(1, count // 2))):
            partners[epoch, block] = _assign(cost, block)
        found = np.flatnonzero(partners[epoch] >= 0)
        cost[found, partners[epoch, found]] = _FORBIDDEN
        cost[partners[epoch, found], found] = _FORBIDDEN
    return partners


def _assign(cost: NDArray[np.float32], block: NDArray[np.int64]) -> NDArray[np.int64]:
    """Solve one block; partners of its items, -1 where the solution had to take a forbidden pair.

    Of a symmetric matrix many pairs come out in both directions, as in the kernel; each item is
    then seen in two augmentations.
    """
    from scipy.optimize import linear_sum_assignment

    part = cost[np.ix_(block, block)]
    _, columns = linear_sum_assignment(part)
    return np.where(part[np.arange(len(block)), columns] < _FORBIDDEN, block[columns], -1)


def random_negatives(
    identities: NDArray[np.int64], *, epochs: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Partners of other identities at random, every item at most once on each side.

    Returns:
        (epochs, N) int64; -1 where a few tries found nobody.
    """
    count = len(identities)
    partners = np.full((epochs, count), -1, np.int64)
    for epoch in range(epochs):
        chosen = rng.permutation(count)
        for _ in range(20):
            wrong = np.flatnonzero(identities[chosen] == identities)
            if not len(wrong):
                break
            for place in wrong.tolist():
                other = int(rng.integers(count))
                chosen[[place, other]] = chosen[[other, place]]
        partners[epoch] = np.where(identities[chosen] == identities, -1, chosen)
    return partners


def derangements(identities: NDArray[np.int64], rng: np.random.Generator) -> Pairs:
    """Pairs of one identity: within each, every item once left and once right, never with itself.

    Returns:
        Pairs with ``same`` 1; items whose identity has no other item are in none.
    """
    left, right = [], []
    for name in np.unique(identities):
        members = np.flatnonzero(identities == name)
        if len(members) < 2:
            continue
        order = rng.permutation(members)
        while (order == members).any():  # one permutation in e = 2.7 is a derangement
            order = rng.permutation(members)
        left.append(members)
        right.append(order)
    if not left:
        empty = np.empty(0, np.int64)
        return Pairs(empty, empty, np.empty(0, np.float32))
    a, b = np.concatenate(left), np.concatenate(right)
    return Pairs(a, b, np.ones(len(a), np.float32))


def noise_at(noise: tuple[float, float], fraction: float) -> float:
    """Amplitude at a progress in [0, 1]: falls by a constant factor, or linearly to zero.

    Example:
        >>> [round(noise_at((100.0, 1.0), t), 3) for t in (0, 0.5, 1)]
        [100.0, 10.0, 1.0]
    """
    first, last = noise
    if first > 0 and last > 0:
        return float(first * (last / first) ** fraction)
    return float(first + (last - first) * fraction)


class PairSchedule:
    """The pairs of every epoch: mined anew every ``reuse`` epochs, with falling noise."""

    def __init__(self, identities: NDArray[np.int64], stage: Stage, *, seed: int) -> None:
        """Prepare the schedule.

        Args:
            identities: (N,) int, one per item.
            stage: ``mining``, ``mining_noise``, ``mining_reuse``, ``epochs``.
            seed: Of noise, blocks and derangements.

        Raises:
            TransectError: On an unknown kind of mining, or fewer than two identities.
        """
        kinds = ("none", "random", "lap", "lap_blocks")
        if stage.mining not in kinds:
            raise unknown_name(f"mining of stage {stage.name}", stage.mining, kinds)
        self._identities = np.asarray(identities, np.int64)
        if len(np.unique(self._identities)) < 2:
            raise TransectError(
                "pairs need at least two identities; this fold has fewer. Add photos of others."
            )
        self._stage, self._seed = stage, seed
        self._partners: NDArray[np.int64] | None = None
        self._since = -1

    @property
    def length(self) -> int:
        """Pairs per epoch, at most."""
        _, place, count = np.unique(self._identities, return_inverse=True, return_counts=True)
        return len(self._identities) + int((count[place] > 1).sum())

    def prepare(self, epoch: int, scores: Scores) -> None:
        """Mine, if the present matrix has served its epochs; ``scores`` is called only then."""
        reuse = max(1, self._stage.mining_reuse)
        since = epoch - epoch % reuse
        if self._partners is not None and self._since == since:
            return
        rng = np.random.default_rng([self._seed, since, 0])
        if self._stage.mining in {"none", "random"}:
            self._partners = random_negatives(self._identities, epochs=reuse, rng=rng)
        else:
            self._partners = mine_negatives(
                scores(), self._identities,
                noise=noise_at(self._stage.mining_noise, since / max(1, self._stage.epochs - 1)),
                epochs=reuse, rng=rng, blocks=8 if self._stage.mining == "lap_blocks" else 1,
            )  # fmt: skip
        self._since = since

    def pairs(self, epoch: int) -> Pairs:
        """Negatives and positives in turn, as many as there are, in a random order of each."""
        assert self._partners is not None, "prepare comes first"
        rng = np.random.default_rng([self._seed, epoch, 1])
        partners = self._partners[epoch - self._since]
        left = rng.permutation(np.flatnonzero(partners >= 0))
        positives = derangements(self._identities, rng)
        order = rng.permutation(len(positives))
        negative = [(a, b, 0.0) for a, b in zip(left, partners[left], strict=True)]
        positive = [
            (a, b, 1.0) for a, b in zip(positives.left[order], positives.right[order], strict=True)
        ]
        both = [
            pair
            for two in itertools.zip_longest(negative, positive)
            for pair in two
            if pair is not None
        ]
        columns = list(zip(*both, strict=True))
        return Pairs(
            np.array(columns[0], np.int64),
            np.array(columns[1], np.int64),
            np.array(columns[2], np.float32),
        )

    def state_dict(self) -> dict[str, Tensor]:
        """The partners that are still to be used; they came from weights that have moved on."""
        if self._partners is None:
            return {}
        return {
            "partners": torch.from_numpy(self._partners.copy()),
            "since": torch.tensor(self._since),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state_dict`` gave."""
        self._partners, self._since = None, -1
        if "partners" in state:
            self._partners = state["partners"].numpy().copy()
            self._since = int(state["since"])


class PairBatches:
    """Batches of mined pairs for the engine.

    Attributes:
        steps: Batches per epoch.
    """

    def __init__(
        self,
        schedule: PairSchedule,
        make: Callable[[Pairs, list[np.random.Generator]], Batch],
        scores: Callable[[nn.Module], NDArray[np.float32]],
        *,
        batch: int,
        seed: int,
    ) -> None:
        """Join a schedule, a builder and a scorer.

        Args:
            schedule: Of the pairs.
            make: Builds a batch from pairs and a generator for each; in a background thread.
            scores: From the model to the (N, N) scores of all items.
            batch: Pairs per batch.
            seed: Of the items' augmentation.
        """
        self._schedule, self._make, self._scores = schedule, make, scores
        self._batch, self._seed = batch, seed
        self.steps = max(1, schedule.length // batch)

    def start_stage(self, model: nn.Module) -> None:
        """Forget the pairs of an earlier run."""
        self._schedule.load_state_dict({})

    def prepare(self, model: nn.Module, epoch: int) -> None:
        """Mine with the model as it is now, when it is time."""
        with torch.no_grad():
            self._schedule.prepare(epoch, lambda: self._scores(model))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; short ones begin again with the first pairs."""
        pairs = self._schedule.pairs(epoch)
        for step in range(self.steps):
            place = np.arange(step * self._batch, (step + 1) * self._batch) % len(pairs)
            part = Pairs(pairs.left[place], pairs.right[place], pairs.same[place])
            rngs = [
                np.random.default_rng([self._seed, epoch, step * self._batch + k])
                for k in range(self._batch)
            ]
            yield self._make(part, rngs)

    def state_dict(self) -> dict[str, Tensor]:
        """Of the schedule."""
        return self._schedule.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Into the schedule."""
        self._schedule.load_state_dict(state)
