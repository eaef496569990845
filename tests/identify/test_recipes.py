"""The quick twins of the whale solutions, each from photos to answers on ten invented animals."""

import pandas as pd
import pytest

from tests.identify.conftest import begin
from tests.verbs import identify
from transect import recipes
from transect.types import Quiet

NAMES = [name for name in recipes.names() if recipes.load(name).question == "identify"]


def test_the_solutions_are_there():
    wanted = {"whale-siamese", "whale-3rd", "whale-4th", "whale-yu4u", "whale-yu4u-blend"}
    wanted |= {"whale-1st", "whale-5th", "whale-7th", "whale-7th-metric", "whale-9th", "whale-10th"}
    wanted |= {"whale-15th"}
    assert wanted <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_quick_twin_trains_scores_and_answers(name, animals, asked, tmp_path):
    recipe = recipes.load(name, quick=True)
    photos, run = begin(animals, tmp_path / "run", recipe)
    identify.train(photos, recipe, run.path, progress=Quiet(), device="cpu")
    metrics = identify.score(run.path, None, progress=Quiet())
    # Chance among eight individuals, by the five places of an answer.
    assert metrics["known_top5"]["value"] > 0.4, metrics
    for member in recipe.members:
        for fold in range(recipe.folds.count):
            assert (run.fold(member.name, fold) / "photos.npy").is_file() or not member.stages
    out = tmp_path / "out"
    found = identify.predict(run.path, asked / "images", out, device="cpu", progress=Quiet())
    assert found["images"] == 12, found["problems"]
    assert len(pd.read_csv(out / "identities.csv")) == 12
    assert (out / "answers.html").is_file()
    assert (run.path / "report.html").is_file()
