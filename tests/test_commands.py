"""Every command that is printed runs: those of pages and cards, and those behind ``next:``."""

import html
import re
import shlex
import shutil

import pytest
from benchmarks.torture.surveys import QUESTIONS

from transect.cli import main
from transect.commands import command, place_of

BY_NAME = {question.name: question for question in QUESTIONS}


def commands_in(text: str) -> list[str]:
    """Lines that are a command, or a command behind ``next:``."""
    return re.findall(r"^(?:next:\s+)?(transect [a-z].*)$", html.unescape(text), re.M)


@pytest.fixture(scope="module", params=sorted(BY_NAME))
def story(request, tmp_path_factory):
    """A run whose names need quotes, and what its training printed."""
    base = tmp_path_factory.mktemp("the survey's place")
    BY_NAME[request.param].write_survey(base / "my survey")
    (base / "a recipe.py").write_text(BY_NAME[request.param].recipe)
    return base


def said(words, capsys) -> str:
    """What a command prints; it must do its work."""
    assert main(words) in (0, 1), capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.slow
def test_all_printed_commands_run(story, capsys, monkeypatch):
    monkeypatch.chdir(story)
    shutil.copytree("my survey/images", "NEW_IMAGES")
    asked = [
        ["train", "my survey", "--recipe", "a recipe.py", "--out", "runs/it's one"],
        ["audit", "my survey"],
        ["score", "runs/it's one"],
        ["predict", "runs/it's one", "NEW_IMAGES", "--out", "first answers"],
        ["report", "runs/it's one"],
    ]
    printed: dict[str, str] = {}
    for words in asked:
        text = said(words, capsys)
        found = commands_in(text)
        assert found, f"{words} says nothing to do next"
        printed |= dict.fromkeys(found, ".")
        if words[0] != "audit":
            verdicts = re.findall(r"^(Worth using|Do not use|Not judged)", text, re.M)
            assert len(verdicts) == (1 if words[0] != "train" else 2), text
    run = story / "runs" / "it's one"
    for page in ("report.html", "card.md"):
        text = (run / page).read_text()
        assert re.search("Worth using|Do not use|Not judged", text)
        found = commands_in(re.sub(r"</?code>", "\n", text))
        assert len(found) == 3
        printed |= dict.fromkeys(found, "runs")
    shutil.copytree("NEW_IMAGES", "runs/NEW_IMAGES")
    for line, folder in printed.items():
        monkeypatch.chdir(story / folder)
        words = shlex.split(line)[1:]
        if words[0] == "train" and "--recipe" not in words:
            continue  # `auto` on the survey: what every other test of auto does
        said(words, capsys)


def test_names_are_quoted_and_places_are_relative(tmp_path):
    assert shlex.split(command("train", tmp_path / "it's", "--out", "a b")) == [
        "transect", "train", str(tmp_path / "it's"), "--out", "a b",
    ]  # fmt: skip
    assert place_of(tmp_path / "survey", tmp_path / "runs") == "../survey"
    assert place_of(tmp_path / "a" / "b" / "survey", tmp_path / "c" / "d" / "e" / "f") == "survey"
