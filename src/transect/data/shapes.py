"""What an object covers: its mask, outline, box or point, each from whatever a format gave."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Instance, Part
from transect.data.outlines import fill_window, one_ring, outlines
from transect.data.rle import MASK_LIMIT_PX, counts_of, window_of_counts
from transect.errors import TransectError

__all__ = [
    "box_of",
    "centre_of",
    "counts_for",
    "mask_of",
    "parts_of",
    "rings_of",
    "window_of",
]


def mask_of(instance: Instance, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels that an object covers: those whose centres its outline or box encloses.

    Args:
        instance: The object.
        size_hw: (height, width) of its picture.

    Returns:
        (H, W) bool; all False for a point or a word about the whole picture.

    Raises:
        TransectError: If its counts do not fit the picture, or the picture is too large.
    """
    window, top, left = window_of(instance, size_hw)
    mask = np.zeros(size_hw, np.bool_)
    mask[top : top + window.shape[0], left : left + window.shape[1]] = window
    return mask


def window_of(instance: Instance, size_hw: tuple[int, int]) -> tuple[NDArray[np.bool_], int, int]:
    """As ``mask_of``, but only a window around the object.

    Args:
        instance: The object.
        size_hw: (height, width) of its picture.

    Returns:
        (h, w) bool, and the window's first row and column.

    Raises:
        TransectError: As ``mask_of``.
    """
    if instance.counts is not None:
        return window_of_counts(instance.counts, size_hw)
    if size_hw[0] * size_hw[1] > MASK_LIMIT_PX:
        raise TransectError(f"a mask of {size_hw[0]} x {size_hw[1]} pixels is too large. Cut it.")
    if instance.parts:
        return fill_window(instance.parts, size_hw)
    if instance.box:
        # The rule of ``fill`` for a rectangle: pixels whose centre is at or right of x0, not of x1.
        (left, top), (right, bottom) = (
            (min(max(math.ceil(x), 0), size_hw[1]), min(max(math.ceil(y), 0), size_hw[0]))
            for x, y in (instance.box[:2], instance.box[2:])
        )
        if right > left and bottom > top:
            return np.ones((bottom - top, right - left), np.bool_), top, left
    return np.zeros((0, 0), np.bool_), 0, 0


def counts_for(instance: Instance, size_hw: tuple[int, int]) -> tuple[int, ...]:
    """The pixels that an object covers as COCO's counts.

    Raises:
        TransectError: As ``mask_of``.
    """
    if instance.counts is not None:
        return instance.counts
    window, top, left = window_of(instance, size_hw)
    return tuple(counts_of(window, top=top, left=left, size_hw=size_hw))


def parts_of(instance: Instance, size_hw: tuple[int, int] | None) -> tuple[Part, ...]:
    """The outline of an object, traced from its mask if it has only that.

    Raises:
        TransectError: If it has a mask and the picture no size.
    """
    if instance.counts is None:
        return instance.parts
    if size_hw is None:
        raise TransectError(
            "a mask has a picture of unknown size. Name the pictures with --images."
        )
    window, top, left = window_of(instance, size_hw)
    return outlines(window, top=top, left=left)


def rings_of(instance: Instance, size_hw: tuple[int, int] | None) -> list[NDArray[np.float64]]:
    """The outline of an object for formats without holes: one ring per piece, holes bridged.

    Raises:
        TransectError: If it has a mask and the picture no size.
    """
    return [one_ring(part) for part in parts_of(instance, size_hw)]


def box_of(
    instance: Instance, size_hw: tuple[int, int] | None
) -> tuple[float, float, float, float] | None:
    """The box of an object: its own, else that of its outline or mask; None if it has none."""
    if instance.box is not None:
        return instance.box
    if instance.parts:
        points = np.concatenate([part[0] for part in instance.parts])
        low, high = points.min(axis=0), points.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])
    if instance.counts is None or size_hw is None:
        return None
    window, top, left = window_of(instance, size_hw)
    height, width = window.shape
    # The window of counts is tight, so its edges are the object's.
    return (left - 0.5, top - 0.5, left + width - 0.5, top + height - 0.5) if height else None


def centre_of(instance: Instance, size_hw: tuple[int, int] | None) -> tuple[float, float] | None:
    """The point of an object: its own, else the middle of its box; None if it has neither."""
    if instance.point is not None:
        return instance.point
    box = box_of(instance, size_hw)
    return None if box is None else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
