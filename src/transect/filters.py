"""Filters of whole pictures: local contrast, haze, blobs, and what texture and spectrum say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = [
    "PLANES",
    "basins",
    "clahe",
    "difference_of_gaussians",
    "homogeneity",
    "remove_haze",
    "running_sum",
    "spectrum",
]

Pixels: TypeAlias = NDArray[Any]
Plane: TypeAlias = NDArray[np.float32]

_TILES = 8  # per side, OpenCV's default


def clahe(image: Pixels, *, clip: float = 2.0, kernel_px: int | None = None) -> Pixels:
    """Contrast-limited adaptive histogram equalisation.

    8-bit RGB is equalised in lightness only; everything else channel by channel. Floats pass
    through 16 bits between their own minimum and maximum.

    Args:
        image: (H, W, C) uint8, uint16 or float32.
        clip: Limit of the contrast; 1 barely changes anything, 4 is strong.
        kernel_px: Side of the tiles in pixels; None cuts the picture into 8 x 8.

    Returns:
        A picture of the same shape and type.

    References:
        Zuiderveld 1994, as implemented by OpenCV.
    """
    height, width, channels = image.shape
    tiles = (_TILES, _TILES)
    if kernel_px is not None:
        if kernel_px < 2:
            raise TransectError(f"the kernel of CLAHE must be 2 pixels or more; got {kernel_px}.")
        tiles = (max(1, -(-width // kernel_px)), max(1, -(-height // kernel_px)))
    tiles = (min(tiles[0], width), min(tiles[1], height))
    engine = cv2.createCLAHE(clipLimit=clip, tileGridSize=tiles)
    if image.dtype == np.uint8 and channels == 3:
        lab = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB)
        lab[..., 0] = engine.apply(np.ascontiguousarray(lab[..., 0]))
        return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))
    if image.dtype.kind in "ui":
        planes = [engine.apply(np.ascontiguousarray(image[..., c])) for c in range(channels)]
        return np.stack(planes, axis=-1)
    low, high = float(image.min()), float(image.max())
    if not high > low:
        return image
    steps = np.rint((image - low) / (high - low) * 65535).astype(np.uint16)
    equal = clahe(steps, clip=clip, kernel_px=kernel_px).astype(np.float32)
    return (equal / 65535 * (high - low) + low).astype(image.dtype)


def remove_haze(
    image: Pixels, *, patch_px: int = 15, strength: float = 0.95, floor: float = 0.1
) -> Pixels:
    """Remove haze by the dark-channel prior.

    In a clear outdoor picture nearly every small patch has a dark pixel in some channel; how
    bright that darkest value is tells how much haze lies before it.

    Args:
        image: (H, W, 3) uint8, uint16 or float32 from 0 to 1.
        patch_px: Side of the patch in pixels; odd.
        strength: Share of the haze that is removed, [0, 1].
        floor: Least transmission, so that dense haze does not turn to noise.

    Returns:
        A picture of the same shape and type.

    Raises:
        TransectError: If the picture has not three channels.

    References:
        He, Sun, Tang 2009; the matting step is replaced by their later guided filter (2010).
    """
    if image.ndim != 3 or image.shape[2] != 3:
        raise TransectError(
            f"haze is removed from RGB pictures (H, W, 3); got {image.shape}. Pass three channels."
        )
    high = float(np.iinfo(image.dtype).max) if image.dtype.kind in "ui" else 1.0
    clear = image.astype(np.float32) / np.float32(high)
    kernel = np.ones((patch_px, patch_px), np.uint8)
    dark = cv2.erode(clear.min(axis=2), kernel)
    count = max(1, dark.size // 1000)  # the haziest thousandth tells the light of the haze
    haziest = np.argpartition(dark.ravel(), -count)[-count:]
    light = np.clip(clear.reshape(-1, 3)[haziest].mean(axis=0), 1e-3, None)
    dense = cv2.erode((clear / light).min(axis=2), kernel)
    through = 1 - np.float32(strength) * dense
    grey = np.asarray(cv2.cvtColor(clear, cv2.COLOR_RGB2GRAY), np.float32)
    through = _guided(grey, np.asarray(through, np.float32), 2 * patch_px)
    through = np.clip(through, floor, 1)[..., None]
    clear = np.clip((clear - light) / through + light, 0, 1) * high
    return (np.rint(clear) if image.dtype.kind in "ui" else clear).astype(image.dtype)


def difference_of_gaussians(
    image: Pixels, *, small_px: float = 1.0, large_px: float = 3.0
) -> NDArray[np.float32]:
    """Subtract a wide blur from a narrow one: what is left are structures in between.

    Args:
        image: (H, W) or (H, W, C).
        small_px: Sigma of the narrow blur in pixels; 0 is none.
        large_px: Sigma of the wide blur in pixels, larger than ``small_px``.

    Returns:
        float32 of the same shape, in the picture's own units, about zero.

    Raises:
        TransectError: If the sigmas are not in order.
    """
    if not 0 <= small_px < large_px:
        raise TransectError(
            f"the narrow blur must be below the wide one; got {small_px} and {large_px} pixels."
        )
    pixels = image.astype(np.float32)

    def blurred(sigma: float) -> NDArray[np.float32]:
        if not sigma:
            return pixels
        parts = [cv2.GaussianBlur(p, (0, 0), sigma) for p in np.dsplit(stack, stack.shape[2])]
        return np.asarray(np.dstack(parts).reshape(pixels.shape), np.float32)

    stack = pixels if pixels.ndim == 3 else pixels[..., None]
    difference: NDArray[np.float32] = blurred(small_px) - blurred(large_px)
    return difference


def running_sum(grey: Pixels) -> Plane:
    """Sum of the grey values above and at each pixel, from 0 to 1 (salt 14th place).

    Args:
        grey: (H, W).
    """
    return _shares(np.cumsum(grey, axis=0, dtype=np.float64))


def blobs(grey: Pixels) -> Plane:
    """``difference_of_gaussians`` of 1 and 3 pixels, from 0 to 1.

    Args:
        grey: (H, W).
    """
    return _shares(difference_of_gaussians(grey))


def spectrum(grey: Pixels) -> Plane:
    """Logarithm of the amplitude of the Fourier transform, middle frequency in the middle, 0 to 1.

    Not a picture of the place but of its frequencies: the salt talk tried it and it did harm.

    Args:
        grey: (H, W).
    """
    amplitude = np.abs(np.fft.fftshift(np.fft.fft2(grey.astype(np.float64))))
    return _shares(np.log1p(amplitude))


def homogeneity(grey: Pixels, *, window_px: int = 7, levels: int = 16) -> Plane:
    """How alike neighbours are: the homogeneity of the grey-level co-occurrence matrix.

    Of each window, the mean of 1 / (1 + (i - j)^2) over pairs of a pixel and the one to its right,
    i and j being grey levels. 1 where all is flat.

    Args:
        grey: (H, W).
        window_px: Side of the window; odd.
        levels: Grey levels between the picture's least and greatest value.

    References:
        Haralick, Shanmugam and Dinstein 1973.
    """
    steps = np.minimum((_shares(grey) * levels).astype(np.int64), levels - 1)
    if steps.shape[1] < 2:
        return np.ones(steps.shape, np.float32)
    alike = (1 / (1 + np.diff(steps, axis=1) ** 2)).astype(np.float32)  # (H, W - 1)
    # Pair k joins pixels k and k + 1: a window of w pixels around c holds w - 1 pairs a row.
    mean = cv2.boxFilter(
        alike, -1, (window_px - 1, window_px), anchor=((window_px - 1) // 2, window_px // 2),
        borderType=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(np.concatenate([mean, mean[:, -1:]], axis=1), np.float32)


def basins(grey: Pixels) -> Plane:
    """The mean grey value of each basin of a watershed on the gradient, from 0 to 1.

    Args:
        grey: (H, W).

    References:
        Vincent and Soille 1991, as implemented by scikit-image.
    """
    from scipy import ndimage
    from skimage.segmentation import watershed

    values = _shares(grey)
    smooth = ndimage.gaussian_filter(values, 1.0)
    steep = ndimage.gaussian_gradient_magnitude(smooth, 1.0)
    labels = watershed(steep)
    count = int(labels.max())
    means = ndimage.mean(values, labels, np.arange(1, count + 1))
    return np.asarray(np.concatenate([[0.0], means])[labels], np.float32)


def _shares(values: NDArray[Any]) -> Plane:
    """From the least value at 0 to the greatest at 1; a constant is 0."""
    values = values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return np.asarray((values - low) / (high - low), np.float32)


PLANES: dict[str, Callable[[Pixels], Plane]] = {
    "cumsum": running_sum,
    "dog": blobs,
    "fft": spectrum,
    "glcm": homogeneity,
    "watershed": basins,
}
"""Channels computed from the grey picture (H, W): (H, W) float32 in [0, 1]."""


def _guided(
    guide: NDArray[np.float32], target: NDArray[np.float32], radius: int
) -> NDArray[np.float32]:
    """Smooth ``target`` so that its edges are those of ``guide`` (He, Sun, Tang 2010)."""
    size = (2 * radius + 1, 2 * radius + 1)
    mean_g, mean_t = cv2.blur(guide, size), cv2.blur(target, size)
    covariance = cv2.blur(guide * target, size) - mean_g * mean_t
    slope = covariance / (cv2.blur(guide * guide, size) - mean_g * mean_g + 1e-3)
    offset = mean_t - slope * mean_g
    return np.asarray(cv2.blur(slope, size) * guide + cv2.blur(offset, size), np.float32)
