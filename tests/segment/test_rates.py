"""Rates found on the survey before training."""

import dataclasses

import pytest

from tests.small import tiny_recipe, write_disc_survey
from transect import api
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.recipe import Optimizer, Stage
from transect.segment import rates
from transect.segment.dataset import MaskDataset
from transect.segment.rates import settle_rates
from transect.train.lr_finder import Sweep


def asking(*rates_of_stages):
    stages = tuple(
        Stage(name=f"s{i}", epochs=1, steps=1, optimizer=Optimizer("adam", lr, find_lr=asks))
        for i, (lr, asks) in enumerate(rates_of_stages)
    )
    recipe = tiny_recipe()
    return tiny_recipe(members=(dataclasses.replace(recipe.members[0], stages=stages),))


def test_later_stages_keep_their_ratio_to_the_first(monkeypatch):
    monkeypatch.setattr(rates, "sweep_of", lambda *a, **k: Sweep((), (), 3e-3))
    recipe = settle_rates(
        asking((1e-3, True), (5e-4, True), (7e-4, False)), dataset=None, device="cpu"
    )
    found = [stage.optimizer for stage in recipe.members[0].stages]
    assert [o.lr for o in found] == pytest.approx([3e-3, 1.5e-3, 7e-4])
    assert not any(o.find_lr for o in found)
    assert "found by a sweep" in recipe.why[-1]


def test_nothing_is_swept_unless_asked(monkeypatch):
    monkeypatch.setattr(rates, "sweep_of", None)
    recipe = asking((1e-3, False))
    assert settle_rates(recipe, dataset=None, device="cpu") == recipe


@pytest.mark.slow
def test_a_sweep_on_pictures_finds_a_rate_that_is_written_into_the_recipe(tmp_path):
    pictures = MaskDataset(open_survey(write_disc_survey(tmp_path / "s", count=4)))
    recipe = tiny_recipe()
    stage = dataclasses.replace(
        recipe.members[0].stages[0], batch=2, optimizer=Optimizer("adam", 1.0, find_lr=True)
    )
    member = dataclasses.replace(recipe.members[0], stages=(stage,))
    found = settle_rates(tiny_recipe(members=(member,)), pictures, device="cpu")
    assert 1e-5 < found.members[0].stages[0].optimizer.lr < 0.5


def test_other_questions_refuse_it(monkeypatch, tmp_path):
    from tests.identify.conftest import write_animals
    from transect import recipes
    from transect.recipe import set_field

    survey = write_animals(tmp_path / "survey", people=3, encounters=2, frames=1)
    recipe = recipes.load("whale-yu4u", quick=True)
    recipe = set_field(recipe, "members.*.stages.*.optimizer.find_lr", "true")
    with pytest.raises(TransectError, match="got 'find_lr'"):
        api.train(survey, recipe=recipe, out=tmp_path / "run", device="cpu", threads=1)
