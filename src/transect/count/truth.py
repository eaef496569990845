"""Answers on pictures whose truth is known, compared with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.count.box_scoring import Boxes, box_columns
from transect.count.detections import Detections
from transect.count.maps import mean_map
from transect.count.predicting import CountAnswer
from transect.count.scoring import rows_of, true_counts
from transect.metrics.count import PointMatch, match_points
from transect.run import RunFolder
from transect.task import Rows
from transect.types import Image, Survey

__all__ = ["rows_against"]


def rows_against(
    run: RunFolder, truth: Survey, answers: Iterator[tuple[Image, CountAnswer]]
) -> Rows:
    """Counts, points and boxes of a run against a survey's own.

    Args:
        run: Says which classes it counts, and within what radius a point is right.
        truth: With dots or totals; points and boxes are compared where it has any.
        answers: Of its pictures.

    Returns:
        What scores are counted from.
    """
    classes = tuple(str(name) for name in run.read_json("inputs.json")["classes"])
    radius = float(run.read_json("decide.json")["match_radius"])
    real = true_counts(truth, classes)
    images: list[Image] = []
    counts: list[NDArray[np.float64]] = []
    ends: list[NDArray[np.float64]] = []
    matches: list[PointMatch] = []
    seen: list[Detections] = []
    for image, found in answers:
        images.append(image)
        counts.append(found.answer.counts)
        ends.append(found.answer.intervals[-1])
        if truth.points is not None and found.places:
            own = truth.points[truth.points["image"] == image.name]
            at = own[["x", "y"]].to_numpy(float)
            matches.append(match_points(found.answer.points, at, radius / found.scale))
            whole: Any = mean_map(found.maps)
            seen += [whole] if isinstance(whole, Detections) else []
    boxes = None
    if truth.boxes is not None and seen:
        merged = seen[0].classes < len(classes)
        boxes = box_columns(seen, [_boxes_of(truth, i, classes, merged=merged) for i in images])
    return rows_of(
        [image.name for image in images],
        [image.group for image in images],
        np.full(len(images), -1),
        np.array(counts),
        np.array([real[image.name] for image in images]),
        intervals=np.array(ends),
        constant=_mean_of_training(run, len(images)),
        matches=matches or None,
        boxes=boxes,
    )


def _boxes_of(truth: Survey, image: Image, classes: tuple[str, ...], *, merged: bool) -> Boxes:
    """The true boxes of a picture with the run's class numbers."""
    assert truth.boxes is not None
    own = truth.boxes[truth.boxes["image"] == image.name]
    kinds = np.array([0 if merged else classes.index(str(c)) for c in own["class"]], np.int64)
    return own[["x0", "y0", "x1", "y1"]].to_numpy(float), kinds


def _mean_of_training(run: RunFolder, count: int) -> NDArray[np.float64] | None:
    """(N, C) the mean count over the photos of the training; None where blocks were counted."""
    if run.read_json("decide.json")["block_px"]:
        return None
    mean = Rows.load(run.path / "oof" / "rows.npz")["truth"].mean(axis=0)
    return np.tile(mean, (count, 1))
