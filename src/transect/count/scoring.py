"""Scores of counts and points: every metric with its interval and its folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.metrics.count import PointMatch, interval_coverage, interval_width, mae, rmse
from transect.metrics.spread import bootstrap, bootstrap_statistic

__all__ = ["constant_answers", "count_record", "point_record"]


def count_record(
    counts: NDArray[np.float64],
    truth: NDArray[np.float64],
    classes: Sequence[str],
    *,
    folds: Sequence[int],
    groups: Sequence[str | None],
    intervals: NDArray[np.float64] | None = None,
    constant: NDArray[np.float64] | None = None,
) -> dict[str, dict[str, Any]]:
    """All scores of counts.

    Args:
        counts: (N, C) predicted.
        truth: (N, C).
        classes: Names.
        folds: (N,) fold of each picture, -1 if there are none.
        groups: (N,) group of each picture; pictures of one group are drawn together.
        intervals: (N, 2) of the totals, to be held against the true totals; or None.
        constant: (N, C) what the mean of the training pictures would have answered; or None.

    Returns:
        Metric name to value, interval (95 % bootstrap) and folds. ``mae`` is of pictures' totals,
        ``mae_classes`` over classes, ``rmse`` the sea lion competition's score.
    """
    total, real = counts.sum(axis=1), truth.sum(axis=1)
    record = {
        "mae": _mean(np.abs(total - real), folds, groups),
        "mae_classes": _mean(np.abs(counts - truth).mean(axis=1), folds, groups),
        "rmse": _statistic(lambda rows: rmse(counts[rows], truth[rows]), folds, groups),
        "relative_error": _statistic(
            lambda rows: float((total[rows].sum() - real[rows].sum()) / max(1.0, real[rows].sum())),
            folds,
            groups,
        ),
    }
    if len(classes) > 1:
        for kind, name in enumerate(classes):
            own = np.array([kind])
            one, other = counts[:, own], truth[:, own]
            record[f"rmse:{name}"] = _statistic(_rmse_of(one, other), folds, groups)
            record[f"mae:{name}"] = _mean(np.abs(counts - truth)[:, kind], folds, groups)
    if constant is not None:
        record["mae_of_the_mean"] = _mean(np.abs(constant.sum(axis=1) - real), folds, groups)
        record["rmse_of_the_mean"] = _statistic(
            lambda rows: rmse(constant[rows], truth[rows]), folds, groups
        )
    if intervals is not None:
        held = ((intervals[:, 0] <= real) & (real <= intervals[:, 1])).astype(float)
        record["coverage"] = _mean(held, folds, groups)
        record["coverage"]["value"] = interval_coverage(intervals[:, 0], intervals[:, 1], real)
        width = interval_width(intervals[:, 0], intervals[:, 1])
        record["interval_width"] = _mean(intervals[:, 1] - intervals[:, 0], folds, groups)
        record["interval_width"]["value"] = width
    assert np.isclose(record["mae"]["value"], mae(total, real))
    return record


def point_record(matches: Sequence[PointMatch], folds: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Precision, recall and F1 of points, pooled over pictures.

    Args:
        matches: One per picture.
        folds: (N,) fold of each.

    Returns:
        Metric name to value, interval and folds.
    """
    right = np.array([len(m.pairs) for m in matches], np.float64)
    said = np.array([m.predicted for m in matches], np.float64)
    real = np.array([m.truth for m in matches], np.float64)

    def ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> dict[str, Any]:
        return _statistic(
            lambda rows: float(above[rows].sum() / below[rows].sum()) if below[rows].sum() else 1.0,
            folds,
            [None] * len(matches),
        )

    return {
        "precision": ratio(right, said),
        "recall": ratio(right, real),
        "f1": ratio(2 * right, said + real),
    }


def constant_answers(truth: NDArray[np.float64], parts: NDArray[np.int64]) -> NDArray[np.float64]:
    """For every picture the mean count over the pictures of the other parts: (N, C)."""
    answers = np.zeros_like(truth)
    for part in np.unique(parts):
        others = truth[parts != part]
        answers[parts == part] = others.mean(axis=0) if len(others) else 0.0
    return answers


def _rmse_of(
    counts: NDArray[np.float64], truth: NDArray[np.float64]
) -> Callable[[NDArray[np.intp]], float]:
    """The root mean squared error over chosen rows."""
    return lambda rows: rmse(counts[rows], truth[rows])


def _names(groups: Sequence[str | None]) -> list[str]:
    """A name for every group; pictures without one are their own."""
    return [group if group is not None else f"#{i}" for i, group in enumerate(groups)]


def _mean(
    values: NDArray[np.float64], folds: Sequence[int], groups: Sequence[str | None]
) -> dict[str, Any]:
    """A mean over pictures."""
    low, high = bootstrap(values, groups=_names(groups), rng=np.random.default_rng(0))
    fold_of = np.array(folds)
    return {
        "value": float(values.mean()),
        "interval": [low, high],
        "folds": [float(values[fold_of == f].mean()) for f in sorted({*folds}) if f >= 0],
        "pictures": len(values),
    }


def _statistic(
    statistic: Callable[[NDArray[np.intp]], float],
    folds: Sequence[int],
    groups: Sequence[str | None],
) -> dict[str, Any]:
    """Something that is no mean, over all pictures and in every fold."""
    low, high = bootstrap_statistic(
        statistic, len(folds), groups=_names(groups), n=300, rng=np.random.default_rng(0)
    )
    fold_of = np.array(folds)
    return {
        "value": statistic(np.arange(len(folds))),
        "interval": [low, high],
        "folds": [statistic(np.flatnonzero(fold_of == f)) for f in sorted({*folds}) if f >= 0],
        "pictures": len(folds),
    }
