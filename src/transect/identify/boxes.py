"""What tables beside new photos say of the animals on them: boxes, flanks, encounters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from transect.data.tables import match_images, read_table
from transect.identify.photos import Box, Subject, whole_photos
from transect.types import Image, Problem

__all__ = ["boxes_beside", "subjects_beside"]

CORNERS = ("x0", "y0", "x1", "y1")
TOLD = ("group", "side", "date")
TABLES = ("boxes.csv", "images.csv", "identities.csv")


def subjects_beside(
    folder: Path, images: Sequence[Image]
) -> tuple[tuple[Subject, ...], tuple[Problem, ...]]:
    """The animals on new photos, with all that is told of them but their names.

    Args:
        folder: As in ``boxes_beside``.
        images: The photos; what ``images.csv`` says of them is in them already.

    Returns:
        One animal per photo: its box, and its encounter, side and date, by the photo or, where
        that does not say, by ``identities.csv``. And problems, as in ``boxes_beside``.
    """
    boxes, problems = boxes_beside(folder, images)
    subjects = whole_photos(images, boxes)
    path = folder / "identities.csv"
    if not path.is_file():
        return subjects, problems
    table = match_images(
        read_table(path, ["image"], optional=TOLD)[0], [i.name for i in images], folder, path.name
    )[0]
    rows = table.drop_duplicates("image").set_index("image").to_dict("index")

    def told(subject: Subject, what: str) -> str | None:
        said = str(rows.get(subject.image.name, {}).get(what) or "").strip()
        return getattr(subject, what) or said or None

    known = (
        replace(s, group=told(s, "group"), side=told(s, "side"), date=told(s, "date"))
        for s in subjects
    )
    return tuple(known), problems


def boxes_beside(
    folder: Path, images: Sequence[Image]
) -> tuple[dict[str, Box], tuple[Problem, ...]]:
    """Read the box of each photo from the first table that has boxes.

    Args:
        folder: Of the photos, or the survey that holds them in ``images/``.
        images: The photos.

    Returns:
        Name of the photo to x0, y0, x1, y1; a photo without a box is not in it. And problems: rows
        that mean no photo, or hold no box; the first of several boxes counts.
    """
    for name in TABLES:
        path = folder / name
        if not path.is_file():
            continue
        table, problems = read_table(path, ["image"], optional=CORNERS)
        if not set(CORNERS) <= set(table.columns):
            continue
        table, strange = match_images(table, [i.name for i in images], folder, name)
        problems = [*problems, *strange]
        found: dict[str, Box] = {}
        sizes = {image.name: image.size_hw for image in images}
        for row in table.to_dict("records"):
            photo = str(row["image"])
            cells = [str(row[corner]).strip() for corner in CORNERS]
            if not any(cells) or photo in found:
                continue
            box = _box(cells, sizes[photo])
            if box is None:
                problems.append(
                    Problem(
                        name,
                        f"{name} line {row['line']} has no box inside {photo} "
                        f"({', '.join(cells)}); the whole photo is used. Correct it.",
                    )
                )
                continue
            found[photo] = box
        return found, tuple(problems)
    return {}, ()


def _box(cells: Sequence[str], size_hw: tuple[int, int]) -> Box | None:
    """Four cells as a box that lies on the photo, or None."""
    try:
        x0, y0, x1, y1 = (float(cell) for cell in cells)
    except ValueError:
        return None
    height, width = size_hw
    inside = np.isfinite([x0, y0, x1, y1]).all() and x0 < x1 and y0 < y1
    if not inside or x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        return None
    return max(x0, -0.5), max(y0, -0.5), min(x1, width - 0.5), min(y1, height - 0.5)
