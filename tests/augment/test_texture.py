"""Noise has the deviation it says, blurs keep the mean, an erasure spares the foreground."""

from __future__ import annotations

import numpy as np
import pytest

from transect.augment.draws import Draws
from transect.augment.texture import add_noise, change_sharpness, cut_out, equalise
from transect.recipe import Augment


def draws(seed=0):
    return Draws(np.random.default_rng(seed))


def test_noise_is_gaussian_of_the_drawn_deviation():
    image = np.full((200, 200, 1), 0.5, np.float32)
    image[0, :2, 0] = 0, 1  # the range of a float picture is its own
    levels = [add_noise(image, Augment(noise=0.1, noise_p=1.0), draws(s)).std() for s in range(40)]
    assert max(levels) < 0.103
    assert np.mean(levels) == pytest.approx(0.05, abs=0.015)


def test_noise_saturates_and_does_not_wrap_around():
    image = np.full((64, 64, 1), 255, np.uint8)
    out = add_noise(image, Augment(noise=0.2, noise_p=1.0), draws(3))
    assert out.min() > 60
    assert (out == 255).mean() > 0.4


@pytest.mark.parametrize(
    "spec",
    [
        Augment(blur=3.0, blur_p=1.0),
        Augment(motion_blur=11.0, motion_blur_p=1.0),
        Augment(low_resolution=0.3, low_resolution_p=1.0),
    ],
)
def test_what_blurs_keeps_the_mean_and_lowers_the_deviation(spec):
    image = np.random.default_rng(0).random((64, 64, 2), dtype=np.float32)
    out = change_sharpness(image, spec, draws(1))
    assert out.shape == image.shape
    assert abs(out.mean() - image.mean()) < 0.01
    assert out.std() < 0.8 * image.std()


def test_an_erasure_is_a_square_of_the_mean():
    image = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    out = cut_out(image, Augment(cutout=0.4, cutout_p=1.0), draws(), None)
    changed = (out != image).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (20, 20)
    assert np.abs(out[changed].mean(axis=0) - image.mean(axis=(0, 1))).max() <= 0.5


def test_an_erasure_that_hides_too_much_foreground_is_skipped():
    image = np.random.default_rng(0).integers(0, 256, (50, 50, 1), dtype=np.uint8)
    spec = Augment(cutout=0.5, cutout_p=1.0, cutout_keep=0.5)
    foreground = np.zeros((50, 50), bool)
    foreground[20:30, 20:30] = True
    kept = 0
    for seed in range(60):
        out = cut_out(image, spec, draws(seed), foreground)
        kept += out is image
        assert ((out != image).any(axis=2) & foreground).sum() <= 50
    assert 5 < kept < 55
    empty = cut_out(image, spec, draws(), np.zeros((50, 50), bool))
    assert not np.array_equal(empty, image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_equalising_raises_a_low_contrast(dtype):
    top = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    y, x = np.mgrid[0:64, 0:64]
    image = ((0.5 + 0.05 * np.sin(x / 5) * np.sin(y / 7)) * top).astype(dtype)[..., None]
    if dtype == np.float32:
        image[0, :2, 0] = 0, 1
    out = equalise(image, Augment(clahe_p=1.0), draws(1))
    assert out.dtype == dtype
    assert out.std() > 1.1 * image.std()
