import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transect.errors import TransectError
from transect.predict.tiling import (
    predict_bands,
    predict_many,
    predict_whole,
    stitch,
    tile_starts,
)


class Array:
    """A strict reader: it refuses windows that leave the picture."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def window(self, top, left, height, width):
        assert top >= 0
        assert left >= 0
        assert top + height <= self.shape[0]
        assert left + width <= self.shape[1]
        return self.array[top : top + height, left : left + width]


class Endless:
    """A picture of any height whose rows are made when they are asked for."""

    def __init__(self, height, width):
        self.shape, self.dtype = (height, width, 1), np.dtype(np.uint8)

    def window(self, top, left, height, width):
        rows = (np.arange(top, top + height) % 251).astype(np.uint8)
        return np.broadcast_to(rows[:, None, None], (height, width, 1))


def identity(x):
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    tile_h=st.integers(1, 17),
    tile_w=st.integers(1, 17),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 2 / 3, 0.9]),
    border=st.sampled_from([0.0, 0.5, 2 / 3]),
    batch=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_identity_gives_the_picture_back_exactly(
    height, width, tile_h, tile_w, overlap, border, batch, seed
):
    picture = np.random.default_rng(seed).normal(size=(height, width, 2)).astype(np.float32)
    maps = predict_whole(
        identity,
        Array(picture),
        outputs=2,
        tile_hw=(tile_h, tile_w),
        overlap=overlap,
        batch=batch,
        border=border,
    )
    np.testing.assert_array_equal(maps, picture.transpose(2, 0, 1))


def test_bands_come_in_order_without_gaps():
    picture = np.zeros((101, 37, 1), np.float32)
    row = 0
    for first, band in predict_bands(
        identity, Array(picture), outputs=1, tile_hw=(16, 16), overlap=0.7, border=0.3
    ):
        assert first == row
        assert band.shape[2] == 37
        row += band.shape[1]
    assert row == 101


def test_pointwise_network_tiled_equals_whole():
    picture = np.random.default_rng(0).integers(0, 255, (60, 75, 3), np.uint8)

    def network(x):
        return identity(np.tanh(x / 50 - 1))

    maps = predict_whole(network, Array(picture), outputs=3, tile_hw=(16, 32))
    np.testing.assert_array_equal(maps, network(picture[None].astype(np.float32))[0])


def test_tiles_are_weighed_by_a_gaussian_as_a_slow_loop_does():
    rng = np.random.default_rng(0)
    tops, lefts = tile_starts(23, 8, 0.6), tile_starts(31, 10, 0.5)
    tiles = rng.normal(size=(len(tops), len(lefts), 2, 8, 10)).astype(np.float32)
    total, weights = np.zeros((2, 23, 31)), np.zeros((23, 31))
    y = np.exp(-0.5 * ((np.arange(8) - 3.5) / 1) ** 2)
    x = np.exp(-0.5 * ((np.arange(10) - 4.5) / 1.25) ** 2)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            total[:, top : top + 8, left : left + 10] += tiles[i, j] * np.outer(y, x)
            weights[top : top + 8, left : left + 10] += np.outer(y, x)
    bands = stitch(
        tiles.reshape(-1, 2, 8, 10), size_hw=(23, 31), tile_hw=(8, 10), tops=tops, lefts=lefts
    )
    merged = np.concatenate([band for _, band in bands], axis=1)
    np.testing.assert_allclose(merged, total / weights, atol=1e-5)


def test_prepare_sees_where_each_tile_stands():
    seen = []

    def prepare(pixels, window):
        seen.append(window)
        return pixels.astype(np.float32) / 255

    predict_whole(
        identity, Array(np.zeros((5, 8, 1), np.uint8)), outputs=1, tile_hw=(8, 8), prepare=prepare
    )
    assert seen == [(-1, 0, 8, 8)]


def test_border_and_overlap_of_two_thirds_cover_every_pixel_three_times():
    starts = tile_starts(50, 12, 2 / 3, 2 / 3)
    cover = np.zeros(50, int)
    for start in starts:
        cover[max(0, start) : max(0, start + 12)] += 1
    assert cover.min() >= 3


def test_memory_does_not_grow_with_height():
    def peak(height):
        tracemalloc.start()
        for _ in predict_bands(
            identity, Endless(height, 300), outputs=1, tile_hw=(32, 32), batch=4
        ):
            pass
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(64)
    assert peak(2000) < 1.2 * peak(200)


def test_many_pictures_share_batches():
    rng = np.random.default_rng(0)
    pictures = [
        rng.normal(size=(h, w, 1)).astype(np.float32) for h, w in [(8, 8), (20, 9), (3, 5), (8, 16)]
    ]
    sizes = []

    def network(x):
        sizes.append(len(x))
        return identity(x)

    results = list(predict_many(network, map(Array, pictures), outputs=1, tile_hw=(8, 8), batch=4))
    for picture, maps in zip(pictures, results, strict=True):
        np.testing.assert_array_equal(maps[0], picture[..., 0])
    assert set(sizes[:-1]) == {4}


def test_scaled_prediction_comes_back_at_the_pictures_size():
    y, x = np.mgrid[0:50, 0:70]
    picture = (y + 2 * x).astype(np.float32)[..., None]
    for scale in (0.5, 0.37, 1.6, 2.0):
        maps = predict_whole(identity, Array(picture), outputs=1, tile_hw=(16, 16), scale=scale)
        assert maps.shape == (1, 50, 70)
        inner = np.abs(maps[0] - picture[..., 0])[4:-4, 4:-4]
        # Whole factors give a ramp back; a box that cuts pixels sees steps instead of a ramp.
        assert inner.max() < (1e-3 if scale in (0.5, 2.0) else 0.8), scale


def test_wrong_maps_and_settings_are_explained():
    reader = Array(np.zeros((8, 8, 1), np.uint8))
    with pytest.raises(TransectError, match=r"maps of shape \(1, 1, 8, 8\)"):
        predict_whole(identity, reader, outputs=2, tile_hw=(8, 8))
    with pytest.raises(TransectError, match="overlap must be"):
        predict_whole(identity, reader, outputs=1, tile_hw=(8, 8), overlap=1.0)
    with pytest.raises(TransectError, match="tile_hw must be"):
        predict_whole(identity, reader, outputs=1, tile_hw=(0, 8))
