"""Dense conditional random field with two labels, by a bilateral grid: no compiler needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = ["Crf", "dense_crf", "exact_crf"]

Filter = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Crf:
    """Strengths and widths of the field; the customary start of the reference library.

    Attributes:
        steps: Mean-field steps.
        near: Weight of agreeing with near pixels.
        near_px: Their Gaussian width.
        alike: Weight of agreeing with near pixels of like colour.
        alike_px: Their width in place.
        alike_colour: And in colour, in levels of 0-255.
    """

    steps: int = 5
    near: float = 3.0
    near_px: float = 3.0
    alike: float = 10.0
    alike_px: float = 80.0
    alike_colour: float = 13.0


def dense_crf(
    probability: NDArray[np.floating], image: NDArray[np.generic], crf: Crf = Crf()
) -> NDArray[np.float32]:
    """Move a foreground probability towards the edges of the picture.

    Mean field of Krähenbühl and Koltun 2011 with Potts compatibility and symmetric normalisation,
    in logits: each step adds weight * (2 * filtered(q) - filtered(1)). The bilateral filter runs
    on a grid over place and colour: linear splat, Gaussian blur, linear slice, the blur's variance
    being lessened by what splat and slice add.

    Args:
        probability: (H, W) in [0, 1].
        image: (H, W), (H, W, 1) or (H, W, 3) in levels of 0-255. Colour is given more coarsely
            than grey (its grid has five axes).
        crf: Strengths and widths.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        TransectError: If shapes differ.
    """
    levels = _levels(probability, image)
    return _mean_field(
        probability, crf, _blur(crf.near_px), _grid_filter(levels, crf.alike_px, crf.alike_colour)
    )


def exact_crf(
    probability: NDArray[np.floating], image: NDArray[np.generic], crf: Crf = Crf()
) -> NDArray[np.float32]:
    """The same field with every pair of pixels written out: the yardstick, for small pictures."""
    levels = _levels(probability, image)
    height, width = probability.shape
    if height * width > 6000:
        raise TransectError("the exact field is for pictures of up to 6000 pixels.")
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(np.float64)
    place = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    flat = levels.reshape(height * width, -1)
    colour = ((flat[:, None] - flat[None]) ** 2).sum(2)

    def by(kernel: NDArray[np.float64]) -> Filter:
        return lambda q: (kernel @ q.ravel()).reshape(q.shape)

    near = by(np.exp(-place / (2 * crf.near_px**2)))
    alike = by(np.exp(-place / (2 * crf.alike_px**2) - colour / (2 * crf.alike_colour**2)))
    return _mean_field(probability, crf, near, alike)


def _mean_field(
    probability: NDArray[np.floating], crf: Crf, near: Filter, alike: Filter
) -> NDArray[np.float32]:
    """Mean-field steps in logits, with symmetrically normalised filters."""
    p = np.clip(np.asarray(probability, np.float64), 1e-6, 1 - 1e-6)
    unary = np.log(p) - np.log1p(-p)
    ones = np.ones_like(p)
    parts = []
    for weight, smooth in ((crf.near, near), (crf.alike, alike)):
        if weight:
            root = 1 / np.sqrt(smooth(ones))
            parts.append((weight, smooth, root, root * smooth(root)))
    q = p
    for _ in range(crf.steps):
        logit = unary.copy()
        for weight, smooth, root, full in parts:
            logit += weight * (2 * root * smooth(root * q) - full)
        q = 1 / (1 + np.exp(-np.clip(logit, -60, 60)))
    return q.astype(np.float32)


def _blur(sigma: float) -> Filter:
    """Gaussian sum over place; nothing lies outside the picture."""
    from scipy import ndimage

    return lambda q: ndimage.gaussian_filter(q, sigma, mode="constant", truncate=5)


def _grid_filter(levels: NDArray[np.float64], sigma_px: float, sigma_level: float) -> Filter:
    """Sum over pixels near in place and colour, through a grid; up to a constant factor."""
    from scipy import sparse

    height, width, channels = levels.shape
    per_sigma = 2.0 if channels == 1 else 1.0
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    axes = [y * (per_sigma / sigma_px), x * (per_sigma / sigma_px)]
    axes += [levels[..., c].ravel() * (per_sigma / sigma_level) for c in range(channels)]
    cells = np.stack(axes)  # (A, P)
    cells -= cells.min(1, keepdims=True)
    shape = tuple(int(v) + 2 for v in cells.max(1))
    # Linear weights have variance 1/6 of a cell on average, at the splat and at the slice.
    kernels = [_kernel(np.sqrt(max(per_sigma**2 - 1 / 3, 0.05)), size) for size in shape]
    low = cells.astype(np.int64)
    share = cells - low
    count = height * width
    columns, weights = [], []
    for corner in range(2 ** len(shape)):
        up = np.array([corner >> axis & 1 for axis in range(len(shape))])[:, None]
        columns.append(np.ravel_multi_index(tuple(low + up), shape))
        weights.append(np.where(up, share, 1 - share).prod(0))
    pixel = np.tile(np.arange(count), len(columns))
    slice_ = sparse.csr_array(
        (np.concatenate(weights), (pixel, np.concatenate(columns))),
        shape=(count, int(np.prod(shape))),
    )
    splat = slice_.T.tocsr()

    def smooth(q: NDArray[np.float64]) -> NDArray[np.float64]:
        grid = (splat @ q.ravel()).reshape(shape)
        for axis, kernel in enumerate(kernels):
            grid = np.moveaxis(np.tensordot(kernel, grid, (1, axis)), 0, axis)
        return (slice_ @ grid.ravel()).reshape(height, width)

    return smooth


def _kernel(sigma: float, size: int) -> NDArray[np.float64]:
    """(size, size) Gaussian sums along one axis: a product is faster than a filter here."""
    place = np.arange(size, dtype=np.float64)
    return np.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))


def _levels(probability: NDArray[np.floating], image: NDArray[np.generic]) -> NDArray[np.float64]:
    """The picture as (H, W, 1 or 3) floats; three equal channels count as one."""
    levels = np.asarray(image, np.float64)
    levels = levels[..., None] if levels.ndim == 2 else levels
    if probability.ndim != 2 or levels.shape[:2] != probability.shape or levels.shape[2] > 3:
        raise TransectError(
            f"a CRF needs a probability (H, W) and a grey or RGB picture of that size; got "
            f"{probability.shape} and {image.shape}."
        )
    if levels.shape[2] > 1 and (levels == levels[..., :1]).all():
        # Three equal channels triple the squared distance of the one.
        levels = levels[..., :1] * np.sqrt(levels.shape[2])
    return levels
