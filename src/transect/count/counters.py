"""From measured maps to counts: ways fitted out of fold, compared, the best kept per class.

``sum`` divides the sum of a map by what one object adds. ``peaks`` counts local maxima above a
height. ``line`` adds shares of sum, peaks and area. ``regressors`` are trees on features of
windows (sea lion 2nd place). ``mean`` looks at the area alone: where it wins, the networks have
learned nothing that counts. Each is fitted on some blocks and asked about the others, so that the
comparison and all errors are out of fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.count.measures import PEAK_LEVELS, Measured, peak_numbers
from transect.count.regressors import fit_regressor, load_regressor, predict_mean, save_regressor
from transect.errors import TransectError, unknown_name
from transect.files import safe_join
from transect.recipe import CountDecide
from transect.tabular.forest import Forest

__all__ = ["METHODS", "Counter", "Evidence", "choose_counter", "parts_of"]

METHODS = ("sum", "peaks", "line", "regressors", "mean")
"""Simplest first: of two that are nearly as good, the simpler is kept; ``mean`` must win."""

_LINE_LEVELS = (0.1, 0.2, 0.35, 0.5)  # heights of the peaks among the terms of a line; our choice

_GAIN = 0.03  # a less simple way must err this share less out of fold; our guess
_PARTS = 4  # sea lion 2nd place: GroupKFold(4) where one fold only was trained
_LEAST_WINDOWS = 40  # trees on fewer windows are noise; our guess


@dataclass(frozen=True)
class Evidence:
    """Measured blocks with their true counts.

    Attributes:
        measured: (N) numbers of every block.
        window_counts: (N) dots in every window, (windows, C) each.
        truth: (N, C) dots.
        merged: Whether all classes share one map: then their sum is counted, and divided by the
            shares that they have in the truth.
    """

    measured: Sequence[Measured]
    window_counts: Sequence[NDArray[np.float64]]
    truth: NDArray[np.float64]
    merged: bool = False


@dataclass(frozen=True)
class Counter:
    """A fitted way from measured maps to counts of every class.

    Attributes:
        methods: Per map: one of ``METHODS``.
        factors: Per map: objects per unit of the map's sum, or per cell.
        heights: Per map: least height of a peak.
        models: Per map: regressors; none where they are not used.
        unmix: (C, C) factors from counted to corrected classes, or None.
        scale: Per class: factor of a calibration on a pilot; 1 without.
        shares: (C,) of the classes where all share one map; else ().
        lines: Per map: shares of the terms of ``_terms``; none where it is not used.
    """

    methods: tuple[str, ...]
    factors: tuple[float, ...]
    heights: tuple[float, ...]
    models: tuple[tuple[Any, ...], ...]
    unmix: NDArray[np.float64] | None = None
    scale: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    lines: tuple[tuple[float, ...], ...] = ()

    def __call__(self, measured: Measured) -> NDArray[np.float64]:
        """(C,) counts of one picture, not rounded, never negative."""
        counts = np.array([self._one(measured, plane) for plane in range(len(self.methods))])
        if self.shares:
            counts = counts[0] * np.array(self.shares)
        if self.unmix is not None:
            counts = np.clip(self.unmix @ counts, 0, None)
        return counts * np.array(self.scale) if self.scale else counts

    @property
    def merged(self) -> bool:
        """Whether classes are not told apart."""
        return len(self.shares) > 1

    def _one(self, measured: Measured, plane: int) -> float:
        """The count of one map."""
        method = self.methods[plane]
        if method == "sum":
            return float(self.factors[plane] * measured.sums[plane])
        if method == "peaks":
            return float((measured.peaks[plane][:, 2] >= self.heights[plane]).sum())
        if method == "mean":
            return float(self.factors[plane] * measured.cells)
        if method == "line":
            return float(np.dot(self.lines[plane], _terms(measured, plane)))
        assert measured.windows is not None
        windows = predict_mean(self.models[plane], measured.features[..., plane])
        return float(windows.sum() / measured.windows.coverage)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the regressors below ``folder``; the rest as plain values."""
        files = [
            [save_regressor(model, folder / f"class{kind}-{i}").name for i, model in enumerate(own)]
            for kind, own in enumerate(self.models)
        ]
        return {
            "methods": list(self.methods),
            "factors": list(self.factors),
            "heights": list(self.heights),
            "models": files,
            "unmix": None if self.unmix is None else self.unmix.tolist(),
            "scale": list(self.scale),
            "shares": list(self.shares),
            "lines": [list(line) for line in self.lines],
        }

    @staticmethod
    def load(value: Mapping[str, Any], folder: Path) -> Counter:
        """Read back what ``save`` wrote.

        Raises:
            TransectError: If it is something else, or a regressor is missing.
        """
        try:
            models = tuple(
                tuple(load_regressor(safe_join(folder, str(name))) for name in own)
                for own in value["models"]
            )
            unmix = value["unmix"]
            methods = tuple(str(method) for method in value["methods"])
            for method in methods:
                if method not in METHODS:
                    raise unknown_name("a count method", method, METHODS)
            return Counter(
                methods,
                tuple(float(v) for v in value["factors"]),
                tuple(float(v) for v in value["heights"]),
                models,
                None if unmix is None else np.array(unmix, np.float64),
                tuple(float(v) for v in value["scale"]),
                tuple(float(v) for v in value["shares"]),
                tuple(tuple(float(v) for v in line) for line in value["lines"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TransectError(
                f"decide.json does not hold a counter ({error!r}). Restore it or train again."
            ) from error


@dataclass(frozen=True)
class Choice:
    """What ``choose_counter`` found.

    Attributes:
        counter: Fitted on all blocks.
        out_of_fold: (N, C) counts of every block by what was chosen and fitted without its part.
        errors: Per class: method to mean absolute error out of fold.
        unmixed: Whether the correction of confusion paid.
        confusion_error: Mean absolute error before and after the correction, or ().
        importance: Per class: share of each feature in the trees, empty without regressors.
    """

    counter: Counter
    out_of_fold: NDArray[np.float64]
    errors: tuple[dict[str, float], ...]
    unmixed: bool = False
    confusion_error: tuple[float, ...] = ()
    importance: tuple[tuple[float, ...], ...] = field(default_factory=tuple)


def parts_of(
    folds: NDArray[np.int64], groups: Sequence[str | None], seed: int
) -> NDArray[np.int64]:
    """Which blocks are fitted on together: the folds, or four parts if one fold was trained.

    Args:
        folds: (N,) the fold of every block that has maps.
        groups: (N,) blocks of one group stay together where there are groups enough.
        seed: Of the division.

    Returns:
        (N,) numbers of parts, at least two of them if N > 1.
    """
    if len(np.unique(folds)) > 1:
        return np.unique(folds, return_inverse=True)[1].astype(np.int64)
    names = np.array([group or f"\0{i}" for i, group in enumerate(groups)])
    keys = np.unique(names, return_inverse=True)[1]
    if keys.max(initial=0) == 0:  # one photo: its blocks must do
        keys = np.arange(len(names))
    order = np.random.default_rng(seed).permutation(int(keys.max()) + 1)
    return np.asarray(order[keys] % min(_PARTS, int(keys.max()) + 1), np.int64)


def choose_counter(
    evidence: Evidence, parts: NDArray[np.int64], decide: CountDecide, *, seed: int
) -> Choice:
    """Fit every method on all parts but one, compare, and keep the best for each class.

    The method for a part is chosen by the errors on the other parts, so the counts out of fold
    carry no benefit from the choice.

    Args:
        evidence: Measured blocks.
        parts: From ``parts_of``.
        decide: Methods to compare, regressors to fit.
        seed: Of the trees.

    Returns:
        The counter and what it does out of fold.
    """
    if evidence.merged:
        return _divided(evidence, parts, decide, seed)
    classes = evidence.truth.shape[1]
    methods = _possible(evidence, decide)
    crossed = {method: np.zeros_like(evidence.truth) for method in methods}
    for part in np.unique(parts):
        fitted = {
            method: _fit(evidence, np.flatnonzero(parts != part), method, decide, seed)
            for method in methods
        }
        for i in np.flatnonzero(parts == part).tolist():
            for method in methods:
                crossed[method][i] = fitted[method](evidence.measured[i])
    errors = {method: np.abs(crossed[method] - evidence.truth) for method in methods}
    out_of_fold = np.zeros_like(evidence.truth)
    for part in np.unique(parts):
        inside, others = parts == part, parts != part
        for kind in range(classes):
            best = _best({m: errors[m][others, kind].mean() for m in methods})
            out_of_fold[inside, kind] = crossed[best][inside, kind]
    table = tuple(
        {method: float(errors[method][:, kind].mean()) for method in methods}
        for kind in range(classes)
    )
    chosen = tuple(_best(row) for row in table)
    every = np.arange(len(evidence.truth))
    full = {method: _fit(evidence, every, method, decide, seed) for method in set(chosen)}
    counter = Counter(
        chosen,
        tuple(full[m].factors[kind] for kind, m in enumerate(chosen)),
        tuple(full[m].heights[kind] for kind, m in enumerate(chosen)),
        tuple(full[m].models[kind] for kind, m in enumerate(chosen)),
        lines=tuple(full[m].lines[kind] for kind, m in enumerate(chosen)),
    )
    choice = Choice(counter, out_of_fold, table, importance=_importance(counter))
    return _unmixed(choice, evidence, parts) if decide.correct_confusion else choice


def _divided(
    evidence: Evidence, parts: NDArray[np.int64], decide: CountDecide, seed: int
) -> Choice:
    """Count all classes together, and divide the sum by their shares in the other parts."""
    together = Evidence(
        evidence.measured,
        [counts.sum(axis=1, keepdims=True) for counts in evidence.window_counts],
        evidence.truth.sum(axis=1, keepdims=True),
    )
    choice = choose_counter(together, parts, decide, seed=seed)

    def shares(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        sums = evidence.truth[rows].sum(axis=0)
        return np.asarray(sums / max(1.0, float(sums.sum())))

    counts = np.zeros_like(evidence.truth)
    for part in np.unique(parts):
        inside = parts == part
        counts[inside] = choice.out_of_fold[inside] * shares(~inside)
    every = tuple(shares(np.ones(len(parts), bool)).tolist())
    return replace(choice, counter=replace(choice.counter, shares=every), out_of_fold=counts)


def _possible(evidence: Evidence, decide: CountDecide) -> tuple[str, ...]:
    """The recipe's methods that this evidence is enough for, simplest first."""
    for method in decide.methods:
        if method not in METHODS:
            raise unknown_name("a count method", method, METHODS)
    wanted = [method for method in METHODS if method in decide.methods]
    windows = sum(len(counts) for counts in evidence.window_counts)
    if windows < _LEAST_WINDOWS and len(wanted) > 1 and "regressors" in wanted:
        wanted.remove("regressors")
    return tuple(wanted)


def _best(errors: Mapping[str, float]) -> str:
    """The method with the least error; a simpler one if it is nearly as good."""
    least = min(errors.values())
    return next(name for name in METHODS if name in errors and errors[name] <= least * (1 + _GAIN))


def _fit(
    evidence: Evidence, rows: NDArray[np.int64], method: str, decide: CountDecide, seed: int
) -> Counter:
    """Fit one method for all classes on some blocks."""
    classes = evidence.truth.shape[1]
    factors, heights = [1.0] * classes, [0.5] * classes
    models: list[tuple[Any, ...]] = [()] * classes
    lines: list[tuple[float, ...]] = [()] * classes
    for kind in range(classes):
        truth = evidence.truth[rows, kind]
        if method == "sum":
            total = sum(float(evidence.measured[i].sums[kind]) for i in rows)
            factors[kind] = float(truth.sum()) / total if total > 1e-9 else 0.0
        elif method == "peaks":
            numbers = np.stack(
                [peak_numbers(evidence.measured[i].peaks[kind], PEAK_LEVELS) for i in rows]
            )
            error = np.abs(numbers - truth[:, None]).mean(axis=0)
            heights[kind] = PEAK_LEVELS[int(error.argmin())]
        elif method == "mean":
            factors[kind] = float(truth.sum()) / sum(evidence.measured[i].cells for i in rows)
        elif method == "line":
            lines[kind] = _fit_line([_terms(evidence.measured[i], kind) for i in rows], truth)
        else:
            features = np.concatenate([evidence.measured[i].features[..., kind] for i in rows])
            counts = np.concatenate([evidence.window_counts[i][:, kind] for i in rows])
            models[kind] = tuple(
                fit_regressor(name, features, counts, seed=seed) for name in decide.regressors
            )
    return Counter(
        (method,) * classes,
        tuple(factors),
        tuple(heights),
        tuple(models),
        lines=tuple(lines),
    )


def _terms(measured: Measured, plane: int) -> NDArray[np.float64]:
    """What a line adds up: sum of the map, peaks above some heights, cells."""
    number = peak_numbers(measured.peaks[plane], _LINE_LEVELS)
    return np.array([measured.sums[plane], *number, measured.cells])


def _fit_line(
    terms: Sequence[NDArray[np.float64]], truth: NDArray[np.float64]
) -> tuple[float, ...]:
    """Shares, none negative, with the least squared error; large counts may err more."""
    from scipy.optimize import nnls

    table = np.stack(terms)
    weight = 1 / np.sqrt(truth + max(1.0, float(truth.mean())))
    size = np.maximum(np.abs(table).max(axis=0), 1e-12)
    shares, _ = nnls(table / size * weight[:, None], truth * weight)
    return tuple((shares / size).tolist())


def _unmixed(choice: Choice, evidence: Evidence, parts: NDArray[np.int64]) -> Choice:
    """Correct confused classes by a matrix, if that pays out of fold."""
    counted, truth = choice.out_of_fold, evidence.truth
    classes = truth.shape[1]
    if classes < 2 or len(truth) < 4 * classes:
        return choice
    corrected = np.zeros_like(counted)
    for part in np.unique(parts):
        matrix = _mixing(counted[parts != part], truth[parts != part])
        corrected[parts == part] = np.clip(counted[parts == part] @ matrix.T, 0, None)
    before = float(np.abs(counted - truth).mean())
    after = float(np.abs(corrected - truth).mean())
    if after > before * (1 - _GAIN):
        return Choice(
            choice.counter, counted, choice.errors, False, (before, after), choice.importance
        )
    counter = replace(choice.counter, unmix=_mixing(counted, truth))
    return Choice(counter, corrected, choice.errors, True, (before, after), choice.importance)


def _mixing(counted: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors (C, C) that take counted classes to true ones, held near the identity.

    Entries may be negative: what was counted too often in one class must be taken away again.
    """
    # As much weight for "leave it" as for a fiftieth of the evidence; our guess.
    hold = np.diag(0.02 * (counted**2).sum(axis=0) + 1e-9)
    return np.asarray(np.linalg.solve(counted.T @ counted + hold, counted.T @ truth + hold).T)


def _importance(counter: Counter) -> tuple[tuple[float, ...], ...]:
    """Mean share of each feature in the trees of each class."""
    table = []
    for own in counter.models:
        shares = [
            model.importance
            if isinstance(model, Forest)
            else getattr(model, "feature_importances_", None)
            for model in own
        ]
        known = [np.asarray(s, np.float64) / max(float(np.sum(s)), 1e-12)
                 for s in shares if s is not None]  # fmt: skip
        table.append(tuple(np.mean(known, axis=0).tolist()) if known else ())
    return tuple(table)
