"""Lists of runs: read from a file, trained one after another, whatever one of them does."""

import json

import pytest

from transect.cli import main
from transect.errors import TransectError
from transect.experiments import several as module
from transect.experiments.several import Planned, read_runs, train_several
from transect.files import write_json

LIST = """
[[run]]
recipe = "salt-11th"
quick = true

[[run]]
recipe = "salt-11th"
name = "../eleven"
budget = "2m"
seed = 3
settings = {"folds.count" = 3, "blend" = "rank"}
"""


@pytest.fixture
def listed(tmp_path):
    (tmp_path / "runs.toml").write_text(LIST)
    return tmp_path / "runs.toml"


def test_a_file_of_runs_is_read(listed):
    first, second = read_runs(listed)
    assert first == Planned("salt-11th", "salt-11th", {"quick": True})
    assert second.name == "_eleven"  # no name leaves the folder
    assert second.options == {
        "budget": "2m", "seed": 3, "settings": {"folds.count": "3", "blend": "rank"}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("run = 3", "lists no runs"),
        ("[[run]", "no list of runs"),
        ("[[run]]\nname = 'x'", "must name its recipe"),
        ("[[run]]\nrecipe = 'x'\nbugdet = '2m'", "Did you mean 'budget'"),
        ("[[run]]\nrecipe = 'x'\nseed = 'y'", "wrong type"),
        ("[[run]]\nrecipe = 'x'\nsettings = 2", "must be a table"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text, word):
    (tmp_path / "runs.toml").write_text(text)
    with pytest.raises(TransectError, match=word):
        read_runs(tmp_path / "runs.toml")


@pytest.fixture
def trained(monkeypatch):
    """``api.train`` that writes a score, and breaks for some recipes."""
    calls = []

    def train(data, *, recipe, out, **options):
        calls.append((recipe, out.name, options))
        if recipe == "broken":
            raise TransectError("no such thing.")
        if recipe == "crash":
            raise RuntimeError("out of memory")
        write_json(out / "recipe.json", {})
        write_json(out / "data.json", {"problems": [1] if recipe == "torn" else []})
        write_json(out / "metrics.json", {"dice": {"value": 0.5, "interval": [0.4, 0.6]}})

    monkeypatch.setattr(module.api, "train", train)
    return calls


def test_one_that_fails_does_not_stop_the_others(trained, tmp_path):
    runs = [Planned(name, name) for name in ("broken", "crash", "a", "a")]
    runs[2] = Planned("a", "a", {"seed": 1, "settings": {"x": "1"}})
    entries = train_several("data", runs, out=tmp_path, seed=0, settings={"x": "0", "y": "0"})
    assert [entry.name for entry in entries] == ["broken", "crash", "a", "a-2"]
    assert [bool(entry.error) for entry in entries] == [True, True, False, False]
    assert "out of memory" in entries[1].error
    assert trained[2][2] == {"seed": 1, "settings": {"x": "1", "y": "0"}}
    assert trained[3][2] == {"seed": 0, "settings": {"x": "0", "y": "0"}}
    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert [entry["name"] for entry in board] == ["a", "a-2", "broken", "crash"]


def test_the_command_takes_names_and_files_together(trained, listed, tmp_path, capsys):
    out = tmp_path / "out"
    code = main(["train", "data", "--recipe", str(listed), "torn", "--out", str(out)])
    assert code == 1  # a file of the survey was left out
    assert [call[:2] for call in trained] == [
        ("salt-11th", "salt-11th"), ("salt-11th", "_eleven"), ("torn", "torn")
    ]  # fmt: skip
    assert "leaderboard" in capsys.readouterr().out
    assert main(["train", "d", "--recipe", str(listed), "--ablate", "augment"]) == 2
