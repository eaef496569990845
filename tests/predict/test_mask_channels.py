"""Pictures with masks as further channels, read by windows while the masks are predicted."""

import numpy as np
import pytest

from transect.data.tiff import ArrayReader
from transect.predict.mask_channels import MaskChannelReader, foreground, with_masks
from transect.predict.tiling import predict_whole


def mean_of_channels(tiles):
    return tiles.mean(3)[:, None]


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_tiles_of_a_stream_are_those_of_the_whole(scale, dtype):
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 1 if dtype == np.float32 else 255, (130, 70, 1)).astype(dtype)
    mask = rng.integers(0, 256, (130, 70)).astype(np.uint8)
    bands = [(row, mask[row : row + 9]) for row in range(0, 130, 9)]
    asked = {"outputs": 1, "tile_hw": (32, 32), "scale": scale}
    joined = MaskChannelReader(ArrayReader(pixels), [bands])
    both = ArrayReader(with_masks(pixels, mask[..., None]))
    assert joined.shape == both.shape
    np.testing.assert_array_equal(
        predict_whole(mean_of_channels, joined, **asked),
        predict_whole(mean_of_channels, both, **asked),
    )


def test_the_foreground_of_classes_is_what_is_not_background():
    maps = np.array([[[0.6]], [[0.1]], [[0.3]]], np.float32)
    assert foreground(maps, exclusive=True)[0, 0] == 102
    assert foreground(maps, exclusive=False)[0, 0] == 153
