"""What `auto` decides for surveys of masks."""

import dataclasses

import cv2
import numpy as np
import pytest

from tests.small import write_disc_survey
from transect.data.survey import open_survey
from transect.recipe import Augment, Geometry, Member, Stage
from transect.segment import auto
from transect.segment.cost import Cost
from transect.segment.pictures import Pictures


@pytest.fixture(autouse=True)
def known_cost(monkeypatch):
    cost = Cost(step=0.5, window=0.01, decision=0.001)
    monkeypatch.setattr(auto, "cost_of", lambda *_, **__: cost)


def planned(root, seconds=60.0):
    pictures = Pictures(open_survey(root, question="segment"))
    return auto.plan(pictures, budget_seconds=seconds, device="cpu", seed=0)


def test_sixteen_bits_are_normalised_by_the_survey_and_eight_as_the_network_learnt(tmp_path):
    root = write_disc_survey(tmp_path / "survey")
    assert planned(root).members[0].geometry.normalise == "imagenet"
    for path in (root / "images").iterdir():
        twelve = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16) * 16
        cv2.imwrite(str(path), twelve)
    assert planned(root).members[0].geometry.normalise == "survey"


def test_one_fold_alone_holds_out_no_more_than_its_decisions_need(tmp_path, monkeypatch):
    root = write_disc_survey(tmp_path / "survey", count=100)
    folds = planned(root).folds
    assert (folds.count, folds.use) == (5, 1)
    monkeypatch.setattr(auto, "_HELD_OUT", 10)
    folds = planned(root).folds
    assert (folds.count, folds.use) == (10, 1)
    many = planned(root, seconds=3600.0).folds
    assert many.count == 5
    assert many.use > 1


def test_few_steps_on_whole_pictures_become_more_on_smaller_ones():
    geometry = Geometry(fit="whole", size_hw=(128, 128))
    member = Member(name="main", geometry=geometry, stages=(Stage(batch=16),))
    assert auto._smaller_steps(member, (101, 101), 300) is None
    found = auto._smaller_steps(member, (101, 101), 160)
    assert found is not None
    changed, step, window = found
    assert (changed.stages[0].batch, changed.geometry, step, window) == (8, geometry, 0.5, 1.0)
    found = auto._smaller_steps(member, (101, 101), 40)
    assert found is not None
    changed, step, window = found
    assert changed.geometry.size_hw == (64, 64)
    assert changed.geometry.resize_hw == (50, 50)
    assert (step, window) == (0.125, 0.25)
    tiles = dataclasses.replace(member, geometry=Geometry(fit="tile"))
    assert auto._smaller_steps(tiles, (500, 500), 40) is None


def test_short_trainings_get_milder_changes():
    strong = Augment(hflip=0.5, scale=(0.5, 2.0), rotate=45, rotate_p=0.3, contrast=0.3)
    mild = auto._milder(strong, 0.5)
    assert mild.scale == pytest.approx((0.5**0.5, 2.0**0.5))
    assert (mild.rotate_p, mild.contrast, mild.hflip) == (0.15, 0.15, 0.5)
    assert auto._milder(strong, 1.0) == strong
