"""What authors published is what the recipes hold, and a change of any of it is noticed."""

import importlib

import pytest

from tests.recipes.published import HERE, leaves_of, lines_of, problems_of
from transect import recipes

NAMES = recipes.names()

# Twenty kinds of number, each changed in the source of its recipe: (recipe, from, to).
CHANGES = [
    ("salt-1st", "confidence=0.97", "confidence=0.0"),  # gate of pseudo-labels
    ("salt-1st", "confidence=0.90", "confidence=0.5"),
    ("salt-1st", "empty_share=0.5", "empty_share=1.0"),
    ("salt-1st", "weight=3.0", "weight=1.0"),  # a run counts three times in the blend
    ("salt-1st", 'loss="lovasz_elu"', 'loss="bce"'),
    ("salt-1st", "drop_first=1", "drop_first=0"),  # snapshots
    ("salt-1st", "_cycles(6, 0.001 / 0.012)", "_cycles(5, 0.001 / 0.012)"),
    ("salt-1st", "resize_hw=(202, 202)", "resize_hw=(192, 192)"),
    ("salt-9th", 'average="swa"', 'average="none"'),
    ("salt-9th", "folds=Folds(count=10", "folds=Folds(count=2"),
    ("salt-9th", "warmup_epochs=10", "warmup_epochs=1"),
    ("salt-9th", '"0.05 * bce"', '"0.5 * bce"'),
    ("salt-11th", '"bce + 0.5 * lovasz"', '"bce + lovasz"'),
    ("salt-28th", "keep_k=10", "keep_k=3"),
    ("salt-28th", "before=80", "before=0"),  # triangles that begin anew
    ("salt-28th", '"0.1 * bce + 0.9 * lovasz_elu"', '"0.9 * bce + 0.1 * lovasz_elu"'),
    ("salt-dilated", 'blend="weighted_vote"', 'blend="mean"'),
    ("sealion-2nd", "target_px=16.0", "target_px=99.0"),  # squares
    ("sealion-2nd", "sampler_share=0.2", "sampler_share=0.8"),
    ("sealion-density", "lr=1e-5", "lr=1e-3"),
    ("sealion-reclassify", "size_hw=(160, 160)", "size_hw=(96, 96)"),
    ("whale-3rd", "scale=65.0", "scale=30.0"),
    ("whale-4th", '_stage("e", 40, 5, 0.5e-5, 0.1)', '_stage("e", 40, 5, 0.5e-5, 1.0)'),
    ("whale-siamese", "_L2 = 2e-4", "_L2 = 0.0"),
    ("labels-last-layer", 'freeze="all_but_head"', 'freeze="none"'),
    ("grades-kappa", 'loss="focal + kappa"', 'loss="focal"'),
    ("whale-yu4u", "per_identity=10", "per_identity=2"),
    ("whale-yu4u-blend", "power=0.5", "power=1.0"),
]


def test_every_recipe_has_its_file_and_every_file_its_recipe():
    assert {path.stem for path in HERE.glob("*.txt")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_holds_what_its_author_published_and_names_the_rest_as_ours(name):
    assert problems_of(recipes.load(name), lines_of(name)) == []


@pytest.mark.parametrize(("name", "old", "new"), CHANGES)
def test_a_changed_number_is_noticed(name, old, new, tmp_path):
    source = HERE.parents[2] / "src" / "transect" / "recipes" / f"{name.replace('-', '_')}.py"
    text = source.read_text()
    assert old in text
    changed = tmp_path / source.name
    changed.write_text(text.replace(old, new, 1))
    assert problems_of(recipes.load(str(changed)), lines_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_where_it_differs(name):
    module = importlib.import_module(f"transect.recipes.{name.replace('-', '_')}")
    assert "Where we differ" in module.__doc__


def test_leaves_tell_defaults_from_what_a_recipe_sets():
    leaves = leaves_of(recipes.load("salt-9th"))
    assert leaves["members.padded.stages.lovasz.average"] == ("swa", False)
    assert leaves["members.padded.stages.lovasz.ema"] == (0.99, True)
