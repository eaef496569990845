import itertools

import cv2
import numpy as np
import pytest

from transect.data.images import ArrayReader
from transect.errors import TransectError
from transect.predict.scaling import ScaledReader, rescaled_bands


@pytest.mark.parametrize("scale", [0.2, 0.5, 0.73, 1.0, 1.5, 3.1])
def test_windows_agree_with_the_whole_picture(scale):
    picture = np.random.default_rng(0).normal(size=(53, 61, 2)).astype(np.float32)
    reader = ScaledReader(ArrayReader(picture), scale)
    whole = reader.window(0, 0, *reader.shape[:2])
    height, width = reader.shape[0] // 2, reader.shape[1] // 3
    part = reader.window(3, 4, height, width)
    np.testing.assert_allclose(part, whole[3 : 3 + height, 4 : 4 + width], atol=1e-5)


def test_shrinking_agrees_with_opencvs_area_mean():
    picture = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    ours = ScaledReader(ArrayReader(picture), 1 / 3).window(0, 0, 20, 30)
    theirs = cv2.resize(picture, (30, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_enlarging_agrees_with_opencvs_linear():
    picture = np.random.default_rng(0).normal(size=(20, 30, 1)).astype(np.float32)
    ours = ScaledReader(ArrayReader(picture), 2).window(0, 0, 40, 60)
    theirs = cv2.resize(picture[..., 0], (60, 40), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(ours[..., 0], theirs, atol=1e-5)


@pytest.mark.parametrize("to_hw", [(20, 30), (57, 61), (80, 17), (113, 190), (1, 1)])
def test_bands_are_resampled_as_the_whole_is(to_hw):
    maps = np.random.default_rng(0).normal(size=(2, 57, 61)).astype(np.float32)
    cuts = [0, 1, 9, 10, 30, 57]
    bands = [(a, maps[:, a:b]) for a, b in itertools.pairwise(cuts)]
    parts = list(rescaled_bands(bands, (57, 61), to_hw))
    whole = next(rescaled_bands([(0, maps)], (57, 61), to_hw))[1]
    assert [first for first, _ in parts] == list(
        np.cumsum([0, *(part.shape[1] for _, part in parts)])[:-1]
    )
    np.testing.assert_allclose(np.concatenate([p for _, p in parts], axis=1), whole, atol=1e-5)
    assert whole.shape == (2, *to_hw)


def test_a_scale_of_nothing_is_refused():
    with pytest.raises(TransectError, match="scale must be"):
        ScaledReader(ArrayReader(np.zeros((4, 4, 1), np.uint8)), 0)
