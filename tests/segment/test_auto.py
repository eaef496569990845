"""What `auto` decides for surveys of masks."""

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
    many = planned(root, seconds=7200.0).folds
    assert many.count == 5
    assert many.use > 1


def test_few_steps_on_whole_pictures_become_more_on_smaller_ones():
    geometry = Geometry(fit="whole", size_hw=(128, 128))
    member = Member(name="main", geometry=geometry, stages=(Stage(batch=16),))
    assert auto._cheaper(member, (101, 101), 9, 1000) is None
    changed, step, window = auto._cheaper(member, (101, 101), 90, 500)
    assert (changed.stages[0].batch, changed.geometry, step, window) == (8, geometry, 0.5, 1.0)
    changed, step, window = auto._cheaper(member, (101, 101), 90, 40)
    assert changed.geometry.size_hw == (64, 64)
    assert changed.geometry.resize_hw == (50, 50)
    assert (step, window) == (0.125, 0.25)


def test_few_steps_on_tiles_become_more_on_tiles_that_still_hold_an_object():
    member = Member(
        name="main", geometry=Geometry(fit="tile", size_hw=(256, 256)), stages=(Stage(batch=8),)
    )
    changed, step, window = auto._cheaper(member, (500, 500), 25, 120)
    assert changed.geometry == Geometry(fit="tile", size_hw=(128, 128))
    assert (changed.stages[0].batch, step, window) == (8, 0.25, 0.25)
    changed, step, _ = auto._cheaper(member, (500, 500), 40, 120)
    assert (changed.geometry.size_hw, step) == ((192, 192), 0.5625)
    assert auto._cheaper(member, (500, 500), 100, 120) is None


def test_the_usual_object_is_measured(tmp_path):
    root = write_disc_survey(tmp_path / "survey", kind="instances")
    found = auto._object_px(Pictures(open_survey(root, question="segment")))
    assert 9 < found < 18  # discs of 5 to 9 px radius


def test_short_trainings_get_milder_changes():
    strong = Augment(hflip=0.5, scale=(0.5, 2.0), rotate=45, rotate_p=0.3, contrast=0.3)
    mild = auto._milder(strong, 0.5)
    assert mild.scale == pytest.approx((0.5**0.5, 2.0**0.5))
    assert (mild.rotate_p, mild.contrast, mild.hflip) == (0.15, 0.15, 0.5)
    assert auto._milder(strong, 1.0) == strong
