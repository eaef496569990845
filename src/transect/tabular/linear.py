"""Logistic regression from features to labels, one of many or several, its penalty chosen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import atomic_path

__all__ = ["LinearClassifier", "fit_linear"]

_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # one over the penalty, on standardised features
_NEVER = -12.0  # logit of a label that no training row has
_STEPS = 100  # of the solver; our choice: features of networks need no exact optimum


@dataclass(frozen=True)
class LinearClassifier:
    """A weighted sum of features for every label.

    Attributes:
        weights: (C, D) float32.
        bias: (C,) float32.
        several: Whether labels are told one by one (sigmoid) or exclude each other (softmax).
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    several: bool

    def logits(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """From (N, D) to (N, C)."""
        return np.asarray(features @ self.weights.T + self.bias, np.float32)

    def probabilities(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """From (N, D) to (N, C)."""
        z = self.logits(features)
        if self.several:
            return np.asarray(0.5 * (1 + np.tanh(0.5 * z)), np.float32)
        shifted = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)

    def save(self, path: Path) -> None:
        """Write it as safetensors, whole or not at all."""
        from safetensors.numpy import save_file

        arrays = {"weights": self.weights, "bias": self.bias, "several": np.array([self.several])}
        with atomic_path(path) as temporary:
            save_file(arrays, temporary)

    @staticmethod
    def load(path: Path) -> LinearClassifier:
        """Read what ``save`` wrote.

        Raises:
            TransectError: If the file is missing or damaged.
        """
        from safetensors.numpy import load_file

        try:
            stored = load_file(path)
            weights, bias = stored["weights"], stored["bias"]
            if weights.ndim != 2 or bias.shape != weights.shape[:1]:
                raise ValueError("shapes do not fit")
            return LinearClassifier(weights, bias, bool(stored["several"][0]))
        except Exception as error:  # safetensors has errors of its own
            raise TransectError(
                f"{path} is not a readable classifier ({str(error).splitlines()[0][:100]}). "
                "Restore it, or train again."
            ) from error


def fit_linear(
    features: NDArray[np.floating],
    truth: NDArray[np.integer],
    *,
    several: bool,
    parts: NDArray[np.int64] | None = None,
    weights: NDArray[np.float64] | None = None,
    strengths: Sequence[float] = _STRENGTHS,
) -> LinearClassifier:
    """Fit on standardised features, with the penalty that answers a part held out best.

    Args:
        features: (N, D).
        truth: (N, C) 0/1; one 1 in each row unless ``several``.
        several: Whether a row may have any number of labels.
        parts: (N,) groups of rows that belong apart (folds); the smallest is held out to choose
            the penalty. None takes every fifth row.
        weights: (N,) of the rows, or None.
        strengths: One over the penalty, to choose from.

    Returns:
        The classifier; a label that no row has is never predicted.
    """
    wide = features.astype(np.float32)
    centre, spread = wide.mean(axis=0), wide.std(axis=0) + np.float32(1e-6)
    x = (wide - centre) / spread
    held = np.arange(len(x)) % 5 == 4
    if parts is not None and len(np.unique(parts)) > 1:
        numbers, sizes = np.unique(parts, return_counts=True)
        held = parts == numbers[sizes.argmin()]
    best, strength = np.inf, strengths[0]
    own = None if weights is None else weights[~held]
    for one in strengths if held.any() and len(strengths) > 1 else ():
        found = LinearClassifier(*_solved(x[~held], truth[~held], several, one, own), several)
        loss = _loss(found.probabilities(x[held]), truth[held], several)
        if loss < best:
            best, strength = loss, one
    w, b = _solved(x, truth, several, strength, weights)
    scaled = w / spread
    return LinearClassifier(scaled, (b - scaled @ centre).astype(np.float32), several)


def _solved(
    x: NDArray[np.float32],
    truth: NDArray[np.integer],
    several: bool,
    strength: float,
    weights: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coefficients (C, D) and offsets (C,) on given features."""
    count = truth.shape[1]
    w, b = np.zeros((count, x.shape[1]), np.float32), np.full(count, _NEVER, np.float32)
    if several:
        for c in range(count):
            if 0 < truth[:, c].sum() < len(x):
                w[c], b[c] = (part[0] for part in _regressed(x, truth[:, c], strength, weights))
            elif len(x) and truth[:, c].all():
                b[c] = -_NEVER
        return w, b
    labels = truth.argmax(axis=1)
    there = np.unique(labels)
    if len(there) == 1:
        b[there] = 0
    elif len(there) == 2:  # scikit-learn gives one row for two classes
        coefficients, offsets = _regressed(x, labels, strength, weights)
        w[there[1]], b[there[0]], b[there[1]] = coefficients[0], 0, offsets[0]
    else:
        w[there], b[there] = _regressed(x, labels, strength, weights)
    return w, b


def _regressed(
    x: NDArray[np.float32],
    labels: NDArray[np.integer],
    strength: float,
    weights: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scikit-learn's regression, not necessarily to the end."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = LogisticRegression(C=strength, max_iter=_STEPS).fit(x, labels, weights)
    return fitted.coef_.astype(np.float32), fitted.intercept_.astype(np.float32)


def _loss(p: NDArray[np.float32], truth: NDArray[np.integer], several: bool) -> float:
    """Mean negative logarithm of the probability of the truth."""
    chosen = np.where(truth > 0, p, 1 - p) if several else p[truth > 0]
    return float(-np.log(np.clip(chosen, 1e-7, 1)).mean())
