"""Calibration: probabilities that mean what they say, fitted out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError, unknown_name

__all__ = [
    "CALIBRATIONS",
    "Calibration",
    "Reliability",
    "calibrate",
    "calibration_from_json",
    "cross_calibrated",
    "reliability",
]

CALIBRATIONS = ("temperature", "logistic", "isotonic")
_EPSILON = 1e-6


@dataclass(frozen=True)
class Calibration:
    """A monotone map from probabilities to calibrated ones; plain numbers, JSON-able.

    Attributes:
        kind: ``temperature`` (one number), ``logistic`` (slope and offset of the logit) or
            ``isotonic`` (a rising curve through knots).
        values: The temperature; or slope, offset; or the knots' probabilities.
        knots: ``isotonic`` only: where the knots stand.
    """

    kind: str
    values: tuple[float, ...]
    knots: tuple[float, ...] = ()

    def __call__(self, p: ArrayLike) -> NDArray[np.float32]:
        """Calibrate probabilities of any shape."""
        values = np.asarray(p, np.float64)
        if self.kind == "isotonic":
            return np.interp(values, self.knots, self.values).astype(np.float32)
        z = _logit(values)
        slope, offset = (1 / self.values[0], 0.0) if self.kind == "temperature" else self.values[:2]
        return _sigmoid(slope * z + offset).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": self.kind, "values": list(self.values), "knots": list(self.knots)}


def calibration_from_json(value: Any) -> Calibration:
    """Read back ``Calibration.to_json``.

    Raises:
        TransectError: If it is something else.
    """
    try:
        kind = value["kind"]
        numbers = tuple(float(v) for v in value["values"])
        knots = tuple(float(v) for v in value.get("knots", ()))
        counts = {"temperature": 1, "logistic": 2, "isotonic": len(knots)}
        finite = np.isfinite([*numbers, *knots]).all()
        if counts[kind] != len(numbers) or not numbers or not finite:
            raise ValueError(kind)
        if kind == "isotonic" and (np.diff(knots) < 0).any():
            raise ValueError("knots do not rise")
        if kind == "temperature" and numbers[0] <= 0:
            raise ValueError("temperature")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TransectError(
            f"a calibration must have a kind ({', '.join(CALIBRATIONS)}) with its values; "
            f"got {str(value)[:80]}. Restore the file or train again."
        ) from error
    return Calibration(kind, numbers, knots)


def calibrate(
    p: ArrayLike, truth: ArrayLike, kind: str = "temperature", *, weights: ArrayLike | None = None
) -> Calibration:
    """Fit a calibration on out-of-fold probabilities.

    Args:
        p: Probabilities, any shape.
        truth: 0 or 1 (or soft targets in [0, 1]), of the same shape.
        kind: A name of ``CALIBRATIONS``. Temperature cannot overfit; isotonic wants thousands.
        weights: Of the same shape, or None.

    Returns:
        The calibration. If all truths are the same there is nothing to fit, and it changes
        nothing.

    Raises:
        TransectError: On an unknown kind or arrays that do not fit.

    References:
        Temperature: Guo et al. 2017. Logistic: Platt 1999. Isotonic: Zadrozny and Elkan 2002.
    """
    if kind not in CALIBRATIONS:
        raise unknown_name("calibration", kind, CALIBRATIONS)
    x = np.asarray(p, np.float64).ravel()
    y = np.asarray(truth, np.float64).ravel()
    w = np.ones_like(x) if weights is None else np.asarray(weights, np.float64).ravel()
    if not len(x) == len(y) == len(w):
        raise TransectError(
            f"probabilities and truth must have one shape; got {len(x)} and {len(y)} values."
        )
    x, y, w = x[w > 0], y[w > 0], w[w > 0]
    if len(x) == 0 or y.min() == y.max():
        return Calibration("temperature", (1.0,))
    if kind == "isotonic":
        return _isotonic(x, y, w)
    z = _logit(x)
    if kind == "temperature":
        return Calibration("temperature", (1 / _best_slope(z, y, w),))
    slope, offset = _best_line(z, y, w)
    return Calibration("logistic", (slope, offset))


def cross_calibrated(
    p: ArrayLike, truth: ArrayLike, folds: ArrayLike, kind: str = "temperature"
) -> NDArray[np.float32]:
    """Calibrate every fold by what was fitted on the others, so that no number tuned itself.

    Args:
        p: (N, ...) out-of-fold probabilities.
        truth: Of the same shape.
        folds: (N,) fold numbers.
        kind: As in ``calibrate``.

    Returns:
        Calibrated probabilities of the same shape; with one fold only, they are as they were.
    """
    x, y, fold = np.asarray(p), np.asarray(truth), np.asarray(folds)
    result = x.astype(np.float32)
    for one in np.unique(fold):
        own = fold == one
        if not own.all():
            result[own] = calibrate(x[~own], y[~own], kind)(x[own])
    return result


@dataclass(frozen=True)
class Reliability:
    """Said against seen, in bins of probability.

    Attributes:
        said: Mean probability of each bin that has any.
        seen: Share of true ones among them.
        counts: How many each holds.
        ece: Expected calibration error: mean distance of said and seen, weighted by counts.
        brier: Mean squared difference of probability and truth.
    """

    said: NDArray[np.float64]
    seen: NDArray[np.float64]
    counts: NDArray[np.int64]
    ece: float
    brier: float


def reliability(p: ArrayLike, truth: ArrayLike, *, bins: int = 10) -> Reliability:
    """Compare probabilities with what came true.

    Args:
        p: In [0, 1], any shape.
        truth: 0 or 1 of the same shape.
        bins: Of equal width.

    Example:
        >>> reliability([0.25, 0.25, 0.25, 0.25], [0, 0, 0, 1]).ece
        0.0
    """
    x, y = np.asarray(p, np.float64).ravel(), np.asarray(truth, np.float64).ravel()
    place = np.clip((x * bins).astype(int), 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    used = counts > 0
    said = np.bincount(place, x, bins)[used] / counts[used]
    seen = np.bincount(place, y, bins)[used] / counts[used]
    share = counts[used] / max(1, len(x))
    return Reliability(
        said,
        seen,
        counts[used],
        float((share * np.abs(said - seen)).sum()),
        float(np.mean((x - y) ** 2)) if len(x) else 0.0,
    )


def _logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    inner = np.clip(p, _EPSILON, 1 - _EPSILON)
    return np.log(inner / (1 - inner))


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * z))  # the usual form overflows


def _best_slope(z: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    """The slope of the logit with the least cross entropy, by bisection of its derivative."""
    low, high = -7.0, 7.0  # of the slope's logarithm: temperatures from .0009 to 1097
    for _ in range(60):
        middle = (low + high) / 2
        slope = np.exp(middle)
        gradient = float((w * (_sigmoid(slope * z) - y) * z).sum())
        low, high = (low, middle) if gradient > 0 else (middle, high)
    return float(np.exp((low + high) / 2))


def _best_line(
    z: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]
) -> tuple[float, float]:
    """Slope (not negative) and offset of the logit, by damped Newton steps.

    Targets are drawn in a little, as Platt did, so that separable data have a finite answer.
    """
    n1, n0 = float((w * y).sum()), float((w * (1 - y)).sum())
    target = y * (n1 + 1) / (n1 + 2) + (1 - y) / (n0 + 2)

    def loss(line: NDArray[np.float64]) -> float:
        q = line[0] * z + line[1]
        return float((w * (np.logaddexp(0, q) - target * q)).sum())

    line = np.array([1.0, 0.0])
    for _ in range(100):
        p = _sigmoid(line[0] * z + line[1])
        error, curve = w * (p - target), w * p * (1 - p)
        gradient = np.array([(error * z).sum(), error.sum()])
        cross = (curve * z).sum()
        hessian = np.array([[(curve * z * z).sum(), cross], [cross, curve.sum()]])
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2) * (1 + hessian.max()), gradient)
        before = loss(line)
        while loss(line - step) > before and np.abs(step).max() > 1e-9:
            step = step / 2  # far from the answer a whole step may overshoot
        line = line - step
        if np.abs(step).max() < 1e-9:
            break
    slope, offset = line
    return max(0.0, float(slope)), float(offset)


def _isotonic(
    x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]
) -> Calibration:
    """The rising curve with the least squared error, thinned to its corners."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y, w)
    return Calibration(
        "isotonic",
        tuple(float(v) for v in fitted.y_thresholds_),
        tuple(float(v) for v in fitted.X_thresholds_),
    )
