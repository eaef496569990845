"""The tone table against plain arithmetic, and colours against what they must keep."""

from __future__ import annotations

import numpy as np
import pytest

from transect.augment.draws import Draws
from transect.augment.tones import change_colours, change_tones, full_range
from transect.recipe import Augment

TONES = Augment(brightness=0.2, contrast=0.3, gamma=0.4, invert=0.5, colour_p=1.0)


def test_the_table_is_the_arithmetic():
    """8 bits, 16 bits and floats change alike when they show the same picture."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    small[0, 0] = (0, 255, 0)
    wide = small.astype(np.uint16) * 257
    real = small.astype(np.float32) / 255
    for seed in range(8):
        a, b, c = (
            change_tones(x, TONES, Draws(np.random.default_rng(seed))) for x in (small, wide, real)
        )
        assert np.abs(a / 255 - b / 65535).max() < 0.0025
        assert np.abs(a / 255 - np.clip(c, 0, 1)).max() < 0.0025


def test_inversion_twice_is_the_identity():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    spec = Augment(invert=1.0)
    once = change_tones(image, spec, Draws(np.random.default_rng(0)))
    assert np.array_equal(once, 255 - image)


def test_contrast_keeps_the_mean():
    rng = np.random.default_rng(0)
    image = rng.integers(80, 150, (64, 64, 1), dtype=np.uint8)
    out = change_tones(image, Augment(contrast=0.5, colour_p=1.0), Draws(rng))
    assert abs(out.mean() - image.mean()) < 1.5
    assert abs(out.std() / image.std() - 1) > 0.02


def test_the_picture_given_is_not_changed():
    image = np.full((8, 8, 3), 100, np.uint8)
    spec = Augment(brightness=0.5, channel_shift=0.5, grey=1.0, channel_shuffle=1.0, colour_p=1.0)
    change_colours(
        change_tones(image, spec, Draws(np.random.default_rng(0))),
        spec,
        Draws(np.random.default_rng(1)),
    )
    assert (image == 100).all()


def test_floats_of_any_range_are_scaled_by_their_own():
    metres = np.linspace(300, 900, 64, dtype=np.float32).reshape(8, 8, 1)
    assert full_range(metres) == (300, 900)
    out = change_tones(metres, Augment(invert=1.0), Draws(np.random.default_rng(0)))
    assert np.allclose(out, 1200 - metres, atol=1e-3)
    assert full_range(np.full((2, 2, 1), np.nan, np.float32)) == (0, 1)


def test_twelve_bits_in_sixteen_are_changed_by_shares_of_twelve():
    image = np.random.default_rng(0).integers(0, 4000, (32, 32, 1)).astype(np.uint16)
    assert full_range(image) == (0, 4095)
    assert full_range(np.full((2, 2, 1), 9, np.uint16)) == (0, 255)
    for seed in range(20):
        out = change_tones(
            image, Augment(brightness=0.1, colour_p=1.0), Draws(np.random.default_rng(seed))
        )
        assert abs(out.astype(float) - image).max() <= 0.1 * 4095 + 1


def test_grey_gives_the_luma():
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]], np.uint8)
    out = change_colours(image, Augment(grey=1.0), Draws(np.random.default_rng(0)))
    assert (out == out[..., :1]).all()
    assert out[0, :, 0].tolist() == [76, 150, 29, 90]


def test_hue_turns_colours_and_leaves_grey():
    image = np.array([[[200, 60, 60], [120, 120, 120]]], np.uint8)
    out = change_colours(
        image, Augment(hue=0.5, colour_p=1.0), Draws(np.random.default_rng(1))
    ).astype(int)
    assert np.abs(out[0, 1] - 120).max() <= 1
    assert np.abs(out[0, 0] - image[0, 0]).max() > 10


@pytest.mark.parametrize("channels", [2, 3, 4, 6])
def test_shuffle_only_permutes_channels(channels):
    image = np.random.default_rng(0).integers(0, 9, (6, 6, channels), dtype=np.uint8)
    out = change_colours(image, Augment(channel_shuffle=1.0), Draws(np.random.default_rng(3)))
    assert np.array_equal(np.sort(out, axis=2), np.sort(image, axis=2))


@pytest.mark.parametrize("channels", [2, 3, 4, 6])
def test_shift_adds_one_number_per_channel(channels):
    image = np.full((4, 4, channels), 120, np.uint8)
    spec = Augment(channel_shift=0.2, colour_p=1.0)
    out = change_colours(image, spec, Draws(np.random.default_rng(3)))
    assert (out == out[0, 0]).all()
    assert len(set(out[0, 0].tolist())) > 1
    assert np.abs(out.astype(int) - 120).max() <= 52


def test_one_channel_has_no_colour():
    image = np.full((4, 4, 1), 120, np.uint8)
    spec = Augment(channel_shift=0.2, channel_shuffle=1.0, grey=1.0, hue=0.5, colour_p=1.0)
    assert change_colours(image, spec, Draws(np.random.default_rng(3))) is image
