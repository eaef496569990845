"""Pseudo-labels through the whole story: rounds, teachers, resuming, runs without any."""

import json
from dataclasses import replace

import pytest
from safetensors.numpy import load_file

from transect import api
from transect.recipe import (
    Augment,
    Folds,
    Geometry,
    Member,
    Network,
    Optimizer,
    PseudoRound,
    Recipe,
    SegmentDecide,
    Stage,
)
from transect.simulate.salt import write_salt_survey

NETWORK = Network(encoder="plain", weights=None, width=4, levels=2, decoder_channels=(4, 4))
GEOMETRY = Geometry(fit="whole", size_hw=(32, 32), resize_hw=(28, 28), normalise="standardise")
STAGE = Stage(
    name="first", epochs=1, steps=2, batch=4, loss="bce", optimizer=Optimizer("adam", lr=1e-2)
)
TEACHER = Member("teacher", NETWORK, GEOMETRY, Augment(), (STAGE,), weight=0.0)
STUDENT = Member(
    "student",
    NETWORK,
    GEOMETRY,
    Augment(),
    (
        replace(STAGE, name="alone", data="pseudo", round=1),
        replace(STAGE, name="together", data="mixed", round=1),
        replace(STAGE, name="agreeing", data="teacher", round=1),
        replace(STAGE, name="finetune", round=2, start="best"),
    ),
)
RECIPE = Recipe(
    name="rounds",
    members=(TEACHER, STUDENT),
    folds=Folds(count=2, stratify=("coverage",)),
    pseudo=(
        PseudoRound(confidence=0.0, teachers=("teacher",), balance=True),
        PseudoRound(confidence=0.0, teachers=("student",), fold_wise=False),
    ),
    decide=SegmentDecide(threshold=0.5, min_area=0, min_total=0, fill_holes=0),
)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    root = tmp_path_factory.mktemp("salt") / "survey"
    return write_salt_survey(root, n_train=18, n_test=9, seed=3)


@pytest.fixture(scope="module")
def run(survey, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return api.train(survey, recipe=RECIPE, out=out / "a", device="cpu", threads=1)


@pytest.mark.slow
def test_every_round_is_trained_where_it_belongs(run):
    student = run.path / "members" / "student" / "fold0"
    assert not (student / "done.json").exists()
    assert (student / "round1" / "done.json").is_file()
    assert (student / "round2" / "done.json").is_file()
    stages = {
        row["stage"] for row in json.loads((student / "round1/done.json").read_text())["history"]
    }
    assert stages == {"alone", "together", "agreeing"}


@pytest.mark.slow
def test_teachers_of_a_fold_label_for_that_fold(run):
    first = run.path / "pseudo" / "round1"
    assert sorted(p.name for p in first.iterdir()) == ["fold0", "fold1"]
    assert [p.name for p in (run.path / "pseudo" / "round2").iterdir()] == ["all"]
    noted = json.loads((first / "fold0" / "chosen.json").read_text())
    assert noted["teachers"] == ["teacher"]
    assert len(noted["confidence"]) == 9


@pytest.mark.slow
def test_members_of_no_weight_give_no_answer(run):
    assert (run.path / "oof" / "student").is_dir()
    assert not (run.path / "oof" / "teacher").exists()
    assert run.score()["salt_map"]["pictures"] == 18


@pytest.mark.slow
def test_a_run_that_lost_its_last_round_ends_in_the_same_bytes(run, survey, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    for name in ("members/student/fold1/round2", "oof", "pseudo/round2"):
        shutil.rmtree(copy / name)
    for name in ("metrics.json", "decide.json", "views.json"):
        (copy / name).unlink()
    api.train(survey, out=copy, resume=True, device="cpu", threads=1)
    for path in (run.path / "members").rglob("*.safetensors"):
        mine, theirs = load_file(path), load_file(copy / path.relative_to(run.path))
        assert all((mine[name] == theirs[name]).all() for name in mine)
    assert (copy / "metrics.json").read_bytes() == (run.path / "metrics.json").read_bytes()


@pytest.mark.slow
def test_new_pictures_and_the_competition_file(run, survey, tmp_path):
    run.predict(survey / "images", tmp_path / "out")
    path = run.submit(survey / "images", tmp_path / "f.csv")
    assert len(path.read_text().splitlines()) == 28


@pytest.mark.slow
def test_without_unlabelled_images_rounds_are_left_out(tmp_path):
    root = write_salt_survey(tmp_path / "survey", n_train=18, n_test=0, seed=3)
    run = api.train(root, recipe=RECIPE, out=tmp_path / "run", device="cpu", threads=1)
    assert not (run.path / "pseudo").exists()
    assert run.score()["salt_map"]["value"] >= 0
