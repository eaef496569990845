"""Out-of-fold scores of identities without some photos, and names that answers contradict."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from transect.audit import doubtful_answers, keep_doubts, run_groups
from transect.errors import TransectError
from transect.identify.scoring import score_answers
from transect.openset.decider import Decision, share_weights
from transect.recipe import IdentifyDecide
from transect.run import RunFolder

__all__ = ["keep_doubtful_names", "score_without"]


def score_without(path: Path, left_out: Collection[str]) -> dict[str, Any]:
    """Scores out of fold with some photos left aside as queries.

    Args:
        path: The run folder.
        left_out: Photos, as in ``folds.csv``.

    Returns:
        Metric name to value, interval and folds; empty if no query is left.
    """
    run = RunFolder.open(path)
    decide = run.recipe().decide
    assert isinstance(decide, IdentifyDecide)
    facts, unknown = run.read_json("facts.json"), str(run.read_json("inputs.json")["unknown"])
    with (run.oof() / "answers.npz").open("rb") as file, np.load(file, allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved.files}
    keys = [str(facts["keys"][row]) for row in arrays["rows"].tolist()]
    keep = np.array([key not in left_out for key in keys], bool)
    if not keep.any():
        return {}
    groups = run_groups(path)
    told = np.array([row["cannot_tell"] == "1" for row in _answers(run)], bool)
    truth = arrays["truth"][keep]
    decision = Decision(
        ranked=arrays["ranked"][keep],
        probability=arrays["probability"][keep],
        new=arrays["new"][keep],
        margin=arrays["margin"][keep],
        cannot_tell=told[keep],
    )
    return score_answers(
        decision,
        truth,
        people=np.array(facts["people"], dtype=np.str_),
        unknown=unknown,
        groups=np.array(
            [
                groups.get(k.partition("#")[0], k)
                for k, kept in zip(keys, keep, strict=True)
                if kept
            ],
            dtype=np.str_,
        ),
        folds=arrays["folds"][keep],
        weights=share_weights(truth, run.read_json("decide.json")["share_new"]),
        top_k=decide.top_k,
    )


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
