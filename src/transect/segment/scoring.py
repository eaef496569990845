"""Scores of masks: which metrics a kind of mask has, per image, with spread and interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transect.metrics import instances, segment
from transect.metrics.score import Score
from transect.metrics.spread import bootstrap
from transect.task import Rows
from transect.types import MaskKind

__all__ = ["METRICS_OF", "picture_scores", "scores_of", "tuned_metric"]

METRICS_OF: dict[MaskKind, tuple[str, ...]] = {
    "binary": ("salt_map", "dice", "iou", "boundary_distance"),
    "classes": ("dice", "iou", "accuracy"),
    "instances": ("ap50", "ap", "pq", "f1", "dice", "iou"),
}
"""The metrics that are reported for a kind of mask, the main one first."""


def picture_scores(
    answer: NDArray[np.integer], truth: NDArray[np.integer], kind: MaskKind, classes: int = 1
) -> dict[str, float]:
    """All metrics of one image.

    Args:
        answer: (H, W) predicted labels.
        truth: (H, W) true labels; pixels of -1 do not count.
        kind: How labels are read.
        classes: Number of classes.

    Returns:
        Metric name to value; ``boundary_distance`` is NaN where it has no meaning. With them
        ``wrong`` and ``foreground``: shares of pixels, to rank images of one score.
    """
    wrong = ((answer > 0) != (truth > 0)) & (truth >= 0)
    shares = {"wrong": float(wrong.mean()), "foreground": float((truth > 0).mean())}
    return shares | _metrics_of(answer, truth, kind, classes)


def _metrics_of(
    answer: NDArray[np.integer], truth: NDArray[np.integer], kind: MaskKind, classes: int
) -> dict[str, float]:
    """The metrics of one image."""
    ignored = truth < 0
    if ignored.any():
        answer, truth = np.where(ignored, 0, answer), np.where(ignored, 0, truth)
    if kind == "classes":
        ious, dices = segment.class_overlap(answer, truth, classes)
        accuracy = float((answer == truth)[~ignored].mean()) if not ignored.all() else 1.0
        return {"dice": _known_mean(dices), "iou": _known_mean(ious), "accuracy": accuracy}
    found, real = (answer > 0)[None], (truth > 0)[None]
    scores = {
        "dice": float(segment.dice(found, real)[0]),
        "iou": float(segment.iou(found, real)[0]),
    }
    if kind == "binary":
        scores["salt_map"] = float(segment.salt_map(found, real)[0])
        scores["boundary_distance"] = float(segment.boundary_distance(found, real)[0])
        return scores
    aps = instances.ap(answer, truth)
    scores["ap50"], scores["ap"] = float(aps[0]), float(aps.mean())
    scores["pq"] = float(instances.panoptic_quality(answer, truth)[0])
    scores["f1"] = instances.f1(answer, truth)
    return scores


def tuned_metric(
    name: str, answer: NDArray[np.integer], truth: NDArray[np.integer], kind: MaskKind, classes: int
) -> float:
    """The one metric that decisions are tuned for; cheaper than all of ``picture_scores``."""
    if kind == "instances":
        if name == "ap50":
            return float(instances.ap(answer, truth, (0.5,))[0])
        if name == "pq":
            return float(instances.panoptic_quality(answer, truth)[0])
    elif kind == "binary":
        found, real = (answer > 0)[None], (truth > 0)[None]
        if name == "salt_map":
            return float(segment.salt_map(found, real)[0])
        if name == "dice":
            return float(segment.dice(found, real)[0])
    return _metrics_of(answer, truth, kind, classes).get(name, float("nan"))


def scores_of(rows: Rows, kind: MaskKind) -> dict[str, Score]:
    """Means over images with a bootstrap interval and the mean of every fold.

    Args:
        rows: One column per metric.
        kind: How masks are read; it gives the order, the main metric first.

    Returns:
        Metric name to score; intervals of 95 % from 2,000 bootstrap draws of groups.
    """
    found: dict[str, Score] = {}
    groups = np.array(rows.sampling_groups, np.str_)
    for metric in METRICS_OF[kind]:
        if metric not in rows.values:
            continue
        values = np.asarray(rows[metric], np.float64)
        known = np.isfinite(values)
        if not known.any():
            continue
        low, high = bootstrap(
            values[known], groups=groups[known].tolist(), rng=np.random.default_rng(0)
        )
        folds = rows.folds[known]
        each = [float(values[known][folds == f].mean()) for f in np.unique(folds) if f >= 0]
        value = float(values[known].mean())
        found[metric] = Score(value, (float(low), float(high)), tuple(each), int(known.sum()))
    return found


def _known_mean(values: NDArray[np.float64]) -> float:
    """Mean over the classes that are in an image or its answer; 1 if there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else 1.0
