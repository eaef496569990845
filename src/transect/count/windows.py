"""From a predicted map to a table: features of overlapping windows, and their exact targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Windows", "feature_names", "window_counts", "window_features", "windows_for"]


@dataclass(frozen=True)
class Windows:
    """A grid of windows that covers every cell of a map equally often.

    The sea lion 2nd place's own loop covered its first strip of columns half as often again as
    the rest; here the windows reach over the border on all sides by ``size - stride``.

    Attributes:
        tops: First rows, may be negative.
        lefts: First columns, may be negative.
        size: Side of a window in cells.
        stride: Step between windows, a divisor of ``size``.
    """

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    size: int
    stride: int

    @property
    def coverage(self) -> int:
        """How many windows hold each cell."""
        return (self.size // self.stride) ** 2

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.tops) * len(self.lefts)


def windows_for(size_hw: tuple[int, int], *, size: int, stride: int) -> Windows:
    """Lay windows over a map.

    Args:
        size_hw: (H, W) of the map in cells.
        size: Side of a window.
        stride: Step; it must divide ``size``.

    Example:
        >>> windows_for((4, 4), size=4, stride=2).tops
        (-2, 0, 2)
    """
    if size % stride:
        raise ValueError(f"stride {stride} does not divide window {size}")
    first = stride - size
    return Windows(
        tuple(range(first, size_hw[0], stride)),
        tuple(range(first, size_hw[1], stride)),
        size,
        stride,
    )


def window_counts(points: NDArray[np.floating], windows: Windows) -> NDArray[np.int64]:
    """Dots in every window.

    Args:
        points: (K, 2) x, y in cells of the map; a dot belongs to the cell that holds its centre.
        windows: The grid.

    Returns:
        (number of windows,) counts; they add up to ``windows.coverage`` times K for dots inside.
    """
    rows = np.floor(points[:, 1] + 0.5).astype(int)
    columns = np.floor(points[:, 0] + 0.5).astype(int)
    counts = np.zeros((len(windows.tops), len(windows.lefts)), np.int64)
    for i, j in _memberships(rows, columns, windows):
        np.add.at(counts, (i, j), 1)
    return counts.ravel()


def window_features(
    plane: NDArray[np.float32],
    windows: Windows,
    *,
    pixel_thresholds: Sequence[float],
    blobs: Mapping[float, NDArray[np.floating]],
) -> NDArray[np.float32]:
    """Features of every window of one class's map.

    Args:
        plane: (H, W) probabilities or density.
        windows: The grid.
        pixel_thresholds: Levels above which cells are counted.
        blobs: Threshold to (K, 3) row, column, sigma of the blobs found at it.

    Returns:
        (number of windows, F): sum, cells above each level, then for each blob threshold the
        number of blobs and the sum of the map at their centres; names in ``feature_names``.
    """
    columns = [_sums(plane, windows)]
    columns += [_sums((plane > level).astype(np.float32), windows) for level in pixel_thresholds]
    for threshold in sorted(blobs):
        found = blobs[threshold]
        rows, across = found[:, 0].astype(int), found[:, 1].astype(int)
        number = np.zeros((len(windows.tops), len(windows.lefts)))
        total = np.zeros_like(number)
        values = plane[rows, across]
        for i, j in _memberships(rows, across, windows):
            np.add.at(number, (i, j), 1)
            np.add.at(total, (i, j), values)
        columns += [number.ravel(), total.ravel()]
    return np.stack(columns, axis=1).astype(np.float32)


def feature_names(
    pixel_thresholds: Sequence[float], blob_thresholds: Sequence[float]
) -> tuple[str, ...]:
    """Names of the columns of ``window_features``."""
    blobs = [
        f"{what} of blobs above {level:g}"
        for level in sorted(blob_thresholds)
        for what in ("number", "sum")
    ]
    return ("sum", *(f"cells above {level:g}" for level in pixel_thresholds), *blobs)


def _sums(plane: NDArray[np.float32], windows: Windows) -> NDArray[np.float64]:
    """Sum of a plane over every window, by an integral image."""
    height, width = plane.shape
    table = np.zeros((height + 1, width + 1))
    table[1:, 1:] = plane.cumsum(0, dtype=np.float64).cumsum(1)
    tops, lefts = np.array(windows.tops), np.array(windows.lefts)
    top, bottom = np.clip(tops, 0, height), np.clip(tops + windows.size, 0, height)
    left, right = np.clip(lefts, 0, width), np.clip(lefts + windows.size, 0, width)
    sums = (
        table[bottom][:, right] - table[top][:, right] - table[bottom][:, left]
        + table[top][:, left]
    )  # fmt: skip
    return np.asarray(sums.ravel())


def _memberships(
    rows: NDArray[np.int64], columns: NDArray[np.int64], windows: Windows
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Grid positions of the windows that hold each cell: one pair of arrays per coverage."""
    ratio = windows.size // windows.stride
    i = (rows - windows.tops[0]) // windows.stride
    j = (columns - windows.lefts[0]) // windows.stride
    return [(i - a, j - b) for a in range(ratio) for b in range(ratio)]
