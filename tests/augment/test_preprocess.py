"""CLAHE tiles, a simulated haze that is taken away, and blobs in a difference of Gaussians."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from transect.augment.preprocess import clahe, difference_of_gaussians, remove_haze
from transect.errors import TransectError


def test_the_kernel_size_of_clahe_counts():
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (96, 80), dtype=np.uint8), (0, 0), 4
    )[..., None]
    small, large = clahe(image, kernel_px=12), clahe(image, kernel_px=96)
    assert small.shape == image.shape
    assert not np.array_equal(small, large)
    with pytest.raises(TransectError, match="kernel of CLAHE"):
        clahe(image, kernel_px=1)


def test_clahe_keeps_the_hue_of_8_bit_colour():
    rng = np.random.default_rng(0)
    light = cv2.GaussianBlur(rng.random((64, 64), dtype=np.float32), (0, 0), 3) * 200
    image = np.stack([light, 0.5 * light, 0.2 * light], axis=-1).astype(np.uint8)
    out = clahe(image).astype(float)
    assert (out[..., 0] >= out[..., 1] - 3).all()
    assert (out[..., 1] >= out[..., 2] - 3).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_haze_is_mostly_taken_away(dtype):
    """Haze added by the formula that the method inverts."""
    rng = np.random.default_rng(0)
    clear = rng.random((120, 120, 3), dtype=np.float32)
    clear[::4, ::4] = 0.02  # every patch has a dark pixel
    through = np.linspace(0.03, 0.95, 120, dtype=np.float32)[:, None, None]
    hazy = clear * through + 0.9 * (1 - through)
    image = hazy if dtype == np.float32 else (hazy * 255).astype(np.uint8)
    out = remove_haze(image)
    assert out.dtype == dtype
    shown = out.astype(np.float32) / (1 if dtype == np.float32 else 255)
    left = np.s_[30:]  # of what the haze hides altogether nothing comes back
    assert np.abs(shown - clear)[left].mean() < 0.6 * np.abs(hazy - clear)[left].mean()


def test_haze_needs_three_channels():
    with pytest.raises(TransectError, match="three channels"):
        remove_haze(np.zeros((4, 4, 1), np.uint8))


@pytest.mark.parametrize("channels", [None, 1, 3, 6])
def test_a_blob_stands_out_and_a_plane_does_not(channels):
    y, x = np.mgrid[0:61, 0:61].astype(np.float32)
    image = 100 + x + 50 * np.exp(-((x - 30) ** 2 + (y - 20) ** 2) / 8)
    if channels:
        image = np.repeat(image[..., None], channels, axis=2)
    out = difference_of_gaussians(image)
    assert out.shape == image.shape
    first = out if channels is None else out[..., -1]
    assert np.unravel_index(first.argmax(), first.shape) == (20, 30)
    assert abs(first[45, 30]) < 0.05
    with pytest.raises(TransectError, match="narrow blur"):
        difference_of_gaussians(image, small_px=3, large_px=2)
