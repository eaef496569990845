"""Quick twins of the salt recipes, through all their stages on a simulated survey."""

import numpy as np
import pytest

from transect import api, recipes
from transect.data.images import read_labels
from transect.run import RunFolder
from transect.segment.pseudo import stages_of_round
from transect.segment.rounds import watched_metric
from transect.simulate.salt import write_salt_survey

SALT = [name for name in recipes.names() if name.startswith("salt")]


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    root = tmp_path_factory.mktemp("salt") / "survey"
    return write_salt_survey(root, n_train=198, n_test=99, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", SALT)
def test_a_quick_twin_trains_through_all_stages_and_beats_empty_masks(name, survey, tmp_path):
    run = api.train(survey, recipe=name, quick=True, out=tmp_path / "run", device="cpu", threads=2)
    assert watched_metric(run.recipe) == "salt_map"
    for member in run.recipe.members:
        for number in range(len(run.recipe.pseudo) + 1):
            if stages_of_round(member, number):
                folder = run.path / "members" / member.name / "fold0"
                assert (
                    (folder / f"round{number}" if number else folder)
                    .joinpath("done.json")
                    .is_file()
                )
    scored = RunFolder(run.path).read_json("oof/pictures.json")
    masks = [read_labels(survey / "masks" / name) for name in scored]
    trivial = float(np.mean([not mask.any() for mask in masks]))
    assert len(scored) > 80
    assert run.score()["salt_map"]["value"] > trivial
