import dataclasses

import numpy as np
import pytest

from transect import recipes
from transect.identify import auto, costs, looks
from transect.identify.costs import MatchingCosts
from transect.recipe import IdentifyDecide, from_json, to_json


@pytest.fixture
def paced(monkeypatch):
    """Training steps that take a tenth of a second, as a fast core says."""

    class Pace:
        def epoch_seconds(self, steps):
            return 0.1 * steps

    monkeypatch.setattr(auto, "pace_of", lambda *a, **k: Pace())
    # A photo costs a core some 50 ms at 224 x 224 pixels.
    for room in (auto, looks):
        monkeypatch.setattr(
            room,
            "seconds_per_photo",
            lambda photos, member, device: 1e-6 * np.prod(member.geometry.size_hw),
        )
    monkeypatch.setattr(auto, "matching_costs", lambda *a: MatchingCosts(0.03, 0.001, 0.0005))


def test_little_time_trains_nothing_and_says_so(photos, paced):
    recipe = auto.plan(photos, budget_seconds=30, device="cpu", seed=4)
    assert not any(m.stages for m in recipe.members)
    assert recipe.seed == recipe.folds.seed == 4
    assert any("no time to train" in line for line in recipe.why)
    assert from_json(to_json(recipe)) == recipe


def test_more_time_trains_a_network_on_as_many_folds_as_fit(photos, paced):
    recipe = auto.plan(photos, budget_seconds=1800, device="cpu", seed=0)
    assert [m.name for m in recipe.members][-1] == "trained"
    stage = recipe.members[-1].stages[0]
    assert stage.epochs * stage.steps >= auto._LEAST_STEPS
    assert 3 <= recipe.folds.count <= 5


def test_no_step_is_timed_where_training_cannot_fit(photos, paced, monkeypatch):
    def too_slow(*args, **settings):
        raise AssertionError("a step was timed")

    monkeypatch.setattr(auto, "pace_of", too_slow)
    recipe = auto.plan(photos, budget_seconds=30, device="cpu", seed=0)
    assert any("no time to train" in line for line in recipe.why)


def enlarged(photos, side):
    """The same photos, said to be larger."""
    big = photos.take(np.arange(len(photos)))
    big._windows = [(0.0, 0.0, float(side), float(side)) for _ in big._windows]
    return big


def test_the_input_grows_with_time_and_with_the_photos(photos, paced):
    def sizes(side, seconds):
        recipe = auto.plan(enlarged(photos, side), budget_seconds=seconds, device="cpu", seed=0)
        spent = sum(
            60 * (1 + m.network.jitter) * 1e-6 * np.prod(m.geometry.size_hw)
            for m in recipe.members
            if not m.stages
        )
        assert spent <= (1 - auto._TRAINING) * seconds
        return [m.geometry.size_hw for m in recipe.members if not m.stages]

    assert sizes(448, 3600) == [(128, 128), (224, 224), (448, 448)]
    assert sizes(448, 80) == [(128, 128), (224, 224), (448, 448)]
    assert sizes(448, 50) == [(128, 128), (224, 224), (320, 320)]
    assert sizes(448, 20) == [(128, 128), (224, 224)]
    assert sizes(448, 10) == [(128, 128)]
    assert sizes(120, 3600) == [(128, 128), (224, 224), (224, 224)]  # at most doubled
    assert sizes(32, 3600) == [(64, 64)]


def test_little_time_takes_fewer_random_views(photos, paced):
    few = auto.plan(enlarged(photos, 448), budget_seconds=20, device="cpu", seed=0)
    assert 1 <= few.members[0].network.jitter < looks._MOST_VIEWS - 1
    many = auto.plan(enlarged(photos, 448), budget_seconds=600, device="cpu", seed=0)
    assert many.members[0].network.jitter == looks._MOST_VIEWS - 1


def test_an_embedding_is_timed(photos):
    recipe = auto.plan(photos, budget_seconds=5, device="cpu", seed=0)
    assert 0 < looks.seconds_per_photo(photos, recipe.members[0], device="cpu") < 5


def test_matching_is_timed(photos):
    found = costs.matching_costs(photos, IdentifyDecide())
    assert 0 < found.vote < found.photo < 5
    assert 0 < found.pair < 0.1


def test_the_share_of_unknown_comes_from_the_table(photos, paced):
    recipe = auto.plan(photos, budget_seconds=30, device="cpu", seed=0)
    assert recipe.decide.share_new == pytest.approx(0.2)  # 12 of 60
    named = photos.take(np.flatnonzero(photos.named() != "new_whale"))
    assert auto.plan(named, budget_seconds=30, device="cpu", seed=0).decide.share_new == 0.2


def test_individuals_met_once_cannot_be_trained_on(photos, paced):
    first = [int(np.flatnonzero(photos.named() == f"a{k}")[0]) for k in range(6)]
    recipe = auto.plan(photos.take(np.array(first)), budget_seconds=1800, device="cpu", seed=0)
    assert not any(m.stages for m in recipe.members)
    assert any("no individual has two photos" in line for line in recipe.why)


def test_many_photos_and_little_time_shorten_the_list_for_geometry_or_leave_it_out():
    priced = MatchingCosts(photo=0.03, pair=0.001, vote=0.0005)
    assert auto._shortlist(60, 600.0, priced)[0] == 0
    short, seconds, why = auto._shortlist(2_500, 600.0, priced)
    assert 10 <= short < 2_500
    assert 0.9 * 600 < seconds <= 600
    assert str(short) in why
    none, seconds, why = auto._shortlist(25_000, 600.0, priced)
    assert none is None
    assert seconds == 0
    assert "left out" in why


def test_the_plan_adds_up_to_the_time_that_there_is(photos, paced):
    for seconds in (30, 180, 1800):
        recipe = auto.plan(enlarged(photos, 448), budget_seconds=seconds, device="cpu", seed=0)
        assert [phase.name for phase in recipe.plan] == [
            "timing", "training", "predicting", "deciding", "report"
        ]  # fmt: skip
        assert sum(phase.seconds for phase in recipe.plan) <= seconds


def test_a_budget_without_room_for_matching_asks_networks_alone(photos, paced, monkeypatch):
    monkeypatch.setattr(auto, "matching_costs", lambda *a: MatchingCosts(9.0, 9.0, 9.0))
    recipe = auto.plan(photos, budget_seconds=60, device="cpu", seed=0)
    assert recipe.decide.sources == ("embedding",)
    assert any("left out" in line for line in recipe.why)


def test_a_recipe_is_shortened_to_its_budget_and_never_lengthened(photos, paced):
    recipe = recipes.load("whale-yu4u")
    short = auto.within_budget(recipe, photos, budget_seconds=5, device="cpu")
    for before, after in zip(recipe.members, short.members, strict=True):
        for full, less in zip(before.stages, after.stages, strict=True):
            assert 1 <= less.epochs <= full.epochs
    assert sum(s.epochs for m in short.members for s in m.stages) < sum(
        s.epochs for m in recipe.members for s in m.stages
    )
    assert "budget" in short.why[-1]
    assert auto.within_budget(recipe, photos, budget_seconds=1e9, device="cpu") == recipe
    untrained = dataclasses.replace(recipe, members=())
    assert auto.within_budget(untrained, photos, budget_seconds=1, device="cpu") == untrained
