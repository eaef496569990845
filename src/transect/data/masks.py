"""Masks: which numbers are in one, and where its objects are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.images import read_labels

__all__ = ["MaskFacts", "centroids", "extents", "mask_facts"]


@dataclass(frozen=True)
class MaskFacts:
    """What a mask holds.

    Attributes:
        size_hw: (height, width).
        values: (V,) the distinct numbers, ascending.
        pixels: (V,) how many pixels have each.
    """

    size_hw: tuple[int, int]
    values: NDArray[np.int64]
    pixels: NDArray[np.int64]

    @property
    def foreground(self) -> NDArray[np.int64]:
        """The values other than 0."""
        return self.values[self.values != 0]

    @property
    def coverage(self) -> float:
        """Share of pixels other than 0, in [0, 1]."""
        return float(self.pixels[self.values != 0].sum() / max(self.pixels.sum(), 1))


def mask_facts(path: Path) -> MaskFacts:
    """Decode a mask and count its values; remembered until the file changes.

    Raises:
        TransectError: If it cannot be read as labels.
    """
    status = path.stat()
    return _mask_facts(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1 << 17)
def _mask_facts(path: Path, modified_ns: int, size: int) -> MaskFacts:
    """Count the values of one version of a file."""
    labels = read_labels(path)
    if labels.size and labels.min() >= 0 and labels.max() < 1 << 20:
        counts = np.bincount(labels.ravel())
        values = np.flatnonzero(counts)
        return MaskFacts((labels.shape[0], labels.shape[1]), values, counts[values])
    values, counts = np.unique(labels, return_counts=True)
    return MaskFacts((labels.shape[0], labels.shape[1]), values.astype(np.int64), counts)


def extents(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """The box of every object of a label image.

    Args:
        labels: (H, W), 0 is background.

    Returns:
        (K, 4) x0, y0, x1, y1 of the edges, where the middle of the first pixel is 0, in ascending
        order of the labels.

    Example:
        >>> extents(np.array([[0, 5, 5], [2, 0, 0]]))
        array([[-0.5,  0.5,  0.5,  1.5],
               [ 0.5, -0.5,  2.5,  0.5]])
    """
    rows, columns = np.nonzero(labels)
    _, index = np.unique(labels[rows, columns], return_inverse=True)
    found = np.empty((int(index.max(initial=-1)) + 1, 4))
    for low, high, values in ((0, 2, columns), (1, 3, rows)):
        found[:, low], found[:, high] = np.inf, -np.inf
        np.minimum.at(found[:, low], index, values - 0.5)
        np.maximum.at(found[:, high], index, values + 0.5)
    return found


def centroids(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """The centre of every object of a label image.

    Args:
        labels: (H, W), 0 is background.

    Returns:
        (K, 2) x, y in ascending order of the labels.

    Example:
        >>> centroids(np.array([[0, 5, 5], [2, 0, 0]]))
        array([[0. , 1. ],
               [1.5, 0. ]])
    """
    rows, columns = np.nonzero(labels)
    _, index = np.unique(labels[rows, columns], return_inverse=True)
    area = np.bincount(index)
    x = np.bincount(index, columns) / area
    y = np.bincount(index, rows) / area
    return np.stack([x, y], axis=1)
