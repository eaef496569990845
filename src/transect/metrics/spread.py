"""How far a score may be trusted: bootstrap intervals, also over groups, and spread over folds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError

__all__ = ["bootstrap", "bootstrap_statistic", "over_folds"]


def bootstrap(
    values: ArrayLike,
    groups: ArrayLike | None = None,
    n: int = 2000,
    rng: np.random.Generator | None = None,
    *,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Interval of a mean, by drawing items with replacement; or whole groups of them.

    Args:
        values: (N,) a score per item.
        groups: (N,) site, slide or encounter of each item: items of one group are not
            independent, so they are drawn together and the interval is as wide as it should be.
        n: Draws.
        rng: Of the draws; None is seed 0, so that the same scores give the same interval.
        confidence: Of the interval, by percentiles.

    Returns:
        (low, high) of the mean over items.

    Raises:
        TransectError: If there are no values.

    Example:
        >>> bootstrap([0.5, 0.5, 0.5])
        (0.5, 0.5)
    """
    data = np.asarray(values, np.float64)
    if data.ndim != 1 or data.size == 0:
        raise TransectError("an interval needs one value per item, and at least one.")
    rng = rng if rng is not None else np.random.default_rng(0)
    sums: NDArray[np.float64] = data
    sizes = np.ones(data.size)
    if groups is not None:
        _, group = np.unique(np.asarray(groups), return_inverse=True)
        if group.shape != data.shape:
            raise TransectError("an interval over groups needs the group of every value.")
        sums = np.bincount(group, data).astype(np.float64)
        sizes = np.bincount(group).astype(np.float64)
    means = np.empty(n)
    step = max(1, 4_000_000 // sums.size)
    for start in range(0, n, step):
        drawn = rng.integers(0, sums.size, (min(step, n - start), sums.size))
        means[start : start + step] = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_statistic(
    statistic: Callable[[NDArray[np.intp]], float],
    count: int,
    groups: ArrayLike | None = None,
    n: int = 500,
    rng: np.random.Generator | None = None,
    *,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Interval of anything that can be computed from a choice of items (an RMSE, a MAP).

    Args:
        statistic: Given (M,) row numbers, with repeats, returns the score.
        count: Number of items.
        groups: As in ``bootstrap``.
        n: Draws.
        rng: As in ``bootstrap``.
        confidence: Of the interval.

    Returns:
        (low, high); draws whose score is nan are left out.
    """
    rng = rng if rng is not None else np.random.default_rng(0)
    labels = np.arange(count) if groups is None else np.asarray(groups)
    _, group = np.unique(labels, return_inverse=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    scores = np.empty(n)
    for i in range(n):
        drawn = rng.integers(0, len(members), len(members))
        scores[i] = statistic(np.concatenate([members[g] for g in drawn]))
    scores = scores[~np.isnan(scores)]
    if not scores.size:
        return float("nan"), float("nan")
    low, high = np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def over_folds(values: ArrayLike, folds: ArrayLike) -> tuple[float, float, NDArray[np.float64]]:
    """Mean of the folds' means, their standard deviation, and the means themselves.

    Args:
        values: (N,) a score per item.
        folds: (N,) the fold of each.

    Returns:
        (mean, deviation with n - 1, (F,) means); the deviation of one fold is nan.
    """
    _, fold = np.unique(np.asarray(folds), return_inverse=True)
    means = np.bincount(fold, np.asarray(values, np.float64)) / np.bincount(fold)
    deviation = float(means.std(ddof=1)) if means.size > 1 else float("nan")
    return float(means.mean()), deviation, means
