"""Brightness, contrast, gamma and inversion as one table; colour as one matrix."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.augment.draws import Draws
from transect.augment.pixels import Pixels
from transect.recipe import Augment

__all__ = ["change_colours", "change_tones", "full_range"]

# ITU-R BT.601 luma, and the plane of colour differences in which a hue turns (YIQ).
_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


def full_range(image: Pixels) -> tuple[float, float]:
    """The darkest and brightest value that the changes are shares of.

    Args:
        image: (H, W, C); for uint8 it is the type's range, for wider integers the bits in use
            (many cameras put 12 of them into 16), for float32 the picture's own.

    Returns:
        (low, high); both 0 and 1 if a float picture has no finite value or only one.
    """
    if image.dtype == np.uint8:
        return 0.0, 255.0
    if image.dtype.kind in "ui":
        return 0.0, float(2 ** max(8, int(image.max(initial=0)).bit_length()) - 1)
    finite = image[np.isfinite(image)]
    if finite.size == 0 or finite.max() <= finite.min():
        return 0.0, 1.0
    return float(finite.min()), float(finite.max())


def change_tones(image: Pixels, spec: Augment, draws: Draws) -> Pixels:
    """Apply gamma, contrast, brightness and inversion, in this order, to all channels alike.

    Args:
        image: (H, W, C) uint8, uint16 or float32.
        spec: The augmentation.
        draws: Random numbers.

    Returns:
        A picture of the same type; the given one if nothing was drawn.
    """
    p = spec.colour_p
    gamma = contrast = 1.0
    brightness = 0.0
    if spec.gamma and draws.chance(p):
        gamma = math.exp(draws.around(math.log1p(spec.gamma)))
    if spec.contrast and draws.chance(p):
        contrast = max(0.0, 1.0 + draws.around(spec.contrast))
    if spec.brightness and draws.chance(p):
        brightness = draws.around(spec.brightness)
    invert = draws.chance(spec.invert)
    if gamma == 1.0 and contrast == 1.0 and brightness == 0.0 and not invert:
        return image
    low, high = full_range(image)
    mean = 0.5
    if contrast != 1.0:
        mean = _mean(image)
        mean = min(max((mean - low) / (high - low), 0.0), 1.0) ** gamma if mean == mean else 0.5
    if image.dtype == np.uint8 or image.dtype == np.uint16:
        values = np.arange(int(high) + 1, dtype=np.float64) / high
        table = _toned(values, gamma, contrast, mean, brightness, invert)
        table = np.rint(np.clip(table, 0, 1) * high).astype(image.dtype)
        if image.dtype == np.uint8:
            changed: Pixels = cv2.LUT(image, table)
            return changed.reshape(image.shape)
        return table[image]
    share = (image.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    toned = _toned(np.clip(share, 0, 1), gamma, contrast, mean, brightness, invert)
    return (toned * (high - low) + low).astype(image.dtype)


def _mean(image: Pixels) -> float:
    """The mean of all values; OpenCV is much faster at it, up to four channels."""
    if image.shape[2] > 4:
        return float(np.mean(image, dtype=np.float64))
    return sum(cv2.mean(image)[: image.shape[2]]) / image.shape[2]


def _toned(
    x: NDArray[np.floating],
    gamma: float,
    contrast: float,
    mean: float,
    brightness: float,
    invert: bool,
) -> NDArray[np.floating]:
    """The tone curve on shares of the full range."""
    if gamma != 1.0:
        x = x**gamma
    if contrast != 1.0 or brightness:
        x = contrast * x + (mean * (1 - contrast) + brightness)
    return 1 - x if invert else x


def change_colours(image: Pixels, spec: Augment, draws: Draws) -> Pixels:
    """Apply hue, saturation, grey, channel shuffle and channel shift as one matrix.

    Hue, saturation and grey need red, green, blue and are left out unless there are three
    channels; shuffle and shift are left out for one channel. The hue is turned in the YIQ plane,
    which keeps the luma, and not in HSV: so all of it stays one matrix.

    Args:
        image: (H, W, C) uint8, uint16 or float32.
        spec: The augmentation.
        draws: Random numbers.

    Returns:
        A picture of the same type; the given one if nothing was drawn.
    """
    channels = image.shape[2]
    if channels == 1:
        return image
    matrix: NDArray[np.float64] | None = None
    if channels == 3:
        matrix = _colour_matrix(spec, draws)
    order = None
    if draws.chance(spec.channel_shuffle):
        order = draws.rng.permutation(channels)
    shift: NDArray[np.float64] | None = None
    if spec.channel_shift and draws.chance(spec.colour_p):
        low, high = full_range(image)
        share = draws.rng.uniform(-spec.channel_shift, spec.channel_shift, channels)
        shift = np.asarray(share * (high - low), np.float64)
    if matrix is None and shift is None:
        return image if order is None else np.ascontiguousarray(image[..., order])
    if channels > 4:
        return _many_channels(image, order, shift)
    matrix = np.eye(channels) if matrix is None else matrix
    matrix = matrix if order is None else matrix[order]
    if shift is not None:
        matrix = np.concatenate([matrix, shift[:, None]], axis=1)
    changed: Pixels = cv2.transform(image, matrix)
    return changed


def _colour_matrix(spec: Augment, draws: Draws) -> NDArray[np.float64] | None:
    """The 3x3 matrix of hue, saturation and grey, or None if none was drawn."""
    turn, strength = 0.0, 1.0
    if spec.hue and draws.chance(spec.colour_p):
        turn = 2 * math.pi * draws.around(spec.hue)
    if spec.saturation and draws.chance(spec.colour_p):
        strength = max(0.0, 1.0 + draws.around(spec.saturation))
    if draws.chance(spec.grey):
        strength = 0.0
    if turn == 0.0 and strength == 1.0:
        return None
    cos, sin = strength * math.cos(turn), strength * math.sin(turn)
    return _FROM_YIQ @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _TO_YIQ


def _many_channels(
    image: Pixels,
    order: NDArray[np.integer] | None,
    shift: NDArray[np.float64] | None,
) -> Pixels:
    """Shuffle and shift of pictures with more channels than OpenCV's matrices take."""
    changed = image if order is None else image[..., order]
    if shift is None:
        return np.ascontiguousarray(changed)
    moved = changed.astype(np.float32) + shift.astype(np.float32)
    if image.dtype.kind in "ui":
        moved = np.clip(np.rint(moved), 0, np.iinfo(image.dtype).max)
    return moved.astype(image.dtype)
