"""Scores of counts and points: every metric with its interval and its folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transect.count.box_scoring import precision_of
from transect.errors import TransectError, listed
from transect.metrics.count import PointMatch, interval_coverage, interval_width, rmse
from transect.metrics.score import Score
from transect.metrics.spread import bootstrap, bootstrap_statistic
from transect.task import Rows
from transect.types import Survey

__all__ = ["THE_MEAN", "constant_answers", "rows_of", "scores_of", "true_counts"]

THE_MEAN = "always answering the mean count"
"""The trivial answer beside which counts are judged."""


def rows_of(
    names: Sequence[str],
    groups: Sequence[str | None],
    folds: NDArray[np.integer],
    counts: NDArray[np.float64],
    truth: NDArray[np.float64],
    *,
    intervals: NDArray[np.float64],
    constant: NDArray[np.float64] | None = None,
    matches: Sequence[PointMatch] | None = None,
    boxes: Mapping[str, NDArray[np.generic]] | None = None,
) -> Rows:
    """What came out for every photo or block.

    Args:
        names: (N,).
        groups: (N,).
        folds: (N,), -1 if there are none.
        counts: (N, C) predicted.
        truth: (N, C).
        intervals: (N, 2) of the totals.
        constant: (N, C) what the mean of the training would have answered; or None.
        matches: (N,) of points; None where nothing says where objects are.
        boxes: Columns of ``box_columns``, where detectors looked.
    """
    values: dict[str, NDArray[np.generic]] = {
        "predicted": counts, "truth": truth, "low": intervals[:, 0], "high": intervals[:, 1]
    }  # fmt: skip
    if constant is not None:
        values["constant"] = constant
    trivial: dict[str, NDArray[np.float64]] = {}
    if constant is not None:
        trivial[THE_MEAN] = -np.abs(constant.sum(axis=1) - truth.sum(axis=1))
    if matches is not None:
        values["points_right"] = np.array([len(m.pairs) for m in matches], np.float64)
        values["points_predicted"] = np.array([m.predicted for m in matches], np.float64)
        values["points_true"] = np.array([m.truth for m in matches], np.float64)
    values |= boxes or {}
    own = tuple(group or "" for group in groups)
    return Rows(tuple(names), np.asarray(folds, np.int64), own, values, trivial)


def scores_of(rows: Rows, classes: Sequence[str], *, nominal: float = 0.9) -> dict[str, Score]:
    """All scores of counts and points.

    Args:
        rows: From ``rows_of``.
        classes: Names.
        nominal: Coverage that the intervals promise.

    Returns:
        Metric name to score. ``mae`` is of totals, ``bias`` their mean predicted minus true,
        ``mae_classes`` over classes, ``rmse`` the sea lion competition's, ``coverage`` the share of
        true totals inside their interval, ``naive_width`` the distance of the two plain quantiles
        of these very errors. Precision, recall and F1 of points are pooled. ``box_ap`` and
        ``box_ap50`` are COCO's, where detectors looked. Nothing without rows.
    """
    if not len(rows):
        return {}
    counts, truth = rows["predicted"], rows["truth"]
    total, real = counts.sum(axis=1), truth.sum(axis=1)
    found = {
        "mae": _mean(np.abs(total - real), rows),
        "mae_classes": _mean(np.abs(counts - truth).mean(axis=1), rows),
        "rmse": _statistic(lambda i: rmse(counts[i], truth[i]), rows),
        "bias": _mean(total - real, rows),
        "relative_error": _statistic(
            lambda i: float((total[i].sum() - real[i].sum()) / max(1.0, real[i].sum())), rows
        ),
    }
    if len(classes) > 1:
        for kind, name in enumerate(classes):
            own = np.array([kind])
            found[f"rmse:{name}"] = _statistic(_rmse_of(counts[:, own], truth[:, own]), rows)
            found[f"mae:{name}"] = _mean(np.abs(counts - truth)[:, kind], rows)
    if "constant" in rows.values:
        constant = rows["constant"]
        found["mae_of_the_mean"] = _mean(np.abs(constant.sum(axis=1) - real), rows)
        found["rmse_of_the_mean"] = _statistic(lambda i: rmse(constant[i], truth[i]), rows)
    low, high = rows["low"], rows["high"]
    found["coverage"] = _mean(((low <= real) & (real <= high)).astype(float), rows)
    found["interval_width"] = _mean(high - low, rows)
    tails = ((1 - nominal) / 2, (1 + nominal) / 2)
    found["naive_width"] = _statistic(
        lambda i: float(np.ptp(np.quantile(total[i] - real[i], tails))), rows
    )
    assert np.isclose(found["coverage"].value, interval_coverage(low, high, real))
    assert np.isclose(found["interval_width"].value, interval_width(low, high))
    if "points_right" in rows.values:
        right, said, dots = (rows[f"points_{k}"] for k in ("right", "predicted", "true"))
        found["precision"] = _ratio(right, said, rows)
        found["recall"] = _ratio(right, dots, rows)
        found["f1"] = _ratio(2 * right, said + dots, rows)
    if "box_scores" in rows.values:
        found |= {name: _statistic(value, rows) for name, value in precision_of(rows).items()}
    return found


def true_counts(survey: Survey, classes: Sequence[str]) -> Mapping[str, NDArray[np.float64]]:
    """Image to its true count of every class: (C,), from dots or from totals.

    Raises:
        TransectError: If the survey has a class that is none of ``classes``.
    """
    strange = sorted(set(survey.classes) - set(classes))
    if strange:
        raise TransectError(
            f"{survey.root} has the class {strange[0]!r}, which this run was not trained on "
            f"({listed(classes)}). Rename it."
        )
    found = {image.name: np.zeros(len(classes)) for image in survey.training()}
    number = {name: k for k, name in enumerate(classes)}
    if survey.points is not None:
        for name, kind in zip(survey.points["image"], survey.points["class"], strict=True):
            if name in found and kind in number:
                found[name][number[kind]] += 1
    elif survey.counts is not None:
        for row in survey.counts.to_dict("records"):
            if row["image"] in found:
                found[row["image"]] = np.array([float(row.get(name, 0.0)) for name in classes])
    return found


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


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64], rows: Rows) -> Score:
    """A share of sums; 1 where there is nothing to find."""
    return _statistic(
        lambda i: float(above[i].sum() / below[i].sum()) if below[i].sum() else 1.0, rows
    )


def _mean(values: NDArray[np.float64], rows: Rows) -> Score:
    """A mean over units."""
    low, high = bootstrap(values, groups=rows.sampling_groups, rng=np.random.default_rng(0))
    folds = tuple(float(values[rows.folds == f].mean()) for f in np.unique(rows.folds) if f >= 0)
    return Score(float(values.mean()), (float(low), float(high)), folds, len(values))


def _statistic(statistic: Callable[[NDArray[np.intp]], float], rows: Rows) -> Score:
    """Something that is no mean, over all units and in every fold."""
    low, high = bootstrap_statistic(
        statistic, len(rows), groups=rows.sampling_groups, n=300, rng=np.random.default_rng(0)
    )
    folds = tuple(
        statistic(np.flatnonzero(rows.folds == f)) for f in np.unique(rows.folds) if f >= 0
    )
    return Score(statistic(np.arange(len(rows))), (float(low), float(high)), folds, len(rows))
