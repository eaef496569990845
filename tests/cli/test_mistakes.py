"""Mistakes that people make at a keyboard: one sentence each, and what was meant."""

import os
import sys

import pytest

import transect
from tests.small import tiny_recipe, write_disc_survey
from transect import api
from transect.cli import main
from transect.errors import TransectError
from transect.recipe import Recipe
from transect.run import RunFolder


def said(words, capsys) -> str:
    """What is said of a mistake; exit code 2 and no traceback."""
    try:
        code = main(words)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    text = capsys.readouterr().err
    assert len(text.strip().splitlines()) == 1, text
    return text


@pytest.fixture
def survey(tmp_path):
    return write_disc_survey(tmp_path / "my survey")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian", "x"], "Did you mean 'train'?"),
        (["train", "x", "--buget", "5m"], "Did you mean '--budget'?"),
        (["predict", "x", "y", "--out", "z", "--fromat", "coco"], "'--format'?"),
        (["train", "x", "--question", "segmnet"], "Did you mean 'segment'?"),
        (["train", "my", "survey"], "names with spaces need quotes"),
        (["predict", "x"], "required: IMAGES, --out"),
        (["recipes", "slat-1st"], "Did you mean 'salt-1st'?"),
    ],
)
def test_the_word_that_was_meant_is_named(words, meant, capsys):
    assert meant in said(words, capsys)


@pytest.mark.parametrize("budget", ["90", "ten minutes", "5 days", "0m", "-3m"])
def test_a_budget_has_a_unit(budget, survey, capsys, tmp_path):
    with pytest.raises(TransectError, match="a budget must be"):
        api.seconds_of(budget)
    if budget == "90":
        words = ["train", str(survey), f"--budget={budget}", "--out", str(tmp_path / "run")]
        assert "with its unit, such as 90s" in said(words, capsys)


def test_seconds_are_a_number_in_python():
    assert api.seconds_of(90) == 90
    assert api.seconds_of("1.5 min") == 90


@pytest.mark.parametrize(
    ("device", "meant"), [("gpu", "Use cuda"), ("cuda:x", "device must be one of"), ("tpu", "cpu")]
)
def test_a_device_that_there_is_not(device, meant, survey, capsys, tmp_path):
    words = ["train", str(survey), "--device", device, "--out", str(tmp_path / "run")]
    assert meant in said(words, capsys)


def test_a_folder_that_cannot_be_written(survey, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    text = said(["train", str(survey), "--out", str(tmp_path / "file" / "run")], capsys)
    assert "Choose another" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(survey, capsys, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    text = said(["train", str(survey), "--out", str(tmp_path / "closed" / "run")], capsys)
    assert "cannot be written" in text


def test_errors_of_the_file_system_are_sentences(monkeypatch, capsys):
    def full(run):
        raise OSError(28, "No space left on device", "runs/a/report.html")

    monkeypatch.setattr(api, "report", full)
    assert "the disk of runs/a is full" in said(["report", "x"], capsys)


def test_nothing_is_written_inside_what_is_read(survey, capsys, tmp_path):
    text = said(["train", str(survey), "--out", str(survey / "runs" / "one")], capsys)
    assert "lies inside" in text
    assert not (survey / "runs").exists()
    RunFolder(tmp_path / "run").begin(tiny_recipe(), {})
    images = survey / "images"
    words = ["predict", str(tmp_path / "run"), str(images), "--out", str(images / "out")]
    assert "lies inside" in said(words, capsys)
    with pytest.raises(TransectError, match="lies inside"):
        transect.train(survey, recipe=Recipe(), out=survey)


def test_auto_is_a_recipe_that_can_be_asked_about(capsys):
    assert main(["recipes", "auto"]) == 0
    assert "plans for every question: segment, count" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_commands_and_options(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("predict", "--budget", "doctor"))


def test_without_the_library_completion_names_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert "transect[completion]" in said(["completion", "bash"], capsys)
