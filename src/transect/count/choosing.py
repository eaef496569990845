"""Which way of counting is kept for each class: fitted on some blocks, judged on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from transect.count.counters import (
    METHODS,
    Counter,
    Evidence,
    Floats,
    fit_corrections,
    fit_plane,
)
from transect.errors import unknown_name
from transect.recipe import CountDecide
from transect.tabular.forest import Forest

__all__ = ["Choice", "choose_counter", "parts_of"]

_GAIN = 0.03  # a less simple way must err this share less out of fold; our guess
_PARTS = 8  # over all folds together; sea lion 2nd place had GroupKFold(4) of one fold
_LEAST_WINDOWS = 40  # trees on fewer windows are noise; our guess


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
    out_of_fold: Floats
    errors: tuple[dict[str, float], ...]
    unmixed: bool = False
    confusion_error: tuple[float, ...] = ()
    importance: tuple[tuple[float, ...], ...] = field(default_factory=tuple)


def parts_of(
    folds: NDArray[np.int64], groups: Sequence[str | None], seed: int
) -> NDArray[np.int64]:
    """Which blocks are left out together when what is fitted on the others is judged.

    Every fold is divided into parts, by group. The others then hold blocks of the same fold, so
    that its network is corrected out of fold as it will be on new pictures.

    Args:
        folds: (N,) the fold of every block that has maps.
        groups: (N,) blocks of one group stay together where there are groups enough.
        seed: Of the division.

    Returns:
        (N,) numbers of parts from 0, at least two of them if N > 1.
    """
    names = np.array([group or f"\0{i}" for i, group in enumerate(groups)])
    keys = np.unique(names, return_inverse=True)[1]
    numbers = np.unique(folds)
    if len(numbers) == 1 and keys.max(initial=0) == 0:  # one photo: its blocks must do
        keys = np.arange(len(names))
    each = max(2, -(-_PARTS // max(1, len(numbers))))
    parts: NDArray[np.int64] = np.zeros(len(names), np.int64)
    rng, first = np.random.default_rng(seed), 0
    for number in numbers:
        own = np.flatnonzero(folds == number)
        there, codes = np.unique(keys[own], return_inverse=True)
        count = min(each, len(there))
        parts[own] = first + rng.permutation(len(there))[codes] % count
        first += count
    return parts


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
    classes = range(evidence.truth.shape[1])
    methods = _possible(evidence, decide)
    tried = {
        (method, kind): _crossed(evidence, parts, kind, method, decide, seed)
        for method in methods
        for kind in classes
    }
    errors = {key: np.abs(one.counts - evidence.truth[:, key[1]]) for key, one in tried.items()}
    out_of_fold = np.zeros_like(evidence.truth)
    for part in np.unique(parts):
        inside, rest = parts == part, parts != part
        for kind in classes:
            best = _best({m: float(errors[m, kind][rest].mean()) for m in methods})
            out_of_fold[inside, kind] = tried[best, kind].counts[inside]
    table = tuple({m: float(errors[m, kind].mean()) for m in methods} for kind in classes)
    every = np.arange(len(evidence.truth))
    planes = []
    for kind, row in enumerate(table):
        plane = fit_plane(evidence, every, kind, _best(row), decide, seed=seed)
        if plane.method == "regressors":
            plane = fit_corrections(plane, tried["regressors", kind].raw, evidence, every, kind)
        planes.append(plane)
    choice = Choice(Counter(tuple(planes)), out_of_fold, table)
    choice = replace(choice, importance=_importance(choice.counter))
    return _unmixed(choice, evidence, parts) if decide.correct_confusion else choice


@dataclass(frozen=True)
class _Crossed:
    """What a method says of every block when its part is left out.

    Attributes:
        raw: (N,) before it is corrected.
        counts: (N,) after.
    """

    raw: Floats
    counts: Floats


def _crossed(
    evidence: Evidence, parts: NDArray[np.int64], kind: int, method: str, decide: CountDecide,
    seed: int,
) -> _Crossed:  # fmt: skip
    """Fit on all parts but one and ask about that one, for each of them."""
    raw, counts = np.zeros(len(parts)), np.zeros(len(parts))
    fitted = {}
    for part in np.unique(parts).tolist():
        own = fit_plane(evidence, np.flatnonzero(parts != part), kind, method, decide, seed=seed)
        for i in np.flatnonzero(parts == part).tolist():
            raw[i] = own.raw(evidence.measured[i], kind)
        fitted[part] = own
    for part, own in fitted.items():
        others = np.flatnonzero(parts != part)
        if method == "regressors":
            own = fit_corrections(own, raw[others], evidence, others, kind)
        for i in np.flatnonzero(parts == part).tolist():
            cells, network = evidence.measured[i].cells, int(evidence.networks[i])
            counts[i] = own.corrected(raw[i], cells, network)
    return _Crossed(raw, counts)


def _divided(
    evidence: Evidence, parts: NDArray[np.int64], decide: CountDecide, seed: int
) -> Choice:
    """Count all classes together, and divide the sum by their shares in the other parts."""
    together = replace(
        evidence,
        window_counts=[counts.sum(axis=1, keepdims=True) for counts in evidence.window_counts],
        truth=evidence.truth.sum(axis=1, keepdims=True),
        merged=False,
    )
    choice = choose_counter(together, parts, decide, seed=seed)

    def shares(rows: NDArray[np.bool_]) -> Floats:
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
        return replace(choice, confusion_error=(before, after))
    counter = replace(choice.counter, unmix=_mixing(counted, truth))
    return replace(
        choice, counter=counter, out_of_fold=corrected, unmixed=True,
        confusion_error=(before, after),
    )  # fmt: skip


def _mixing(counted: Floats, truth: Floats) -> Floats:
    """Factors (C, C) that take counted classes to true ones, held near the identity.

    Entries may be negative: what was counted too often in one class must be taken away again.
    """
    # As much weight for "leave it" as for a fiftieth of the evidence; our guess.
    hold = np.diag(0.02 * (counted**2).sum(axis=0) + 1e-9)
    return np.asarray(np.linalg.solve(counted.T @ counted + hold, counted.T @ truth + hold).T)


def _importance(counter: Counter) -> tuple[tuple[float, ...], ...]:
    """Mean share of each feature in the trees of each class."""
    table = []
    for plane in counter.planes:
        shares = [
            model.importance
            if isinstance(model, Forest)
            else getattr(model, "feature_importances_", None)
            for model in plane.models
        ]
        known = [np.asarray(s, np.float64) / max(float(np.sum(s)), 1e-12)
                 for s in shares if s is not None]  # fmt: skip
        table.append(tuple(np.mean(known, axis=0).tolist()) if known else ())
    return tuple(table)
