"""Ablation with real trainings: what needs none gets the models of the full run."""

import dataclasses
import json

import pytest

from tests.count.conftest import TINY as COUNTING
from tests.identify.conftest import TINY as NAMING
from tests.identify.conftest import write_animals
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
from transect.simulate.colony import write_colony_survey
from transect.simulate.salt import write_salt_survey

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


@pytest.mark.slow
def test_counts_are_ablated_by_their_errors(tmp_path):
    survey = write_colony_survey(
        tmp_path / "survey", n_train=6, n_test=0, seed=2, size_hw=(96, 96), scale=0.25, animals=12
    )
    stage = dataclasses.replace(COUNTING.members[0].stages[0], epochs=1, steps=10)
    recipe = dataclasses.replace(
        COUNTING, members=(dataclasses.replace(COUNTING.members[0], stages=(stage,)),)
    )
    (found,) = ablate(
        survey, ["augment.rot90"], recipe=recipe, out=tmp_path / "out", device="cpu", threads=1
    )
    assert found.error is None
    assert found.metric == "error_saved"
    assert found.low <= found.gain <= found.high


@pytest.mark.slow
def test_identities_are_ablated_by_their_ranks(tmp_path):
    survey = write_animals(tmp_path / "survey", people=6)
    (found,) = ablate(
        survey, ["network.project"], recipe=NAMING, out=tmp_path / "out", device="cpu", threads=1
    )
    assert found.error is None
    assert found.metric == "map@5"
    assert -1 <= found.low <= found.gain <= found.high <= 1
