"""The CRF is applied to binary maps only, and follows the picture's edge."""

import numpy as np

from transect.segment.refining import refined


def picture(dtype=np.uint8, factor=1):
    pixels = np.zeros((24, 24, 1), dtype)
    pixels[:, 12:] = 200 * factor
    return pixels


def test_a_ragged_edge_moves_to_the_edge_of_the_picture():
    maps = np.full((1, 24, 24), 0.1, np.float32)
    maps[0, :, 12:] = 0.9
    maps[0, 5, 8:12] = 0.6  # a spur that the picture knows nothing of
    for pixels in (picture(), picture(np.uint16, 100)):
        found = refined(maps, pixels, "binary")
        assert found.shape == maps.shape
        assert ((found[0] > 0.5) == (pixels[..., 0] > 0)).all()


def test_other_kinds_are_left_alone():
    maps = np.full((2, 4, 4), 0.6, np.float32)
    assert refined(maps, np.zeros((4, 4, 1), np.uint8), "classes") is maps
