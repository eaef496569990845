"""Blends of members: weights by score, members that only teach, majority votes."""

import numpy as np
import pytest

from transect.errors import TransectError
from transect.recipe import Geometry, Member, Network, Recipe, SegmentDecide, Stage
from transect.run import RunFolder
from transect.segment.blending import (
    Blend,
    answering,
    check_blend,
    check_gate,
    gates_of,
    write_stacks,
    write_weights,
)


def recipe_of(blend, *weights):
    members = tuple(Member(f"m{i}", weight=w) for i, w in enumerate(weights))
    return Recipe(members=members, blend=blend)


def noted(run, recipe, *scores):
    """Weights by scores that two images of two parts have in common."""
    by_image = {f"m{i}": {"a": score, "b": score} for i, score in enumerate(scores)}
    write_weights(run, recipe, by_image, {"a": 0, "b": 1})


def test_members_of_no_weight_only_teach():
    assert [m.name for m in answering(recipe_of("mean", 1.0, 0.0, 2.0))] == ["m0", "m2"]


def test_weights_follow_scores_and_the_recipe(tmp_path):
    run, recipe = RunFolder(tmp_path), recipe_of("weighted", 1.0, 2.0)
    noted(run, recipe, 0.6, 0.3)
    maps = [np.full((1, 1, 1), p, np.float32) for p in (0.0, 1.0)]
    assert Blend(run, recipe).of(maps)[0, 0, 0] == pytest.approx(0.5)
    assert Blend(run, recipe_of("mean", 1.0, 2.0)).of(maps)[0, 0, 0] == pytest.approx(2 / 3)


def test_weights_of_a_held_out_image_come_from_the_other_part(tmp_path):
    run, recipe = RunFolder(tmp_path), recipe_of("weighted", 1.0, 1.0)
    scores = {"m0": {"a": 0.9, "b": 0.1}, "m1": {"a": 0.1, "b": 0.9}}
    write_weights(run, recipe, scores, {"a": 0, "b": 1})
    maps = [np.full((1, 1, 1), p, np.float32) for p in (0.0, 1.0)]
    assert Blend(run, recipe).of(maps)[0, 0, 0] == pytest.approx(0.5)
    assert Blend(run, recipe).of(maps, held_out="a")[0, 0, 0] == pytest.approx(0.9)
    assert Blend(run, recipe).of(maps, held_out="b")[0, 0, 0] == pytest.approx(0.1)


def test_a_vote_is_of_masks_not_of_probabilities(tmp_path):
    run, recipe = RunFolder(tmp_path), recipe_of("weighted_vote", 1.0, 1.0, 1.0)
    noted(run, recipe, 0.2, 0.2, 0.6)
    maps = [np.full((1, 1, 2), p, np.float32) for p in (0.51, 0.51, 0.0)]
    assert Blend(run, recipe).of(maps)[0, 0, 0] == pytest.approx(0.4)  # 2 of 5 shares say yes


def test_one_member_is_its_own_blend(tmp_path):
    maps = [np.ones((1, 2, 2), np.float32)]
    assert Blend(RunFolder(tmp_path), recipe_of("rank", 1.0)).of(maps) is maps[0]


def test_unknown_blends_and_no_weights_are_refused():
    with pytest.raises(TransectError, match="Did you mean 'weighted_vote'"):
        check_blend(recipe_of("weighted_votes", 1.0))
    with pytest.raises(TransectError, match="weight above 0"):
        check_blend(recipe_of("mean", 0.0))


def stacked(tmp_path, truth_of):
    """Two members and two parts of pixels; the truth follows what ``truth_of`` says."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 2, (4000, 2, 1)).astype(np.float32)
    parts = np.arange(4000) % 2
    truth = truth_of(features, parts).astype(np.float32)[:, None]
    run, recipe = RunFolder(tmp_path), recipe_of("stack", 1.0, 1.0)
    write_stacks(run, features, truth, parts, {"a": 0, "b": 1})
    return Blend(run, recipe)


def test_a_stack_learns_which_member_to_believe(tmp_path):
    blend = stacked(tmp_path, lambda x, parts: x[:, 1, 0] > 0)
    maps = [np.full((1, 1, 1), p, np.float32) for p in (0.9, 0.2)]
    assert blend.of(maps)[0, 0, 0] < 0.1  # the mean would say .55


def test_a_held_out_picture_is_stacked_without_its_own_part(tmp_path):
    # Part 0 believes the first member, part 1 the second.
    blend = stacked(tmp_path, lambda x, parts: x[np.arange(4000), parts, 0] > 0)
    maps = [np.full((1, 1, 1), p, np.float32) for p in (0.9, 0.2)]
    assert blend.of(maps, held_out="a")[0, 0, 0] < 0.1
    assert blend.of(maps, held_out="b")[0, 0, 0] > 0.9


def test_planes_that_are_no_classes_are_averaged_in_a_stack(tmp_path):
    rng = np.random.default_rng(0)
    run, recipe = RunFolder(tmp_path), recipe_of("stack", 1.0, 1.0)
    soft = rng.uniform(0, 1, (50, 2)).astype(np.float32)
    soft[:, 0] = soft[:, 0] > 0.5
    write_stacks(run, rng.normal(0, 1, (50, 2, 2)), soft, np.arange(50) % 2, {"a": 0})
    maps = [np.full((2, 1, 1), p, np.float32) for p in (0.2, 0.6)]
    assert Blend(run, recipe).of(maps)[1, 0, 0] == pytest.approx(0.4)


def test_a_gate_is_a_member_that_was_taught_to_say_empty():
    head = Network(image_head=True)
    taught = Stage(loss="0 * bce", aux=(("empty", "bce"),))
    gate = Member("gate", head, Geometry(fit="whole"), stages=(taught,), weight=0.0)
    both = (Member("main", head), gate)
    assert [m.name for m in gates_of(Recipe(members=both))] == ["main"]
    recipe = Recipe(members=both, decide=SegmentDecide(gate="gate"))
    assert [m.name for m in gates_of(recipe)] == ["gate"]
    check_gate(recipe)
    with pytest.raises(TransectError, match="Did you mean 'gate'"):
        check_gate(Recipe(members=both, decide=SegmentDecide(gate="gat")))
    with pytest.raises(TransectError, match="no trained head"):
        check_gate(Recipe(members=both, decide=SegmentDecide(gate="main")))
    tiles = Member("gate", head, Geometry(fit="tile"), stages=(taught,))
    with pytest.raises(TransectError, match="sees tiles"):
        check_gate(Recipe(members=(tiles,), decide=SegmentDecide(gate="gate")))
