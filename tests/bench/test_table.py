import re

import torch
from benchmarks.hot_paths import Row, absent, names, run_all, table, work_of
from torch import nn


def test_columns_hold_their_names_and_keep_their_places():
    long = "a path that is longer than any column was ever thought to be"
    rows = [
        Row(long, "ours", 0.5, 1.0, "right", "12 GMAC"),
        Row("short", "a contender with a long name, too", 12345.678, 24691.36, "wrong"),
        Row("short", "not here", None, None, "not installed: pip install it"),
    ]
    head, *lines = table(rows)
    for column, cells in (
        ("contender", [row.contender for row in rows]),
        ("note", [row.note for row in rows]),
    ):
        place = head.index(column)
        assert [
            line[place : place + len(cell)] for line, cell in zip(lines, cells, strict=True)
        ] == (cells)
    assert lines[0].startswith(long + "  ")
    assert lines[2].split()[-4:] == ["installed:", "pip", "install", "it"]


def test_a_peer_that_is_absent_is_said_with_the_line_that_installs_it():
    assert absent("path", "numpy", "numpy", "pip install numpy") == []
    (row,) = absent("path", "peer", "no_such_module", "pip install no-such-module")
    assert row.seconds is None
    assert row.note == "not installed: pip install no-such-module"


def test_the_work_of_a_network_is_counted():
    model = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    assert work_of(model, torch.zeros(1, 2, 1000, 1000)) == "0.00 M parameters, 0.05 GMAC"


def test_every_path_is_listed():
    assert {"assignment", "matching", "homography", "gallery"} <= set(names())
    assert not any(name.startswith("-") for name in names())


def test_matching_gives_the_matches_of_opencv():
    lines = list(run_all(["matching"]))
    assert any(re.search(r" 0 of 2\d\d matches differ", line) for line in lines)
