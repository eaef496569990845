"""Rules on connected pieces of a mask: too small ones go, small holes close, specks empty it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = [
    "clean",
    "closing",
    "empty_below",
    "fill_holes",
    "label",
    "opening",
    "remove_small",
    "remove_small_labels",
]


def label(mask: NDArray[np.generic], *, connectivity: int = 8) -> NDArray[np.int32]:
    """Number the connected pieces of a mask from 1, in reading order of their first pixel.

    Args:
        mask: (H, W); anything but zero is foreground.
        connectivity: 8, or 4 where corners do not connect.

    Returns:
        (H, W) int32, 0 is background.
    """
    return _pieces(mask, connectivity)[0]


def remove_small(
    mask: NDArray[np.generic], min_area: int, *, connectivity: int = 8
) -> NDArray[np.bool_]:
    """Remove pieces of fewer than ``min_area`` pixels.

    Args:
        mask: (H, W); anything but zero is foreground.
        min_area: In pixels; 0 and 1 remove nothing.
        connectivity: 8 or 4.

    Returns:
        (H, W) bool.

    Example:
        >>> remove_small(np.array([[1, 0, 1, 1]]), 2).astype(int).tolist()
        [[0, 0, 1, 1]]
    """
    on = mask != 0
    if min_area <= 1 or not on.any():
        return on
    labels, areas = _pieces(on, connectivity)
    keep = areas >= min_area
    keep[0] = False
    return keep[labels]


def fill_holes(
    mask: NDArray[np.generic],
    max_area: int,
    *,
    connectivity: int = 4,
    enclosed: bool = True,
) -> NDArray[np.bool_]:
    """Fill pieces of background of fewer than ``max_area`` pixels.

    Args:
        mask: (H, W); anything but zero is foreground.
        max_area: In pixels; 0 and 1 fill nothing.
        connectivity: Of the background: 4 goes with 8 of the foreground.
        enclosed: Only what does not touch the picture's edge; False is ``remove_small`` of the
            background, as the salt 28th place did to both sides.

    Returns:
        (H, W) bool.
    """
    on = mask != 0
    if max_area <= 1 or on.all():
        return on
    labels, areas = _pieces(~on, connectivity)
    fill = areas < max_area
    fill[0] = False
    if enclosed:
        for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            fill[side] = False
    return on | fill[labels]


def empty_below(mask: NDArray[np.generic], min_total: int) -> NDArray[np.bool_]:
    """Make a mask with fewer than ``min_total`` foreground pixels empty, else leave it."""
    on = mask != 0
    return on if np.count_nonzero(on) >= min_total else np.zeros_like(on)


def clean(
    mask: NDArray[np.generic],
    *,
    min_area: int = 0,
    fill: int = 0,
    min_total: int = 0,
    connectivity: int = 8,
) -> NDArray[np.bool_]:
    """Fill small holes, remove small pieces, empty what is left if it is next to nothing.

    Args:
        mask: (H, W); anything but zero is foreground.
        min_area: Smallest piece kept, pixels.
        fill: Smallest hole kept, pixels.
        min_total: Smallest mask kept, pixels.
        connectivity: Of the foreground, 8 or 4; the background has the other.

    Returns:
        (H, W) bool.
    """
    on = fill_holes(mask, fill, connectivity=12 - connectivity)
    return empty_below(remove_small(on, min_area, connectivity=connectivity), min_total)


def remove_small_labels(labels: NDArray[np.integer], min_area: int) -> NDArray[np.int32]:
    """Remove objects of fewer than ``min_area`` pixels and number the rest 1, 2, ... in order.

    Args:
        labels: (H, W), >= 0, 0 is background.
        min_area: In pixels.
    """
    areas = np.bincount(labels.ravel())
    keep = areas >= max(min_area, 1)
    keep[0] = False
    number = (np.cumsum(keep) * keep).astype(np.int32)
    return number[labels]


def opening(mask: NDArray[np.generic], radius: float) -> NDArray[np.bool_]:
    """Erode and dilate by a disc: what is thinner than it disappears."""
    return _morphology(mask, radius, cv2.MORPH_OPEN)


def closing(mask: NDArray[np.generic], radius: float) -> NDArray[np.bool_]:
    """Dilate and erode by a disc: gaps narrower than it close."""
    return _morphology(mask, radius, cv2.MORPH_CLOSE)


def _morphology(mask: NDArray[np.generic], radius: float, kind: int) -> NDArray[np.bool_]:
    """One OpenCV operation with a disc."""
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x * x + y * y <= radius * radius).astype(np.uint8)
    return np.asarray(cv2.morphologyEx((mask != 0).astype(np.uint8), kind, disc)) > 0


def _pieces(
    mask: NDArray[np.generic], connectivity: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Labels, and the area of each label with the background first."""
    if mask.ndim != 2:
        raise TransectError(f"a mask must be (H, W); got {mask.shape}. Pass one at a time.")
    if connectivity not in (4, 8):
        raise TransectError(f"connectivity must be 4 or 8; got {connectivity}.")
    on = np.ascontiguousarray(mask != 0).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(on, connectivity=connectivity)
    return np.asarray(labels, np.int32), np.asarray(stats[:, cv2.CC_STAT_AREA], np.int32)
