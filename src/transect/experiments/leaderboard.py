"""Several recipes on one survey, side by side: the page that says which one to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transect.files import read_json, write_json
from transect.run import RunFolder

__all__ = ["Entry", "entry_of", "write_leaderboard"]


@dataclass(frozen=True)
class Entry:
    """How a run did.

    Attributes:
        name: Of the recipe.
        scores: Metric to its record (value, interval, folds); empty if it failed.
        seconds: How long it took.
        error: Why it failed, or None.
        left_out: How many files of the survey could not be read.
    """

    name: str
    scores: dict[str, Any]
    seconds: float
    error: str | None = None
    left_out: int = 0


def entry_of(name: str, run: Path, seconds: float) -> Entry:
    """The entry of a finished run."""
    left_out = len(RunFolder.open(run).data()["problems"])
    return Entry(name, dict(read_json(run / "metrics.json")), seconds, left_out=left_out)


def write_leaderboard(folder: Path, entries: Sequence[Entry]) -> Path:
    """Write ``leaderboard.html`` and ``leaderboard.json``: best first, failures last.

    Args:
        folder: Of the experiment.
        entries: Of all runs, failed ones too.

    Returns:
        The page.
    """
    from transect.report.page import Page

    done = [entry for entry in entries if entry.error is None and entry.scores]
    main = next(iter(done[0].scores)) if done else ""
    # Counts are scored by errors; everything else is better when it is larger.
    sign = 1 if main.startswith(("rmse", "mae", "mape")) else -1
    done = sorted(done, key=lambda entry: sign * entry.scores[main]["value"])
    rows: list[list[Any]] = []
    for entry in done:
        record = entry.scores[main]
        low, high = record.get("interval") or (None, None)
        folds = record.get("folds") or []
        spread = max(folds) - min(folds) if len(folds) > 1 else None
        rows.append([entry.name, record["value"], low, high, spread, round(entry.seconds)])
    page = Page("Leaderboard", subtitle=f"{len(entries)} runs on one survey")
    page.section(
        main or "No run finished",
        lead="Out of fold, with 95 % intervals. Runs whose intervals overlap widely are equals.",
    )
    if rows:
        headers = ["recipe", main, "low", "high", "between folds", "seconds"]
        page.table(headers, rows, best=0)
    failed = [entry for entry in entries if entry.error is not None]
    if failed:
        page.section("Failed", lead="They did not stop the others.")
        page.table(["recipe", "why"], [[entry.name, entry.error] for entry in failed])
    write_json(
        folder / "leaderboard.json",
        [
            {"name": e.name, "scores": e.scores, "seconds": e.seconds, "error": e.error}
            for e in (*done, *failed)
        ],
    )
    return page.write(folder / "leaderboard.html")
