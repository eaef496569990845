from pathlib import Path

import numpy as np

from transect.data.inputs import Inputs, picture_channels
from transect.recipe import Geometry
from transect.types import Image


def image(channels=1, depth=None, size=(4, 6)):
    return Image("a.png", Path("a.png"), size, channels, depth=depth)


def test_grey_and_colour_pictures_of_one_survey_get_the_same_channels():
    inputs = Inputs.of([image(1), image(3)], Geometry(normalise="unit"))
    grey = inputs.prepare(np.full((2, 2, 1), 51, np.uint8), image(1))
    assert grey.shape == (2, 2, 3)
    np.testing.assert_allclose(grey, 0.2, rtol=1e-6)


def test_depth_is_relative_to_the_whole_survey():
    geometry = Geometry(channels=("image", "depth", "row"), normalise="unit")
    inputs = Inputs.of([image(depth=100.0), image(depth=300.0)], geometry)
    found = inputs.prepare(np.zeros((4, 6, 1), np.uint8), image(depth=150.0))
    assert inputs.network_channels == found.shape[-1] == 3
    np.testing.assert_allclose(found[..., 1], 0.25)
    np.testing.assert_allclose(found[:, 0, 2], [0, 1 / 3, 2 / 3, 1], rtol=1e-6)


def test_rows_of_a_window_are_those_of_the_picture():
    inputs = Inputs.of([image()], Geometry(channels=("row",), normalise="unit"))
    window = inputs.prepare(np.zeros((2, 3, 1), np.uint8), image(), (2, 0, 2, 3))
    np.testing.assert_allclose(window[:, 0, 0], [2 / 3, 1], rtol=1e-6)


def test_inputs_survive_json():
    inputs = Inputs.of([image(depth=1.0)], Geometry(), ((1.0,), (2.0,)))
    assert Inputs.from_json(inputs.to_json(), Geometry()) == inputs


def test_many_bands_stay():
    assert picture_channels([image(8), image(8)]) == 8
