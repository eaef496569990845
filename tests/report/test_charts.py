import xml.etree.ElementTree as ET

import numpy as np
import pytest

from transect.report import charts
from transect.report.svg import WIDTH, Svg

EVIL = '<script>alert("x")</script>&"'
NAN = float("nan")

CALLS = {
    "lines": lambda n: charts.lines(
        {n: ([0, 1, 2], [3, NAN, 1]), "b": (np.arange(5000), np.arange(5000.0))},
        title=n, x_label=n, y_label=n, marks={n: 1.0},
    ),
    "threshold_curve": lambda n: charts.threshold_curve(
        [0.1, 0.5, 0.9], [1, 2, 1], 0.5, title=n, low=[0, 1, 0], high=[2, 3, 2], x_label=n
    ),
    "histogram": lambda n: charts.histogram({n: [1, 2, 2, 3], "b": [2.0]}, title=n, x_label=n),
    "log histogram": lambda n: charts.histogram({n: [1, 10, 1000, 0]}, title=n, log=True),
    "bars": lambda n: charts.bars({n: 3, **{str(i): i for i in range(50)}}, title=n, unit=n),
    "reliability": lambda n: charts.reliability_diagram(
        [0.1, 0.9], [0.2, 0.8], [5, 500], title=n, also=([0.1, 0.9], [0, 1])
    ),
    "scatter": lambda n: charts.scatter(
        [1, 2, NAN], [1, 3, 2], title=n, names=[n, n, n], low=[0, 1, 1], high=[2, 2, 3], x_label=n
    ),
    "fold_dots": lambda n: charts.fold_dots({n: [0.5, 0.6], "b": [0.7]}, title=n, x_label=n),
    "intervals": lambda n: charts.intervals(
        [(n, 0.9, 0.8, 0.95), ("b", 0.5, 0.4, 0.6)], title=n, reference=0.9, reference_word=n
    ),
    "matrix": lambda n: charts.matrix(np.arange(400).reshape(20, 20), [n] * 20, title=n),
}  # fmt: skip

EMPTY = {
    "lines": lambda: charts.lines({}, title="t"),
    "all missing": lambda: charts.lines({"a": ([0], [NAN])}, title="t"),
    "threshold_curve": lambda: charts.threshold_curve([], [], 0.5, title="t"),
    "histogram": lambda: charts.histogram({"a": []}, title="t"),
    "bars": lambda: charts.bars({}, title="t"),
    "reliability": lambda: charts.reliability_diagram([], [], [], title="t"),
    "scatter": lambda: charts.scatter([], [], title="t"),
    "fold_dots": lambda: charts.fold_dots({"a": []}, title="t"),
    "intervals": lambda: charts.intervals([], title="t"),
    "matrix": lambda: charts.matrix(np.zeros((0, 0)), [], title="t"),
}

ONE = {
    "lines": lambda: charts.lines({"a": ([0], [1])}, title="t"),
    "threshold_curve": lambda: charts.threshold_curve([0.5], [1], 0.5, title="t"),
    "histogram": lambda: charts.histogram({"a": [5, 5]}, title="t"),
    "bars": lambda: charts.bars({"a": 0}, title="t"),
    "scatter": lambda: charts.scatter([2], [2], title="t"),
    "fold_dots": lambda: charts.fold_dots({"a": [0.0]}, title="t"),
    "matrix": lambda: charts.matrix([[0]], ["a"], title="t"),
}


def numbers_inside(tree, height):
    for element in tree.iter():
        for key in ("cx", "x", "x1", "x2"):
            if key in element.attrib:
                assert -1 <= float(element.attrib[key]) <= WIDTH + 1, element.attrib
        for key in ("cy", "y", "y1", "y2"):
            if key in element.attrib:
                assert -1 <= float(element.attrib[key]) <= height + 1, element.attrib


@pytest.mark.parametrize("name", CALLS)
def test_charts_are_well_formed_and_words_are_escaped(name):
    drawing = CALLS[name](EVIL)
    assert isinstance(drawing, Svg)
    tree = ET.fromstring(drawing)
    assert "<script" not in drawing
    assert tree.attrib["aria-label"] == EVIL
    assert "nan" not in drawing
    numbers_inside(tree, float(tree.attrib["viewBox"].split()[3]))


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_to_show_is_said(name):
    assert "nothing to show" in EMPTY[name]()


@pytest.mark.parametrize("name", ONE)
def test_one_value_is_enough(name):
    drawing = ONE[name]()
    assert "nan" not in drawing
    assert "inf" not in drawing
    assert "nothing" not in drawing


def test_large_data_stay_small():
    rng = np.random.default_rng(0)
    x = rng.normal(size=100_000)
    assert len(charts.scatter(x, x, title="t")) < 200_000
    assert len(charts.lines({"a": (np.arange(100_000), x)}, title="t")) < 20_000


def test_a_wild_value_does_not_flatten_a_curve():
    y = np.r_[1e6, np.linspace(1, 0, 200)]
    drawing = charts.lines({"a": (np.arange(201), y)}, title="t")
    assert ">1M<" not in drawing


def test_the_same_data_give_the_same_drawing():
    assert all(CALLS[name]("a") == CALLS[name]("a") for name in CALLS)
