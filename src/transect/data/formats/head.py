"""What a file or folder shows at first sight, looked at once for all formats that ask."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from transect.data.formats import checked
from transect.data.sheets import SHEET_SUFFIXES, sheet_rows

__all__ = ["Head"]

_JSON = (".json", ".geojson", ".pnt", ".ndjson")
_START = 1 << 16  # bytes


class Head:
    """A path with what is cheap to know of it; formats tell by it whether they are meant."""

    def __init__(self, path: Path) -> None:
        """Look at nothing yet."""
        self.path = path
        self.suffix = path.suffix.lower()

    @cached_property
    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @cached_property
    def json(self) -> Any:
        """The decoded content of a JSON file; None for anything else.

        Raises:
            TransectError: If it is broken JSON.
        """
        if self.is_dir or self.suffix not in _JSON:
            return None
        return checked.read_json(self.path)

    @cached_property
    def first(self) -> dict[str, Any]:
        """The JSON object, or the first object of a JSON list; empty for anything else."""
        value = self.json
        value = value[0] if isinstance(value, list) and value else value
        return value if isinstance(value, dict) else {}

    @cached_property
    def start(self) -> bytes:
        """The first 64 KiB of a file; nothing of a folder."""
        if self.is_dir:
            return b""
        with self.path.open("rb") as handle:
            return handle.read(_START)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of a table's columns, lower case with underscores; none of other files."""
        if self.suffix in SHEET_SUFFIXES and not self.is_dir:
            rows = next(iter(sheet_rows(self.path).values()), None) or [[]]
            return tuple(cell.strip().lower().replace(" ", "_") for cell in rows[0])
        if self.is_dir or self.suffix not in (".csv", ".tsv", ".txt"):
            return ()
        utf16 = self.start.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = self.start.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        if lines and lines[0].lower().startswith("sep="):
            lines = lines[1:]
        line = lines[0].lower() if lines else ""
        cells = line.split(max(",;\t|", key=line.count))
        return tuple(cell.strip(' "\t').replace(" ", "_") for cell in cells)

    def has(self, *columns: str) -> bool:
        """Whether a table has all of these columns."""
        return set(columns) <= set(self.columns)
