"""Drawing on masks: what a stroke, an outline, a cut or a merge makes of the objects of an image.

A pixel belongs to one object at most: what one gains the others lose, as in a mask file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transect.data.outlines import fill_window
from transect.errors import TransectError
from transect.review.marks import Area, Mark

__all__ = ["cut", "erased", "filled", "merged", "painted", "stroke"]

_MOST_POINTS = 20_000  # of one stroke or outline; a hand draws hundreds
_WIDEST = 2_000.0  # pixels of a brush's radius

Points = NDArray[np.float64]
"""(K, 2) x, y."""


def points_of(values: object, size_hw: tuple[int, int]) -> Points:
    """Points that a browser sent, moved into the image.

    Raises:
        TransectError: If they are no points, or too many.
    """
    try:
        points = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or not 1 <= len(points) <= _MOST_POINTS:
        raise TransectError(f"a line needs 1 to {_MOST_POINTS} points x, y. Draw it again.")
    if not np.isfinite(points).all():
        raise TransectError("a line needs points with finite numbers. Draw it again.")
    return np.clip(points, -0.5, np.array(size_hw[::-1]) - 0.5)


def stroke(points: Points, radius: float, size_hw: tuple[int, int]) -> Area | None:
    """The pixels that a round brush touches along a line.

    Args:
        points: (K, 2) x, y; one point is a dab.
        radius: In pixels, from 0.5: one pixel.
        size_hw: (height, width) of the image.

    Returns:
        Pixels whose centre lies within ``radius`` of the line, and at least those that the points
        are in.
    """
    import cv2

    radius = float(np.clip(radius, 0.5, _WIDEST))
    reach = int(np.ceil(radius)) + 1
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - reach, 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + reach + 1, size_hw[::-1])
    line = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    corners = np.rint(points).astype(np.int32)
    corners = np.clip(corners, 0, np.array(size_hw[::-1]) - 1) - low.astype(np.int32)
    ends = corners[[0, *range(len(corners))]]  # a single point would draw nothing
    cv2.polylines(line, [ends.reshape(-1, 1, 2)], False, 1)
    if radius > 0.5:
        line = (cv2.distanceTransform(1 - line, cv2.DIST_L2, 5) <= radius).astype(np.uint8)
    return Area.of(line > 0, int(low[1]), int(low[0]))


def filled(points: Points, size_hw: tuple[int, int]) -> Area | None:
    """The pixels whose centres lie inside an outline."""
    window, top, left = fill_window([(points,)], size_hw)
    return Area.of(window, top, left) if window.size else None


def painted(marks: Sequence[Mark], target: Mark, area: Area) -> tuple[list[Mark], list[str]]:
    """Give pixels to an object and take them from the others.

    Args:
        marks: Those of the image.
        target: The object that grows: one of ``marks``, or a new one without an area.
        area: What it gains.

    Returns:
        Objects that changed, and the ids of those of which nothing is left.
    """
    whole = area if target.area is None else _union([target.area, area])
    changed, gone = erased([mark for mark in marks if mark.id != target.id], area)
    return [Mark(target.id, target.label, whole), *changed], gone


def erased(marks: Sequence[Mark], area: Area) -> tuple[list[Mark], list[str]]:
    """Take pixels from objects.

    Args:
        marks: The objects that lose them.
        area: What they lose.

    Returns:
        Objects that changed, and the ids of those of which nothing is left.
    """
    changed, gone = [], []
    for mark in marks:
        if mark.area is None or not _overlap(mark.area, area):
            continue
        mask = mark.area.mask()
        left = mask & ~_seen_from(area, mark.area)
        if left.sum() == mask.sum():
            continue
        rest = Area.of(left, mark.area.top, mark.area.left)
        if rest is None:
            gone.append(mark.id)
        else:
            changed.append(Mark(mark.id, mark.label, rest))
    return changed, gone


def merged(marks: Sequence[Mark]) -> tuple[list[Mark], list[str]]:
    """Make one object of several; it keeps the id and the class of the first.

    Raises:
        TransectError: If there are fewer than two.
    """
    areas = [mark.area for mark in marks if mark.area is not None]
    if len(areas) < 2:
        raise TransectError("merging needs two or more selected objects. Select them first.")
    first, *others = [mark for mark in marks if mark.area is not None]
    return [Mark(first.id, first.label, _union(areas))], [mark.id for mark in others]


def cut(mark: Mark, points: Points, new_ids: Sequence[str]) -> list[Mark]:
    """Cut an object along a line; no pixel is lost.

    Args:
        mark: The object.
        points: (K, 2) x, y of the line.
        new_ids: For the pieces but the largest, which keeps the object's id; pieces beyond them
            stay with the largest.

    Returns:
        The pieces, the largest first.

    Raises:
        TransectError: If the line does not part it.
    """
    import cv2

    assert mark.area is not None
    mask = np.pad(mark.area.mask(), 1).astype(np.uint8)
    before = cv2.connectedComponents(mask, connectivity=8)[0]
    corners = np.rint(points - [mark.area.left - 1, mark.area.top - 1]).astype(np.int32)
    knife = np.zeros_like(mask)
    cv2.polylines(knife, [corners.reshape(-1, 1, 2)], False, 1, lineType=4)
    kept = mask & (1 - knife)
    # Steps of a 4-connected line share edges, so pieces that only touch at corners are parted.
    count, pieces = cv2.connectedComponents(kept, connectivity=8)
    if count <= before:
        raise TransectError("the line does not part the object. Draw it from edge to edge.")
    pieces = _nearest(np.asarray(pieces, np.int32), mask)
    sizes = np.bincount(pieces[mask > 0], minlength=count)
    order = [int(number) for number in np.argsort(-sizes[1:], kind="stable") + 1]
    with_largest = {order[0], *order[1 + len(new_ids) :]}
    groups = [with_largest, *({number} for number in order[1 : 1 + len(new_ids)])]
    found = []
    for id, group in zip((mark.id, *new_ids), groups, strict=False):
        inside = (np.isin(pieces, list(group)) & (mask > 0))[1:-1, 1:-1]
        found.append(Mark(id, mark.label, Area.of(inside, mark.area.top, mark.area.left)))
    return found


def _nearest(pieces: NDArray[np.int32], mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Give the pixels under the knife to the piece that is nearest."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
    return np.where((pieces == 0) & (mask > 0), pieces[rows, columns], pieces)


def _overlap(a: Area, b: Area) -> bool:
    """Whether two windows share pixels."""
    return (
        a.top < b.top + b.size_hw[0]
        and b.top < a.top + a.size_hw[0]
        and a.left < b.left + b.size_hw[1]
        and b.left < a.left + a.size_hw[1]
    )


def _seen_from(area: Area, window: Area) -> NDArray[np.bool_]:
    """The pixels of an area within the window of another."""
    seen = np.zeros(window.size_hw, np.bool_)
    top, left = area.top - window.top, area.left - window.left
    mask = area.mask()[max(0, -top) :, max(0, -left) :]
    part = seen[max(0, top) :, max(0, left) :]
    height, width = min(mask.shape[0], part.shape[0]), min(mask.shape[1], part.shape[1])
    part[:height, :width] = mask[:height, :width]
    return seen


def _union(areas: Sequence[Area]) -> Area:
    """The pixels of any of some areas."""
    top, left = min(a.top for a in areas), min(a.left for a in areas)
    bottom = max(a.top + a.size_hw[0] for a in areas)
    right = max(a.left + a.size_hw[1] for a in areas)
    whole = np.zeros((bottom - top, right - left), np.bool_)
    for a in areas:
        rows, columns = a.place
        place = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        whole[place] |= a.mask()
    found = Area.of(whole, top, left)
    assert found is not None
    return found
