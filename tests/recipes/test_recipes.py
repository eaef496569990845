"""Every bundled recipe, found by itself: it is written, read back, checked and built."""

import dataclasses
import importlib

import pytest

from transect import losses, recipes
from transect.augment.validity import check_augment, invalid_kinds
from transect.count.boxes import LOSS
from transect.models.detectors import DETECTORS
from transect.recipe import Network, Recipe, from_json, to_json
from transect.train import schedules
from transect.train.checkpoint_selection import check_keep

NAMES = recipes.names()
BOTH = [(name, quick) for name in NAMES for quick in (False, True)]


def members_of(recipe: Recipe):
    return [member for member in recipe.members if isinstance(member.network, Network)]


def test_the_salt_solutions_are_there():
    expected = {"salt-1st", "salt-1st-resize", "salt-9th", "salt-11th", "salt-28th", "salt-dilated"}
    assert expected <= set(NAMES)


@pytest.mark.parametrize(("name", "quick"), BOTH)
def test_a_recipe_survives_json(name, quick):
    recipe = recipes.load(name, quick=quick)
    assert from_json(to_json(recipe)) == recipe


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_is(name):
    recipe = recipes.load(name)
    assert recipe.name == name
    assert len(recipe.notes.split(". ")[0]) < 120
    module = importlib.import_module(f"transect.recipes.{name.replace('-', '_')}")
    assert module.__doc__


@pytest.mark.parametrize(("name", "quick"), BOTH)
def test_stages_are_valid(name, quick):
    recipe = recipes.load(name, quick=quick)
    members = [member.name for member in recipe.members]
    assert len(set(members)) == len(members)
    assert sum(member.weight for member in recipe.members) > 0
    for spec in recipe.pseudo:
        assert set(spec.teachers) <= set(members)
    for member in recipe.members:
        names = [stage.name for stage in member.stages]
        assert len(set(names)) == len(names)
        check_augment(member.augment)
        assert invalid_kinds(member.augment) == ()
        for stage in member.stages:
            schedules.check(stage.schedule)
            check_keep(stage)
            assert stage.data in {"train", "pseudo", "mixed", "teacher"}
            assert (stage.round or 0) <= len(recipe.pseudo)
            assert stage.data not in {"pseudo", "mixed"} or recipe.pseudo


@pytest.mark.parametrize("name", NAMES)
def test_dense_losses_parse(name):
    for member in members_of(recipes.load(name)):
        for stage in member.stages:
            if member.network.decoder in DETECTORS:  # they bring their own
                assert stage.loss == LOSS
                continue
            losses.parse_loss(stage.loss)
            if stage.loss_end:
                losses.parse_loss(stage.loss_end)
            for _, expression in stage.aux:
                losses.parse_loss(expression)


@pytest.mark.parametrize("name", NAMES)
def test_the_quick_twin_keeps_the_ingredients(name):
    recipe, quick = recipes.load(name), recipes.load(name, quick=True)
    assert [m.name for m in quick.members] == [m.name for m in recipe.members]
    assert len(quick.pseudo) == len(recipe.pseudo)
    assert (quick.views, quick.blend) == (recipe.views, recipe.blend)
    for full, short in zip(recipe.members, quick.members, strict=True):
        assert [s.name for s in short.stages] == [s.name for s in full.stages]
        assert [ingredients(s) for s in short.stages] == [ingredients(s) for s in full.stages]
        for one, other in zip(full.stages, short.stages, strict=True):
            assert one.loss in other.loss  # the twin of sealion-density adds a term, and says why
        assert sum(s.epochs for s in short.stages) <= 2 * len(short.stages) + 8
        assert max(short.geometry.size_hw) <= 128
        assert short.geometry.channels == full.geometry.channels
        assert short.augment == full.augment
        for field in KEPT & {f.name for f in dataclasses.fields(full.network)}:
            assert getattr(short.network, field) == getattr(full.network, field), field


KEPT = {
    "decoder", "encoder_attention", "decoder_attention", "centre", "hypercolumn", "head", "neck",
    "deep_supervision", "image_head", "pixel_head", "upsample", "dropout", "head_dropout", "norm",
    "coordconv", "leaky", "pooling", "scale", "margin", "flip_labels", "neutral_twin", "fusion",
}  # fmt: skip
"""Fields of a network that a twin has from its recipe; encoder, widths, stem and weights shrink."""


def ingredients(stage):
    """What a stage is made of, besides sizes, lengths and rates."""
    return (
        stage.loss_end, stage.aux, stage.data, stage.round, stage.sampler,
        stage.average, stage.mining, stage.mining_noise, stage.optimizer.name, stage.loss_on,
        stage.freeze,
    )  # fmt: skip


@pytest.mark.parametrize("name", [n for n in NAMES if recipes.load(n).question == "segment"])
def test_quick_networks_build_and_answer(name):
    import torch

    from transect import models

    recipe = recipes.load(name, quick=True)
    for member in members_of(recipe)[-1:]:
        network = dataclasses.replace(member.network, weights=None)
        model = models.build(network, in_channels=3, outputs=1).eval()
        with torch.inference_mode():
            found = model(torch.rand(1, 3, 64, 64))
        assert found["logits"].shape == (1, 1, 64, 64)
        for head, _ in member.stages[-1].aux:
            assert head in found, f"{member.name} has a loss on {head} and no such head"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_full_networks_build(name):
    import torch

    from transect import models

    for member in members_of(recipes.load(name)):
        network = dataclasses.replace(member.network, weights=None)
        model = models.build(network, in_channels=3, outputs=1).eval()
        with torch.inference_mode():
            found = model(torch.rand(1, 3, 64, 64))
        assert found["logits"].shape == (1, 1, 64, 64)
        for stage in member.stages:
            for head, _ in stage.aux:
                assert head in found
