"""How good counts are: errors per class, intervals, and points found at the right place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError

__all__ = [
    "PointMatch",
    "interval_coverage",
    "interval_width",
    "mae",
    "match_points",
    "relative_error",
    "rmse",
    "rmse_per_class",
]


def rmse_per_class(predicted: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Root of the mean squared error over images, for every class.

    Args:
        predicted: (N, C) counts, or (N,) for one class.
        truth: Same shape.

    Returns:
        (C,) in objects, lower is better.
    """
    a, b = _pair(predicted, truth)
    return np.sqrt(((a - b) ** 2).mean(0))


def rmse(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Mean over classes of the root mean squared error: the sea lion competition's score.

    Args:
        predicted: (N, C) counts, or (N,) for one class.
        truth: Same shape.

    Returns:
        In objects, lower is better.

    Example:
        >>> rmse([[1, 2], [3, 2]], [[1, 0], [3, 0]])
        1.0
    """
    return float(rmse_per_class(predicted, truth).mean())


def mae(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Mean absolute error over images and classes, in objects."""
    a, b = _pair(predicted, truth)
    return float(np.abs(a - b).mean())


def relative_error(predicted: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Signed error of the survey's total, as a share of the truth, for every class.

    Returns:
        (C,); 0.1 is a tenth too many. A class of which there is none: 0 if none was predicted,
        else inf.
    """
    a, b = _pair(predicted, truth)
    total, real = a.sum(0), b.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total == real, 0.0, (total - real) / real)


def interval_coverage(low: ArrayLike, high: ArrayLike, truth: ArrayLike) -> float:
    """Share of truths inside their interval, ends included."""
    a, b = _pair(low, high)
    t = _pair(truth, low)[0]
    return float(((a <= t) & (t <= b)).mean())


def interval_width(low: ArrayLike, high: ArrayLike) -> float:
    """Mean width of intervals: of two with the same coverage the narrower is better."""
    a, b = _pair(low, high)
    return float((b - a).mean())


@dataclass(frozen=True)
class PointMatch:
    """Predicted points matched one to one to true points.

    Attributes:
        pairs: (M, 2) row of the predicted and of the true point.
        distance: (M,) in pixels.
        predicted: Number of predicted points.
        truth: Number of true points.
        confusion: (C+1, C+1) true class by predicted class; the last row holds points that are
            nothing, the last column those that were missed. None without classes.
    """

    pairs: NDArray[np.int64]
    distance: NDArray[np.float64]
    predicted: int
    truth: int
    confusion: NDArray[np.int64] | None = None

    @property
    def precision(self) -> float:
        """Share of predicted points that are right; 1 if there are none at all."""
        return len(self.pairs) / self.predicted if self.predicted else float(self.truth == 0)

    @property
    def recall(self) -> float:
        """Share of true points that were found; 1 if there are none at all."""
        return len(self.pairs) / self.truth if self.truth else float(self.predicted == 0)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 if there are no points at all."""
        total = self.predicted + self.truth
        return 2 * len(self.pairs) / total if total else 1.0


def match_points(
    predicted: ArrayLike,
    truth: ArrayLike,
    radius: float,
    *,
    predicted_class: ArrayLike | None = None,
    true_class: ArrayLike | None = None,
    classes: int | None = None,
) -> PointMatch:
    """Match points within a radius: most pairs first, then the least total distance.

    A KD-tree finds who is near whom; each cluster of near points is assigned on its own, so a
    million points are no problem unless they are all within one radius.

    Args:
        predicted: (P, 2) x, y.
        truth: (T, 2) x, y.
        radius: Largest distance of a pair, in pixels.
        predicted_class: (P,) integers; matching ignores classes, ``confusion`` tells them.
        true_class: (T,) integers.
        classes: Number of classes; None: the largest seen plus one.

    Returns:
        The pairs and what follows from them.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    a = np.asarray(predicted, np.float64).reshape(-1, 2)
    b = np.asarray(truth, np.float64).reshape(-1, 2)
    pairs, distances = np.empty((0, 2), np.int64), np.empty(0)
    if len(a) and len(b):
        near = KDTree(a).sparse_distance_matrix(KDTree(b), radius, output_type="ndarray")
        i, j, d = near["i"].astype(np.int64), near["j"].astype(np.int64), near["v"]
        size = len(a) + len(b)
        graph = coo_array((np.ones(len(i)), (i, j + len(a))), shape=(size, size))
        _, cluster = connected_components(graph, directed=False)
        order = np.argsort(cluster[i], kind="stable")
        cuts = np.flatnonzero(np.diff(cluster[i][order])) + 1
        chosen: list[NDArray[np.int64]] = []
        for rows in np.split(order, cuts):
            if rows.size < 2:
                chosen.append(rows)
                continue
            left, x = np.unique(i[rows], return_inverse=True)
            right, y = np.unique(j[rows], return_inverse=True)
            value = np.zeros((left.size, right.size))
            # Any pair is worth more than all the distance that could be saved by leaving it.
            value[x, y] = 2 * radius * min(value.shape) + 1 - d[rows]
            taken = np.zeros(value.shape, bool)
            taken[linear_sum_assignment(value, maximize=True)] = True
            chosen.append(rows[taken[x, y]])
        kept = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
        pairs, distances = np.stack([i[kept], j[kept]], 1), d[kept]
    table = None
    if predicted_class is not None and true_class is not None:
        table = _confusion(
            pairs, np.asarray(predicted_class, int), np.asarray(true_class, int), classes
        )
    return PointMatch(pairs, distances, len(a), len(b), table)


def _confusion(
    pairs: NDArray[np.int64],
    predicted: NDArray[np.int_],
    truth: NDArray[np.int_],
    classes: int | None,
) -> NDArray[np.int64]:
    """True class by predicted class, with a row for nothing and a column for missed."""
    if classes is None:
        classes = 1 + max(predicted.max(initial=-1), truth.max(initial=-1))
    wide = classes + 1
    said = [predicted[pairs[:, 0]], np.delete(predicted, pairs[:, 0])]
    real = [truth[pairs[:, 1]], np.delete(truth, pairs[:, 1])]
    said.append(np.full(real[1].size, classes))  # missed
    real.insert(1, np.full(said[1].size, classes))  # nothing there
    keys = np.concatenate(real) * wide + np.concatenate(said)
    return np.bincount(keys, minlength=wide * wide).reshape(wide, wide)


def _pair(one: ArrayLike, other: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as (N, C) floats of one shape with something in them."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if a.shape != b.shape or a.size == 0:
        raise TransectError(
            f"counts must have one shape and not be empty; got {a.shape} and {b.shape}. Give one "
            "row per image and one column per class."
        )
    return (a[:, None], b[:, None]) if a.ndim == 1 else (a, b)
