"""Pictures of any type and number of channels, passed through OpenCV four channels at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pixels", "by_fours"]

Pixels: TypeAlias = NDArray[Any]


def by_fours(array: Pixels, change: Callable[[Any], Any]) -> Pixels:
    """Run an OpenCV function, which takes four channels at most, on any number of them.

    Args:
        array: (H, W) or (H, W, C).
        change: Takes and gives (H, W) or (H, W, c) with c up to 4; the size may change.

    Returns:
        With as many axes as ``array``.
    """
    if array.ndim == 2:
        return np.asarray(change(array))
    channels = array.shape[2]
    if channels <= 4:
        changed = change(array)
        return changed if changed.ndim == 3 else changed[:, :, None]
    parts = [change(np.ascontiguousarray(array[..., i : i + 4])) for i in range(0, channels, 4)]
    return np.concatenate([p if p.ndim == 3 else p[:, :, None] for p in parts], axis=2)
