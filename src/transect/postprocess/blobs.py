"""Blobs of a map for many thresholds from one scale space: scikit-image's, without its repeats."""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = ["blobs"]


def blobs(
    image: NDArray[np.generic],
    *,
    min_sigma: float = 1,
    max_sigma: float = 4,
    num_sigma: int = 4,
    thresholds: Iterable[float] = (0.04,),
    overlap: float = 0.5,
) -> dict[float, NDArray[np.float64]]:
    """Laplacian-of-Gaussian blobs, as ``skimage.feature.blob_log`` finds them in float64.

    The scale space, its maxima and the overlaps of pairs are found once, at the lowest threshold;
    a higher threshold keeps a prefix of the maxima, which are sorted by response.

    Args:
        image: (H, W); integer types are scaled to [0, 1] as scikit-image does.
        min_sigma: Smallest width.
        max_sigma: Largest width.
        num_sigma: Widths, evenly spaced between them.
        thresholds: On the scale-normalised response: a square of 4 x 4 ones reaches .62.
        overlap: Of two blobs that share more of the smaller one's disc, the smaller goes.

    Returns:
        For each threshold (K, 3) y, x, sigma, strongest first. The radius is about 1.4 sigma.

    Raises:
        TransectError: If the image has channels.
    """
    levels = [float(t) for t in thresholds]
    if image.ndim != 2:
        raise TransectError(f"blobs are found in (H, W) maps; got {image.shape}. Pass one map.")
    if not levels:
        return {}
    sigmas = np.linspace(min_sigma, max_sigma, num_sigma)
    table, response = _maxima(_float(image), sigmas, min(levels))
    pairs = _overlapping(table, overlap)
    result = {}
    for level in levels:
        count = int(np.searchsorted(-response, -level, side="left"))
        alive = _pruned(table[:count], pairs[pairs[:, 1] < count])
        result[level] = table[:count][alive]
    return result


def _float(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """The image in float64; unsigned types by their maximum, as scikit-image's ``img_as_float``."""
    if image.dtype.kind == "f":
        return np.asarray(image, np.float64)
    if image.dtype == np.bool_:
        return image.astype(np.float64)
    if image.dtype.kind != "u":
        raise TransectError(f"blobs are found in float or unsigned maps; got {image.dtype}.")
    return np.asarray(image, np.float64) / np.iinfo(image.dtype.str).max


def _maxima(
    image: NDArray[np.float64], sigmas: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Maxima in place and scale above the threshold: (K, 3) y, x, sigma and (K,) response."""
    stack = [_response(image, sigma) for sigma in sigmas]
    square = np.ones((3, 3), np.uint8)
    wide = [cv2.dilate(plane, square, borderType=cv2.BORDER_REPLICATE) for plane in stack]
    found, trivial = [], True
    for i, plane in enumerate(stack):
        top = wide[i]
        for other in (i - 1, i + 1):
            if 0 <= other < len(stack):
                top = cv2.max(top, wide[other])
        peak = plane == top
        trivial = trivial and bool(peak.all())
        y, x = np.nonzero(peak & (plane > threshold))
        found.append(np.stack([y, x, np.full(y.size, i), plane[y, x]], 1))
    points = np.concatenate(found)
    if trivial:  # a map without any structure has no maxima
        points = points[:0]
    # scikit-image's order: strongest first, ties by row, column, scale.
    points = points[np.lexsort((points[:, 2], points[:, 1], points[:, 0], -points[:, 3]))]
    table = np.column_stack([points[:, :2], sigmas[points[:, 2].astype(int)]])
    return table, points[:, 3]


def _response(image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Minus the Laplacian of the blurred image times the variance, with scipy's kernels."""
    reach = int(4.0 * sigma + 0.5)
    x = np.arange(-reach, reach + 1)
    plain = np.exp(-0.5 / (sigma * sigma) * x**2)
    plain /= plain.sum()
    second = plain * (x**2 / sigma**4 - 1 / sigma**2)
    down = cv2.sepFilter2D(image, cv2.CV_64F, plain, second, borderType=cv2.BORDER_REFLECT)
    right = cv2.sepFilter2D(image, cv2.CV_64F, second, plain, borderType=cv2.BORDER_REFLECT)
    return np.asarray(-(down + right) * sigma**2)


def _overlapping(table: NDArray[np.float64], overlap: float) -> NDArray[np.int64]:
    """(M, 2) pairs i < j whose discs share more than ``overlap`` of the smaller one."""
    if len(table) < 2:
        return np.empty((0, 2), np.int64)
    from scipy.spatial import cKDTree

    reach = 2 * table[:, 2].max() * math.sqrt(2)
    pairs = cKDTree(table[:, :2]).query_pairs(reach, output_type="ndarray").astype(np.int64)
    pairs.sort(axis=1)
    one, other = table[pairs[:, 0]], table[pairs[:, 1]]
    large = np.maximum(one[:, 2], other[:, 2])
    r1, r2 = one[:, 2] / large, other[:, 2] / large
    scaled = (other[:, :2] - one[:, :2]) / (large * math.sqrt(2))[:, None]
    d = np.sqrt((scaled**2).sum(1))
    share = np.zeros(len(pairs))
    share[d <= np.abs(r1 - r2)] = 1
    cut = (d > np.abs(r1 - r2)) & (d <= r1 + r2)
    share[cut] = _lens(d[cut], r1[cut], r2[cut])
    return pairs[share > overlap]


def _lens(
    d: NDArray[np.float64], r1: NDArray[np.float64], r2: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Area common to two discs, over the area of the smaller."""
    angle1 = np.arccos(np.clip((d**2 + r1**2 - r2**2) / (2 * d * r1), -1, 1))
    angle2 = np.arccos(np.clip((d**2 + r2**2 - r1**2) / (2 * d * r2), -1, 1))
    kite = np.abs((-d + r2 + r1) * (d - r2 + r1) * (d + r2 - r1) * (d + r2 + r1))
    area = r1**2 * angle1 + r2**2 * angle2 - 0.5 * np.sqrt(kite)
    return area / (math.pi * np.minimum(r1, r2) ** 2)


def _pruned(table: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which blobs survive: the smaller of a pair goes, of equals the stronger (as there)."""
    alive = np.ones(len(table), bool)
    if not len(pairs):
        return alive
    bigger = table[pairs[:, 0], 2] > table[pairs[:, 1], 2]
    victim = np.where(bigger, pairs[:, 1], pairs[:, 0])
    killer = np.where(bigger, pairs[:, 0], pairs[:, 1])
    if not np.isin(killer, victim).any():
        alive[victim] = False
        return alive
    # The dead do not kill, so chains depend on the order of pairs; take scikit-image's, which
    # is the order of a Python set.
    from scipy.spatial import cKDTree

    reach = 2 * table[:, 2].max() * math.sqrt(2)
    wanted = set(map(tuple, pairs.tolist()))
    fates = dict(zip(map(tuple, pairs.tolist()), zip(killer, victim, strict=True), strict=True))
    for pair in cKDTree(table[:, :2]).query_pairs(reach):
        if pair in wanted:
            strong, weak = fates[pair]
            if alive[strong] and alive[weak]:
                alive[weak] = False
    return alive
