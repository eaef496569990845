"""The search over hyper-parameters with the real optuna and real trainings."""

import json

import pytest

from tests.small import tiny_recipe, write_disc_survey
from transect.experiments.tuning import parse_space, tune

pytest.importorskip("optuna")


@pytest.mark.slow
def test_a_search_trains_its_trials_and_gives_back_the_best(tmp_path):
    survey = write_disc_survey(tmp_path / "survey", count=6)
    space = parse_space(
        ["members.*.stages.*.optimizer.lr=1e-6..1e-2 log", "members.*.stages.*.batch=2,4"]
    )
    best = tune(
        survey, space, recipe=tiny_recipe(), out=tmp_path / "out", trials=3, seed=1,
        settings={"members.*.stages.*.epochs": "1"}, device="cpu", threads=1,
    )  # fmt: skip
    noted = json.loads((tmp_path / "out" / "tune.json").read_text())
    assert len(noted) == 3
    top = max(noted, key=lambda entry: entry["score"])["values"]
    stage = best.members[0].stages[0]
    assert stage.optimizer.lr == top["members.*.stages.*.optimizer.lr"]
    assert stage.batch == top["members.*.stages.*.batch"]
    assert 1e-6 <= stage.optimizer.lr <= 1e-2
    assert (tmp_path / "out" / "trial002" / "metrics.json").is_file()
