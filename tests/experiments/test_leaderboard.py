"""The page that says which recipe to take: ties are ties, and everything is linked."""

import re

import pytest

from transect.experiments.leaderboard import Entry, places, write_leaderboard


def entry(name, value, interval, metric="dice"):
    record = {"value": value, "interval": interval, "folds": [], "pictures": 9}
    return Entry(name, {metric: record, "iou": {**record, "value": value / 2}}, 3.0)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([(0.7, 0.9), (0.75, 0.85), (0.3, 0.5)], ["1 (tied)", "1 (tied)", "3"]),
        ([(0.7, 0.9), (0.6, 0.79), (0.3, 0.5)], ["1", "2", "3"]),
        ([None, None, (0.3, 0.5)], ["1 (tied)", "1 (tied)", "3"]),
    ],
)
def test_runs_within_noise_share_a_place(ends, expected):
    done = [entry("abc"[i], 0.8 - 0.02 * i, ends[i]) for i in range(3)]
    done[2] = entry("c", 0.4, ends[2])
    assert places(done, "dice") == expected


def test_errors_are_better_when_small_and_reports_are_linked(tmp_path):
    page = write_leaderboard(
        tmp_path, [entry("worse", 9.0, (8, 10), "mae"), entry("better", 2.0, (1, 3), "mae")]
    ).read_text()
    assert page.index("better") < page.index("worse")
    assert "mean error in objects" in page
    assert 'href="worse/report.html"' in page
    assert re.search(r">IoU</td>", page)
