"""Counts that predictions contradict."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from transect.audit import doubtful_values, keep_doubts
from transect.errors import TransectError
from transect.run import RunFolder

__all__ = ["keep_doubtful_counts"]


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


def _table(path: Path) -> list[dict[str, str]]:
    """Rows of a table that the run wrote."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TransectError(f"{path} cannot be read ({error}). Restore it.") from error
