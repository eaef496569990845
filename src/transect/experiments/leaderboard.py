"""Several recipes on one survey, side by side: the page that says which one to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transect.errors import TransectError
from transect.files import read_json, write_json
from transect.metrics import higher_is_better, title_of
from transect.metrics.score import interval_text
from transect.run import RunFolder

__all__ = ["Entry", "entry_of", "places", "write_leaderboard"]


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
    sign = -1 if main and _more_is_better(main) else 1
    done = sorted(done, key=lambda entry: sign * entry.scores[main]["value"])
    page = Page("Leaderboard", subtitle=f"{len(entries)} runs on one survey")
    if done:
        page.section(
            title_of(main)[:1].upper() + title_of(main)[1:],
            lead="Out of fold, with 95 % intervals. Runs that share a place are tied: the best "
            "of them lies within the interval of the others, or there is no interval to tell.",
        )
        page.table(
            ["place", "recipe", title_of(main), "95 % interval", "between folds", "seconds"],
            [
                _row(entry, place, main)
                for entry, place in zip(done, places(done, main), strict=True)
            ],
        )
        page.links((f"{entry.name}/report.html", f"report of {entry.name}") for entry in done)
        page.section("All metrics", lead="The same runs; not every metric is better when larger.")
        names = list(dict.fromkeys(name for entry in done for name in entry.scores))
        page.table(
            ["metric", *(entry.name for entry in done)],
            [
                [title_of(name), *(e.scores.get(name, {}).get("value") for e in done)]
                for name in names
            ],
        )
    else:
        page.section("No run finished")
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


def places(done: Sequence[Entry], main: str) -> list[str]:
    """The place of every run, best first: "1", or "1 (tied)" with the runs that it cannot beat.

    Args:
        done: Best first.
        main: The metric.
    """
    leads, lead = [], 0
    for number, entry in enumerate(done):
        ends = entry.scores[main].get("interval")
        top = float(done[lead].scores[main]["value"])
        tied = ends is None or ends[0] <= top <= ends[1]
        lead = lead if tied else number
        leads.append(lead)
    return [f"{lead + 1}{' (tied)' if leads.count(lead) > 1 else ''}" for lead in leads]


def _row(entry: Entry, place: str, main: str) -> list[Any]:
    """A run in the table of the main metric."""
    record = entry.scores[main]
    folds = record.get("folds") or []
    spread = max(folds) - min(folds) if len(folds) > 1 else None
    ends = interval_text(record.get("interval"))
    return [place, entry.name, record["value"], ends, spread, round(entry.seconds)]


def _more_is_better(metric: str) -> bool:
    """Which way a metric is better; one that nobody listed: more is."""
    try:
        return higher_is_better(metric)
    except TransectError:
        return True
