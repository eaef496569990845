"""The whole story of the first question, and what happens when it is told wrongly."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest
import tifffile

import transect
from tests.small import TINY, tiny_recipe, write_disc_survey
from transect.cli import main
from transect.errors import TransectError
from transect.pipeline import resolve
from transect.pipeline.tasks import task_of
from transect.recipe import set_field
from transect.run import locked


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One finished run that several tests read."""
    folder = tmp_path_factory.mktemp("story")
    write_disc_survey(folder / "survey")
    found = transect.train(folder / "survey", recipe=tiny_recipe(), out=folder / "run", threads=1)
    return folder, found


def test_a_run_folder_holds_everything(run):
    _folder, found = run
    names = {path.name for path in found.path.iterdir()}
    wanted = "recipe.json environment.json data.json folds.csv log.txt oof decide.json metrics.json"
    assert set(f"{wanted} report.html card.md".split()) <= names
    assert found.recipe == tiny_recipe()
    assert not list(found.path.rglob("*.pkl"))


def test_the_score_beats_empty_masks_and_has_a_spread(run):
    _, found = run
    scores = found.score()
    assert scores["dice"]["value"] > 0.6
    low, high = scores["dice"]["interval"]
    assert low <= scores["dice"]["value"] <= high
    assert len(scores["dice"]["folds"]) == 2


def test_predict_writes_masks_of_the_pictures_own_size(run, tmp_path):
    folder, found = run
    summary = found.predict(folder / "survey", tmp_path / "out", formats=("coco", "rle"), threads=1)
    assert summary["images"] == 8
    assert not summary["problems"]
    image = cv2.imread(str(folder / "survey/images/p3.png"), 0)
    mask = cv2.imread(str(tmp_path / "out/masks/p3.png"), 0)
    assert mask.shape == image.shape
    assert set(np.unique(mask)) <= {0, 255}
    assert json.loads((tmp_path / "out/masks.coco.json").read_text())["annotations"]
    assert (tmp_path / "out/masks.csv").exists()


def test_a_broken_picture_is_listed_and_the_others_are_answered(run, tmp_path):
    folder, found = run
    shutil.copytree(folder / "survey/images", tmp_path / "new")
    (tmp_path / "new/p1.png").write_bytes((tmp_path / "new/p1.png").read_bytes()[:60])
    (tmp_path / "new/p2.png").write_bytes(b"")
    code = main(["predict", str(found.path), str(tmp_path / "new"), "--out", str(tmp_path / "out")])
    assert code == 1
    assert len(list((tmp_path / "out/masks").iterdir())) == 6
    listed = (tmp_path / "out/problems.csv").read_text()
    assert "p1.png" in listed
    assert "p2.png" in listed


def test_submission_rows_decode_to_the_predicted_masks(run, tmp_path):
    from transect.data.rle import decode

    folder, found = run
    found.predict(folder / "survey", tmp_path / "out", threads=1)
    found.submit(folder / "survey", tmp_path / "out.csv")
    rows = list(csv.reader((tmp_path / "out.csv").read_text().splitlines()))
    assert rows[0] == ["id", "rle_mask"]
    for name, text in rows[1:]:
        mask = cv2.imread(str(tmp_path / f"out/masks/{name}.png"), 0) > 0
        np.testing.assert_array_equal(decode(text, mask.shape), mask)


def test_the_same_seed_gives_the_same_bytes(run, tmp_path):
    folder, found = run
    again = transect.train(
        folder / "survey", recipe=tiny_recipe(), out=tmp_path / "again", threads=1
    )
    for name in ("metrics.json", "decide.json", "folds.csv"):
        assert (again.path / name).read_bytes() == (found.path / name).read_bytes()
    ours = sorted(p.relative_to(found.path) for p in found.path.rglob("*.safetensors"))
    assert ours
    for name in ours:
        assert (again.path / name).read_bytes() == (found.path / name).read_bytes()


@pytest.mark.parametrize("kind", ["classes", "instances"])
def test_other_kinds_of_masks_go_through_the_same_story(kind, tmp_path):
    write_disc_survey(tmp_path / "survey", kind=kind)
    recipe = tiny_recipe()
    if kind == "classes":
        recipe = set_field(recipe, "members.main.stages.main.loss", "ce + dice")
    found = transect.train(tmp_path / "survey", recipe=recipe, out=tmp_path / "run", threads=1)
    assert found.score()["dice"]["value"] > 0.3
    summary = found.predict(tmp_path / "survey", tmp_path / "out", threads=1)
    assert summary["images"] == 8


def wrong(words, capsys) -> str:
    """Run a command that must fail, and give its one sentence."""
    assert main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("transect: ")
    return said


def test_no_audit_reaches_every_way_of_training(monkeypatch):
    from transect.experiments import several

    seen = {}
    monkeypatch.setattr(several, "train_several", lambda *_, **options: seen.update(options) or [])
    assert main(["train", "survey", "--recipe", "salt-9th", "salt-11th", "--no-audit"]) == 0
    assert seen["audit"] is False


