"""What `auto` decides for surveys of masks."""

import dataclasses
import shutil

import cv2
import numpy as np
import pytest

from tests.small import write_disc_survey
from transect.data.survey import open_survey
from transect.pipeline.resolve import resolve
from transect.pipeline.tasks import task_of
from transect.recipe import Augment, Geometry, Member, Stage
from transect.segment import auto, planning
from transect.segment.cost import Cost, training_share
from transect.segment.dataset import MaskDataset
from transect.segment.planning import Scale
from transect.task import Limits


@pytest.fixture(autouse=True)
def known_cost(monkeypatch):
    cost = Cost(step=0.5, window=0.01, decision=0.0005)
    monkeypatch.setattr(auto, "cost_of", lambda *_, **__: cost)


def planned(root, seconds=60.0, **options):
    pictures = MaskDataset(open_survey(root, question="segment", missing="unlabelled"))
    return auto.plan(pictures, budget_seconds=seconds, device="cpu", seed=0, **options)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return write_disc_survey(tmp_path_factory.mktemp("auto") / "survey", count=100)


def trained(recipe):
    (member,) = recipe.members
    return recipe.folds.use * sum(stage.epochs * stage.steps for stage in member.stages)


def test_sixteen_bits_are_normalised_by_the_survey_and_eight_as_the_network_learnt(tmp_path):
    root = write_disc_survey(tmp_path / "survey")
    assert planned(root).members[0].geometry.normalise == "imagenet"
    for path in (root / "images").iterdir():
        twelve = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16) * 16
        cv2.imwrite(str(path), twelve)
    assert planned(root).members[0].geometry.normalise == "survey"


def test_one_fold_alone_holds_out_no_more_than_its_decisions_need(survey, monkeypatch):
    folds = planned(survey).folds
    assert (folds.count, folds.use) == (5, 1)
    monkeypatch.setattr(planning, "_HELD_OUT", 10)
    folds = planned(survey).folds
    assert (folds.count, folds.use) == (10, 1)


def test_a_second_fold_waits_until_one_training_is_long(survey):
    # 13 steps a pass, so a training is full with 1000 steps.
    for seconds, use in ((900.0, 1), (1450.0, 2), (7200.0, 5)):
        recipe = planned(survey, seconds)
        assert recipe.folds.use == use
        assert trained(recipe) / use >= 1000


def test_few_images_get_as_many_folds_as_decisions_need(tmp_path):
    root = write_disc_survey(tmp_path / "survey", count=15)
    assert planned(root, 900.0).folds.use == 4  # three images each
    assert planned(root, 120.0).folds.use == 1  # four trainings would be too short


@pytest.mark.parametrize("seconds", [180.0, 900.0, 3600.0, 12 * 3600.0])
def test_training_gets_its_share_and_nothing_stays_unused(survey, seconds):
    recipe = planned(survey, seconds)
    spent = {phase.name: phase.seconds for phase in recipe.plan}
    assert spent["training"] == pytest.approx(0.5 * trained(recipe), abs=0.1)
    assert spent["training"] > training_share(seconds) * seconds
    assert 0.88 * seconds < sum(spent.values()) < 1.02 * seconds


def test_dear_decisions_look_at_fewer_images_before_training_gets_less(survey, monkeypatch):
    assert planned(survey, 180.0).decide.pictures == 20  # all that one fold of five holds out
    dear = Cost(step=0.5, window=0.01, decision=0.05)
    monkeypatch.setattr(auto, "cost_of", lambda *_, **__: dear)
    recipe = planned(survey, 180.0)
    assert 12 <= recipe.decide.pictures < 20
    spent = {phase.name: phase.seconds for phase in recipe.plan}
    assert spent["training"] > training_share(180.0) * 180.0


def test_the_overlap_loss_waits_for_steps_and_is_named_where_it_is_left_out(survey):
    short, long = planned(survey, 120.0), planned(survey, 900.0)
    (brief,), (main,) = short.members[0].stages, long.members[0].stages
    assert brief.loss_end is None
    assert any("Lovász" in line for line in short.why if line.startswith("left out"))
    # One course of the rate over both losses, and nothing to choose between afterwards.
    assert ("lovasz" in main.loss, "lovasz" in main.loss_end, main.loss_change) == (
        False, True, "switch"
    )  # fmt: skip
    assert not long.drop_stages
    assert any("lovasz" in line for line in long.why)


def test_what_is_pretrained_learns_at_one_rate_however_short_the_training(survey):
    rates = []
    for seconds in (120.0, 450.0, 1800.0):
        optimizer = planned(survey, seconds).members[0].stages[0].optimizer
        rates.append(optimizer.lr)
        assert optimizer.lr * optimizer.encoder_lr == pytest.approx(1e-3)
    assert rates[0] == pytest.approx(3e-3)
    assert rates[0] > rates[1] > rates[2]


def test_what_lies_mirrored_around_a_whole_image_is_learnt_from(tmp_path):
    stage = planned(write_disc_survey(tmp_path / "survey")).members[0].stages[0]
    assert stage.loss_on == "padded"


