"""Tuning the numbers of a decision out of fold, so that no reported score saw its own tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = ["Tuned", "nested_search"]

Values = Mapping[str, float]
Interval = Callable[[NDArray[np.float64]], tuple[float, float]]


@dataclass(frozen=True)
class Tuned:
    """What a nested search found.

    Attributes:
        values: Tuned on all pictures; for new pictures.
        nested: Per fold, tuned on the other folds.
        scores: (N,) of every picture by its fold's nested values.
        score: Their mean: the honest score.
        start: The mean with the starting values, untuned.
        gain: (mean, low, high) of what tuning brought, nested, with its bootstrap interval.
        gains: Per number, the (optimistic) gain when it was tuned on everything.
        own: Per fold, values whose threshold was tuned on the fold itself, for predictions of
            that fold's models; the salt 4th place's way. Never used for ``score``.
    """

    values: dict[str, float]
    nested: dict[int, dict[str, float]]
    scores: NDArray[np.float64]
    score: float
    start: float
    gain: tuple[float, float, float]
    gains: dict[str, float]
    own: dict[int, dict[str, float]] = field(default_factory=dict)


def nested_search(
    score: Callable[[Values, int], float],
    grids: Mapping[str, Sequence[float]],
    folds: NDArray[np.integer],
    *,
    fixed: Values | None = None,
    rounds: int = 2,
    min_gain: float = 1e-4,
    errors: float = 0.0,
    per_fold: str | None = None,
    interval: Interval | None = None,
) -> Tuned:
    """Search one number after another, on all pictures and again without each fold.

    Args:
        score: Values and the row of a picture to its score; higher is better. It is asked once
            for every pair.
        grids: Name to the values tried; the first is the start. Order is the order of tuning.
        folds: (N,) the fold of every picture. With one fold only, the pictures are halved.
        fixed: Numbers that are not tuned.
        rounds: Times round all numbers at most.
        min_gain: Smaller gains are noise: the earlier, simpler value stays.
        errors: Standard errors, of the gain picture by picture, that a gain must exceed, too. A
            search without them follows the noise of a few hundred pictures, and costs score on
            others.
        per_fold: A number that is also tuned on every fold itself (``Tuned.own``), or None.
        interval: From (N,) per-picture gains to (low, high); None: normal, two standard errors.

    Returns:
        The values and what they are honestly worth.

    Raises:
        TransectError: If there are no pictures.
    """
    fold_of = np.asarray(folds)
    if fold_of.size == 0:
        raise TransectError("nothing can be tuned without out-of-fold predictions.")
    if len(np.unique(fold_of)) == 1:
        fold_of = np.arange(fold_of.size) % 2
    memory: dict[tuple[tuple[str, float], ...], dict[int, float]] = {}

    def one(values: Values, i: int) -> float:
        known = memory.setdefault(tuple(sorted(values.items())), {})
        if i not in known:
            known[i] = float(score(values, i))
        return known[i]

    def scored(values: Values, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.array([one(values, int(i)) for i in rows])

    def noise(gained: NDArray[np.float64], errors: float) -> float:
        spread = float(gained.std(ddof=1)) if gained.size > 1 else 0.0
        return max(min_gain, errors * spread / gained.size**0.5)

    first = {name: float(grid[0]) for name, grid in grids.items()} | dict(fixed or {})
    everyone = np.arange(fold_of.size)

    def search(
        start: dict[str, float],
        rows: NDArray[np.intp],
        names: Sequence[str],
        errors: float = errors,
    ) -> tuple[dict[str, float], dict[str, float]]:
        best, gains = dict(start), dict.fromkeys(names, 0.0)
        if not rows.size:
            return best, gains
        top = scored(best, rows)
        for _ in range(rounds):
            before = dict(best)
            for name in names:
                for value in grids[name]:
                    trial = best | {name: float(value)}
                    if trial == best:
                        continue
                    found = scored(trial, rows)
                    if (found - top).mean() > noise(found - top, errors):
                        gains[name] += float((found - top).mean())
                        best, top = trial, found
            if best == before:
                break
        return best, gains

    names = [name for name in grids if name not in (fixed or {})]
    values, gains = search(first, everyone, names)
    nested, own = {}, {}
    scores = np.empty(fold_of.size)
    for fold in np.unique(fold_of).tolist():
        inside = np.flatnonzero(fold_of == fold)
        nested[fold] = search(first, np.flatnonzero(fold_of != fold), names)[0]
        scores[inside] = [one(nested[fold], int(i)) for i in inside]
        if per_fold is not None and per_fold in names:
            own[fold] = search(values, inside, [per_fold], errors=0.0)[0]
    untuned = np.array([one(first, int(i)) for i in everyone])
    gained = scores - untuned
    if interval is not None:
        low, high = interval(gained)
    else:
        half = 2 * float(gained.std(ddof=1)) / gained.size**0.5 if gained.size > 1 else 0.0
        low, high = float(gained.mean()) - half, float(gained.mean()) + half
    return Tuned(
        values=values,
        nested=nested,
        scores=scores,
        score=float(scores.mean()),
        start=float(untuned.mean()),
        gain=(float(gained.mean()), low, high),
        gains=gains,
        own=own,
    )
