"""What the report says: true seconds, and images that tell something among hundreds of equals."""

import numpy as np

from tests.small import tiny_recipe
from transect.pipeline.report import seconds_by_fold
from transect.run import RunFolder
from transect.segment.findings import worst_and_best
from transect.task import Rows


def test_the_time_of_a_fold_is_the_sum_of_its_epochs_in_all_rounds(tmp_path):
    run = RunFolder(tmp_path)
    folder = run.fold("main", 0)
    for place, rows in ((folder, "1,10.5\n2,9.5\n"), (folder / "round1", "1,5.0\n")):
        place.mkdir(parents=True)
        (place / "history.csv").write_text("epoch,seconds\n" + rows)
    assert seconds_by_fold(run, tiny_recipe()) == {"main, fold 0": 25.0}


def test_among_equals_the_most_wrong_and_the_fullest_are_shown():
    columns = {
        "dice": [0.0, 0.0, 1.0, 1.0, 0.5, np.nan],
        "wrong": [0.1, 0.6, 0.0, 0.0, 0.9, 1.0],
        "foreground": [0.0, 0.3, 0.0, 0.4, 0.9, 1.0],
    }
    values = {name: np.array(column) for name, column in columns.items()}
    rows = Rows(tuple("abcdef"), np.zeros(6, np.int64), ("",) * 6, values)
    found = worst_and_best(rows, "dice", 2)
    assert found["worst"].shown == (("b", 0.0), ("a", 0.0))
    assert found["best"].shown == (("d", 1.0), ("c", 1.0))
    assert (found["worst"].tied, found["best"].tied) == (2, 2)
