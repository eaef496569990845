"""Who a run thinks is on photos that its networks and decisions did not see."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from transect.data.exchange import Instance
from transect.run import RunFolder

__all__ = ["held_out_candidates"]


def held_out_candidates(run: RunFolder, name: str) -> Iterator[Instance]:
    """The candidates for the first animal of one photo, from ``oof/answers.csv``.

    Args:
        run: Finished.
        name: The photo.

    Yields:
        Names with their probability, the likeliest first.
    """
    path = run.oof() / "answers.csv"
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["image"] != name:
                continue
            for place in range(1, len(row)):
                identity = row.get(f"identity_{place}")
                if not identity:
                    break
                chance = float(row[f"probability_{place}"])
                yield Instance(identity=identity, confidence=chance)