def test_what_the_user_sets_is_planned_around_and_the_reasons_follow(survey):
    free = planned(survey, 900.0)
    fixed = planned(survey, 900.0, settings={"folds.use": "3", "views": '["identity"]'})
    assert (fixed.folds.use, fixed.views) == (3, ("identity",))
    assert trained(fixed) == pytest.approx(trained(free), rel=0.05)  # shared by three
    assert any("5, of which 3 trained" in line for line in fixed.why)
    assert "set by you: folds.use=3" in fixed.why
    assert not any("views identity, " in line for line in fixed.why)


def test_train_hands_what_the_user_sets_to_the_plan(survey):
    opened = open_survey(survey, question="segment")
    task, limits = task_of("segment"), Limits(900.0, "cpu")
    recipe = resolve(task, None, opened, MaskDataset(opened), limits, {"folds.use": "3"})
    assert recipe.folds.use == 3
    (training,) = (phase for phase in recipe.plan if phase.name == "training")
    assert "3 of 5 folds" in training.why
    assert training.seconds < 900.0  # three trainings share the time of one


def test_images_without_masks_teach_once_a_training_is_long(survey, tmp_path):
    root = shutil.copytree(survey, tmp_path / "half")
    for number in range(20):
        (root / "masks" / f"p{number}.png").unlink()
    long, short = planned(root, 1500.0), planned(root, 300.0)
    assert [stage.data for stage in long.members[0].stages] == ["train", "mixed"]
    assert len(long.pseudo) == 1
    assert any(phase.name == "labelling" for phase in long.plan)
    assert not short.pseudo
    assert any("20 images without masks" in line for line in short.why)


def test_few_steps_on_whole_images_become_more_on_smaller_ones():
    geometry = Geometry(fit="whole", size_hw=(128, 128))
    member = Member(name="main", geometry=geometry, stages=(Stage(batch=16),))
    assert planning.cheaper(member, (101, 101), Scale(9, 9), 500) == member
    changed = planning.cheaper(member, (101, 101), Scale(90, 90), 250)
    assert (changed.stages[0].batch, changed.geometry) == (8, geometry)
    changed = planning.cheaper(member, (101, 101), Scale(90, 90), 40)
    assert changed.geometry.size_hw == (64, 64)
    assert changed.geometry.resize_hw == (50, 50)


def test_tiles_get_smaller_while_they_hold_the_usual_and_the_large_objects():
    member = Member(
        name="main", geometry=Geometry(fit="tile", size_hw=(256, 256)), stages=(Stage(batch=8),)
    )

    def side(usual, large):
        changed = planning.cheaper(member, (500, 500), Scale(usual, large), 120)
        return changed.geometry.size_hw[0]

    assert (side(25, 30), side(40, 40), side(100, 100)) == (128, 192, 256)
    assert side(25, 48) == 192  # the usual would fit 128 px, those of one image in twenty not


def test_a_changed_input_is_timed_again(survey, monkeypatch):
    asked = []

    def cost_of(_, member, *__, **___):
        asked.append(member.geometry.size_hw)
        return Cost(step=0.5, window=0.01, decision=0.0005)

    monkeypatch.setattr(auto, "cost_of", cost_of)
    monkeypatch.setattr(auto, "_geometry", lambda *_: Geometry(size_hw=(256, 256)))
    planned(survey, 120.0)
    assert asked == [(256, 256), (128, 128)]


def test_the_encoder_grows_with_the_budget_and_is_timed_again(survey, monkeypatch):
    asked = []

    def cost_of(_, member, *__, **___):
        asked.append(member.network.encoder)
        return Cost(step=0.1, window=0.002, decision=0.0005)

    monkeypatch.setattr(auto, "cost_of", cost_of)
    short, long = planned(survey, 120.0), planned(survey, 12 * 3600.0)
    assert short.members[0].network.encoder == "efficientnet_lite0"
    assert any("efficientnet_lite2" in line for line in short.why if "left out" in line)
    assert long.members[0].network.encoder == "efficientnet_lite2"
    assert asked[-2:] == ["efficientnet_lite0", "efficientnet_lite2"]
    own = planned(survey, 12 * 3600.0, settings={"members.*.network.encoder": "resnet18"})
    assert own.members[0].network.encoder == "resnet18"


def test_the_usual_object_is_measured(tmp_path):
    root = write_disc_survey(tmp_path / "survey", kind="instances")
    usual, large = auto._object_px(MaskDataset(open_survey(root, question="segment")))
    assert 9 < usual < 18  # discs of 5 to 9 px radius
    assert usual <= large < 20


def test_short_trainings_get_milder_changes():
    strong = Augment(hflip=0.5, scale=(0.5, 2.0), rotate=45, rotate_p=0.3, contrast=0.3)
    mild = planning.milder(strong, 0.5)
    assert mild.scale == pytest.approx((0.5**0.5, 2.0**0.5))
    assert (mild.rotate_p, mild.contrast, mild.hflip) == (0.15, 0.15, 0.5)
    assert planning.milder(strong, 1.0) == dataclasses.replace(strong)
