"""A survey completed by its dots, boxes and counts: every object once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.annotations import read_boxes, read_counts, read_points
from transect.data.describe import KIND_WORDS, counted
from transect.data.folder import Progress, in_threads
from transect.data.labels import mask_labels, object_numbers
from transect.data.masks import centroids, extents
from transect.data.meaning import BACKGROUND, VOID
from transect.data.missing import kept_apart, missing_ones, unsure_images
from transect.data.tables import table_file
from transect.data.with_masks import unused_note, with_masks
from transect.errors import TransectError
from transect.types import MaskKind, Problem, Survey

__all__ = ["with_counts"]


def with_counts(
    survey: Survey,
    names: Mapping[int, str],
    missing: str | None,
    kind: MaskKind | None,
    progress: Progress | None,
) -> tuple[Survey, list[Problem]]:
    """Read dots and boxes, else counts, else the centres of instance masks.

    A box that holds a dot of its class is the same object; any other is counted at its middle.

    Args:
        survey: With its images.
        names: Of classes.csv: mask value to name.
        missing: What a training image without row in counts.csv is; see ``open_survey``.
        kind: How masks are to be read, if they are.
        progress: Called with (done, all).

    Returns:
        The survey with points, counts, boxes and classes; and problems.

    Raises:
        TransectError: If there is nothing to count.
    """
    aside = (*VOID, *BACKGROUND)
    allowed = tuple(n for value, n in names.items() if value and n.lower() not in aside)
    root, problems, notes = survey.root, list[Problem](), list[str]()
    points = boxes = counts = None
    if path := table_file(root, "boxes"):
        boxes, more = read_boxes(path, survey.images, classes=allowed, notes=notes)
        problems += more
    if path := table_file(root, "points"):
        points, more = read_points(path, survey.images, classes=allowed, notes=notes)
        problems += more
    if boxes is not None:
        points = _with_boxes(points, boxes, notes)
    if path := table_file(root, "counts"):
        counts, more = read_counts(path, survey.images, classes=allowed, notes=notes)
        problems += more
    survey = kept_apart(survey, unsure_images(problems))
    if counts is not None and points is None:
        without = sorted({i.name for i in survey.training()} - set(counts["image"]))
        survey = missing_ones(survey, without, missing, "row in counts.csv", "counts.csv")
        if missing == "empty" and without:
            zeros = pd.DataFrame({"image": without}).reindex(columns=counts.columns)
            counts = pd.concat([counts, zeros.fillna(0.0)], ignore_index=True)
    if points is None and counts is None:
        survey, more = with_masks(survey, names, missing, kind, progress)
        problems += more
        if survey.mask_kind != "instances" and not survey.objects:
            what = KIND_WORDS[survey.mask_kind or "binary"]
            raise TransectError(
                f"{root / 'masks'} holds {what} masks, and counting needs one number per object. "
                "Add points.csv, or number the objects 1, 2, 3 ... in each mask; if they are "
                "numbered, say --masks instances."
            )
        points, boxes = _objects(survey, progress)
    columns = [] if counts is None else [str(c) for c in counts.columns if c != "image"]
    dotted = set() if points is None else set(points["class"])
    if unused := [name for name in allowed if name not in {*columns, *dotted}]:
        notes.append(unused_note(unused, "object"))
    order = tuple(name for name in allowed if name not in unused)
    order = order or (*columns, *sorted(dotted - set(columns)))
    if not order:
        why = f" that can be used (first problem: {problems[0].what})" if problems else ""
        raise TransectError(f"{root} has not a single dot{why}. Add rows to points.csv.")
    if counts is not None:
        counts = counts.reindex(columns=["image", *order], fill_value=0.0)
        if points is not None:
            problems += _disagreeing(points, counts, order)
            counts = _completed(counts, points, survey)
    survey = replace(survey, points=points, counts=counts, boxes=boxes, classes=order)
    return replace(survey, notes=(*survey.notes, *notes)), problems


def _with_boxes(points: pd.DataFrame | None, boxes: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Dots, and the middles of the boxes that hold no dot of their class."""
    x, y = (boxes["x0"] + boxes["x1"]) / 2, (boxes["y0"] + boxes["y1"]) / 2
    columns = {"image": boxes["image"], "x": x, "y": y, "class": boxes["class"]}
    middles = pd.DataFrame(columns)
    if points is None:
        return middles
    held = _holding_a_dot(points, boxes)
    if held.any():
        notes.append(
            f"{held.sum()} of {len(boxes)} boxes hold a dot of their class: the same object, "
            "counted once"
        )
    both = pd.concat([points, middles[~held]], ignore_index=True)
    return both.sort_values("image", kind="stable", ignore_index=True)


