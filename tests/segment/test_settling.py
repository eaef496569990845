"""Decisions look at as many held-out images as the time that is left allows, and note how many."""

import pytest

from tests.small import tiny_recipe
from transect.recipe import Phase
from transect.run import RunFolder
from transect.segment import settling
from transect.segment.settling import tuned_images


@pytest.fixture
def settled(monkeypatch):
    """The images that are taken where a decision takes so many seconds by the clock."""

    def take(run, recipe, pause):
        now = [0.0]

        def once(_):
            now[0] += pause

        monkeypatch.setattr(settling.time, "perf_counter", lambda: now[0])
        return tuned_images(run, recipe, range(200), once=once, asked=10)

    return take


def test_without_a_plan_the_recipe_says_how_many(settled, tmp_path):
    assert len(settled(RunFolder(tmp_path), tiny_recipe(), 0.0)) == 50  # every fourth, 64 at most


def test_the_time_left_decides_and_a_resumed_run_looks_at_the_same(settled, tmp_path):
    plan = (Phase("training", 1.0), Phase("deciding", 1.0))
    run, recipe = RunFolder(tmp_path), tiny_recipe(plan=plan)
    found = settled(run, recipe, 0.002)  # 20 ms an image
    assert 25 <= len(found) <= 50
    assert settled(run, recipe, 0.0) == found


def test_what_training_saved_goes_to_the_decisions(settled, tmp_path):
    plan = (Phase("training", 10.0), Phase("deciding", 0.5))
    run, recipe = RunFolder(tmp_path), tiny_recipe(plan=plan)
    run.write_json("spent.json", {"training": 8.0})
    assert len(settled(run, recipe, 0.002)) > 60
