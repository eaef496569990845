"""Names that answers contradict."""

from __future__ import annotations

import csv

import numpy as np

from transect.audit import doubtful_answers, keep_doubts
from transect.errors import TransectError
from transect.run import RunFolder

__all__ = ["keep_doubtful_names"]


def keep_doubtful_names(run: RunFolder) -> None:
    """Note identities that an almost certain answer contradicts, for the report.

    Args:
        run: The run, with its out-of-fold answers written.
    """
    rows = _answers(run)
    found = doubtful_answers(
        [row["identity"] for row in rows],
        np.array([float(row["probability"]) for row in rows]),
        [row["truth"] for row in rows],
        [row["image"] for row in rows],
    )
    keep_doubts(found, run.path)


def _answers(run: RunFolder) -> list[dict[str, str]]:
    """Rows of ``oof/answers.csv``."""
    path = run.oof() / "answers.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TransectError(f"{path} cannot be read ({error}). Restore it.") from error
