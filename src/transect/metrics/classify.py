"""Scores of classifications: weighted kappa, F-beta, log loss; scikit-learn's, with our errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError

__all__ = ["accuracy", "confusion", "f_beta", "log_loss", "weighted_kappa"]


def accuracy(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Share of right answers."""
    a, b = _pair(predicted, truth)
    return float((a == b).mean())


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
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(b, a, weights=None if weights == "none" else weights))


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
        probabilities: (N,) of class 1, or (N, C) summing to one.
        truth: (N,) integer classes.

    Returns:
        In nats, lower is better; probabilities are kept 1e-15 away from 0 and 1.
    """
    p, t = np.asarray(probabilities, np.float64), np.asarray(truth).astype(np.int64)
    if len(p) != len(t) or not len(t):
        raise TransectError(f"log loss needs one answer per truth; got {len(p)} and {len(t)}.")
    if p.ndim == 1:
        p = np.stack([1 - p, p], 1)
    if t.min() < 0 or t.max() >= p.shape[1]:
        raise TransectError(f"classes must be in 0..{p.shape[1] - 1}; got up to {t.max()}.")
    chosen = np.take_along_axis(p, t[:, None], 1)
    return float(-np.log(np.clip(chosen, 1e-15, 1)).mean())


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
