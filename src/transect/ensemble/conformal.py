"""Intervals around counts from out-of-fold residuals, with the coverage that was measured.

Split conformal prediction: if new pictures are drawn as the training pictures were, an interval
made of the residuals' quantile holds the truth with at least the nominal probability, whatever
the network does. Groups (sites, flights) break that for pictures within one group, so whole
groups are left out when residuals are made and when coverage is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError

__all__ = ["Coverage", "Intervals", "fit_intervals", "intervals_from_json", "measured_coverage"]

_POWERS = (0.5, 0.0, 1.0)
_FEW_OUTSIDE = 8.0  # residuals expected outside, below which both tails share them; our choice


@dataclass(frozen=True)
class Intervals:
    """Intervals for predictions of one kind (a class, or the sum of classes).

    A residual is divided by ``a + b * prediction ** power`` before quantiles are taken, because
    large counts err more than small ones.

    Attributes:
        nominal: Wanted coverage.
        low: Lower quantile of scaled residuals (truth - prediction), usually negative.
        high: Upper one.
        base: ``a``.
        slope: ``b``.
        power: Of the prediction.
        least: No interval reaches below this, e.g. 0 for counts; None: no bound.
        count: Residuals it was fitted on.
        groups: Groups among them.
        exact: Whether there were enough residuals for the nominal coverage; else the interval
            is the widest residual seen and holds less often.
        bias: Mean scaled residual, for totals.
        spread: Standard deviation of a single picture's scaled residual within its group.
        group_spread: Standard deviation of a group's mean scaled residual around the bias.
    """

    nominal: float
    low: float
    high: float
    base: float
    slope: float
    power: float
    least: float | None
    count: int
    groups: int
    exact: bool
    bias: float
    spread: float
    group_spread: float

    def __call__(self, predictions: ArrayLike) -> NDArray[np.float64]:
        """Intervals of single pictures.

        Args:
            predictions: (N,).

        Returns:
            (N, 2) lower and upper ends.
        """
        p = np.asarray(predictions, np.float64)
        scale = self._scale(p)
        ends = np.stack([p + self.low * scale, p + self.high * scale], axis=-1)
        return ends if self.least is None else np.maximum(ends, self.least)

    def total(
        self, predictions: ArrayLike, groups: ArrayLike | None = None
    ) -> tuple[float, float, float]:
        """The sum over many pictures with its interval.

        Errors of pictures of one group rise and fall together, errors of groups are independent.
        So the variance of the total is that of the groups' sums plus that of the pictures. The
        quantile is Student's with as many degrees of freedom as groups (or pictures) were seen.

        Args:
            predictions: (N,) of the new survey.
            groups: (N,) names of its sites or flights; None counts it as one group if groups
                were seen in training, which is the cautious answer.

        Returns:
            The sum of the predictions corrected for the bias seen out of fold, lower, upper end.
        """
        from scipy.stats import t

        p = np.asarray(predictions, np.float64)
        if len(p) == 0:
            return 0.0, 0.0, 0.0
        scale = self._scale(p)
        names = np.zeros(len(p), int) if groups is None else _codes(groups)
        group_sums = np.bincount(names, scale)
        variance = self.group_spread**2 * float((group_sums**2).sum())
        variance += self.spread**2 * float((scale**2).sum())
        seen = self.groups if self.group_spread > 0 else self.count
        # The bias is itself an estimate: its error is shared by every picture.
        single = self.group_spread**2 + self.spread**2 * seen / self.count
        variance += single / seen * float(scale.sum()) ** 2
        # With groups, chance may hide their spread, so the freedom is counted in groups anyway.
        freedom = max(1, self.groups - 1)
        middle = float(p.sum() + self.bias * scale.sum())
        half = float(t.ppf((1 + self.nominal) / 2, freedom)) * math.sqrt(variance)
        low, high = middle - half, middle + half
        if self.least is not None:
            bound = self.least * len(p)
            low, high, middle = max(low, bound), max(high, bound), max(middle, bound)
        return middle, low, high

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))

    def _scale(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        scale: NDArray[np.float64] = self.base + self.slope * np.maximum(p, 0) ** self.power
        return scale


@dataclass(frozen=True)
class Coverage:
    """How often intervals held, measured on groups that they were not fitted on.

    Attributes:
        nominal: Wanted.
        measured: Share of truths inside.
        low: Lower end of the 95 % interval of that share (Wilson; groups counted as pictures).
        high: Upper end.
        width: Mean width of the intervals.
        count: Pictures measured.
        by_group: Name to (pictures, share inside).
    """

    nominal: float
    measured: float
    low: float
    high: float
    width: float
    count: int
    by_group: dict[str, tuple[int, float]]


def fit_intervals(
    predictions: ArrayLike,
    truth: ArrayLike,
    *,
    nominal: float = 0.9,
    groups: ArrayLike | None = None,
    least: float | None = 0.0,
    power: float | None = None,
) -> Intervals:
    """Fit intervals on out-of-fold predictions.

    Args:
        predictions: (N,) out of fold.
        truth: (N,).
        nominal: Wanted coverage, in (0, 1).
        groups: (N,) names of sites, flights or slides; each group weighs as much as any other
            in the quantiles, so that one long flight does not speak for all. None: pictures
            are their own groups.
        least: Lower bound of what can be.
        power: How residuals grow with the prediction: 0.5 as counts of independent animals do,
            1 for relative errors, 0 not at all. None takes the one that fits the residuals best.

    Returns:
        The intervals.

    Raises:
        TransectError: If there are fewer than two pictures, or the arrays do not fit.

    References:
        Split conformal: Papadopoulos et al. 2002, Lei et al. 2018. One weight per group: Dunn,
        Wasserman and Ramdas 2023; we count independent residuals by their design effect.
    """
    p, y, names = _checked(predictions, truth, groups)
    if not 0 < nominal < 1:
        raise TransectError(f"the coverage of intervals must be between 0 and 1; got {nominal}.")
    residual = y - p
    if power is None:
        power = min(_POWERS, key=lambda each: _misfit(p, residual, each))
    base, slope = _scale_parts(p, residual, power)
    scaled = residual / (base + slope * np.maximum(p, 0) ** power)
    group_counts = np.bincount(names)
    weight = 1 / group_counts[names] / len(group_counts)
    bias, spread, group_spread = _components(scaled, names)
    units = _units(names, spread, group_spread)
    if units * (1 - nominal) < _FEW_OUTSIDE:
        # Two tails of a few residuals each are the extremes: one quantile of all is narrower.
        high, exact = _weighted_quantile(np.abs(scaled), weight, nominal, units)
        low = high
    else:
        tail = (1 - nominal) / 2
        low, low_exact = _weighted_quantile(-scaled, weight, 1 - tail, units)
        high, high_exact = _weighted_quantile(scaled, weight, 1 - tail, units)
        exact = low_exact and high_exact
    return Intervals(
        nominal=nominal,
        low=-low,
        high=high,
        base=base,
        slope=slope,
        power=power,
        least=least,
        count=len(p),
        groups=len(group_counts),
        exact=exact,
        bias=bias,
        spread=spread,
        group_spread=group_spread,
    )


def measured_coverage(
    predictions: ArrayLike,
    truth: ArrayLike,
    *,
    nominal: float = 0.9,
    groups: ArrayLike | None = None,
    least: float | None = 0.0,
    power: float | None = None,
) -> Coverage:
    """Leave out each group in turn, fit intervals on the others, and see how often they hold.

    Args:
        predictions: (N,) out of fold.
        truth: (N,).
        nominal: As in ``fit_intervals``.
        groups: As in ``fit_intervals``; more than 50 are left out in 50 bundles.
        least: As in ``fit_intervals``.
        power: As in ``fit_intervals``.

    Returns:
        The measured coverage.

    Raises:
        TransectError: If there are fewer than two groups, three pictures, or arrays do not fit.
    """
    p, y, names = _checked(predictions, truth, groups)
    if names.max() < 1 or len(p) < 3:
        raise TransectError(
            "coverage is measured by leaving groups out, and there is one group only. "
            "Fill the column 'group' of images.csv, or take out the one that is there."
        )
    bundles = names % 50
    inside, width = np.zeros(len(p), bool), np.zeros(len(p))
    for one in np.unique(bundles):
        out = bundles == one
        if (~out).sum() < 2:
            continue
        fitted = fit_intervals(
            p[~out], y[~out], nominal=nominal, groups=names[~out], least=least, power=power
        )
        ends = fitted(p[out])
        inside[out] = (ends[:, 0] <= y[out]) & (y[out] <= ends[:, 1])
        width[out] = ends[:, 1] - ends[:, 0]
    labels = np.arange(len(p)) if groups is None else np.asarray(groups)
    by_group = {}
    if groups is not None:
        for code in range(int(names.max()) + 1):
            own = names == code
            by_group[str(labels[own][0])] = (int(own.sum()), float(inside[own].mean()))
    share = float(inside.mean())
    low, high = _wilson(share, int(names.max()) + 1)
    return Coverage(nominal, share, low, high, float(width.mean()), len(p), by_group)


def intervals_from_json(value: Any) -> Intervals:
    """Read back ``Intervals.to_json``.

    Raises:
        TransectError: If it is something else.
    """
    try:
        fields = {
            name: float(value[name])
            for name in (
                "nominal", "low", "high", "base", "slope", "power", "bias", "spread", "group_spread"
            )
        }  # fmt: skip
        if not all(map(math.isfinite, fields.values())):
            raise ValueError("not finite")
        least = value["least"]
        return Intervals(
            **fields,
            least=None if least is None else float(least),
            count=int(value["count"]),
            groups=int(value["groups"]),
            exact=bool(value["exact"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TransectError(
            f"these are no intervals of counts: {str(value)[:80]}. Restore the file or train again."
        ) from error


def _checked(
    predictions: ArrayLike, truth: ArrayLike, groups: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Arrays of one length, and group numbers from 0."""
    p, y = np.asarray(predictions, np.float64), np.asarray(truth, np.float64)
    names = np.arange(len(p)) if groups is None else _codes(groups)
    if p.ndim != 1 or p.shape != y.shape or len(names) != len(p):
        raise TransectError(
            f"predictions, truth and groups must have one entry per picture; got {p.shape}, "
            f"{y.shape} and {len(names)}."
        )
    if len(p) < 2:
        raise TransectError("intervals need the residuals of two pictures or more.")
    if not (np.isfinite(p).all() and np.isfinite(y).all()):
        raise TransectError("predictions and truth must be finite numbers; got nan or infinity.")
    return p, y, names


