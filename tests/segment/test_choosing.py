"""Stages and views are chosen on held-out images, and never on those that they are scored on."""

import dataclasses

import numpy as np
import pytest

from tests.small import tiny_recipe, write_disc_survey
from transect.data.survey import open_survey
from transect.recipe import Folds, SegmentDecide
from transect.run import RunFolder
from transect.segment import choosing
from transect.segment.choosing import choose, compared_on
from transect.segment.dataset import MaskDataset
from transect.segment.oof import Choice, snapshots_of, stages_trained
from transect.types import Quiet


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = write_disc_survey(tmp_path_factory.mktemp("choosing") / "survey")
    return MaskDataset(open_survey(root, question="segment"))


def staged(**changes):
    member = tiny_recipe().members[0]
    stage = member.stages[0]
    stages = tuple(dataclasses.replace(stage, name=name, weight=1.0) for name in ("main", "late"))
    member = dataclasses.replace(member, stages=stages)
    return tiny_recipe(members=(member,), drop_stages=True, **changes)


def finished(run, recipe):
    """Snapshots of both stages on every trained fold."""
    for fold in range(recipe.folds.use or recipe.folds.count):
        entries = [
            {"file": f"{name}.safetensors", "weight": 1.0, "metric": None, "stage": name}
            for name in ("main", "late")
        ]
        run.write_json(f"members/main/fold{fold}/done.json", {"snapshots": entries})


class Model:
    """Draws the truth where its stage is good, else nothing."""

    def __init__(self, good, pictures):
        self.good, self.pictures = good, pictures

    def maps(self, pixels, image):
        i = self.pictures.images.index(image)
        mask = self.pictures.labels(i) > 0
        return np.where(mask & (i in self.good), 0.9, 0.1).astype(np.float32)[None]


def chosen(monkeypatch, tmp_path, pictures, recipe, folds, good):
    """Choices where stage and view ``name`` is right on the images ``good[name]``."""

    def loaded(run, recipe, member, folds, *, device, choice):
        (stage,) = choice.stages.get("main", ("main",))
        key = stage if choice.views == ("identity",) else choice.views[0]
        return Model(good[key], pictures)

    monkeypatch.setattr(choosing, "loaded_member", loaded)
    run = RunFolder(tmp_path)
    finished(run, recipe)
    return choose(run, recipe, pictures, folds, device="cpu", progress=Quiet())


EVERY = set(range(8))


def test_the_better_stage_answers_alone(monkeypatch, tmp_path, pictures):
    folds = np.arange(8) % 2
    good = {"main": {0, 1}, "late": EVERY, "hflip": EVERY}
    found = chosen(monkeypatch, tmp_path, pictures, staged(), folds, good)
    assert found.final.stages == {"main": ("late",)}
    assert all(choice.stages == {"main": ("late",)} for choice in found.nested.values())


def test_a_fold_is_not_answered_by_what_it_chose_itself(monkeypatch, tmp_path, pictures):
    folds = np.arange(8) % 2
    # Even images, fold 0, are good under main alone; odd ones, fold 1, under late alone.
    good = {"main": {0, 2, 4, 6}, "late": {1, 3, 5, 7}, "hflip": EVERY}
    found = chosen(monkeypatch, tmp_path, pictures, staged(), folds, good)
    assert found.nested[0].stages == {"main": ("late",)}
    assert found.nested[1].stages == {"main": ("main",)}


