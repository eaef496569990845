"""Scores picture by picture of every question, as ablation compares them."""

import dataclasses

import pytest

from transect import recipes
from transect.errors import TransectError
from transect.experiments.ingredients import without
from transect.experiments.pictures import metric_of, picture_rows
from transect.files import write_json, write_text
from transect.recipe import Recipe, to_json


def run_of(folder, question):
    write_json(folder / "recipe.json", to_json(Recipe(question=question)))
    return folder


def test_counts_are_compared_by_the_error_of_every_picture(tmp_path):
    run = run_of(tmp_path, "count")
    write_text(run / "oof/counts.csv", "image,true,predicted\na,10,12.5\nb,3,3\n")
    assert metric_of(run) == "error_saved"
    assert picture_rows(run) == {"a": {"error_saved": -2.5}, "b": {"error_saved": 0.0}}


def test_identities_are_compared_by_the_rank_of_the_right_one(tmp_path):
    run = run_of(tmp_path, "identify")
    head = "image,identity_1,identity_2,identity_3,truth\n"
    write_text(run / "oof/answers.csv", head + "a,x,y,,y\na,y,x,z,y\nb,x,,,new\n")
    assert metric_of(run) == "map@5"
    values = {name: row["map@5"] for name, row in picture_rows(run).items()}
    assert values == {"a": 0.5, "a #2": 1.0, "b": 0.0}


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