def _codes(groups: ArrayLike) -> NDArray[np.intp]:
    """Group numbers from 0."""
    return np.unique(np.asarray(groups).astype(str), return_inverse=True)[1].reshape(-1)


def _scale_parts(
    p: NDArray[np.float64], residual: NDArray[np.float64], power: float
) -> tuple[float, float]:
    """Fit |residual| ~ base + slope * p ** power: what an empty picture errs, and what grows.

    Neither is negative, and the base is kept above zero.
    """
    size, error = np.maximum(p, 0) ** power, np.abs(residual)
    typical, spread = float(error.mean()) or 1e-9, float(size.std())
    if spread < 1e-12:
        return typical, 0.0
    slope = float(np.mean((size - size.mean()) * (error - error.mean()))) / spread**2
    slope = min(max(slope, 0.0), typical / max(1e-12, float(size.mean())))
    base = max(typical - slope * float(size.mean()), 0.1 * typical)
    return base, slope


def _misfit(p: NDArray[np.float64], residual: NDArray[np.float64], power: float) -> float:
    """Minus the log likelihood of the residuals if each is Laplacian with the scale of its size."""
    base, slope = _scale_parts(p, residual, power)
    scale = base + slope * np.maximum(p, 0) ** power
    return float((np.log(scale) + np.abs(residual) / scale).mean())