def test_the_last_snapshots_answer_together_where_each_alone_errs(monkeypatch, tmp_path, pictures):
    """Two noisy stages are right together; the first, which is always wrong, stays out."""
    member = staged().members[0]
    third = dataclasses.replace(member.stages[0], name="third")
    member = dataclasses.replace(member, stages=(*member.stages, third))
    recipe = dataclasses.replace(staged(), members=(member,), views=("identity",))
    truth = [pictures.labels(i) > 0 for i in range(8)]

    def loaded(run, recipe, member, folds, *, device, choice):
        (stage,) = choice.stages["main"]

        def maps(pixels, image):
            mask = truth[pictures.images.index(image)]
            half = np.arange(mask.shape[1]) % 2 == (stage == "late")
            right = np.where(mask, 0.9, 0.1)
            soft = np.where(half, right, 0.5 + 0.05 * (2 * ~mask - 1))
            return (1 - right if stage == "main" else soft).astype(np.float32)[None]

        return type("Model", (), {"maps": staticmethod(maps)})

    monkeypatch.setattr(choosing, "loaded_member", loaded)
    run = RunFolder(tmp_path)
    for fold in range(2):
        entries = [
            {"file": f"{name}.safetensors", "weight": 1.0, "metric": None, "stage": name}
            for name in ("main", "late", "third")
        ]
        run.write_json(f"members/main/fold{fold}/done.json", {"snapshots": entries})
    folds = np.arange(8) % 2
    found = choose(run, recipe, pictures, folds, device="cpu", progress=Quiet())
    assert found.final.stages == {"main": ("late", "third")}


def test_one_fold_is_halved(monkeypatch, tmp_path, pictures):
    recipe = staged(folds=Folds(count=2, use=1))
    folds = np.array([0] * 8)
    good = {"main": {0, 2, 4, 6}, "late": {1, 3, 5, 7}, "hflip": EVERY}
    found = chosen(monkeypatch, tmp_path, pictures, recipe, folds, good)
    assert found.nested[0].stages == {"main": ("late",)}
    assert found.nested[1].stages == {"main": ("main",)}


def test_a_view_that_does_not_pay_is_dropped_by_the_other_part(monkeypatch, tmp_path, pictures):
    recipe, folds = tiny_recipe(), np.arange(8) % 2
    monkeypatch.setattr(choosing, "_VIEWS_ON", 8)
    good = {"main": set(), "hflip": {0, 2, 4, 6}}
    found = chosen(monkeypatch, tmp_path, pictures, recipe, folds, good)
    assert found.nested[1].views == ("identity", "hflip")
    assert found.nested[0].views == ("identity",)  # equal on odd images: no gain


def test_a_single_held_out_image_is_answered_by_the_last_stage_and_all_views(
    monkeypatch, tmp_path, pictures
):
    recipe = staged(folds=Folds(count=8, use=1))
    good = {"main": EVERY, "late": set(), "hflip": EVERY}
    found = chosen(monkeypatch, tmp_path, pictures, recipe, np.arange(8), good)
    assert found.nested[0].stages == {"main": ("late",)}
    assert found.nested[0].views == ("identity", "hflip")
    assert found.final.stages == {"main": ("main",)}


def test_stages_that_left_weights_are_found_in_all_rounds(tmp_path):
    run, recipe = RunFolder(tmp_path), staged(folds=Folds(count=2, use=1))
    finished(run, recipe)
    entry = {"file": "p.safetensors", "weight": 1.0, "metric": None, "stage": "pseudo"}
    run.write_json("members/main/fold0/round1/done.json", {"snapshots": [entry]})
    assert stages_trained(run, recipe, recipe.members[0]) == ("main", "late", "pseudo")
    ((file, _),) = snapshots_of(run, "main", [0], stages=("late",))
    assert file.name == "late.safetensors"
    ((file, _),) = snapshots_of(run, "main", [0])
    assert file.parent.name == "round1"
    run.write_json("members/main/fold0/round1/worse.json", {})
    assert stages_trained(run, recipe, recipe.members[0]) == ("main", "late")


def test_stages_are_compared_on_what_decisions_look_at_and_views_on_few():
    assert compared_on(staged(decide=SegmentDecide(pictures=99))) == 99
    assert compared_on(tiny_recipe(decide=SegmentDecide(pictures=99))) == 24
    assert compared_on(tiny_recipe(views=("identity",))) == 0


def test_a_choice_is_read_back(tmp_path):
    choice = Choice(("identity", "hflip"), {"main": ("late",)})
    assert Choice.from_json(choice.to_json()) == choice
