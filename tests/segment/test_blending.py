"""Blends of members: weights by score, members that only teach, majority votes."""

import numpy as np
import pytest

from transect.errors import TransectError
from transect.recipe import Member, Recipe
from transect.run import RunFolder
from transect.segment.blending import answering, blended, check_blend, weights_of, write_weights


def recipe_of(blend, *weights):
    members = tuple(Member(f"m{i}", weight=w) for i, w in enumerate(weights))
    return Recipe(members=members, blend=blend)


def test_members_of_no_weight_only_teach():
    assert [m.name for m in answering(recipe_of("mean", 1.0, 0.0, 2.0))] == ["m0", "m2"]


def test_weights_follow_scores_and_the_recipe(tmp_path):
    run, recipe = RunFolder(tmp_path), recipe_of("weighted", 1.0, 2.0)
    write_weights(run, recipe, {"m0": 0.6, "m1": 0.3})
    assert weights_of(run, recipe) == pytest.approx([0.5, 0.5])
    assert weights_of(run, recipe_of("mean", 1.0, 2.0)) == [1.0, 2.0]


def test_a_vote_is_of_masks_not_of_probabilities(tmp_path):
    run, recipe = RunFolder(tmp_path), recipe_of("weighted_vote", 1.0, 1.0, 1.0)
    write_weights(run, recipe, {"m0": 0.2, "m1": 0.2, "m2": 0.6})
    maps = [np.full((1, 1, 2), p, np.float32) for p in (0.51, 0.51, 0.0)]
    assert blended(run, recipe, maps)[0, 0, 0] == pytest.approx(0.4)  # 2 of 5 shares say yes


def test_one_member_is_its_own_blend(tmp_path):
    maps = [np.ones((1, 2, 2), np.float32)]
    assert blended(RunFolder(tmp_path), recipe_of("rank", 1.0), maps) is maps[0]


def test_unknown_blends_and_no_weights_are_refused():
    with pytest.raises(TransectError, match="Did you mean 'weighted_vote'"):
        check_blend(recipe_of("weighted_votes", 1.0))
    with pytest.raises(TransectError, match="weight above 0"):
        check_blend(recipe_of("mean", 0.0))
