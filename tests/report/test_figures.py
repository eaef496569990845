"""Figures for papers: the numbers of every chart, and the drawing where matplotlib is installed."""

import csv
import importlib.util
import sys

import pytest

from transect.report import charts
from transect.report.figures import write_figures

ALL = {
    "a": charts.lines({"fold 0": ([1, 2], [3, 4]), "fold 1": ([1, 2], [5, 6])}, title="loss"),
    "b": charts.histogram({"training": [1, 2, 2, 9]}, title="sizes", x_label="px"),
    "c": charts.bars({"=cmd": 3.0, "other": 1.0}, title="time", unit=" s"),
    "d": charts.scatter([1, 2], [1, 3], title="counts", names=["x", "y"], low=[0, 2], high=[2, 4]),
    "e": charts.fold_dots({"Dice": [0.5, 0.7]}, title="folds"),
    "f": charts.intervals([("gain", 0.1, -0.1, 0.2)], title="gain", reference=0.0),
    "g": charts.matrix([[3, 1], [0, 5]], ["seal", "pup"], title="confusion"),
    "h": charts.reliability_diagram([0.1, 0.9], [0.2, 0.8], [5, 5], title="said"),
    "i": charts.threshold_curve([0.1, 0.5, 0.9], [1, 2, 1], 0.5, title="curve"),
}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_chart_is_there_with_its_numbers(tmp_path):
    write_figures([(drawing.heading, drawing) for drawing in ALL.values()], tmp_path / "f")
    tables = sorted((tmp_path / "f").glob("*.csv"))
    assert len(tables) == len(ALL)
    assert rows(tables[0])[2] == {"series": "fold 1", "x": "1.0", "y": "5.0"}
    assert rows(tables[2])[0]["x"] == "'=cmd"
    assert rows(tables[3])[1] == {
        "series": "", "x": "2.0", "y": "3.0", "low": "2.0", "high": "4.0", "name": "y"
    }  # fmt: skip


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
def test_drawings_are_the_same_twice(tmp_path):
    drawings = [(drawing.heading, drawing) for drawing in ALL.values()]
    written = [write_figures(drawings, tmp_path / name) for name in "ab"]
    assert sum(path.suffix == ".pdf" for path in written[0]) == len(ALL)
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
    assert (
        b"Dice"
        in next(
            p for p in written[0] if p.name.startswith("05") and p.suffix == ".svg"
        ).read_bytes()
    )


def test_without_matplotlib_the_numbers_stay(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written = write_figures([("Loss", ALL["a"])], tmp_path / "f")
    assert [path.name for path in written] == ["01-loss.csv"]
    assert write_figures([], tmp_path / "f") == []
    assert not (tmp_path / "f").exists()
