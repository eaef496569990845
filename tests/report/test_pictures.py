import numpy as np
import pytest

from transect.report import pictures as P


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((9, 7), np.uint8),
        ((9, 7, 1), np.uint16),
        ((9, 7, 2), np.uint8),
        ((9, 7, 3), np.float32),
        ((9, 7, 4), np.uint8),
        ((9, 7, 12), np.float32),
    ],
)
def test_any_picture_can_be_shown(shape, dtype):
    picture = P.shown((np.random.default_rng(0).random(shape) * 250).astype(dtype))
    assert picture.shape == (9, 7, 3)
    assert picture.dtype == np.uint8
    assert np.ptp(picture) > 100


def test_flat_and_missing_values_can_be_shown():
    assert P.shown(np.full((4, 4), 7.0, np.float32)).max() == 0
    assert P.shown(np.full((4, 4), np.nan, np.float32)).shape == (4, 4, 3)


def colours(picture):
    return {tuple(int(v) for v in p) for p in picture.reshape(-1, 3)}


def test_truth_and_prediction_are_both_seen_where_they_agree():
    labels = np.zeros((40, 40), int)
    labels[10:20, 10:20], labels[10:20, 20:30] = 1, 2
    picture = P.overlay(np.zeros((40, 40, 1), np.uint8), labels, labels)
    assert picture.shape == (320, 320, 3)
    assert {P.TRUTH, P.PREDICTED} <= colours(picture)
    alone = P.overlay(np.zeros((40, 40, 1), np.uint8), labels)
    assert P.PREDICTED not in colours(alone)
    np.testing.assert_array_equal(P.overlay(picture), picture)


def test_touching_objects_are_parted():
    labels = np.array([[1, 1, 2, 2]])
    np.testing.assert_array_equal(P.boundaries(labels), [[False, True, True, False]])
    assert not P.boundaries(np.ones((3, 3), int)).any()


def test_pixels_are_tinted_by_what_became_of_them():
    truth = np.array([[1, 1, 0, 0]], bool)
    predicted = np.array([[1, 0, 1, 0]], bool)
    picture = P.difference(np.zeros((1, 4, 1), np.uint8), truth, predicted, least_px=4)
    found, missed, invented, nothing = picture[0].astype(float)
    np.testing.assert_allclose(found, 0.3 * np.array(P.RIGHT), atol=1)
    np.testing.assert_allclose(missed, 0.6 * np.array(P.MISSED), atol=1)
    np.testing.assert_allclose(invented, 0.6 * np.array(P.INVENTED), atol=1)
    assert nothing.max() == 0


def test_dots_stand_where_they_belong():
    picture = P.dots(
        np.zeros((100, 100, 1), np.uint8),
        right=[(20, 30)], missed=[(60, 30)], invented=[(20, 80)], least_px=400,
    )  # fmt: skip
    assert tuple(picture[122, 82]) == P.RIGHT
    assert tuple(picture[322, 82]) == P.INVENTED
    assert P.MISSED in colours(picture[90:150, 200:280])
    assert P.dots(np.zeros((9, 9, 1), np.uint8)).max() == 0


def test_matches_join_the_pictures():
    left, right = np.zeros((50, 80, 3), np.uint8), np.zeros((100, 60, 3), np.uint8)
    picture = P.matches(left, right, [(10, 10), (70, 40)], [(5, 5), (50, 90)], inliers=[1, 0])
    assert picture.shape == (300, 480 + 6 + 180, 3)
    assert {P.RIGHT, P.INVENTED} <= colours(picture)
    assert P.matches(left, right, [], []).shape == picture.shape
    many = np.random.default_rng(0).random((500, 2)) * 40
    P.matches(left, right, many, many)


def test_rows_sheets_frames_and_heat_have_their_sizes():
    images = [np.zeros((30, 40, 1), np.uint8), np.zeros((90, 20, 3), np.uint16)]
    row = P.side_by_side(images, frames=[None, P.RIGHT], height_px=60)
    assert row.shape == (60, 80 + 24 + 13, 3)
    assert P.RIGHT in colours(row)
    assert P.contact_sheet(images * 4, columns=3, cell_px=50, gap_px=5).shape == (160, 160, 3)
    heat = P.heat(images[0], np.eye(6, dtype=np.float32))
    assert heat.shape == (30, 40, 3)
    assert heat.max() > 100
    assert P.heat(images[0], np.zeros((3, 3), np.float32)).max() == 0
