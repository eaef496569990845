"""What a run takes beside training: the plan for a budget counts it."""

import copy
import dataclasses

import pytest

from tests.small import tiny_recipe, write_disc_survey
from transect.data.survey import open_survey
from transect.recipe import Member, PseudoRound, Recipe, Schedule, SegmentDecide, Stage
from transect.segment import auto, cost, training
from transect.segment.cost import Cost, cost_of, made_affordable, snapshots_of, windows_of
from transect.segment.dataset import MaskDataset
from transect.segment.shortening import (
    _shortened,
    averaging_seconds,
    labelling_seconds,
    training_seconds,
)
from transect.segment.training import VALIDATION_WINDOWS
from transect.train.budget import Pace
from transect.train.checkpoint_selection import check_keep


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = write_disc_survey(tmp_path_factory.mktemp("cost") / "survey")
    return MaskDataset(open_survey(root, question="segment"))


def test_all_parts_are_timed(pictures):
    member = tiny_recipe().members[0]
    cost = cost_of(pictures, member, "dice", device="cpu")
    assert min(cost.step, cost.window, cost.decision) > 0
    assert cost.window < cost.step  # one window of four, and no way back


def test_what_is_known_is_not_timed_again(pictures, monkeypatch):
    monkeypatch.setattr(cost, "_decision_seconds", lambda *_: pytest.fail("timed again"))
    member = tiny_recipe().members[0]
    assert cost_of(pictures, member, "dice", device="cpu", decision=0.5).decision == 0.5


def test_a_short_budget_times_fewer_steps(pictures, monkeypatch):
    asked = []
    pace = Pace(1.0, 1.0, 1.0, 1.0)
    monkeypatch.setattr(
        training, "measure", lambda *_, **o: asked.append(o["most_seconds"]) or pace
    )
    for seconds in (60.0, 3600.0):
        auto.plan(pictures, budget_seconds=seconds, device="cpu", seed=0)
    assert min(asked) == pytest.approx(1.8)
    assert max(asked) == 20.0


def test_steps_leave_room_for_prediction_and_decisions(pictures):
    recipe, cost = tiny_recipe(), Cost(step=1.0, window=0.5, decision=0.01)
    parts = (cost.choosing, cost.predicting, cost.deciding)
    aside = sum(part(recipe, pictures) for part in parts)
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
    rich = made_affordable(recipe, cost, pictures, seconds=1e5, most=64)
    assert (rich.views, rich.members) == (recipe.views, recipe.members)
    short = made_affordable(recipe, cost, pictures, seconds=20.0, most=64)
    assert short.views == ("identity",)
    assert short.members[0].geometry.overlap == 0.25
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


def test_rounds_of_pseudo_labels_cost_training_and_labelling(pictures):
    both = (Stage(epochs=2, steps=10), Stage(epochs=1, steps=10, data="mixed"))
    teacher = dataclasses.replace(tiny_recipe().members[0], name="teacher", stages=both)
    recipe = tiny_recipe(members=(teacher,), pseudo=(PseudoRound(), PseudoRound()))
    costs = [Cost(step=1.0, window=0.5, decision=0.01)]
    # Two folds; the mixed stage is trained in both rounds.
    assert training_seconds(recipe, pictures, costs) == 2 * (20 + 10 + 10)
    assert labelling_seconds(recipe, pictures, costs) == 0  # nothing is unlabelled
    images = tuple(dataclasses.replace(i, split="test") for i in pictures.survey.images[:3])
    survey = dataclasses.replace(pictures.survey, images=(*pictures.survey.images, *images))
    more = copy.copy(pictures)
    more.survey = survey
    windows = sum(windows_of([image], teacher.geometry) for image in images)
    assert labelling_seconds(recipe, more, costs) == windows * 0.5 * 2 * 2 * 2


def test_looks_at_validation_cost_too(pictures):
    stages = (Stage(epochs=2, steps=10), Stage(epochs=1, steps=10, keep="best"))
    recipe = tiny_recipe(
        members=(dataclasses.replace(tiny_recipe().members[0], stages=stages),),
    )
    costs = [Cost(step=1.0, window=0.5, decision=0.01)]
    looks = 3 * VALIDATION_WINDOWS * 0.5  # one stage asks, all epochs are measured
    assert training_seconds(recipe, pictures, costs) == 2 * (30 + looks)


def test_averaged_weights_cost_an_epoch_of_looking(pictures):
    costs = [Cost(step=1.0, window=0.5, decision=0.01)]
    stages = (Stage(epochs=2, steps=10, batch=4), Stage(steps=5, batch=4, average="swa"))
    recipe = tiny_recipe(
        members=(dataclasses.replace(tiny_recipe().members[0], stages=stages),),
    )
    assert averaging_seconds(recipe, pictures, costs) == 2 * (5 * 4 + VALIDATION_WINDOWS) * 0.5
    assert averaging_seconds(tiny_recipe(), pictures, costs) == 0


def test_every_snapshot_that_answers_is_counted():
    cycles = Stage(epochs=6, keep="cycle_end", drop_first=1, schedule=Schedule(cycles=3))
    best = Stage(keep="best_k", keep_k=4)
    assert snapshots_of(Recipe(), Member(stages=(best, cycles))) == 2
    weighted = dataclasses.replace(best, weight=1.0)
    assert snapshots_of(Recipe(), Member(stages=(weighted, cycles))) == 6
    later = dataclasses.replace(best, data="pseudo")
    rounds = Recipe(pseudo=(PseudoRound(),))
    assert snapshots_of(rounds, Member(stages=(cycles, later))) == 4
