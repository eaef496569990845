"""Scores of classifications: shares, kappa, F-beta, log loss, area under the curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError, unknown_name

__all__ = ["accuracy", "auroc", "balanced_accuracy", "confusion", "f_beta", "f_beta_each"]
__all__ += ["log_loss", "macro_f1", "weighted_kappa"]


def accuracy(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Share of right answers."""
    a, b = _pair(predicted, truth)
    return float((a == b).mean())


def balanced_accuracy(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Mean over the classes of the truth of the share that was found.

    Args:
        predicted: (N,) integer classes from 0.
        truth: (N,) integer classes from 0.

    Example:
        >>> balanced_accuracy([0, 0, 0, 0], [0, 0, 0, 1])
        0.5
    """
    table = _table(predicted, truth)
    there = table.sum(axis=1) > 0
    return float((np.diag(table)[there] / table.sum(axis=1)[there]).mean())


def macro_f1(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Mean of the F1 scores of the classes that are in the truth or were predicted.

    Args:
        predicted: (N,) integer classes from 0, or (N, C) 0/1 for several labels at once.
        truth: Of the same shape.

    Returns:
        In [0, 1]; a label that nobody has and nothing predicts does not count.
    """
    a, b = _pair(predicted, truth)
    if a.ndim == 2:
        right = (a.astype(bool) & b.astype(bool)).sum(axis=0)
        said, there = a.astype(bool).sum(axis=0), b.astype(bool).sum(axis=0)
    else:
        table = _table(a, b)
        right, said, there = np.diag(table), table.sum(axis=0), table.sum(axis=1)
    used = said + there > 0
    return float((2 * right[used] / (said + there)[used]).mean()) if used.any() else 1.0


def f_beta_each(
    predicted: ArrayLike, truth: ArrayLike, *, beta: float = 2.0
) -> NDArray[np.float64]:
    """F score of the labels of every image, whose mean is the F2 of several labels.

    Args:
        predicted: (N, C) 0/1.
        truth: (N, C) 0/1.
        beta: Above 1 favours labels that are found over labels that are wrong.

    Returns:
        (N,) in [0, 1]; no label where there is none is 1.
    """
    a, b = (part.astype(bool) for part in _pair(predicted, truth))
    right = (a & b).sum(axis=1)
    weighed = beta**2 * b.sum(axis=1) + a.sum(axis=1)
    return np.asarray(np.where(weighed > 0, (1 + beta**2) * right / np.maximum(weighed, 1e-12), 1))


def auroc(scores: ArrayLike, truth: ArrayLike) -> float:
    """Chance that an image with a label scores higher for it than one without; mean over labels.

    Args:
        scores: (N,) or (N, C), higher is likelier.
        truth: (N,) 0/1, (N, C) 0/1, or with (N, C) scores (N,) integer classes.

    Returns:
        In [0, 1], ties counting half; labels that all images have, or none, do not count, and
        without any other it is not a number.

    References:
        Hanley and McNeil 1982; the ranks of Mann and Whitney.
    """
    from scipy.stats import rankdata

    s, t = np.asarray(scores, np.float64), np.asarray(truth)
    if s.ndim == 2 and t.ndim == 1:
        t = t[:, None] == np.arange(s.shape[1])
    s, t = s.reshape(len(s), -1), t.reshape(len(t), -1).astype(bool)
    if s.shape != t.shape or not len(s):
        raise TransectError(
            f"scores and truths must have one shape and not be empty; got {s.shape} and {t.shape}."
        )
    positives, negatives = t.sum(axis=0), (~t).sum(axis=0)
    used = (positives > 0) & (negatives > 0)
    if not used.any():
        return float("nan")
    s, t, n1, n0 = s[:, used], t[:, used], positives[used], negatives[used]
    ranks = np.where(t, rankdata(s, axis=0), 0).sum(axis=0)
    return float(((ranks - n1 * (n1 + 1) / 2) / (n1 * n0)).mean())


def confusion(predicted: ArrayLike, truth: ArrayLike, classes: int) -> NDArray[np.int64]:
    """(C, C) counts, truth by row, prediction by column, of classes 0..C-1."""
    a, b = _pair(predicted, truth)
    keys = b.astype(np.int64) * classes + a.astype(np.int64)
    return np.bincount(keys, minlength=classes**2).reshape(classes, classes)


def weighted_kappa(predicted: ArrayLike, truth: ArrayLike, *, weights: str = "quadratic") -> float:
    """Agreement beyond chance of ordered classes (Cohen 1968).

    Args:
        predicted: (N,) integer classes.
        truth: (N,) integer classes.
        weights: ``linear``, ``quadratic`` or ``none``.

    Returns:
        In [-1, 1]; 1 if all answers are the same single class in both.
    """
    a, b = _pair(predicted, truth)
    if np.array_equal(a, b):
        return 1.0
    table = _table(a, b).astype(np.float64)
    apart = np.abs(np.subtract.outer(np.arange(len(table)), np.arange(len(table))))
    power = {"none": 0, "linear": 1, "quadratic": 2}.get(weights)
    if power is None:
        raise unknown_name("weights", weights, ("none", "linear", "quadratic"))
    price = (apart > 0).astype(np.float64) if power == 0 else apart.astype(np.float64) ** power
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    chance = float((price * expected).sum())
    return 1 - float((price * table).sum()) / chance if chance else 1.0


def f_beta(
    predicted: ArrayLike, truth: ArrayLike, *, beta: float = 1.0, average: str = "binary"
) -> float:
    """F score; beta above 1 favours recall.

    Args:
        predicted: (N,) labels, or (N, C) 0/1 for several labels at once.
        truth: Same shape.
        beta: 2 in many competitions.
        average: ``binary``, ``macro``, ``micro``, ``weighted``, ``samples``.

    Returns:
        In [0, 1]; 0 where nothing is found and 1 if there was nothing to find.
    """
    from sklearn.metrics import fbeta_score

    a, b = _pair(predicted, truth)
    if average == "binary" and not a.any() and not b.any():
        return 1.0
    return float(fbeta_score(b, a, beta=beta, average=average, zero_division=0.0))


def log_loss(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """Mean negative logarithm of the probability of the truth.

    Args:
        probabilities: (N,) of class 1, or (N, C) summing to one; with a truth of (N, C), of each
            label by itself.
        truth: (N,) integer classes, or (N, C) 0/1.

    Returns:
        In nats, lower is better; probabilities are kept 1e-15 away from 0 and 1.
    """
    p, t = np.asarray(probabilities, np.float64), np.asarray(truth).astype(np.int64)
    if len(p) != len(t) or not len(t):
        raise TransectError(f"log loss needs one answer per truth; got {len(p)} and {len(t)}.")
    if t.ndim == 2:
        return float(-np.log(np.clip(np.where(t > 0, p, 1 - p), 1e-15, 1)).mean())
    if p.ndim == 1:
        p = np.stack([1 - p, p], 1)
    if t.min() < 0 or t.max() >= p.shape[1]:
        raise TransectError(f"classes must be in 0..{p.shape[1] - 1}; got up to {t.max()}.")
    chosen = np.take_along_axis(p, t[:, None], 1)
    return float(-np.log(np.clip(chosen, 1e-15, 1)).mean())


def _table(predicted: ArrayLike, truth: ArrayLike) -> NDArray[np.int64]:
    """(C, C) counts, truth by row, over as many classes as there are."""
    a, b = _pair(predicted, truth)
    return confusion(a, b, int(max(a.max(), b.max())) + 1)


def _pair(
    predicted: ArrayLike, truth: ArrayLike
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Both as arrays of one shape with something in them."""
    a, b = np.asarray(predicted), np.asarray(truth)
    if a.shape != b.shape or a.size == 0:
        raise TransectError(
            f"predictions and truths must have one shape and not be empty; got {a.shape} and "
            f"{b.shape}. Give one answer per truth."
        )
    return a, b
