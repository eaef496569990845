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
    found = _maxima_screened(image, sigmas, threshold)
    if found is None:
        found = _maxima_dense(image, sigmas, threshold)
    scale, y, x, response = found
    # scikit-image's order: strongest first, ties by row, column, scale.
    order = np.lexsort((scale, x, y, -response))
    table = np.column_stack([y, x, sigmas[scale]]).astype(np.float64)
    return table[order], response[order]


Maxima = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]


def _maxima_dense(
    image: NDArray[np.float64], sigmas: NDArray[np.float64], threshold: float
) -> Maxima:
    """Maxima of the whole scale space in float64."""
    stack = np.stack([_response(image, sigma) for sigma in sigmas])
    peak = stack == _tops(stack)
    if peak.all():  # a map without any structure has no maxima
        peak[:] = False
    scale, y, x = np.nonzero(peak & (stack > threshold))
    return scale, y, x, stack[scale, y, x]


def _maxima_screened(
    image: NDArray[np.float64], sigmas: NDArray[np.float64], threshold: float
) -> Maxima | None:
    """Candidates in float32, which takes half the time; decided in float64 where it matters.

    None if there are so many near ties that the dense form is the better one.
    """
    if not image.size:
        return None
    largest = max(float(image.max()), -float(image.min()))
    if largest == 0 or not np.isfinite(largest):
        return None
    error = 1e-5 * largest  # twice the rounding of 33 x 2 float32 products, and more
    slack = np.float32(2 * error)
    single = image.astype(np.float32)
    stack = [_response(single, sigma) for sigma in sigmas]
    square = np.ones((3, 3), np.uint8)
    wide = [cv2.dilate(plane, square, borderType=cv2.BORDER_REPLICATE) for plane in stack]
    found = []
    for i, plane in enumerate(stack):
        near = plane + slack >= wide[i]
        near &= plane > threshold - error
        place = np.flatnonzero(near)
        for other in (i - 1, i + 1):
            if 0 <= other < len(stack):
                beside = np.asarray(wide[other]).ravel()[place]
                place = place[plane.ravel()[place] + slack >= beside]
        found.append(place + i * image.size)
    own = np.concatenate(found)
    if own.size > 0.01 * image.size:
        return None
    shape = (len(stack), *image.shape)
    scale, y, x = np.unravel_index(own, shape)
    if own.size == 0:
        return scale, y, x, np.empty(0)
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij")).reshape(3, 1, -1)
    around = np.stack([scale, y, x])[:, :, None] + steps  # (3, K, 27)
    for axis, size in enumerate(shape):
        around[axis] = np.clip(around[axis], 0, size - 1)
    flat = np.ravel_multi_index((around[0], around[1], around[2]), shape)
    level = np.empty(flat.shape, np.float32)
    for i, plane in enumerate(stack):
        mine = around[0] == i
        level[mine] = plane[around[1][mine], around[2][mine]]
    close = level >= level[:, 13:14] - slack  # 13 is the middle of the 27
    wanted = np.unique(np.concatenate([own, flat[close]]))
    exact = _responses_at(image, sigmas, np.unravel_index(wanted, shape))
    value = exact[np.searchsorted(wanted, own)]
    rival = np.full(flat.shape, -np.inf)
    rival[close] = exact[np.searchsorted(wanted, flat[close])]
    rival[flat == own[:, None]] = -np.inf
    best = rival.max(1)
    if (np.abs(best - value) <= 1e-12 * largest).any():
        return None  # exact ties are kept as ties only by the symmetric sums of the dense form
    kept = (best < value) & (value > threshold)
    return scale[kept], y[kept], x[kept], value[kept]


def _tops(stack: NDArray[np.floating]) -> NDArray[np.floating]:
    """The largest of each 3 x 3 x 3 neighbourhood of a (S, H, W) stack."""
    square = np.ones((3, 3), np.uint8)
    wide = [cv2.dilate(plane, square, borderType=cv2.BORDER_REPLICATE) for plane in stack]
    tops = np.empty_like(stack)
    for i in range(len(wide)):
        np.copyto(tops[i], wide[i])
        for other in (i - 1, i + 1):
            if 0 <= other < len(wide):
                np.maximum(tops[i], wide[other], out=tops[i])
    return tops


def _kernels(sigma: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scipy's Gaussian kernel, and minus its second derivative times the variance."""
    reach = int(4.0 * sigma + 0.5)
    x = np.arange(-reach, reach + 1)
    plain = np.exp(-0.5 / (sigma * sigma) * x**2)
    plain /= plain.sum()
    return plain, plain * (1 - x**2 / sigma**2)


def _response(image: NDArray[np.floating], sigma: float) -> NDArray[np.floating]:
    """Minus the Laplacian of the blurred image times the variance, in the image's type."""
    plain, second = _kernels(sigma)
    down = cv2.sepFilter2D(image, -1, plain, second, borderType=cv2.BORDER_REFLECT)
    right = cv2.sepFilter2D(image, -1, second, plain, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.add(down, right, dst=down))


def _responses_at(
    image: NDArray[np.float64],
    sigmas: NDArray[np.float64],
    points: tuple[NDArray[np.intp], ...],
) -> NDArray[np.float64]:
    """The response at single points (scale, y, x)."""
    scale, y, x = points
    values = np.empty(scale.size)
    wide = int(4.0 * sigmas.max() + 0.5)
    padded = np.asarray(cv2.copyMakeBorder(image, wide, wide, wide, wide, cv2.BORDER_REFLECT))
    for number, sigma in enumerate(sigmas):
        plain, second = _kernels(sigma)
        reach = len(plain) // 2
        windows = np.lib.stride_tricks.sliding_window_view(padded, (len(plain),) * 2)
        rows = np.flatnonzero(scale == number)
        for part in np.array_split(rows, max(1, rows.size // 2000)):
            patch = windows[y[part] + wide - reach, x[part] + wide - reach]  # (K, k, k)
            both = patch @ np.stack([plain, second], 1)  # (K, k, 2)
            values[part] = both[..., 0] @ second + both[..., 1] @ plain
    return values


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