def test_mistakes_get_a_sentence_before_any_work(tmp_path, capsys):
    survey = str(write_disc_survey(tmp_path / "survey"))
    out = str(tmp_path / "run")
    assert "Did you mean" in wrong(["train", survey, "--recipe", "aut", "--out", out], capsys)
    field = ["--recipe", "salt-9th", "--set", "folds.cout=2"]
    assert "Did you mean 'count'" in wrong(["train", survey, *field, "--out", out], capsys)
    assert not (tmp_path / "run").exists()  # said before the data is read
    assert "15m" in wrong(["train", survey, "--budget", "soon", "--out", out], capsys)
    assert "path=value" in wrong(["train", survey, "--set", "folds", "--out", out], capsys)
    assert "no run folder" in wrong(["score", survey], capsys)
    assert "not a folder" in wrong(["train", str(tmp_path / "nowhere"), "--out", out], capsys)
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_a_finished_run_is_not_overwritten(run, capsys):
    folder, found = run
    assert "--resume" in wrong(["train", str(folder / "survey"), "--out", str(found.path)], capsys)


def test_a_folder_in_use_names_its_owner(run, tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(TransectError, match="in use by process"),
        locked(tmp_path / "run"),
    ):
        pass


def test_missing_masks_are_an_error_unless_said_otherwise(tmp_path, capsys):
    root = write_disc_survey(tmp_path / "survey")
    (root / "masks/p0.png").unlink()
    said = wrong(["train", str(root), "--out", str(tmp_path / "run")], capsys)
    assert "p0.png" in said
    assert "--missing empty" in said or "missing" in said


def test_a_resumed_run_must_have_the_same_data(run, tmp_path, capsys):
    folder, found = run
    shutil.copytree(found.path, tmp_path / "run")
    shutil.copytree(folder / "survey", tmp_path / "survey")
    (tmp_path / "survey/images/p0.png").unlink()
    (tmp_path / "survey/masks/p0.png").unlink()
    words = ["train", str(tmp_path / "survey"), "--out", str(tmp_path / "run"), "--resume"]
    assert "not the survey" in wrong(words, capsys)


def test_masks_changed_at_the_same_size_are_named(run, tmp_path, capsys):
    folder, found = run
    shutil.copytree(found.path, tmp_path / "run")
    shutil.copytree(folder / "survey", tmp_path / "survey")
    mask = tmp_path / "survey/masks/p3.png"
    cv2.imwrite(str(mask), 255 - cv2.imread(str(mask), -1))
    words = ["train", str(tmp_path / "survey"), "--out", str(tmp_path / "run"), "--resume"]
    assert "p3.png" in wrong(words, capsys)


@pytest.mark.parametrize(
    "words",
    [
        {"recipe": "salt-1st"},
        {"recipe": tiny_recipe(folds=dataclasses.replace(tiny_recipe().folds, seed=9))},
        {"seed": 99},
        {"settings": {"folds.count": "3"}},
        {"budget": "5m"},
    ],
    ids=lambda words: next(iter(words)),
)
def test_a_resumed_run_refuses_other_words(run, words):
    folder, found = run
    with pytest.raises(TransectError, match="begun with"):
        transect.train(folder / "survey", out=found.path, resume=True, threads=1, **words)


def test_a_resumed_run_takes_the_words_that_it_was_begun_with(run, tmp_path):
    folder, found = run
    shutil.copytree(found.path, tmp_path / "run")
    words = {"recipe": tiny_recipe(), "seed": 0, "settings": {"folds.count": "2"}}
    transect.train(folder / "survey", out=tmp_path / "run", resume=True, threads=1, **words)


def test_predict_keeps_old_answers_and_new_ones_apart(run, tmp_path):
    folder, found = run
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    shutil.copy(folder / "survey/images/p1.png", tmp_path / "one")
    (tmp_path / "one/broken.png").write_bytes(b"none")
    shutil.copy(folder / "survey/images/p2.png", tmp_path / "two")
    out = tmp_path / "out"
    found.predict(tmp_path / "one", out, threads=1)
    with pytest.raises(TransectError, match="--overwrite"):
        found.predict(tmp_path / "two", out, threads=1)
    assert (out / "masks/p1.png").exists()
    found.predict(tmp_path / "two", out, threads=1, overwrite=True)
    assert [p.name for p in (out / "masks").iterdir()] == ["p2.png"]
    assert not (out / "problems.csv").exists()


