"""What a survey says of its images, as marks to begin with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.annotations import read_points
from transect.data.labels import mask_labels
from transect.data.tables import table_file
from transect.errors import TransectError
from transect.review.marks import Area, Mark, Surface
from transect.types import Image, Survey

__all__ = ["Start", "surface_of"]


def surface_of(survey: Survey) -> Surface:
    """How the annotations of a survey are drawn; its files tell, not its question.

    Raises:
        TransectError: If there is nothing that can be drawn: totals alone.
    """
    if survey.mask_kind is not None:
        return "areas"
    if survey.points is not None or survey.boxes is not None:
        return "places"
    if survey.identities is not None:
        return "individuals"
    if survey.labels is not None:
        return "labels"
    raise TransectError(
        f"{survey.root} has totals alone, and there is nothing to point at. Correct counts.csv, or "
        "begin a points.csv with the header image,x,y,class to place dots."
    )


class Start:
    """The marks of a survey before anybody changed them; equal surveys give equal ids.

    Attributes:
        surface: How they are drawn.
    """

    def __init__(self, survey: Survey) -> None:
        """Look at a survey.

        Raises:
            TransectError: If there is nothing that can be drawn.
        """
        self._survey = survey
        self.surface = surface_of(survey)
        self._dots = survey.points
        if survey.boxes is not None:  # the survey counts boxes at their middles, too
            path = table_file(survey.root, "points")
            self._dots = read_points(path, survey.images)[0] if path else None

    def marks(self, image: Image) -> list[Mark]:
        """The marks of one image.

        Raises:
            TransectError: If its mask cannot be read.
        """
        survey = self._survey
        if self.surface == "areas":
            return list(_areas(survey, image))
        if self.surface == "individuals":
            rows = _rows(survey.identities, image)
            return [_placed(f"i{n}", str(row["identity"]), row) for n, row in enumerate(rows)]
        if self.surface == "labels":
            row = next(iter(_rows(survey.labels, image)), {})
            there = [label for label in survey.classes if row.get(label)]
            return [Mark(f"l{n}", label) for n, label in enumerate(there)]
        boxes = enumerate(_rows(survey.boxes, image))
        dots = [
            Mark(f"p{n}", str(row["class"]), dot=(float(row["x"]), float(row["y"])))
            for n, row in enumerate(_rows(self._dots, image))
        ]
        return [*dots, *(_placed(f"b{n}", str(row["class"]), row) for n, row in boxes)]

    def annotated(self, image: Image) -> bool:
        """Whether somebody had said something of an image."""
        if self.surface == "areas":
            return image.name in self._survey.masks
        tables = (self._survey.identities, self._survey.labels, self._survey.points)
        rows = any(table is not None and image.name in set(table["image"]) for table in tables)
        return rows or (self.surface == "places" and image.split != "test")


def _rows(table: pd.DataFrame | None, image: Image) -> list[dict[str, Any]]:
    """The rows of a table that speak of an image."""
    if table is None:
        return []
    found = table[table["image"] == image.name].to_dict("records")
    return [{str(column): value for column, value in row.items()} for row in found]


def _placed(id: str, label: str, row: dict[str, Any]) -> Mark:
    """A mark with the box of its row, if there is one."""
    corners = [row.get(name) for name in ("x0", "y0", "x1", "y1")]
    known = [float(corner) for corner in corners if corner is not None and not pd.isna(corner)]
    if len(known) < 4:
        return Mark(id, label)
    x0, y0, x1, y1 = known
    return Mark(id, label, box=(x0, y0, x1, y1))


def _areas(survey: Survey, image: Image) -> Iterator[Mark]:
    """The objects of a mask; of binary and class masks each connected piece is one."""
    labels = mask_labels(survey, image, of_picture=False)
    if survey.mask_kind == "instances":
        names = survey.classes or ("object",)
        for number, area in _pieces(np.maximum(labels, 0)):
            yield Mark(f"a{number}", names[0], area)
        return
    classes = survey.classes or ("object",)
    for value, label in enumerate(classes, start=1):
        for number, area in _pieces(_connected(labels == value)):
            yield Mark(f"a{value}.{number}", label, area)


def _connected(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Pieces of a mask, numbered from 1; corners connect."""
    import cv2

    return np.asarray(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1], np.int32)


def _pieces(labels: NDArray[np.integer]) -> Iterator[tuple[int, Area]]:
    """Each number above 0 with its pixels."""
    from scipy.ndimage import find_objects

    values = np.unique(labels)
    dense = np.searchsorted(values, labels) + (1 if values[0] > 0 else 0)
    values = values[values > 0]
    for index, place in enumerate(find_objects(dense), start=1):
        if place is not None:
            top, left = int(place[0].start), int(place[1].start)
            area = Area.of(dense[place] == index, top, left)
            assert area is not None
            yield int(values[index - 1]), area
