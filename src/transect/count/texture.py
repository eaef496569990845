"""The texture of photos: how contrast is spread over bands from fine to coarse."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.predict.scaling import ScaledReader

__all__ = ["SIGMAS", "crops_of", "profile_at", "scaled", "texture", "texture_of"]

# Of the bands, in network pixels. Finer ones hold the sensor's noise, which resampling takes away.
SIGMAS = (1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.3, 16.0)
_SIDE = 256  # of a crop in network pixels


def texture_of(reader: Any, scale: float) -> NDArray[np.float64]:
    """Mean texture of a few crops of one photo, at the networks' scale: (bands,)."""
    crops = crops_of(scaled(reader, scale), np.random.default_rng(1), 4)
    return np.asarray(np.mean([texture(grey) for _, _, grey in crops], axis=0))


def crops_of(
    source: Any, rng: np.random.Generator, count: int
) -> list[tuple[int, int, NDArray[np.float32]]]:
    """Grey crops of a (resampled) photo with their first row and column."""
    height, width, _ = source.shape
    side_h, side_w = min(_SIDE, height), min(_SIDE, width)
    crops = []
    for _ in range(count):
        top, left = (int(rng.uniform() * (a - b)) for a, b in ((height, side_h), (width, side_w)))
        pixels = source.window(top, left, side_h, side_w).astype(np.float32)
        grey = pixels[..., :3].mean(axis=2) if pixels.shape[2] >= 3 else pixels[..., 0]
        crops.append((top, left, np.ascontiguousarray(grey)))
    return crops


def _bands(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Differences of Gaussians from fine to coarse: (bands, h, w)."""
    blurred = [
        cv2.GaussianBlur(grey, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for sigma in SIGMAS
    ]
    return np.stack([a - b for a, b in itertools.pairwise(blurred)])


def texture(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logarithm of every band's share of the contrast, by its median size: objects count little."""
    energy = np.median(np.abs(_bands(grey)), axis=(1, 2)).astype(np.float64) + 1e-3
    return np.asarray(np.log(energy / energy.sum()))


def profile_at(
    grey: NDArray[np.float32], points: NDArray[np.floating], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of contrast in every band at some points, sure ones before others; nan without any."""
    if not len(points):
        return np.full(len(SIGMAS) - 1, np.nan)
    size = np.abs(_bands(grey))
    rows = np.clip(np.rint(points[:, 1]).astype(int), 0, grey.shape[0] - 1)
    columns = np.clip(np.rint(points[:, 0]).astype(int), 0, grey.shape[1] - 1)
    mean = np.average(size[:, rows, columns], axis=1, weights=weights).astype(np.float64) + 1e-6
    return np.asarray(mean / mean.sum())


def scaled(reader: Any, factor: float) -> Any:
    """A reader of the photo resampled by a factor."""
    return reader if factor == 1 else ScaledReader(reader, factor)
