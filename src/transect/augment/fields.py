"""Smooth random fields: random numbers at a few nodes, spread over all pixels by two products."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["STEEPEST", "nodes", "spread", "unfolded"]

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
