"""The files that users are told to start from are sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from transect import losses, recipes
from transect.augment.validity import check_augment, invalid_kinds
from transect.recipe import from_json, set_field, to_json
from transect.train import schedules
from transect.train.checkpoint_selection import check_keep

MINE = str(Path(__file__).parents[1] / "examples" / "my_recipe.py")


@pytest.mark.parametrize("quick", [False, True])
def test_the_recipe_of_the_tutorial_loads_and_is_valid(quick):
    recipe = recipes.load(MINE, quick=quick)
    assert recipe.name == Path(MINE).stem
    assert from_json(to_json(recipe)) == recipe
    for member in recipe.members:
        check_augment(member.augment)
        assert invalid_kinds(member.augment) == ()
        for stage in member.stages:
            losses.parse_loss(stage.loss)
            schedules.check(stage.schedule)
            check_keep(stage)


def test_settings_of_the_tutorial_reach_their_field():
    recipe = set_field(recipes.load(MINE), "members.unet.stages.find.epochs", "8")
    assert recipe.members[0].stages[0].epochs == 8
    recipe = set_field(recipe, "members.*.stages.*.batch", "8")
    assert {stage.batch for stage in recipe.members[0].stages} == {8}
    recipe = set_field(recipe, "decide.min_area", "30")
    assert recipe.decide.min_area == 30
