"""Outlines and masks: polygons with holes to pixels and back, exactly.

A pixel is inside if its centre is. The outline of a mask runs along the edges of its pixels, so
filling it gives the same mask again, here and in every program that looks at pixel centres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = [
    "box_ring",
    "crossings",
    "ellipse_ring",
    "fill",
    "fill_window",
    "one_ring",
    "outlines",
    "signed_area",
    "turned_box",
]

_CROSSINGS = 1 << 21  # crossings of edges with rows that are looked at together
_CROSSINGS_LIMIT = 1 << 29  # of one piece: seconds; more is not an outline but an attack

_Part = tuple[NDArray[np.float64], ...]


def fill(parts: Sequence[_Part], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill outlines: the union of pieces, each by the even-odd rule over its rings.

    Args:
        parts: Pieces: an outer ring and the rings of holes, each (K, 2) x, y with pixel centres
            at integers; rings close by themselves. They may reach beyond the picture.
        size_hw: (height, width) of the mask.

    Returns:
        (H, W) bool.

    Raises:
        TransectError: If an outline goes up and down so often that it cannot be an object's.

    Example:
        >>> square = np.array([[-0.5, -0.5], [1.5, -0.5], [1.5, 0.5], [-0.5, 0.5]])
        >>> fill([(square,)], (2, 3)).astype(int)
        array([[1, 1, 0],
               [0, 0, 0]])
    """
    mask = np.zeros(size_hw, np.bool_)
    window, top, left = fill_window(parts, size_hw)
    mask[top : top + window.shape[0], left : left + window.shape[1]] = window
    return mask


def fill_window(
    parts: Sequence[_Part], size_hw: tuple[int, int]
) -> tuple[NDArray[np.bool_], int, int]:
    """Fill outlines within the smallest window of the picture that holds their corners.

    Args:
        parts: As for ``fill``.
        size_hw: (height, width) of the picture.

    Returns:
        (h, w) bool, and the window's first row and column; (0, 0) if all is outside.

    Raises:
        TransectError: As ``fill``.
    """
    limit = np.array([size_hw[1], size_hw[0]])
    boxes = []
    for rings in parts:
        points = np.concatenate([ring for ring in rings if len(ring)] or [np.zeros((0, 2))])
        if len(points):
            low = np.clip(np.ceil(points.min(axis=0)), 0, limit).astype(int)
            high = np.clip(np.ceil(points.max(axis=0)), 0, limit).astype(int)
            if (high > low).all():
                boxes.append((low, high, [ring - low for ring in rings if len(ring)]))
    if not boxes:
        return np.zeros((0, 0), np.bool_), 0, 0
    left, top = np.min([low for low, _, _ in boxes], axis=0).tolist()
    right, bottom = np.max([high for _, high, _ in boxes], axis=0).tolist()
    window = np.zeros((bottom - top, right - left), np.bool_)
    for low, high, moved in boxes:
        (x0, y0), (x1, y1) = (low - (left, top)).tolist(), (high - (left, top)).tolist()
        window[y0:y1, x0:x1] |= _even_odd(moved, (y1 - y0, x1 - x0))
    return window, top, left


def outlines(mask: NDArray[np.bool_], *, top: int = 0, left: int = 0) -> tuple[_Part, ...]:
    """Trace a mask along the edges of its pixels.

    Pixels that touch only at a corner belong to different pieces.

    Args:
        mask: (H, W) bool: a picture, or a window of it.
        top: Row of the window in the picture.
        left: Column of the window in the picture.

    Returns:
        Pieces from top to bottom: outer ring (clockwise on the screen) and holes
        (anticlockwise), only corners, at half pixels. ``fill`` gives the mask back.

    Example:
        >>> outlines(np.array([[False, True]]))[0][0].tolist()
        [[0.5, -0.5], [1.5, -0.5], [1.5, 0.5], [0.5, 0.5]]
    """
    import cv2

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return ()
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    framed = np.pad(cut, 1).astype(np.uint8)
    rings, seeds = _rings(framed)
    _, pieces = cv2.connectedComponents(framed, connectivity=4)
    parts: dict[int, list[NDArray[np.float64]]] = {}
    shift = np.array([left + columns[0] - 1.5, top + rows[0] - 1.5])
    # A piece's outer ring holds its topmost leftmost corner, so it comes before its holes.
    for ring, (row, column) in zip(rings, seeds, strict=True):
        parts.setdefault(int(pieces[row, column]), []).append(ring + shift)
    return tuple(tuple(rings) for rings in parts.values())


