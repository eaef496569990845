"""One score: its value, its interval, its spread over folds, and the trivial answers beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = [
    "FEWEST_GROUPS",
    "Score",
    "Trivial",
    "interval_text",
    "scores_from_json",
    "scores_to_json",
    "spread_text",
    "trusted",
]

FEWEST_GROUPS = 5
"""Groups that an interval needs: a bootstrap of fewer is too narrow to mean anything."""

Interval = tuple[float, float]


def trusted(interval: Interval | None, groups: int) -> tuple[Interval | None, str]:
    """An interval that may be shown, or the reason why there is none.

    Args:
        interval: Its ends, by any method; None if there never was one.
        groups: What was drawn with replacement: sites, encounters, or units without such.

    Returns:
        The interval and "", or None and the reason.

    Example:
        >>> trusted((0.4, 0.6), 12)
        ((0.4, 0.6), '')
        >>> trusted((0.4, 0.6), 3)
        (None, 'an interval needs 5 groups; there are 3')
        >>> trusted((1.0, 1.0), 30)
        (None, 'every draw of the 30 groups gives the same value')
    """
    if interval is None:
        return None, "no interval is computed for it"
    if groups < FEWEST_GROUPS:
        return None, f"an interval needs {FEWEST_GROUPS} groups; there are {groups}"
    low, high = interval
    if not high > low:  # nan, too
        return None, f"every draw of the {groups} groups gives the same value"
    return interval, ""


@dataclass(frozen=True)
class Trivial:
    """An answer that needs no training, beside a run's.

    Attributes:
        name: What it does, to stand behind "no better than".
        value: Its score, in the metric's own direction.
        gain: By how much the run is better, unit by unit; below 0 it is worse.
        interval: Ends of the 95 % bootstrap interval of the gain, groups drawn whole; None where
            it would mean nothing.
        why: Why there is no interval.
        measure: What is compared unit by unit, where that is not the main metric itself; else "".
    """

    name: str
    value: float
    gain: float
    interval: Interval | None = None
    why: str = ""
    measure: str = ""

    @property
    def beaten(self) -> bool | None:
        """Whether the run is better beyond chance; None if there are too few groups to tell."""
        if self.interval is not None:
            return self.interval[0] > 0
        return None if "needs" in self.why and self.gain > 0 else self.gain > 0


@dataclass(frozen=True)
class Score:
    """A metric over a set of units.

    Attributes:
        value: The metric.
        interval: Ends of the 95 % bootstrap interval over groups; None where it would mean nothing.
        folds: The metric of each trained fold; () against a truth.
        count: Units that it is over.
        why: Why there is no interval.
        trivial: Answers that need no training beside the main metric; () for all others.
    """

    value: float
    interval: Interval | None
    folds: tuple[float, ...] = ()
    count: int = 0
    why: str = ""
    trivial: tuple[Trivial, ...] = ()

    def honest(self, groups: int) -> Score:
        """The same without an interval of no width, or of fewer than five groups.

        Args:
            groups: Of the rows that it was computed from.
        """
        interval, why = trusted(self.interval, min(groups, self.count))
        return replace(self, interval=interval, why=self.why or why)

    def to_json(self) -> dict[str, Any]:
        """As ``metrics.json`` holds it."""
        found: dict[str, Any] = {
            "value": self.value,
            "interval": _listed(self.interval),
            "folds": list(self.folds),
            "pictures": self.count,
        }
        if self.why:
            found["why"] = self.why
        if self.trivial:
            found["trivial"] = [
                {
                    "name": one.name,
                    "value": one.value,
                    "gain": one.gain,
                    "interval": _listed(one.interval),
                    "why": one.why,
                    "measure": one.measure,
                }
                for one in self.trivial
            ]
        return found

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Score:
        """Read back what ``to_json`` gave."""
        return Score(
            float(value["value"]),
            _ends(value["interval"]),
            tuple(float(fold) for fold in value["folds"]),
            int(value["pictures"]),
            str(value.get("why", "")),
            tuple(
                Trivial(
                    str(one["name"]),
                    float(one["value"]),
                    float(one["gain"]),
                    _ends(one["interval"]),
                    str(one["why"]),
                    str(one.get("measure", "")),
                )
                for one in value.get("trivial", ())
            ),
        )


def interval_text(interval: Any, digits: int = 4) -> str:
    """An interval in words; a dash where there is none.

    Example:
        >>> interval_text((0.25, 0.5), 2), interval_text(None)
        ('0.25 to 0.50', '–')
    """
    if interval is None:
        return "–"
    low, high = interval
    return f"{low:.{digits}f} to {high:.{digits}f}"


def spread_text(record: Mapping[str, Any]) -> str:
    """The interval of a record of ``metrics.json`` as small print, or why there is none."""
    if record["interval"] is None:
        return str(record.get("why", ""))
    return f"95 % interval {interval_text(record['interval'], 3)}"


def scores_to_json(scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """Metric name to record, in order."""
    return {name: score.to_json() for name, score in scores.items()}


def scores_from_json(record: Mapping[str, Mapping[str, Any]]) -> dict[str, Score]:
    """Read back what ``scores_to_json`` gave."""
    return {name: Score.from_json(value) for name, value in record.items()}


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _ends(value: Any) -> Interval | None:
    return None if value is None else (float(value[0]), float(value[1]))
