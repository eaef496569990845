import cv2
import numpy as np
import pytest

from transect.count import auto
from transect.count.pictures import CountPictures
from transect.data.survey import open_survey
from transect.train.budget import Pace


@pytest.fixture
def four(tmp_path, monkeypatch):
    """Four photos of trees, dead ones on the last only; a step takes a tenth of a second."""
    monkeypatch.setattr(auto, "pace_of", lambda *args, **more: Pace(0.1, 0.0, 0.0, 0.0))
    (tmp_path / "images").mkdir()
    lines = ["image,x,y,class"]
    for k in range(4):
        cv2.imwrite(str(tmp_path / "images" / f"{k}.png"), np.zeros((240, 240, 3), np.uint8))
        for y in range(12, 240, 18):
            for x in range(12, 240, 18):
                lines.append(f"{k}.png,{x},{y},{'dead' if k == 3 and x < 100 else 'alive'}")
    (tmp_path / "points.csv").write_text("\n".join(lines) + "\n")
    return CountPictures(open_survey(tmp_path))


def planned(pictures, seconds):
    return auto.plan(pictures, budget_seconds=seconds, device="cpu", seed=0)


def test_a_class_on_one_photo_shares_the_map_of_all(four):
    recipe = planned(four, 100)
    assert recipe.decide.merge_classes
    assert recipe.decide.target == "gaussian"
    assert recipe.members[0].stages[0].sampler == "object"
    assert any("dead is in one photo only" in line for line in recipe.why)


@pytest.mark.parametrize("seconds", [40, 63, 100, 300])
def test_all_of_the_budget_goes_into_steps_of_every_fold(four, seconds):
    recipe = planned(four, seconds)
    stage = recipe.members[0].stages[0]
    assert recipe.folds.use == recipe.folds.count == 4  # few photos: each is held out once
    spent = 4 * stage.epochs * stage.steps * 0.1
    assert 0.65 * seconds < spent < 0.85 * seconds


def test_a_short_budget_still_holds_out_enough_photos(four, monkeypatch):
    few = planned(four, 40)
    monkeypatch.setattr(auto, "_HELD_OUT", 1)
    assert planned(four, 40).folds.use < few.folds.use


def test_crowds_are_enlarged_and_wide_spacings_are_shrunk():
    assert auto._scale(17) == 1
    assert auto._scale(34) == 0.5
    assert auto._scale(6) == 1
    assert auto._scale(4) == 2
    assert auto._scale(400) == 0.25
