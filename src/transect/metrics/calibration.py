"""Whether probabilities mean what they say: reliability, expected calibration error, Brier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError

__all__ = ["Reliability", "brier", "expected_calibration_error", "reliability"]


@dataclass(frozen=True)
class Reliability:
    """What was said and what came true, by level of confidence; empty levels are left out.

    Attributes:
        said: (B,) mean probability.
        came: (B,) share of positives.
        count: (B,) how many.
    """

    said: NDArray[np.float64]
    came: NDArray[np.float64]
    count: NDArray[np.int64]


def reliability(
    probabilities: ArrayLike, truth: ArrayLike, *, bins: int = 15, equal_mass: bool = False
) -> Reliability:
    """Group predictions by probability and compare with what came true.

    Args:
        probabilities: Any shape, in [0, 1].
        truth: Same shape, 0 or 1.
        bins: Levels.
        equal_mass: Levels of equally many predictions instead of equal width.

    Returns:
        One entry per level that has any.
    """
    p, t = np.asarray(probabilities, np.float64).ravel(), np.asarray(truth, np.float64).ravel()
    if p.shape != t.shape or p.size == 0:
        raise TransectError(
            f"calibration needs one probability per truth; got {p.size} and {t.size}."
        )
    if equal_mass:
        place = np.searchsorted(np.quantile(p, np.arange(1, bins) / bins), p, side="right")
    else:
        place = np.minimum((p * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    said = np.bincount(place, p, bins)[used] / count[used]
    came = np.bincount(place, t, bins)[used] / count[used]
    return Reliability(said, came, count[used])


def expected_calibration_error(
    probabilities: ArrayLike, truth: ArrayLike, *, bins: int = 15
) -> float:
    """Mean gap between what was said and what came true, weighted by how often it was said."""
    curve = reliability(probabilities, truth, bins=bins)
    return float(np.average(np.abs(curve.said - curve.came), weights=curve.count))


def brier(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """Mean squared difference of probability and truth, in [0, 1], lower is better."""
    p, t = np.asarray(probabilities, np.float64), np.asarray(truth, np.float64)
    return float(((p - t) ** 2).mean())
