"""Where the time of a run went, beside the plan."""

import pytest

from transect.recipe import Phase
from transect.run import RunFolder
from transect.train import spent as module
from transect.train.spent import Spent, plan_table

PLAN = (Phase("training", 90.0, "one fold"), Phase("deciding", 10.0), Phase("report", 5.0))


def test_seconds_add_up_over_resumed_runs_and_interruptions(tmp_path, monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    spent = Spent(RunFolder(tmp_path))
    with pytest.raises(KeyboardInterrupt), spent.on("training"):
        raise KeyboardInterrupt
    with Spent(RunFolder(tmp_path)).on("training"):
        pass
    assert spent.seconds == {"training": 5.0}


def test_a_phase_gets_what_those_before_it_saved_and_never_less_than_half(tmp_path):
    spent = Spent(RunFolder(tmp_path))
    assert spent.left_for("deciding", PLAN) == 10.0  # nothing is known of the training
    spent.run.write_json("spent.json", {"training": 70.0})
    assert spent.left_for("deciding", PLAN) == 30.0
    spent.run.write_json("spent.json", {"training": 200.0})
    assert spent.left_for("deciding", PLAN) == 5.0
    assert spent.left_for("matching", PLAN) is None


def test_the_table_stands_beside_what_was_spent():
    before = plan_table(PLAN)
    assert before[1].split() == ["training", "90", "s", "one", "fold"]
    after = plan_table(PLAN, {"training": 93.4})
    assert after[1].split()[:5] == ["training", "90", "s", "93", "s"]
    assert after[2].split()[-1] == "-"
    assert plan_table(()) == []
