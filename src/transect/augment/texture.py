"""Noise, blurs, lost resolution, erased squares and local contrast."""

from __future__ import annotations

import math
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.augment.draws import Draws
from transect.augment.pixels import Pixels, by_fours
from transect.augment.tones import full_range
from transect.filters import clahe
from transect.recipe import Augment

__all__ = ["add_noise", "change_sharpness", "cut_out", "equalise"]

# Quantiles of the normal distribution: a random byte looked up here is Gaussian noise, at a
# tenth of the price of drawing it; the tails end at 2.9 standard deviations.
_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)
_NORMAL /= _NORMAL.std()


def equalise(image: Pixels, spec: Augment, draws: Draws) -> Pixels:
    """Apply contrast-limited adaptive histogram equalisation with its probability.

    Args:
        image: (H, W, C) uint8, uint16 or float32.
        spec: The augmentation.
        draws: Random numbers; the clip limit is U(1, 4).

    Returns:
        A picture of the same type.
    """
    if not draws.chance(spec.clahe_p):
        return image
    return clahe(image, clip=draws.between(1.0, 4.0))


def change_sharpness(image: Pixels, spec: Augment, draws: Draws) -> Pixels:
    """Apply Gaussian blur, motion blur and low resolution, each with its probability.

    Args:
        image: (H, W, C) uint8, uint16 or float32.
        spec: The augmentation.
        draws: Random numbers.

    Returns:
        A picture of the same type; the given one if nothing was drawn.
    """
    if spec.blur and draws.chance(spec.blur_p):
        sigma = draws.between(0.05, max(spec.blur, 0.06))
        image = by_fours(image, lambda a: cv2.GaussianBlur(a, (0, 0), sigma))
    if spec.motion_blur > 1 and draws.chance(spec.motion_blur_p):
        kernel = _path(draws.between(1.0, spec.motion_blur), math.pi * draws.unit())
        image = by_fours(image, lambda a: cv2.filter2D(a, -1, kernel))
    if spec.low_resolution < 1 and draws.chance(spec.low_resolution_p):
        factor = draws.between(spec.low_resolution, 1.0)
        height, width = image.shape[:2]
        small = max(1, round(width * factor)), max(1, round(height * factor))
        image = by_fours(image, lambda a: cv2.resize(a, small, interpolation=cv2.INTER_AREA))
        image = by_fours(
            image, lambda a: cv2.resize(a, (width, height), interpolation=cv2.INTER_LINEAR)
        )
    return image


def add_noise(image: Pixels, spec: Augment, draws: Draws) -> Pixels:
    """Add Gaussian noise of a standard deviation drawn from U(0, ``spec.noise``).

    Args:
        image: (H, W, C) uint8, uint16 or float32.
        spec: The augmentation.
        draws: Random numbers.

    Returns:
        A picture of the same type.
    """
    if not (spec.noise and draws.chance(spec.noise_p)):
        return image
    low, high = full_range(image)
    size = image.size
    index = np.frombuffer(draws.rng.bytes(size), np.uint8)
    noise = (_NORMAL * np.float32(draws.between(0, spec.noise) * (high - low)))[index]
    noisy = image.astype(np.float32) + noise.reshape(image.shape)
    if image.dtype.kind in "ui":
        noisy = np.clip(np.rint(noisy), low, high)
    return noisy.astype(image.dtype)


def cut_out(
    image: Pixels,
    spec: Augment,
    draws: Draws,
    foreground: NDArray[np.bool_] | None,
) -> Pixels:
    """Erase a square with the picture's mean, unless it would hide too much of the foreground.

    Args:
        image: (H, W, C) uint8, uint16 or float32.
        spec: The augmentation: ``cutout`` is the square's side as a share of the picture's.
        draws: Random numbers.
        foreground: (H, W) what must not be hidden beyond ``spec.cutout_keep`` (salt, 9th place:
            an erasure that would hide more than half of the salt is skipped); None: no rule.

    Returns:
        A picture of the same type; the given one if nothing was erased.
    """
    if not (spec.cutout and draws.chance(spec.cutout_p)):
        return image
    height, width = image.shape[:2]
    tall, wide = max(1, round(spec.cutout * height)), max(1, round(spec.cutout * width))
    top, left = int(draws.unit() * (height - tall + 1)), int(draws.unit() * (width - wide + 1))
    hole = np.s_[top : top + tall, left : left + wide]
    if foreground is not None:
        total = int(np.count_nonzero(foreground))
        if total and np.count_nonzero(foreground[hole]) > spec.cutout_keep * total:
            return image
    mean = np.mean(image, axis=(0, 1), dtype=np.float64)
    erased = image.copy()
    erased[hole] = np.rint(mean) if image.dtype.kind in "ui" else mean
    return erased


def _path(length: float, angle: float) -> NDArray[np.float32]:
    """The kernel of a straight movement of ``length`` pixels, sums to 1."""
    reach = math.ceil(length / 2)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    along = np.linspace(-length / 2, length / 2, 4 * reach + 1)
    rows = np.rint(reach + along * math.sin(angle)).astype(int)
    columns = np.rint(reach + along * math.cos(angle)).astype(int)
    np.add.at(kernel, (rows, columns), np.float32(1))
    return kernel / kernel.sum()
