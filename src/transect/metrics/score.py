"""One score: its value, its interval, and its spread over folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Score", "scores_from_json", "scores_to_json"]


@dataclass(frozen=True)
class Score:
    """A metric over a set of units.

    Attributes:
        value: The metric.
        interval: Ends of the 95 % bootstrap interval over groups.
        folds: The metric of each trained fold; () against a truth.
        count: Units that it is over.
    """

    value: float
    interval: tuple[float, float]
    folds: tuple[float, ...] = ()
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """As ``metrics.json`` holds it."""
        return {
            "value": self.value,
            "interval": list(self.interval),
            "folds": list(self.folds),
            "pictures": self.count,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Score:
        """Read back what ``to_json`` gave."""
        low, high = value["interval"]
        return Score(
            float(value["value"]),
            (float(low), float(high)),
            tuple(float(fold) for fold in value["folds"]),
            int(value["pictures"]),
        )


def scores_to_json(scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """Metric name to record, in order."""
    return {name: score.to_json() for name, score in scores.items()}


def scores_from_json(record: Mapping[str, Mapping[str, Any]]) -> dict[str, Score]:
    """Read back what ``scores_to_json`` gave."""
    return {name: Score.from_json(value) for name, value in record.items()}