def _weighted_quantile(
    values: NDArray[np.float64], weights: NDArray[np.float64], q: float, units: float
) -> tuple[float, bool]:
    """The conformal quantile: the weighted one with a new unit's mass put at infinity.

    Returns:
        The quantile and whether it is finite; if not, the largest value stands in for it.
    """
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) * units / (units + 1)
    place = int(np.searchsorted(reached, q - 1e-12))
    if place < len(values):
        return float(values[order[place]]), True
    return float(values[order[-1]]), False


def _components(scaled: NDArray[np.float64], names: NDArray[np.intp]) -> tuple[float, float, float]:
    """Mean, spread within groups and spread between groups, by the method of moments."""
    counts = np.bincount(names)
    means = np.bincount(names, scaled) / counts
    bias = float(means.mean())
    if len(counts) == len(scaled):  # every picture is its own group
        return bias, float(scaled.std(ddof=1)), 0.0
    within = float(((scaled - means[names]) ** 2).sum() / max(1, len(scaled) - len(counts)))
    if len(counts) == 1:
        return bias, math.sqrt(within), 0.0
    between = float(means.var(ddof=1)) - within * float((1 / counts).mean())
    return bias, math.sqrt(within), math.sqrt(max(0.0, between))


def _units(names: NDArray[np.intp], spread: float, group_spread: float) -> float:
    """How many independent residuals there are: all, if groups do not matter, else the groups.

    The design effect of cluster sampling (Kish 1965). Counting groups alone would be safe at any
    dependence, and with a dozen of groups always give the widest residual ever seen.
    """
    counts = np.bincount(names)
    variance = spread**2 + group_spread**2
    alike = group_spread**2 / variance if variance > 0 else 0.0
    size = float((counts**2).sum() / counts.sum())
    return len(names) / (1 + (size - 1) * alike)


def _wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)
