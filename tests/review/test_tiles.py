"""Tiles put together are the image; no tile is asked of memory that the image does not need."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile

from transect.errors import TransectError
from transect.review.tiles import TILE_PX, Pyramid, Pyramids, levels_of


def photo(path, size_hw=(600, 700)):
    pixels = np.random.default_rng(0).integers(0, 255, (*size_hw, 3)).astype(np.uint8)
    cv2.imwrite(str(path), pixels[..., ::-1])
    return pixels


def test_tiles_of_the_last_level_are_the_image(tmp_path):
    pixels = photo(tmp_path / "a.png")
    pyramid = Pyramid(tmp_path / "a.png")
    last = levels_of(pixels.shape[:2]) - 1
    rows = [
        np.concatenate([pyramid.tile(last, column, row) for column in range(3)], axis=1)
        for row in range(3)
    ]
    assert (np.concatenate(rows) == pixels).all()


def test_level_0_is_one_tile_and_halves_are_means(tmp_path):
    pixels = photo(tmp_path / "a.png", (512, 512))
    pyramid = Pyramid(tmp_path / "a.png")
    assert levels_of((512, 512)) == 2
    small = pyramid.tile(0, 0, 0)
    assert small.shape == (TILE_PX, TILE_PX, 3)
    mean = pixels.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - mean).max() <= 1


@pytest.mark.parametrize("at", [(9, 0, 0), (1, 5, 0), (1, 0, -1), (-1, 0, 0)])
def test_there_are_no_other_tiles(tmp_path, at):
    photo(tmp_path / "a.png", (300, 300))
    with pytest.raises(TransectError, match="no tile"):
        Pyramid(tmp_path / "a.png").tile(*at)


def test_a_tiff_is_read_by_strips(tmp_path, monkeypatch):
    from transect.review import tiles

    monkeypatch.setattr(tiles, "_STRIP_PX", 700 * 64)
    values = np.random.default_rng(0).integers(0, 4000, (600, 700)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(64, 64))
    pyramid = Pyramid(tmp_path / "a.tif")
    whole = pyramid.tile(levels_of((600, 700)) - 1, 0, 0)
    assert whole.dtype == np.uint8
    low, high = np.percentile(values, [1, 99.5])
    shown = np.clip((values[:256, :256] - low) / (high - low) * 255, 0, 255)
    assert np.abs(whole[..., 0] - shown).mean() < 3
    half = pyramid.tile(levels_of((600, 700)) - 2, 0, 0)[..., 0]
    full = np.clip((values[:512, :512] - low) / (high - low) * 255, 0, 255)
    assert np.abs(half - full.reshape(256, 2, 256, 2).mean(axis=(1, 3))).mean() < 3


def test_a_crop_is_no_larger_than_asked(tmp_path):
    pixels = photo(tmp_path / "a.png")
    pyramid = Pyramid(tmp_path / "a.png")
    assert (pyramid.crop((9.5, 19.5, 49.5, 39.5), 400) == pixels[20:40, 10:50]).all()
    assert max(pyramid.crop(None, 100).shape) == 100


def test_pyramids_are_made_once(tmp_path, monkeypatch):
    from transect.review import tiles

    photo(tmp_path / "a.png", (300, 300)), photo(tmp_path / "b.png", (300, 300))
    pyramids = Pyramids()
    first = pyramids(tmp_path / "a.png")
    assert pyramids(tmp_path / "a.png") is first
    monkeypatch.setattr(tiles, "_KEPT_BYTES", 1)
    pyramids(tmp_path / "b.png")
    assert pyramids(tmp_path / "a.png") is not first
