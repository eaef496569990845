"""Gains picture by picture, and the story with a training that is imagined."""

import dataclasses
import json

import numpy as np
import pytest

from transect.errors import TransectError
from transect.experiments import ablation as module
from transect.experiments.ablation import ablate, lines_of, paid
from transect.experiments.leaderboard import Entry, write_leaderboard
from transect.files import write_json
from transect.pipeline.train import ROWS
from transect.recipe import Augment, Member, Recipe, to_json
from transect.task import Rows


def rows(*values):
    return {f"p{i}": {"dice": value} for i, value in enumerate(values)}


def test_the_gain_is_paired_by_picture():
    found = paid("x", "dice", [(rows(0.9, 0.8), rows(0.7, 0.6))], {})
    assert found.gain == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.2, 0.2))
    assert found.verdict == "paid"


def test_seeds_are_kept_apart_and_averaged():
    found = paid("x", "dice", [(rows(0.5), rows(0.4)), (rows(0.5), rows(0.6))], {})
    assert found.seeds == pytest.approx((0.1, -0.1))
    assert found.gain == pytest.approx(0.0)


def test_groups_widen_the_interval():
    rng = np.random.default_rng(0)
    site = np.repeat(rng.normal(0, 0.1, 10), 20)
    full, less = rows(*(0.5 + site)), rows(*np.full(200, 0.5))
    alone = paid("x", "dice", [(full, less)], {})
    grouped = paid("x", "dice", [(full, less)], {f"p{i}": str(i // 20) for i in range(200)})
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_a_failure_is_told_and_not_counted():
    found = paid("x", "dice", [], {}, error="no memory")
    assert found.verdict == "failed"
    assert lines_of([found]) == ["x  failed: no memory"]


@pytest.fixture
def imagined(monkeypatch, tmp_path):
    """``api.train`` that writes scores by what the recipe still has."""
    calls = []

    class Run:
        def __init__(self, path, recipe):
            self.path, self.recipe = path, recipe

        def score(self):
            return {"dice": {"value": 0.5}}

    def train(data, *, recipe, out, seed, resume, progress, **options):
        linked = (out / "members" / "weights").is_file()
        calls.append((out.name, resume, linked, sorted(options)))
        if recipe.members[0].augment.noise:
            raise TransectError("noise is too much. Use less.")
        gain = 0.1 * bool(recipe.members[0].augment.hflip) + 0.05 * ("hflip" in recipe.views)
        write_json(out / "recipe.json", to_json(recipe))
        write_json(out / "metrics.json", {"dice": {"value": 0.5}})
        dice = np.array([0.5 + gain, 0.6 + gain])
        Rows(("p0", "p1"), np.zeros(2, np.int64), ("", ""), {"dice": dice}).save(out / ROWS)
        (out / "members").mkdir(exist_ok=True)
        (out / "members" / "weights").write_text("w")
        return Run(out, recipe)

    monkeypatch.setattr(module.api, "train", train)
    monkeypatch.setattr(module, "_groups", lambda data, folder: {})
    return calls


def recipe():
    return Recipe(members=(Member(augment=Augment(hflip=0.5)),), views=("identity", "hflip"))


def test_ablation_trains_what_it_must_and_links_the_rest(imagined, tmp_path):
    found = ablate(
        tmp_path, ["augment.hflip", "views.hflip"], recipe=recipe(), out=tmp_path / "out",
        seeds=(0, 1), budget="5m",
    )  # fmt: skip
    assert [round(result.gain, 6) for result in found] == [0.1, 0.05]
    assert [call[0] for call in imagined] == [
        "full-seed0", "without-augment.hflip-seed0", "without-views.hflip-seed0",
        "full-seed1", "without-augment.hflip-seed1", "without-views.hflip-seed1",
    ]  # fmt: skip
    assert [call[2] for call in imagined] == [False, False, True, False, False, True]
    assert imagined[0][3] == ["budget"]
    assert imagined[1][3] == []  # the budget was settled by the full recipe
    noted = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [entry["ingredient"] for entry in noted] == ["augment.hflip", "views.hflip"]
    assert "Which trick paid" in (tmp_path / "out" / "ablation.html").read_text()


def test_wrong_ingredients_stop_before_any_training(imagined, tmp_path):
    with pytest.raises(TransectError, match="does not use"):
        ablate(tmp_path, ["augment.elastic"], recipe=recipe(), out=tmp_path / "out")
    assert imagined == []


def test_one_that_fails_does_not_stop_the_others(imagined, tmp_path, monkeypatch):
    def broken(chosen, name):
        if name != "augment.hflip":
            return dataclasses.replace(chosen, views=("identity",))
        member = dataclasses.replace(chosen.members[0], augment=Augment(noise=1.0))
        return dataclasses.replace(chosen, members=(member,))

    monkeypatch.setattr(module, "without", broken)
    found = ablate(
        tmp_path, ["augment.hflip", "views.hflip"], recipe=recipe(), out=tmp_path / "out"
    )
    assert [result.verdict for result in found] == ["failed", "paid"]
    assert "noise is too much" in found[0].error


def test_the_leaderboard_puts_the_best_first_and_failures_last(tmp_path):
    def entry(name, value, folds):
        return Entry(name, {"dice": {"value": value, "interval": [0, 1], "folds": folds}}, 9.6)

    path = write_leaderboard(
        tmp_path,
        [entry("b", 0.5, [0.4, 0.6]), Entry("broken", {}, 1.0, "no <disk>"), entry("a", 0.7, [])],
    )
    text = path.read_text()
    assert text.index(">a<") < text.index(">b<") < text.index("broken")
    assert "no &lt;disk&gt;" in text
    names = [e["name"] for e in json.loads((tmp_path / "leaderboard.json").read_text())]
    assert names == ["a", "b", "broken"]
