"""The dots that a run places on photos that its networks and decisions did not see."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from transect.data.exchange import Instance
from transect.run import RunFolder

__all__ = ["held_out_dots"]


def held_out_dots(run: RunFolder, name: str) -> Iterator[Instance]:
    """The dots of one photo, from ``oof/points.csv``.

    Args:
        run: Finished. Without maps (trained on totals) it places none.
        name: The photo.

    Yields:
        Dots with their confidence; of the first class where the run does not tell classes apart.
    """
    path = run.oof() / "points.csv"
    if not path.is_file():
        return
    classes = run.data()["classes"]
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["image"] == name and row["fate"] != "missed":
                yield Instance(
                    row.get("class") or classes[0],
                    point=(float(row["x"]), float(row["y"])),
                    confidence=float(row["confidence"]),
                )