def _holding_a_dot(points: pd.DataFrame, boxes: pd.DataFrame) -> NDArray[np.bool_]:
    """Which boxes hold a dot of their class that no smaller box holds already."""
    held = np.zeros(len(boxes), bool)
    key = ["image", "class"]
    dots = {name: part[["x", "y"]].to_numpy(float) for name, part in points.groupby(key)}
    for name, part in boxes.reset_index(drop=True).groupby(key):
        left = dots.get(name, np.zeros((0, 2)))
        corners = part[["x0", "y0", "x1", "y1"]].to_numpy(float)
        area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        for k in np.argsort(area, kind="stable"):
            low, high = corners[k, :2], corners[k, 2:]
            inside = np.flatnonzero(((left >= low) & (left <= high)).all(axis=1))
            if len(inside):
                held[part.index[k]] = True
                left = np.delete(left, inside[0], axis=0)
    return held


def _objects(survey: Survey, progress: Progress | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The centres of the objects of instance masks as dots, and their boxes."""

    def measured(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
        if not survey.objects:
            labels = np.maximum(mask_labels(survey, name), 0)
            dots = centroids(labels)
            return dots, extents(labels), [survey.classes[0]] * len(dots)
        labels = object_numbers(survey, name)
        kinds = [survey.objects[name][k] for k in np.unique(labels).tolist() if k]
        return centroids(labels), extents(labels), [survey.classes[k - 1] for k in kinds]

    names = [image.name for image in survey.images if image.name in survey.masks]
    found = in_threads(measured, names, progress)
    owners = np.repeat(np.array(names, object), [len(dots) for dots, _, _ in found])
    dots = np.concatenate([dots for dots, _, _ in found] or [np.zeros((0, 2))])
    boxes = np.concatenate([boxes for _, boxes, _ in found] or [np.zeros((0, 4))])
    kind = [label for _, _, labels in found for label in labels]
    columns = dict(zip(("x0", "y0", "x1", "y1"), boxes.T, strict=True))
    return (
        pd.DataFrame({"image": owners, "x": dots[:, 0], "y": dots[:, 1], "class": kind}),
        pd.DataFrame({"image": owners, **columns, "class": kind}),
    )


def _completed(counts: pd.DataFrame, points: pd.DataFrame, survey: Survey) -> pd.DataFrame:
    """Counts of the images that have none in the table, from their dots."""
    without = [i.name for i in survey.images if i.name not in set(counts["image"])]
    if not without:
        return counts
    dots = pd.crosstab(points["image"], points["class"]).reindex(
        index=without, columns=list(counts.columns[1:]), fill_value=0
    )
    more = dots.astype(float).rename_axis("image").reset_index()
    return pd.concat([counts, more], ignore_index=True)


def _disagreeing(
    points: pd.DataFrame, counts: pd.DataFrame, classes: Sequence[str]
) -> list[Problem]:
    """Images whose dots and counts differ."""
    dots = pd.crosstab(points["image"], points["class"]).reindex(
        index=counts["image"], columns=list(classes), fill_value=0
    )
    differ = (dots.to_numpy() != counts[list(classes)].to_numpy(float)).any(axis=1)
    names = counts.loc[differ, "image"].tolist()
    if not names:
        return []
    what = f"counts.csv and points.csv differ for {counted(len(names), 'image')} (first: "
    return [Problem("counts.csv", f"{what}{names[0]}); the dots are used. Correct one of them.")]
