import numpy as np
import pytest
from scipy import ndimage

from transect.errors import TransectError
from transect.postprocess import components


def noise(seed=0, size=60, share=0.5):
    return np.random.default_rng(seed).random((size, size)) < share


def test_corners_connect_by_eight_and_not_by_four():
    mask = np.eye(3)
    assert components.label(mask).max() == 1
    assert components.label(mask, connectivity=4).max() == 3
    assert components.remove_small(mask, 3).sum() == 3
    assert components.remove_small(mask, 2, connectivity=4).sum() == 0
    with pytest.raises(TransectError, match="4 or 8"):
        components.label(mask, connectivity=6)
    with pytest.raises(TransectError, match="one at a time"):
        components.label(np.zeros((2, 3, 3)))


@pytest.mark.parametrize("connectivity", [4, 8])
def test_small_pieces_go_as_by_scipy(connectivity):
    mask = noise()
    structure = ndimage.generate_binary_structure(2, connectivity // 4)
    labels, count = ndimage.label(mask, structure)
    area = ndimage.sum_labels(mask, labels, range(count + 1))
    expected = mask & (area >= 9)[labels]
    got = components.remove_small(mask, 9, connectivity=connectivity)
    np.testing.assert_array_equal(got, expected)


def test_all_holes_fill_as_by_scipy_and_small_ones_by_hand():
    mask = noise(share=0.65)
    np.testing.assert_array_equal(
        components.fill_holes(mask, 10**9), ndimage.binary_fill_holes(mask)
    )
    ring = np.ones((7, 7), bool)
    ring[2:4, 2:4] = ring[5, 5] = ring[0, 0] = False
    assert components.fill_holes(ring, 4).sum() == 49 - 4 - 1
    assert components.fill_holes(ring, 5).sum() == 49 - 1
    assert components.fill_holes(ring, 5, enclosed=False).all()
    assert components.fill_holes(ring, 1).sum() == ring.sum()


def test_clean_does_all_three_and_specks_become_nothing():
    mask = np.zeros((20, 20), bool)
    mask[2:9, 2:9], mask[5, 5], mask[15, 15] = True, False, True
    done = components.clean(mask, min_area=5, fill=5, min_total=10)
    assert done.sum() == 49
    assert components.clean(mask, min_area=5, fill=5, min_total=50).sum() == 0
    np.testing.assert_array_equal(components.clean(mask), mask)
    assert not components.empty_below(mask, 51).any()


def test_empty_and_full_masks_pass():
    for mask in (np.zeros((5, 5)), np.ones((5, 5))):
        np.testing.assert_array_equal(components.clean(mask, min_area=3, fill=3), mask != 0)


def test_small_objects_go_and_the_rest_is_renumbered():
    labels = np.array([[5, 5, 0, 9], [5, 2, 0, 2]])
    assert components.remove_small_labels(labels, 2).tolist() == [[2, 2, 0, 0], [2, 1, 0, 1]]


def test_opening_and_closing_by_a_disc():
    mask = np.zeros((21, 21), bool)
    mask[5:16, 5:16], mask[10, 16:20] = True, True
    assert not components.opening(mask, 2)[10, 17:].any()
    mask[10, 10] = False
    assert components.closing(mask, 1)[10, 10]
