"""How a run did on every picture out of fold, whatever its question: what gains are made of."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from transect.errors import TransectError
from transect.files import read_json
from transect.run import RunFolder

__all__ = ["Rows", "metric_of", "picture_rows"]

Rows = Mapping[str, Mapping[str, float]]
"""Picture to metric to value; higher is better."""

_METRICS = {"count": "error_saved", "identify": "map@5"}


def metric_of(folder: Path) -> str:
    """What is compared picture by picture.

    Returns:
        The main metric of masks; ``error_saved`` of counts (minus the absolute error of a
        picture, all classes together); ``map@5`` of identities (1 / rank of the right one among
        the first five, else 0).
    """
    run = RunFolder.open(folder)
    question = run.recipe().question
    return _METRICS.get(question) or str(next(iter(run.read_json("metrics.json"))))


def picture_rows(folder: Path) -> Rows:
    """Out-of-fold scores of every picture of a run.

    Raises:
        TransectError: If the run did not get so far.
    """
    run = RunFolder.open(folder)
    question = run.recipe().question
    if question == "segment":
        found: Rows = read_json(run.oof() / "pictures.json")
        return found
    table = run.oof() / ("counts.csv" if question == "count" else "answers.csv")
    rows: dict[str, dict[str, float]] = {}
    for row in _lines(table):
        name, number = row["image"], 1
        while name in rows:  # several animals in one photo
            number += 1
            name = f"{row['image']} #{number}"
        if question == "count":
            value = -abs(float(row["true"]) - float(row["predicted"]))
        else:
            ranked = [row.get(f"identity_{place}", "") for place in range(1, 6)]
            value = 1 / (1 + ranked.index(row["truth"])) if row["truth"] in ranked else 0.0
        rows[name] = {_METRICS[question]: value}
    return rows


def _lines(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a table of the run."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TransectError(
            f"{path} cannot be read ({error}). Finish the run with --resume, or train again."
        ) from error
