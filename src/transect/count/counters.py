"""From measured maps to counts: the ways there are, each corrected for its slope and its bias.

``sum`` adds up a map. ``peaks`` counts local maxima above a height. ``line`` adds shares of sum,
peaks and area. ``regressors`` are trees on features of windows (sea lion 2nd place). ``mean`` looks
at the area alone: where it wins, the networks have learned nothing that counts.

None of them is believed as it comes: a map of Gaussians takes the maximum where dots crowd, peaks
merge there, and each network of a fold has a level of its own. So every way is corrected by a slope
and objects per cell, and every network by a factor, all fitted out of fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.count.measures import PEAK_LEVELS, Measured, peak_numbers
from transect.errors import TransectError, unknown_name
from transect.files import safe_join
from transect.recipe import CountDecide
from transect.tabular.regressors import fit_regressor, load_regressor, predict_mean, save_regressor

__all__ = [
    "METHODS",
    "Counter",
    "Evidence",
    "Floats",
    "PlaneCounter",
    "fit_corrections",
    "fit_plane",
    "network_factors",
    "straighten",
]

METHODS = ("sum", "peaks", "line", "regressors", "mean")
"""Simplest first: of two that are nearly as good, the simpler is kept; ``mean`` must win."""

_LINE_LEVELS = (0.1, 0.2, 0.35, 0.5)  # heights of the peaks among the terms of a line; our choice

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Measured blocks with their true counts.

    Attributes:
        measured: (N) numbers of every block, from a network that has not seen it.
        window_counts: (N) dots in every window, (windows, C) each.
        truth: (N, C) dots.
        networks: (N,) number of the network (the fold) that drew each block.
        groups: (N,) whatever shares light and site has one number.
        merged: Whether all classes share one map: then their sum is counted, and divided by the
            shares that they have in the truth.
    """

    measured: Sequence[Measured]
    window_counts: Sequence[Floats]
    truth: Floats
    networks: NDArray[np.int64]
    groups: NDArray[np.int64]
    merged: bool = False


@dataclass(frozen=True)
class PlaneCounter:
    """From one map to a count.

    Attributes:
        method: One of ``METHODS``.
        slope: Objects per unit of what the method adds up.
        per_cell: Objects per cell beside that.
        networks: Factor of the network of each fold; 1 for a network that is not among them.
        height: Least height of a peak.
        shares: Of the terms of a line.
        models: Regressors.
    """

    method: str
    slope: float = 1.0
    per_cell: float = 0.0
    networks: tuple[float, ...] = ()
    height: float = 0.5
    shares: tuple[float, ...] = ()
    models: tuple[Any, ...] = ()

    def __call__(self, measured: Measured, plane: int, network: int) -> float:
        """The count of a map that one network drew, not rounded, never negative."""
        return self.corrected(self.raw(measured, plane), measured.cells, network)

    def corrected(self, raw: float, cells: int, network: int) -> float:
        """The count that stands for what a method said."""
        return max(0.0, self.slope * raw * self.factor(network) + self.per_cell * cells)

    def factor(self, network: int) -> float:
        """The correction of one network."""
        return self.networks[network] if 0 <= network < len(self.networks) else 1.0

    def raw(self, measured: Measured, plane: int) -> float:
        """What the method says before it is corrected."""
        if self.method == "sum":
            return float(measured.sums[plane])
        if self.method == "peaks":
            return float((measured.peaks[plane][:, 2] >= self.height).sum())
        if self.method == "mean":
            return float(measured.cells)
        if self.method == "line":
            return float(np.dot(self.shares, _terms(measured, plane)))
        assert measured.windows is not None
        windows = predict_mean(self.models, measured.features[..., plane])
        return float(windows.sum() / measured.windows.coverage)

    def save(self, folder: Path, stem: str) -> dict[str, Any]:
        """Write the regressors as files of ``folder`` called ``stem``; give plain values."""
        names = [
            save_regressor(model, folder / f"{stem}-{i}").name
            for i, model in enumerate(self.models)
        ]
        plain = {name: value for name, value in vars(self).items() if name != "models"}
        return {**plain, "models": names}

    @staticmethod
    def load(value: Mapping[str, Any], folder: Path) -> PlaneCounter:
        """Read back what ``save`` wrote."""
        method = str(value["method"])
        if method not in METHODS:
            raise unknown_name("a count method", method, METHODS)
        return PlaneCounter(
            method,
            float(value["slope"]),
            float(value["per_cell"]),
            tuple(float(v) for v in value["networks"]),
            float(value["height"]),
            tuple(float(v) for v in value["shares"]),
            tuple(load_regressor(safe_join(folder, str(name))) for name in value["models"]),
        )


