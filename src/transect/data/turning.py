"""Annotations that were drawn on a photo before its EXIF turned it, turned with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Instance, Picture
from transect.data.rle import counts_of
from transect.data.shapes import mask_of

__all__ = ["turned"]

_Points = NDArray[np.float64]


def turned(picture: Picture, orientation: int) -> Picture:
    """Turn what was drawn on the stored frame of a photo as EXIF says.

    Args:
        picture: With the size of the stored frame.
        orientation: EXIF's, 5 to 8: those that change height and width places.

    Returns:
        The picture as it is shown.

    Example:
        >>> dot = Picture("a.jpg", (60, 80), (Instance(point=(10.0, 35.0)),))
        >>> turned(dot, 6).instances[0].point
        (24.0, 10.0)
    """
    assert picture.size_hw is not None
    height, width = picture.size_hw

    def move(points: _Points) -> _Points:
        x, y = points[..., 0], points[..., 1]
        across = height - 1 - y if orientation in (6, 7) else y
        down = width - 1 - x if orientation in (7, 8) else x
        return np.stack([across, down], axis=-1)

    def grid(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        mask = mask.T
        mask = mask[:, ::-1] if orientation in (6, 7) else mask
        return mask[::-1] if orientation in (7, 8) else mask

    made = tuple(_turned(i, move, grid, (height, width)) for i in picture.instances)
    return replace(picture, size_hw=(width, height), instances=made)


def _turned(
    instance: Instance,
    move: Callable[[_Points], _Points],
    grid: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
    size_hw: tuple[int, int],
) -> Instance:
    """One object turned, whatever it covers."""
    counts = instance.counts
    if counts is not None:
        counts = tuple(counts_of(np.ascontiguousarray(grid(mask_of(instance, size_hw)))))
    box = point = None
    if instance.box is not None:
        corners = move(np.array(instance.box, float).reshape(2, 2))
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        box = (x0, y0, x1, y1)
    if instance.point is not None:
        x, y = move(np.array(instance.point, float)).tolist()
        point = (x, y)
    parts = tuple(tuple(move(ring) for ring in part) for part in instance.parts)
    return replace(instance, parts=parts, counts=counts, box=box, point=point)
