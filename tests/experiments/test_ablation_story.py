"""Ablation with real trainings: what needs none gets the models of the full run."""

import json

import pytest

from transect.data.synthetic_salt import write_salt_survey
from transect.experiments import ablate
from transect.recipe import (
    Augment,
    Folds,
    Geometry,
    Member,
    Network,
    Optimizer,
    Recipe,
    SegmentDecide,
    Stage,
)

RECIPE = Recipe(
    name="tiny",
    members=(
        Member(
            network=Network(
                encoder="plain", weights=None, width=4, levels=2, decoder_channels=(4,)
            ),
            geometry=Geometry(fit="whole", size_hw=(32, 32), resize_hw=(28, 28)),
            augment=Augment(hflip=0.5, valid=("hflip",)),
            stages=(
                Stage(
                    epochs=1, steps=3, batch=4, loss="bce + dice", optimizer=Optimizer("adam", 1e-2)
                ),
            ),
        ),
    ),
    folds=Folds(count=2),
    views=("identity", "hflip"),
    drop_views=False,
    decide=SegmentDecide(min_area=0, fill_holes=0, min_total=0),
)


@pytest.mark.slow
def test_views_and_decisions_use_the_trained_models(tmp_path):
    survey = write_salt_survey(tmp_path / "survey", n_train=18, n_test=0, seed=3)
    out = tmp_path / "out"
    names = ["views.hflip", "decide.threshold", "loss.dice"]
    found = ablate(survey, names, recipe=RECIPE, out=out, device="cpu", threads=1)
    assert [result.error for result in found] == [None] * 3
    assert [result.retrained for result in found] == [False, False, True]
    full, views, threshold, dice = (
        json.loads((out / name / "members/main/fold0/done.json").read_text())
        for name in (
            "full-seed0",
            "without-views.hflip-seed0",
            "without-decide.threshold-seed0",
            "without-loss.dice-seed0",
        )
    )
    assert full == views == threshold
    assert full["history"] != dice["history"]
    kept = json.loads((out / "without-views.hflip-seed0" / "views.json").read_text())["kept"]
    assert kept == ["identity"]
