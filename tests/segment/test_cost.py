"""What a run takes beside training: the plan for a budget counts it."""

import dataclasses

import pytest

from tests.small import tiny_recipe, write_disc_survey
from transect.data.survey import open_survey
from transect.recipe import Schedule, SegmentDecide, Stage
from transect.segment.auto import _shortened
from transect.segment.cost import Cost, cost_of, made_affordable
from transect.segment.pictures import Pictures
from transect.train.keeping import check_keep


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = write_disc_survey(tmp_path_factory.mktemp("cost") / "survey")
    return Pictures(open_survey(root, question="segment"))


def test_all_parts_are_timed(pictures):
    member = tiny_recipe().members[0]
    cost = cost_of(pictures, member, "dice", device="cpu")
    assert min(cost.step, cost.window, cost.decision) > 0
    assert cost.window < cost.step  # one window of four, and no way back


def test_steps_leave_room_for_prediction_and_decisions(pictures):
    recipe, cost = tiny_recipe(), Cost(step=1.0, window=0.5, decision=0.01)
    aside = cost.predicting(recipe, pictures) + cost.deciding(recipe, pictures)
    steps = cost.steps_within(1000.0, recipe, pictures)
    assert aside > 10
    assert 800 < steps * cost.step + aside < 1000
    assert cost.steps_within(aside, recipe, pictures) < 0


def test_a_short_budget_gives_up_views_then_overlap_then_pictures(pictures):
    cost = Cost(step=1.0, window=0.5, decision=0.01)
    recipe = tiny_recipe(decide=SegmentDecide(metric="dice", pictures=64))
    member = recipe.members[0]
    tight = dataclasses.replace(member.geometry, overlap=0.5)
    recipe = dataclasses.replace(recipe, members=(dataclasses.replace(member, geometry=tight),))
    assert made_affordable(recipe, cost, pictures, seconds=1e5) == recipe
    short = made_affordable(recipe, cost, pictures, seconds=20.0)
    assert short.views == ("identity",)
    assert short.members[0].geometry.overlap == 0.25
    assert short.decide.pictures == 12
    assert cost.predicting(short, pictures) < cost.predicting(recipe, pictures) / 2


def test_a_stage_is_shortened_below_one_epoch():
    stage = Stage(epochs=2, steps=50)
    assert _shortened(stage, 50, 0.5).epochs == 1
    short = _shortened(stage, 50, 0.1)
    assert (short.epochs, short.steps) == (1, 10)
    assert _shortened(stage, 50, 0.0).steps == 1


def test_a_shortened_stage_keeps_the_cycle_whose_snapshot_is_used():
    stage = Stage(
        epochs=12, steps=50, schedule=Schedule("cosine_restarts", cycles=4), keep="cycle_end",
        drop_first=1,
    )  # fmt: skip
    short = _shortened(stage, 50, 0.02)
    assert (short.epochs, short.steps) == (2, 6)
    check_keep(short)