def one_ring(part_or_parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Join rings into one by bridges that are walked forth and back, for formats without holes.

    Args:
        part_or_parts: Rings, each (K, 2).

    Returns:
        (K, 2): one ring; the even-odd rule fills it as it fills all of them.

    Example:
        >>> one_ring([np.zeros((3, 2)), np.ones((3, 2))]).shape
        (8, 2)
    """
    rings = [ring for ring in part_or_parts if len(ring)]
    if len(rings) == 1:
        return rings[0]
    home = rings[0][:1]
    walk = [rings[0], home]
    for ring in rings[1:]:
        walk += [ring, ring[:1], home]
    return np.concatenate(walk[:-1]) if len(rings) > 1 else np.concatenate(walk)


def box_ring(x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float64]:
    """The four corners of a box, clockwise on the screen: (4, 2).

    Example:
        >>> box_ring(0, 1, 2, 3).tolist()
        [[0.0, 1.0], [2.0, 1.0], [2.0, 3.0], [0.0, 3.0]]
    """
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def turned_box(corners: tuple[float, float, float, float], degrees: float) -> NDArray[np.float64]:
    """The corners of a box turned clockwise on the screen about its middle: (4, 2).

    Example:
        >>> turned_box((0, 0, 4, 2), 90).round(6).tolist()
        [[3.0, -1.0], [3.0, 3.0], [1.0, 3.0], [1.0, -1.0]]
    """
    ring = box_ring(*corners)
    middle = ring.mean(axis=0)
    turn = np.deg2rad(degrees)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return (ring - middle) @ matrix + middle


def ellipse_ring(
    x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0, points: int = 64
) -> NDArray[np.float64]:
    """An ellipse as a polygon.

    Args:
        x: Of its centre.
        y: Of its centre.
        radius_x: In pixels, before it is turned.
        radius_y: In pixels.
        degrees: Turned clockwise on the screen.
        points: Corners.

    Returns:
        (points, 2).
    """
    angles = np.arange(points) * (2 * np.pi / points)
    across, along = radius_x * np.cos(angles), radius_y * np.sin(angles)
    turn = np.deg2rad(degrees)
    return np.stack(
        [
            x + across * np.cos(turn) - along * np.sin(turn),
            y + across * np.sin(turn) + along * np.cos(turn),
        ],
        axis=1,
    )


def signed_area(ring: NDArray[np.float64]) -> float:
    """Area inside a ring, positive if it runs clockwise on the screen (y down).

    Example:
        >>> signed_area(np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]))
        2.0
    """
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def crossings(
    start: NDArray[np.float64], end: NDArray[np.float64], size_hw: tuple[int, int]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Where edges cross the rows of a picture.

    Args:
        start: (E, 2) x, y.
        end: (E, 2) x, y.
        size_hw: (height, width).

    Yields:
        In portions: the edge, the row, and the first column, 0 to width, whose centre is at or
        right of the crossing.

    Raises:
        TransectError: If they go up and down so often that they cannot be an object's.
    """
    height, width = size_hw
    # Always from top to bottom, so that an edge walked back crosses each row at the same float.
    swap = (start[:, 1] > end[:, 1])[:, None]
    start, end = np.where(swap, end, start), np.where(swap, start, end)
    first = np.clip(np.ceil(start[:, 1]), 0, height).astype(np.int64)
    after = np.clip(np.ceil(end[:, 1]), 0, height).astype(np.int64)
    spans = after - first
    if spans.sum() > _CROSSINGS_LIMIT:
        raise TransectError(
            f"an outline of {len(start)} points crosses {spans.sum()} pixel rows. Simplify it."
        )
    crossed = np.flatnonzero(spans)
    portion = np.cumsum(spans[crossed]) // _CROSSINGS
    for number in range(int(portion[-1]) + 1 if len(portion) else 0):
        edges = crossed[portion == number]
        n = spans[edges]
        owner = np.repeat(edges, n)
        row = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + first[owner]
        run = end[owner] - start[owner]
        x = start[owner, 0] + (row - start[owner, 1]) * (run[:, 0] / run[:, 1])
        yield owner, row, np.clip(np.ceil(x), 0, width).astype(np.int64)


