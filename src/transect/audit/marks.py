"""What is wrong with annotations: dots and boxes that overlap, lie outside, or change x and y."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from transect.audit.findings import Finding
from transect.audit.masks import RARE_EMPTY, mask_findings
from transect.audit.typos import class_typos
from transect.data.cells import numbers
from transect.data.tables import match_images, read_table, table_file
from transect.errors import TransectError
from transect.types import Image, Survey

__all__ = ["LEAST_IMAGES", "coordinate_findings", "mark_findings"]

LEAST_IMAGES = 10
"""Of a label: two in each of the usual five folds; our choice."""


def mark_findings(
    survey: Survey, *, progress: Callable[[int, int], None] | None = None
) -> list[Finding]:
    """Faults of a survey's annotations, whatever they are.

    Args:
        survey: Opened.
        progress: Called with (done, all) while masks are read.

    Returns:
        Findings; empty for a clean survey.
    """
    found: list[Finding] = []
    if survey.masks:
        found += mask_findings(survey, progress=progress)
    if survey.points is not None:
        found += _point_findings(survey, survey.points)
    if survey.boxes is not None:
        found += _box_findings(survey.boxes)
    for table, column in (
        (survey.points, "class"),
        (survey.boxes, "class"),
        (survey.identities, "identity"),
    ):
        if table is not None:
            found += class_typos(Counter(table[column].astype(str)), what=column)
    if survey.labels is not None:
        found += _label_findings(survey, survey.labels)
    return found


def _label_findings(survey: Survey, labels: pd.DataFrame) -> list[Finding]:
    """Labels spelt in two ways, and labels that hardly any image has."""
    training = {image.name for image in survey.training()}
    marks = labels[labels["image"].isin(training)][list(survey.classes)]
    counts = {name: int(marks[name].sum()) for name in survey.classes}
    found = class_typos(counts, what="label")
    rare = sorted((n, name) for name, n in counts.items() if n < LEAST_IMAGES)
    if rare:
        shown = ", ".join(f"{name} {n}" for n, name in rare[:8])
        found.append(
            Finding(
                "rare",
                "note",
                (),
                f"{len(rare)} labels have fewer than {LEAST_IMAGES} images ({shown}): some folds "
                "can neither learn nor score them.",
                "Add images of them, or join them with a label like them.",
            )
        )
    return found


def _point_findings(survey: Survey, points: pd.DataFrame) -> list[Finding]:
    """Dots nearly on top of one another, and images without dots where hardly any is."""
    from scipy.spatial import cKDTree

    close: dict[str, int] = {}
    gaps = []
    for name, part in points.groupby("image"):
        if len(part) < 2:
            continue
        distance = cKDTree(part[["x", "y"]].to_numpy(float)).query(
            part[["x", "y"]].to_numpy(float), k=2
        )[0][:, 1]
        gaps.append(distance)
        close[str(name)] = int((distance < 1.5).sum())
    found = []
    typical = float(np.median(np.concatenate(gaps))) if gaps else 0.0
    names = tuple(name for name, times in close.items() if times)
    if names and typical > 6:
        found.append(
            Finding(
                "overlapping",
                "warning",
                names,
                f"dots less than 1.5 pixels apart in {len(names)} images; the usual gap is "
                f"{typical:.0f} pixels.",
                "Remove the second dot of each pair: one object, one dot.",
            )
        )
    dotted = set(points["image"])
    without = tuple(i.name for i in survey.training() if i.name not in dotted)
    if without and survey.counts is None and len(without) <= RARE_EMPTY * len(survey.training()):
        found.append(
            Finding(
                "empty",
                "warning",
                without,
                f"{len(without)} of {len(survey.training())} images have no dot, where nearly all "
                "others have some.",
                "Look whether they were forgotten.",
            )
        )
    return found


def _box_findings(boxes: pd.DataFrame) -> list[Finding]:
    """Boxes drawn twice, and boxes without extent."""
    double: Counter[str] = Counter()
    for name, part in boxes.groupby("image"):
        x0, y0, x1, y1 = (part[c].to_numpy(float) for c in ("x0", "y0", "x1", "y1"))
        if len(part) < 2 or len(part) > 5000:
            continue
        w = np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0)
        h = np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0)
        both = np.clip(w, 0, None) * np.clip(h, 0, None)
        area = (x1 - x0) * (y1 - y0)
        overlap = both / np.maximum(area[:, None] + area - both, 1e-9)
        double[str(name)] += int((np.triu(overlap, 1) > 0.85).sum())
    names = tuple(n for n, times in double.items() if times)
    if not names:
        return []
    return [
        Finding(
            "overlapping",
            "warning",
            names,
            f"{sum(double.values())} pairs of boxes in {len(names)} images cover the same place "
            "(overlap above 0.85).",
            "Keep one box of each pair.",
        )
    ]


def coordinate_findings(root: Path, images: Sequence[Image]) -> list[Finding]:
    """Dots of single images whose x and y were exchanged, read from ``points.csv`` itself.

    A survey whose every row is exchanged is refused when it is opened; single images are not.
    """
    try:
        path = table_file(root, "points")
        if path is None:
            return []
        table, _ = read_table(path, ["image", "x", "y"])
        table, _ = match_images(table, [i.name for i in images], root / "images", path.name)
    except TransectError:
        return []  # told when the survey was opened
    sizes = {i.name: i.size_hw for i in images}
    x, y = numbers(table["x"]), numbers(table["y"])
    high = np.array([sizes[n][0] for n in table["image"]], float)
    wide = np.array([sizes[n][1] for n in table["image"]], float)
    out = (x > wide - 0.5) | (y > high - 0.5)
    out_turned = (y > wide - 0.5) | (x > high - 0.5)
    state = pd.DataFrame({"image": table["image"], "out": out, "turned": out_turned})
    by = state.groupby("image").sum()
    names = tuple(str(n) for n in by.index[(by["out"] >= 1) & (by["turned"] == 0)])
    many = by["out"].sum()
    if not names:
        return []
    return [
        Finding(
            "swapped",
            "fault",
            names,
            f"{int(many)} dots lie outside their images, and all of {len(names)} images' lie "
            "inside if x and y are exchanged.",
            "Exchange x and y of these images in points.csv (x to the right, y down).",
        )
    ]