@dataclass(frozen=True)
class Counter:
    """A fitted way from measured maps to counts of every class.

    Attributes:
        planes: One for each map.
        unmix: (C, C) factors from counted to corrected classes, or None.
        scale: Per class: factor of a calibration on a pilot; 1 without.
        shares: (C,) of the classes where all share one map; else ().
    """

    planes: tuple[PlaneCounter, ...]
    unmix: Floats | None = None
    scale: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    def __call__(self, measured: Measured, network: int) -> Floats:
        """(C,) counts by the maps of one network, not rounded, never negative."""
        counts = np.array([one(measured, k, network) for k, one in enumerate(self.planes)])
        if self.shares:
            counts = counts[0] * np.array(self.shares)
        if self.unmix is not None:
            counts = np.clip(self.unmix @ counts, 0, None)
        return counts * np.array(self.scale) if self.scale else counts

    def mean(self, measured: Sequence[Measured], networks: Sequence[int]) -> Floats:
        """(C,) mean of the counts by each network's own maps.

        Counts are averaged, not maps: out of fold, every block is drawn by one network, and what
        was fitted there holds for maps of one network, not for the smoother mean of several.
        """
        each = [self(one, number) for one, number in zip(measured, networks, strict=True)]
        return np.asarray(np.mean(each, axis=0))

    @property
    def merged(self) -> bool:
        """Whether classes are not told apart."""
        return len(self.shares) > 1

    @property
    def methods(self) -> tuple[str, ...]:
        """The method of each map."""
        return tuple(plane.method for plane in self.planes)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the regressors below ``folder``; the rest as plain values."""
        return {
            "planes": [plane.save(folder, f"class{k}") for k, plane in enumerate(self.planes)],
            "unmix": None if self.unmix is None else self.unmix.tolist(),
            "scale": list(self.scale),
            "shares": list(self.shares),
        }

    @staticmethod
    def load(value: Mapping[str, Any], folder: Path) -> Counter:
        """Read back what ``save`` wrote.

        Raises:
            TransectError: If it is something else, or a regressor is missing.
        """
        try:
            unmix = value["unmix"]
            return Counter(
                tuple(PlaneCounter.load(plane, folder) for plane in value["planes"]),
                None if unmix is None else np.array(unmix, np.float64),
                tuple(float(v) for v in value["scale"]),
                tuple(float(v) for v in value["shares"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TransectError(
                f"decide.json does not hold a counter of this version ({error!r}). Train again."
            ) from error


def fit_plane(
    evidence: Evidence, rows: NDArray[np.int64], plane: int, method: str, decide: CountDecide,
    *, seed: int,
) -> PlaneCounter:  # fmt: skip
    """Fit one method for one map on some blocks, then its slope, its bias and its networks.

    Args:
        evidence: Measured blocks.
        rows: Numbers of the blocks to fit on.
        plane: Number of the map.
        method: One of ``METHODS``. Regressors know the blocks that they were fitted on by heart, so
            they come without corrections: see ``fit_corrections``.
        decide: Which regressors.
        seed: Of the trees.
    """
    own = [evidence.measured[i] for i in rows]
    if method == "regressors":
        features = np.concatenate([one.features[..., plane] for one in own])
        counts = np.concatenate([evidence.window_counts[i][:, plane] for i in rows])
        models = [fit_regressor(name, features, counts, seed=seed) for name in decide.regressors]
        return PlaneCounter(method, models=tuple(models))
    bare = PlaneCounter(method)
    if method == "line":
        terms = [_terms(one, plane) for one in own]
        bare = replace(bare, shares=_fit_line(terms, evidence.truth[rows, plane]))
    best, least = bare, np.inf
    for height in PEAK_LEVELS if method == "peaks" else (bare.height,):
        tried = replace(bare, height=height)
        raw = np.array([tried.raw(one, plane) for one in own])
        tried = fit_corrections(tried, raw, evidence, rows, plane)
        networks = evidence.networks[rows].tolist()
        said = [
            tried.corrected(value, one.cells, number)
            for value, one, number in zip(raw.tolist(), own, networks, strict=True)
        ]
        error = float(np.abs(np.array(said) - evidence.truth[rows, plane]).mean())
        if error < least:
            best, least = tried, error
    return best


def fit_corrections(
    bare: PlaneCounter, raw: Floats, evidence: Evidence, rows: NDArray[np.int64], plane: int
) -> PlaneCounter:
    """The counter with the factors of its networks, its slope and its bias.

    Args:
        bare: With its method.
        raw: (len(rows),) what it says of the blocks.
        evidence: The blocks.
        rows: Which of them.
        plane: Number of the map.
    """
    truth, networks = evidence.truth[rows, plane], evidence.networks[rows]
    if bare.method == "mean":  # the networks have no say in it
        return replace(bare, slope=straighten(raw, np.zeros_like(raw), truth)[0])
    factors = network_factors(raw, truth, networks, evidence.groups[rows])
    cells = np.array([evidence.measured[i].cells for i in rows], np.float64)
    slope, per_cell = straighten(raw * np.array(factors)[networks], cells, truth)
    return replace(bare, slope=slope, per_cell=per_cell, networks=factors)


def straighten(raw: Floats, cells: Floats, truth: Floats) -> tuple[float, float]:
    """Slope and objects per cell that bring raw counts to true ones, their sums being equal.

    The line is fitted with large counts allowed to err more. Its constant part is drawn towards
    zero by as much as chance would explain (the positive part of James and Stein's rule), so that
    few or noisy blocks give a plain ratio; what is left of it is spread over the cells, so that the
    parts of a photo add up to the photo.

    Args:
        raw: (N,) what a method adds up.
        cells: (N,) cells of each block; zeros fit a ratio.
        truth: (N,) objects.

    Returns:
        slope, objects per cell.

    Example:
        >>> tens = np.arange(0.0, 100.0, 10.0)
        >>> slope, per_cell = straighten(tens, np.full(10, 100.0), 1.5 * tens + 4)
        >>> round(slope, 3), round(per_cell, 3)
        (1.5, 0.04)
    """
    total = float(raw.sum())
    if total <= 1e-9:
        area = float(cells.sum())
        return 0.0, float(truth.sum()) / area if area > 0 else 0.0
    ratio = float(truth.sum()) / total
    if len(raw) < 4 or not cells.any():
        return ratio, 0.0
    weight = 1 / np.sqrt(ratio * raw + max(1.0, float(truth.mean())))
    table = np.stack([raw, cells], axis=1) * weight[:, None]
    size = np.sqrt((table**2).sum(axis=0))
    unit = table / size
    square = unit.T @ unit
    if np.linalg.det(square) < 1e-6:  # raw counts say the area again
        return ratio, 0.0
    inverse = np.linalg.inv(square)
    part = inverse @ unit.T @ (truth * weight)
    left = truth * weight - unit @ part
    variance = float((left**2).sum() / (len(raw) - 2) * inverse[1, 1])
    certain = max(0.0, 1 - variance / max(float(part[1]) ** 2, 1e-300))
    per_cell = float(part[1] / size[1]) * certain
    slope = (float(truth.sum()) - per_cell * float(cells.sum())) / total
    return (slope, per_cell) if slope > 0 else (ratio, 0.0)


def network_factors(
    counts: Floats, truth: Floats, networks: NDArray[np.int64], groups: NDArray[np.int64]
) -> tuple[float, ...]:
    """What brings networks to one level, drawn towards 1 by as much as chance would explain.

    Args:
        counts: (N,) by one network each, in any unit.
        truth: (N,).
        networks: (N,) numbers of the networks.
        groups: (N,) blocks of one group err together.

    Returns:
        A factor for each number of a network up to the largest; 1 where one network drew all.

    References:
        Random effects by the method of moments: DerSimonian and Laird 1986.
    """
    factors = np.ones(int(networks.max(initial=-1)) + 1)
    known: dict[int, tuple[float, float]] = {}
    counts = counts * (float(truth.sum()) / max(float(counts.sum()), 1e-12))
    for number in np.unique(networks).tolist():
        own = networks == number
        total, codes = float(counts[own].sum()), np.unique(groups[own], return_inverse=True)[1]
        units = int(codes.max()) + 1
        if total <= 0 or units < 2:
            continue
        away = float(truth[own].sum()) / total - 1
        left = np.bincount(codes, truth[own] - (1 + away) * counts[own])
        known[number] = away, float((left**2).sum()) * units / (units - 1) / total**2
    between = np.mean([away**2 - noise for away, noise in known.values()]) if known else 0.0
    if len(np.unique(networks)) > 1 and between > 0:
        for number, (away, noise) in known.items():
            factors[number] = 1 + away * between / (between + noise)
    return tuple(factors.tolist())


def _terms(measured: Measured, plane: int) -> Floats:
    """What a line adds up: sum of the map, peaks above some heights, cells."""
    number = peak_numbers(measured.peaks[plane], _LINE_LEVELS)
    return np.array([measured.sums[plane], *number, measured.cells])


def _fit_line(terms: Sequence[Floats], truth: Floats) -> tuple[float, ...]:
    """Shares, none negative, with the least squared error; large counts may err more."""
    from scipy.optimize import nnls

    table = np.stack(terms)
    weight = 1 / np.sqrt(truth + max(1.0, float(truth.mean())))
    size = np.maximum(np.abs(table).max(axis=0), 1e-12)
    shares, _ = nnls(table / size * weight[:, None], truth * weight)
    return tuple((shares / size).tolist())