def _even_odd(rings: Sequence[NDArray[np.float64]], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centre has an odd number of edges to its left."""
    height, width = size_hw
    toggles = np.zeros((height, width + 1), np.uint8)
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    for _, row, column in crossings(start, end, size_hw):
        np.bitwise_xor.at(toggles.reshape(-1), row * (width + 1) + column, 1)
    np.bitwise_xor.accumulate(toggles, axis=1, out=toggles)
    return toggles[:, :width].astype(np.bool_)


def _rings(
    framed: NDArray[np.uint8],
) -> tuple[list[NDArray[np.float64]], list[tuple[int, int]]]:
    """Closed walks along pixel edges of a mask with an empty frame, and a pixel inside each.

    Walks are lists of corners (x, y) of the lattice, foreground to the right hand.
    """
    a, b = framed[:-1, :-1], framed[:-1, 1:]  # above a lattice point: left, right
    c, d = framed[1:, :-1], framed[1:, 1:]  # below it
    saddle = (a == d) & (b == c) & (a != b)
    corner = ((a + b + c + d) & 1).astype(np.bool_) | saddle
    y, x = np.nonzero(np.repeat(corner[..., None], 2, axis=2) & _twice(saddle))[:2]
    # Corners row by row pair up to horizontal edges, column by column to vertical ones.
    n = len(x)
    is_saddle = saddle[y, x]
    second = np.zeros(n, np.bool_)  # the second of the two copies of a saddle
    second[1:] = is_saddle[1:] & (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    # In a row a saddle's first copy ends the edge from the left, its second begins one to the
    # right. With foreground a, d the walk from the left goes on upward or downward so that the
    # pieces part: the left edge belongs with the one below if a is background, else above.
    down_first = is_saddle & (a[y, x] == 0)
    order_in_column = np.where(is_saddle, np.where(down_first, ~second, second), False)
    by_column = np.lexsort((order_in_column, y, x))
    along_row = np.arange(n) ^ 1
    along_column = np.empty(n, np.int64)
    along_column[by_column] = by_column[np.arange(n) ^ 1]
    left = np.arange(0, n, 2)
    below = framed[y[left] + 1, x[left] + 1].astype(np.bool_)
    starts = np.where(below, left, left + 1)  # to the right above foreground, else to the left
    points = np.stack([x, y], axis=1).astype(np.float64) + 0.5
    row_next, column_next = along_row.tolist(), along_column.tolist()
    seen = bytearray(n)
    rings, seeds = [], []
    for begin, edge, is_below in zip(starts.tolist(), left.tolist(), below.tolist(), strict=True):
        if seen[begin]:
            continue
        walk = []
        here = begin
        while not seen[here]:
            there = row_next[here]
            seen[here] = seen[there] = 1
            walk += [here, there]
            here = column_next[there]
        assert here == begin, "every walk along an outline comes back"
        rings.append(points[walk] + 0.5)
        seeds.append((int(y[edge]) + is_below, int(x[edge]) + 1))
    return rings, seeds


def _twice(saddle: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Once for every lattice point, twice for saddles."""
    return np.stack([np.ones_like(saddle), saddle], axis=2)