def test_overwrite_removes_only_what_predict_wrote(run, tmp_path):
    folder, found = run
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(TransectError, match="did not write"):
        found.predict(folder / "survey", out, threads=1, overwrite=True)
    assert (out / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("words", [["--format", "coko"], ["--scale", "2"], ["--device", "cuda:9"]])
def test_a_wrong_word_leaves_earlier_answers_where_they_are(run, tmp_path, words, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    folder, found = run
    out = tmp_path / "out"
    found.predict(folder / "survey", out, threads=1)
    before = sorted(p.relative_to(out) for p in out.rglob("*"))
    asked = ["predict", str(found.path), str(folder / "survey"), "--out", str(out), "--overwrite"]
    assert main([*asked, *words]) == 2
    assert sorted(p.relative_to(out) for p in out.rglob("*")) == before


def test_predict_and_submit_leave_the_run_as_it_was(run, tmp_path):
    folder, found = run
    before = {p: p.stat().st_mtime_ns for p in sorted(found.path.rglob("*"))}
    found.predict(folder / "survey", tmp_path / "out", threads=1)
    found.submit(folder / "survey", tmp_path / "out.csv")
    assert {p: p.stat().st_mtime_ns for p in sorted(found.path.rglob("*"))} == before


def test_pictures_without_data_are_told_when_they_are_asked_about(run, tmp_path, capsys):
    folder, found = run
    new = tmp_path / "new"
    new.mkdir()
    pixels = cv2.imread(str(folder / "survey/images/p1.png"))[..., ::-1].astype(np.float32)
    for name, lost in (("none", slice(None)), ("some", slice(0, 4)), ("all", slice(0, 0))):
        holed = pixels.copy()
        holed[lost] = np.nan
        tifffile.imwrite(new / f"{name}.tif", holed, photometric="rgb")
    words = ["predict", str(found.path), str(new), "--out", str(tmp_path / "out"), "--rescale"]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "left out: none.tif: none.tif holds no data at all" in said.err
    assert "1 of 2 images hold pixels without data" in said.err + said.out
    assert {p.stem for p in (tmp_path / "out/masks").iterdir()} == {"some", "all"}
    for name in ("some", "all"):
        (new / f"{name}.tif").unlink()
    assert main([*words, "--overwrite"]) == 2
    assert "no picture with data" in capsys.readouterr().err


def test_no_flipped_bit_gives_another_answer(run, tmp_path, capsys):
    folder, found = run
    copy = tmp_path / "run"
    shutil.copytree(found.path, copy)
    rng = np.random.default_rng(0)
    kept = json.loads((copy / "files.json").read_text())
    assert {"decide.json", "metrics.json", "recipe.json", "data.json"} <= set(kept)
    assert any(name.endswith(".safetensors") for name in kept)
    assert any(name.startswith("oof/") for name in kept)
    for name in kept:
        path = copy / name
        data = path.read_bytes()
        if not data:
            continue
        at = int(rng.integers(len(data)))
        flipped = bytes([data[at] ^ 1 << int(rng.integers(8))])
        path.write_bytes(data[:at] + flipped + data[at + 1 :])
        for words in (["score", str(copy)], ["report", str(copy)]):
            assert main(words) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        path.write_bytes(data)
    (copy / next(name for name in kept if name.endswith(".safetensors"))).unlink()
    with pytest.raises(TransectError, match=r"\.safetensors is missing"):
        transect.predict(copy, folder / "survey", tmp_path / "out")


def test_a_network_without_its_weights_is_told(monkeypatch):
    reasons = {"resnet18": "resnet18 starts from scratch: no hub."}
    monkeypatch.setattr("transect.models.weights.missing_weights", reasons.get)
    network = dataclasses.replace(TINY, encoder="resnet18", weights="auto")
    member = dataclasses.replace(tiny_recipe().members[0], network=network)
    recipe = tiny_recipe(members=(member, member))
    assert resolve._without_weights(recipe) == ["weights: resnet18 starts from scratch: no hub."]
    assert resolve._without_weights(tiny_recipe()) == []


@pytest.mark.parametrize(
    ("question", "good", "bad"),
    [
        ("segment", "decide.threshold", "decide.treshold"),
        ("count", "decide.target_px", "decide.threshold"),
        ("identify", "members.1.network.pooling", "members.0.network.decoder"),
    ],
)
def test_a_field_that_auto_cannot_have_fails_before_long_work(question, good, bad):
    task = task_of(question)
    resolve.check_settings(task, {good: "null" if question != "identify" else '"gem"'})
    with pytest.raises(TransectError, match="must be one of"):
        resolve.check_settings(task, {bad: "1"})


def test_a_misspelt_field_is_told_before_pictures_are_decoded(tmp_path, monkeypatch):
    survey = write_disc_survey(tmp_path / "survey")
    monkeypatch.setattr("transect.segment.task.SegmentTask.dataset", None)  # nothing is decoded
    with pytest.raises(TransectError, match="Did you mean 'epochs'"):
        transect.train(
            survey,
            out=tmp_path / "run",
            settings={"members.0.stages.0.epoch": "3"},
        )
