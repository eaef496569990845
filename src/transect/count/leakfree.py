"""Out-of-fold scores of counts without some pictures, and counts that predictions contradict."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from transect.audit import doubtful_values, keep_doubts
from transect.count.scoring import count_record, point_record
from transect.errors import TransectError
from transect.metrics.count import PointMatch
from transect.run import RunFolder

__all__ = ["keep_doubtful_counts", "score_without"]


def score_without(path: Path, left_out: Collection[str]) -> dict[str, Any]:
    """Scores out of fold with some photos or blocks left aside.

    Args:
        path: The run folder.
        left_out: Names as in ``folds.csv``.

    Returns:
        Metric name to value, interval and folds; empty if nothing is left. What always answering
        the mean would err is left out: its mean would be over other pictures.
    """
    run = RunFolder.open(path)
    classes = [str(name) for name in run.read_json("inputs.json")["classes"]]
    rows = [row for row in _table(run.oof() / "counts.csv") if row["image"] not in left_out]
    if not rows:
        return {}
    folds = [int(row["fold"]) for row in rows]

    def column(what: str) -> list[float]:
        return [float(row[what]) for row in rows]

    record = count_record(
        np.array([column(f"predicted {name}") for name in classes]).T,
        np.array([column(f"true {name}") for name in classes]).T,
        classes,
        folds=folds,
        groups=[row["group"] or None for row in rows],
        intervals=np.array([column("low"), column("high")]).T,
    )
    fates: dict[str, dict[str, int]] = {row["image"]: {} for row in rows}
    for point in _table(run.oof() / "points.csv"):
        if point["image"] in fates:
            own = fates[point["image"]]
            own[point["fate"]] = own.get(point["fate"], 0) + 1
    if not any(fates.values()):  # trained on totals: there are no points
        return record
    return record | point_record([_match(fates[row["image"]]) for row in rows], folds)


def keep_doubtful_counts(run: RunFolder) -> None:
    """Note counts that disagree with predictions which are sure of themselves, for the report.

    Args:
        run: The run, with its out-of-fold counts written.
    """
    rows = _table(run.oof() / "counts.csv")
    true = np.array([float(row["true"]) for row in rows])
    said = np.array([float(row["predicted"]) for row in rows])
    width = np.array([float(row["high"]) - float(row["low"]) for row in rows])
    most = np.maximum(np.maximum(true, said), 1.0)
    # Two objects more or less are no doubt, whatever the share.
    agreement = np.where(np.abs(true - said) <= 2, 1.0, 1 - np.abs(true - said) / most)
    names = [row["image"] for row in rows]
    found = doubtful_values(agreement, -width / most, names, what="counts") if names else []
    keep_doubts(found, run.path)


def _match(fates: dict[str, int]) -> PointMatch:
    """The points of a picture, as far as scores need them: how many of each fate."""
    right, invented, missed = (fates.get(f, 0) for f in ("right", "invented", "missed"))
    pairs = np.zeros((right, 2), np.int64)
    return PointMatch(pairs, np.zeros(right), predicted=right + invented, truth=right + missed)


def _table(path: Path) -> list[dict[str, str]]:
    """Rows of a table that the run wrote."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TransectError(f"{path} cannot be read ({error}). Restore it.") from error
