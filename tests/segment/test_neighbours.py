"""Adjoining pictures: seams met halfway, found in a mosaic, and marked wherever they are used."""

import dataclasses

import numpy as np
import pytest

from tests.small import tiny_recipe
from transect import api
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.recipe import SegmentDecide
from transect.run import RunFolder
from transect.segment.neighbours import (
    WARNING,
    adjoining,
    beside,
    borders_of,
    check_neighbours,
    pulled,
)
from transect.simulate.salt import write_salt_survey
from transect.types import Quiet


def test_both_sides_of_a_seam_meet_halfway_in_log_odds():
    left, right = (np.full((1, 3, 40), p, np.float32) for p in (0.9, 0.1))
    joined = {"a": {"right": "b"}, "b": {"left": "a"}}
    borders = {"a": borders_of(left), "b": borders_of(right)}
    out_left = pulled(left, beside("a", joined, borders.__getitem__))
    out_right = pulled(right, beside("b", joined, borders.__getitem__))
    np.testing.assert_allclose(out_left[0, :, -1], 0.5, atol=1e-6)
    np.testing.assert_allclose(out_right[0, :, 0], 0.5, atol=1e-6)
    assert (np.diff(out_left[0, 0]) < 0).all()
    assert out_left[0, 0, 0] == pytest.approx(0.9, abs=0.001)  # far from the seam
    np.testing.assert_allclose(out_left[0], 1 - out_right[0, :, ::-1], atol=1e-6)


def test_pictures_above_and_below_are_joined_along_rows():
    above, below = (np.full((1, 30, 2), p, np.float32) for p in (0.8, 0.4))
    meeting = beside("a", {"a": {"bottom": "b"}}, lambda name: borders_of(below))
    out = pulled(above, meeting)
    assert out[0, -1, 0] < 0.7
    assert out[0, 0, 0] == pytest.approx(0.8, abs=0.01)
    assert beside("a", {"a": {"bottom": "b"}}, lambda name: {}) == {}


def place_of(name):
    """Row and column in the mosaic: ``mosaic3-r1-c2.png``."""
    return int(name.split("-r")[1][0]), int(name.split("-c")[1][0])


def test_tiles_of_a_mosaic_find_their_neighbours_within_a_fold(tmp_path):
    survey = open_survey(write_salt_survey(tmp_path / "s", n_train=45, n_test=0, seed=1))
    found = adjoining(survey.images, Quiet())
    assert len(found) > 10
    for name, sides in found.items():
        for side, other in sides.items():
            place, there = np.array([place_of(name), place_of(other)])
            step = {"top": (-1, 0), "bottom": (1, 0), "left": (0, -1), "right": (0, 1)}[side]
            assert tuple(there - place) == step
            assert name.split("-")[0] == other.split("-")[0]
    apart = adjoining(survey.images, Quiet(), together=lambda name: name)
    assert apart == {}


def test_other_masks_than_binary_ones_are_refused_early():
    recipe = tiny_recipe(decide=SegmentDecide(neighbours=True))
    check_neighbours(recipe, "binary")
    with pytest.raises(TransectError, match="instances"):
        check_neighbours(recipe, "instances")


@pytest.mark.slow
def test_a_run_that_joins_neighbours_says_so_in_its_report(tmp_path):
    survey = write_salt_survey(tmp_path / "s", n_train=27, n_test=9, seed=1)
    recipe = tiny_recipe(decide=SegmentDecide(neighbours=True, metric="dice"))
    stage = dataclasses.replace(recipe.members[0].stages[0], epochs=1)
    recipe = dataclasses.replace(
        recipe, members=(dataclasses.replace(recipe.members[0], stages=(stage,)),)
    )
    run = api.train(survey, recipe=recipe, out=tmp_path / "run", device="cpu", threads=1)
    joined = RunFolder(run.path).read_json("neighbours.json")
    assert joined
    assert WARNING[:40] in (run.path / "report.html").read_text()
    found = run.predict(survey / "images", tmp_path / "out")
    assert found["images"] == 36
    assert len(run.submit(survey / "images", tmp_path / "f.csv").read_text().splitlines()) == 37
