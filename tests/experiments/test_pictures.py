"""Scores picture by picture of every question, as ablation compares them."""

import dataclasses

import numpy as np
import pytest

from transect import recipes
from transect.count.scoring import rows_of
from transect.errors import TransectError
from transect.experiments.ingredients import without
from transect.experiments.pictures import metric_of, picture_rows
from transect.files import write_json
from transect.pipeline.train import ROWS
from transect.recipe import Recipe, to_json
from transect.task import Rows


def run_of(folder, question):
    write_json(folder / "recipe.json", to_json(Recipe(question=question)))
    return folder


def test_counts_are_compared_by_the_error_of_every_picture(tmp_path):
    run = run_of(tmp_path, "count")
    said, true = np.array([[12.5], [3.0]]), np.array([[10.0], [3.0]])
    rows_of(["a", "b"], [None] * 2, np.zeros(2, int), said, true, intervals=np.zeros((2, 2))).save(
        run / ROWS
    )
    assert metric_of(run) == "error_saved"
    assert picture_rows(run) == {"a": {"error_saved": -2.5}, "b": {"error_saved": 0.0}}


def test_identities_are_compared_by_the_rank_of_the_right_one(tmp_path):
    run = run_of(tmp_path, "identify")
    ranked = np.array([["x", "y", ""], ["y", "x", "z"], ["x", "", ""]])
    columns = {"ranked": ranked, "truth": np.array(["y", "y", "new"])}
    Rows(("a#1", "a#2", "b"), np.zeros(3, np.int64), ("",) * 3, columns).save(run / ROWS)
    assert metric_of(run) == "map@5"
    values = {name: row["map@5"] for name, row in picture_rows(run).items()}
    assert values == {"a#1": 0.5, "a#2": 1.0, "b": 0.0}


def test_a_run_that_did_not_get_so_far_is_told(tmp_path):
    with pytest.raises(TransectError, match="--resume"):
        picture_rows(run_of(tmp_path, "count"))


def test_recipes_of_all_questions_can_lose_an_ingredient():
    assert without(recipes.load("sealion-2nd"), "augment") != recipes.load("sealion-2nd")
    recipe = recipes.load("whale-yu4u")
    embedding = dataclasses.replace(recipe.members[0].network, coordconv=True)
    recipe = dataclasses.replace(
        recipe, members=(dataclasses.replace(recipe.members[0], network=embedding),)
    )
    assert not without(recipe, "network.coordconv").members[0].network.coordconv
    with pytest.raises(TransectError, match="masks only"):
        without(recipe, "decide.threshold")
