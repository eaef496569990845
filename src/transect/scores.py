"""The scores of a run as Python and notebooks show them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd

from transect.metrics import title_of

__all__ = ["Scores"]


class Scores(dict[str, dict[str, Any]]):
    """Metric name to its record: ``value``, ``interval``, ``folds``, ``pictures``.

    The main metric comes first and holds ``trivial``, the answers that need no training.

    Attributes:
        verdict: One sentence: whether the run is worth using.

    Example:
        >>> record = {"value": 0.8, "interval": [0.7, 0.9], "folds": [], "pictures": 12}
        >>> found = Scores({"dice": record}, verdict="Worth using.")
        >>> found["dice"]["value"], found.to_frame().loc["dice", "high"].item()
        (0.8, 0.9)
    """

    def __init__(self, found: Mapping[str, dict[str, Any]], *, verdict: str = "") -> None:
        """Keep what ``metrics.json`` holds."""
        super().__init__(found)
        self.verdict = verdict

    def to_frame(self) -> pd.DataFrame:
        """A row per metric: title, value, low, high, units, and why there is no interval."""
        rows = {
            name: {
                "metric": title_of(name),
                "value": record["value"],
                "low": record["interval"][0] if record["interval"] else float("nan"),
                "high": record["interval"][1] if record["interval"] else float("nan"),
                "units": record["pictures"],
                "why": record.get("why", ""),
            }
            for name, record in self.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def _repr_html_(self) -> str:
        """The verdict and the table, as notebooks show them."""
        table = self.to_frame().to_html(float_format="{:.3f}".format, na_rep="–")
        return f"<p><strong>{html.escape(self.verdict)}</strong></p>{table}"
