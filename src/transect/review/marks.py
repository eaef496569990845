"""Marks: what a person sees and changes on an image, as it stands in the journal."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from transect.data import rle
from transect.data.exchange import Instance
from transect.data.outlines import outlines
from transect.data.shapes import window_of
from transect.errors import TransectError

__all__ = ["Area", "Mark", "Surface", "of_instance"]

Surface = Literal["areas", "places", "individuals", "labels"]
"""How annotations are drawn: masks; dots and boxes; who is on a photo; words about an image."""

_LONGEST = 200  # letters of a class or a name


@dataclass(frozen=True)
class Area:
    """The pixels of an object: a window of the image with the object's mask in it.

    Attributes:
        top: First row of the window.
        left: First column.
        size_hw: (height, width) of the window.
        counts: COCO's compressed counts of the mask within the window.
    """

    top: int
    left: int
    size_hw: tuple[int, int]
    counts: str

    @staticmethod
    def of(mask: NDArray[np.bool_], top: int = 0, left: int = 0) -> Area | None:
        """The smallest area that holds a mask (h, w) at a place; None if it is empty."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return None
        cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        counts = rle.compress_counts(rle.counts_of(cut))
        return Area(top + int(rows[0]), left + int(columns[0]), cut.shape, counts)

    def mask(self) -> NDArray[np.bool_]:
        """(h, w) of the window."""
        return rle.mask_of_counts(rle.decompress_counts(self.counts), self.size_hw)

    @property
    def place(self) -> tuple[slice, slice]:
        """The window in the image."""
        bottom, right = self.top + self.size_hw[0], self.left + self.size_hw[1]
        return slice(self.top, bottom), slice(self.left, right)


@dataclass(frozen=True)
class Mark:
    """One object, individual or word on an image; at most one of area, dot and box says where.

    Attributes:
        id: Unique on its image, and never used again.
        label: Its class; of an individual its name, and "" where nobody can tell.
        area: Its pixels.
        dot: x, y.
        box: x0, y0, x1, y1.
    """

    id: str
    label: str
    area: Area | None = None
    dot: tuple[float, float] | None = None
    box: tuple[float, float, float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        said: dict[str, Any] = {"id": self.id, "label": self.label}
        if self.area is not None:
            area = self.area
            said["area"] = [area.top, area.left, *area.size_hw, area.counts]
        if self.dot is not None:
            said["dot"] = list(self.dot)
        if self.box is not None:
            said["box"] = list(self.box)
        return said

    def shown(self) -> dict[str, Any]:
        """As the browser draws it: an area by its outline, each ring x, y, x, y, ..."""
        said = self.to_json()
        if self.area is not None:
            said["area"] = _rings(self.area)
        return said

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> Mark:
        """Read what ``to_json`` gave, or a browser sent.

        Raises:
            TransectError: If it is no mark.
        """
        try:
            area = None
            if "area" in said:
                top, left, height, width, counts = said["area"]
                area = Area(int(top), int(left), (int(height), int(width)), str(counts))
            return Mark(
                str(said["id"]),
                checked_label(said["label"]),
                area,
                _numbers(said["dot"], 2) if "dot" in said else None,  # type: ignore[arg-type]
                _numbers(said["box"], 4) if "box" in said else None,  # type: ignore[arg-type]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TransectError(f"this is no mark ({error}). Reload the page.") from error


def checked_label(label: Any) -> str:
    """A class or a name as somebody may type it.

    Raises:
        TransectError: If it is no text, too long, or has line ends or other controls.
    """
    if not isinstance(label, str) or len(label) > _LONGEST or not (label.isprintable()):
        raise TransectError(f"{label!r} is no name. Use up to {_LONGEST} printable letters.")
    return label.strip()


def of_instance(instance: Instance, id: str, size_hw: tuple[int, int]) -> Mark:
    """A predicted object as a mark."""
    label = instance.label if instance.identity is None else instance.identity
    if instance.has_area:
        return Mark(id, label, Area.of(*window_of(instance, size_hw)))
    return Mark(id, label, dot=instance.point, box=instance.box)


@functools.lru_cache(1 << 15)
def _rings(area: Area) -> list[list[list[float]]]:
    """The outline of an area: parts, rings, then x, y, x, y, ...; an image is opened many times."""
    parts = outlines(area.mask(), top=area.top, left=area.left)
    return [[ring.ravel().tolist() for ring in part] for part in parts]


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    """So many finite numbers."""
    found = tuple(round(float(value), 2) for value in values)
    if len(found) != count or not all(map(math.isfinite, found)):
        raise ValueError(f"{count} finite numbers are needed")
    return found
