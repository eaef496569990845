"""What auto chooses: a baseline always, training where time allows, only harmless mirrors."""

import numpy as np
import pytest

from tests.classify.worlds import FROZEN, recipe, trained, write_squares
from transect.classify import auto
from transect.classify.task import ClassifyTask
from transect.data.png import write_png
from transect.data.survey import open_survey
from transect.task import Limits
from transect.train.budget import Pace
from transect.types import Quiet


def dataset_of(root):
    return ClassifyTask().dataset(open_survey(root), root / "cache", Quiet())


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return dataset_of(write_squares(tmp_path_factory.mktemp("squares"), count=60))


@pytest.fixture
def quick(monkeypatch):
    """A step takes a tenth of a second, an image a thousandth; every mirror image is harmless."""
    monkeypatch.setattr(auto, "pace_of", lambda *a, **k: Pace(0.1, 0.0, 0.0, 0.0))
    tried = auto._Tried(0.001, 0.9, {"hflip": 0.9, "vflip": 0.89, "rot90": 0.8})
    monkeypatch.setattr(auto, "_tried", lambda *a: tried)


def test_without_time_only_the_baseline_answers(squares, quick):
    chosen = auto.plan(squares, Limits(10.0, "cpu"))
    assert [m.name for m in chosen.members] == ["frozen"]
    assert "nothing is trained" in " ".join(chosen.why)


def test_with_time_training_begins_from_the_baseline_and_never_replaces_it(squares, quick):
    chosen = auto.plan(squares, Limits(300.0, "cpu", seed=4))
    frozen, trained_one = chosen.members
    assert not frozen.stages
    assert chosen.views == ("identity", "hflip")
    assert trained_one.augment.vflip > 0 == trained_one.augment.rot90
    assert trained_one.network.head_start == "logistic"
    assert chosen.folds.count == 5
    assert chosen.seed == chosen.folds.seed == 4
    assert {phase.name for phase in chosen.plan} >= {"timing", "training", "deciding"}
    assert sum(phase.seconds for phase in chosen.plan) < 330
    ClassifyTask().check(chosen, squares)
    more = auto.plan(squares, Limits(200.0, "cpu")).members[1].stages[0].epochs
    assert more <= trained_one.stages[0].epochs <= auto._MOST_EPOCHS


def test_mirror_images_of_arrows_do_not_belong_to_training(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["image,label"]
    for i in range(40):
        pixels = rng.normal(40, 5, (48, 48, 3))
        for k in range(20):
            pixels[24 - k // 2 : 24 + k // 2 + 1, 34 - k, 1] += 160  # points to the right
        pixels = pixels[:, ::-1] if i % 2 else pixels
        write_png(tmp_path / "images" / f"{i}.png", np.clip(pixels, 0, 255).astype(np.uint8))
        rows.append(f"{i}.png,{('right', 'left')[i % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    tried = auto._tried(dataset_of(tmp_path), FROZEN, "cpu")
    assert tried.right > 0.9
    assert tried.views["hflip"] < 0.5
    assert "hflip" not in tried.valid()
    assert tried.seconds > 0


def test_several_labels_and_grades_get_losses_of_their_own(tmp_path, quick):
    for kind, loss in (("several", "bce"), ("grades", "ce")):
        dataset = dataset_of(write_squares(tmp_path / kind, kind=kind, count=48))
        chosen = auto.plan(dataset, Limits(300.0, "cpu"))
        assert chosen.members[1].stages[0].loss == loss
        ClassifyTask().check(chosen, dataset)


def test_a_given_recipe_is_shortened_to_a_time(squares, quick):
    long = recipe(trained(epochs=100, steps=10))
    short = auto.within_budget(long, squares, Limits(20.0, "cpu"))
    assert 1 <= short.members[0].stages[0].epochs <= 8  # 12 s of .1 s steps, two folds
    assert "budget" in short.why[-1]
    assert auto.within_budget(long, squares, Limits(1e5, "cpu")) == long
