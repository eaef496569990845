"""CLAHE tiles, a simulated haze that is taken away, and blobs in a difference of Gaussians."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from transect.data.geometry import count_channels, input_channels
from transect.errors import TransectError
from transect.filters import (
    PLANES,
    basins,
    clahe,
    difference_of_gaussians,
    homogeneity,
    remove_haze,
    spectrum,
)
from transect.recipe import Geometry


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


def grey_picture(side=24):
    noise = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


def test_homogeneity_is_that_of_the_co_occurrence_matrix():
    from skimage.feature import graycomatrix, graycoprops

    grey = grey_picture()
    ours = homogeneity(grey, window_px=7, levels=16)
    low, high = int(grey.min()), int(grey.max())
    levels = np.minimum((grey.astype(float) - low) / (high - low) * 16, 15).astype(np.uint8)
    for row, column in [(10, 10), (5, 14), (20, 3)]:
        window = levels[row - 3 : row + 4, column - 3 : column + 4]
        matrix = graycomatrix(window, [1], [0], levels=16, normed=True)
        assert ours[row, column] == pytest.approx(
            graycoprops(matrix, "homogeneity")[0, 0], abs=1e-5
        )
    assert (homogeneity(np.full((9, 9), 7, np.uint8)) == 1).all()


def test_the_spectrum_of_stripes_has_its_peaks_at_their_frequency():
    stripes = np.tile(np.cos(2 * np.pi * 8 * np.arange(64) / 64), (64, 1))
    plane = spectrum(stripes)
    assert set(map(tuple, np.argwhere(plane > 0.9))) == {(32, 24), (32, 40)}


def test_basins_are_flat_and_end_where_the_grey_value_jumps():
    grey = np.full((20, 30), 50, np.uint8)
    grey[:, 15:] = 200
    plane = basins(grey)
    assert plane[:, :12].max() < 0.1
    assert plane[:, 18:].min() > 0.9


@pytest.mark.parametrize("name", sorted(PLANES))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_plane_is_a_channel_by_its_name(name, dtype):
    image = np.repeat(grey_picture()[..., None], 3, axis=2).astype(dtype)
    geometry = Geometry(channels=("image", name))
    found = input_channels(image, geometry)
    assert found.shape == (24, 24, 4) == (24, 24, count_channels(geometry, 3))
    grey = image[..., 0]
    np.testing.assert_allclose(found[..., 3], PLANES[name](grey), atol=1e-4)
    assert found[..., 3].min() >= 0
    assert found[..., 3].max() <= 1
    assert np.isfinite(input_channels(np.zeros((5, 6, 1), dtype), geometry)).all()


def test_equalised_and_dehazed_pictures_are_inputs_normalised_as_the_picture():
    image = np.random.default_rng(0).integers(60, 200, (40, 40, 3), dtype=np.uint8)
    geometry = Geometry(channels=("clahe", "dehazed"), normalise="unit")
    assert count_channels(geometry, 3) == 6
    found = input_channels(image, geometry)
    np.testing.assert_allclose(found[..., :3], clahe(image) / 255, atol=1e-6)
    np.testing.assert_allclose(found[..., 3:], remove_haze(image) / 255, atol=1e-6)
    small = input_channels(image, Geometry(channels=("clahe:10",), normalise="unit"))
    np.testing.assert_allclose(small, clahe(image, kernel_px=10) / 255, atol=1e-6)


def test_a_channel_that_cannot_be_is_told():
    grey = np.zeros((8, 8, 1), np.uint8)
    with pytest.raises(TransectError, match="three channels"):
        input_channels(grey, Geometry(channels=("dehazed",)))
    with pytest.raises(TransectError, match="clahe:PIXELS"):
        input_channels(grey, Geometry(channels=("clahe:big",)))
