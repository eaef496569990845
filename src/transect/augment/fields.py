"""Smooth random fields: random numbers at a few nodes, spread over all pixels by two products."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["STEEPEST", "nodes", "piecewise_affine", "spread", "unfolded"]

# A field steeper than this would fold the picture over itself, and points had no place.
STEEPEST = 0.7


def nodes(length: int, step: int) -> int:
    """How many nodes ``step`` pixels apart serve ``length`` pixels, with a margin of one or two."""
    return (length - 1) // step + 4


@lru_cache(maxsize=64)
def spread(length: int, step: int, smooth: bool) -> NDArray[np.float32]:
    """The weights that interpolate nodes to pixels along one axis.

    Args:
        length: Pixels.
        step: Distance of the nodes in pixels; the second one is at pixel 0.
        smooth: Cubic (Keys 1981, a = -0.5), else linear.

    Returns:
        (length, nodes(length, step)) float32, every row sums to 1. Do not change it: it is kept.

    Example:
        >>> spread(3, 2, False)[1].tolist()
        [0.0, 0.5, 0.5, 0.0, 0.0]
    """
    place = np.arange(length)[:, None] / step + 1
    away = np.abs(place - np.arange(nodes(length, step)))
    if not smooth:
        return np.clip(1 - away, 0, None).astype(np.float32)
    near = (1.5 * away - 2.5) * away**2 + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    return np.where(away < 1, near, np.where(away < 2, far, 0)).astype(np.float32)


def piecewise_affine(moves: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Move the nodes of a mesh of triangles; what is between follows by one affine map each.

    Args:
        moves: (2, R, C) dx, dy of the nodes, which lie evenly from corner to corner; two each
            way at least.
        size_hw: (height, width) of the field.

    Returns:
        (2, H, W) float32: linear within the two triangles of every cell.

    References:
        imgaug's PiecewiseAffine, after skimage.transform.PiecewiseAffineTransform.

    Example:
        >>> corner = np.array([[[0, 0], [0, 4]], [[0, 0], [0, 0]]], np.float32)
        >>> piecewise_affine(corner, (3, 3))[0].tolist()
        [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 2.0, 4.0]]
    """
    places = [
        np.linspace(0, n - 1, max(side, 2), dtype=np.float32)[:side]
        for n, side in zip(moves.shape[1:], size_hw, strict=True)
    ]
    (row, down), (column, across) = (
        (cell := np.minimum(place.astype(np.intp), n - 2), place - cell)
        for place, n in zip(places, moves.shape[1:], strict=True)
    )
    row, down = row[:, None], down[:, None]
    near, far = moves[:, row, column], moves[:, row + 1, column + 1]
    right, below = moves[:, row, column + 1], moves[:, row + 1, column]
    upper = near + across * (right - near) + down * (below - near)
    lower = far + (1 - across) * (below - far) + (1 - down) * (right - far)
    return np.where(across + down <= 1, upper, lower).astype(np.float32)


def unfolded(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weaken a (2, H, W) field that is so steep that it would fold the picture over itself."""
    step = max(1, min(field.shape[1:]) // 32)  # it is smooth: a part of the pixels tells
    some = field[:, ::step, ::step]
    if min(some.shape[1:]) < 2:
        return field
    start = some[:, :-1, :-1]
    slope = np.abs(some[:, 1:, :-1] - start) + np.abs(some[:, :-1, 1:] - start)
    steep = float(slope.max()) / step
    return field if steep <= STEEPEST else field * np.float32(STEEPEST / steep)
