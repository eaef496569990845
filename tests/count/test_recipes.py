"""The quick twins of the sea lion solutions, each from dots to counts on a few small photos."""

from dataclasses import replace

import pytest

from tests.verbs import count
from transect import recipes
from transect.data.survey import fingerprint, open_survey
from transect.run import RunFolder
from transect.types import Quiet

NAMES = [name for name in recipes.names() if recipes.load(name).question == "count"]


def test_the_four_solutions_are_there():
    assert {"sealion-2nd", "sealion-reclassify", "sealion-density", "density-map"} <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_quick_twin_trains_and_predicts(name, colony, tmp_path):
    recipe = recipes.load(name, quick=True)
    members = tuple(
        replace(member, stages=tuple(replace(s, steps=3, epochs=1) for s in member.stages))
        for member in recipe.members
    )
    decide = replace(recipe.decide, test_scale=1.0)
    recipe = replace(recipe, members=members, decide=decide)
    survey = open_survey(colony)
    run = RunFolder(tmp_path / "run")
    pictures = count.prepare(survey, run.path / "cache", Quiet())
    run.begin(recipe, {"folder": str(colony), "fingerprint": fingerprint(survey), "problems": []})
    count.train(pictures, recipe, run.path, progress=Quiet(), device="cpu")
    assert run.read_json("metrics.json")["mae"]["pictures"] > 0
    out = tmp_path / "out"
    found = count.predict(
        run.path, colony / "images" / "test000.png", out, device="cpu", progress=Quiet()
    )
    assert found["images"] == 1, found["problems"]
    assert (out / "counts.csv").is_file()
