"""CSV files that a spreadsheet may open safely."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from transect.files import atomic_path, spreadsheet_safe

__all__ = ["write_table"]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a CSV, whole or not at all; cells that a spreadsheet would run are defused."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([spreadsheet_safe(str(cell)) for cell in header])
        for row in rows:
            writer.writerow([spreadsheet_safe(str(cell)) for cell in row])
    return path
