"""A photo of the catalogue, and the plain table that catalogues are given out and taken in by."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from transect.errors import TransectError
from transect.files import spreadsheet_safe

__all__ = ["COLUMNS", "Photo", "check_name", "photos_from", "table_of"]

COLUMNS = ("image", "identity", "group", "date", "side")


class Photo(NamedTuple):
    """One photo of the catalogue; a tuple, because a million of them are read in a second.

    Attributes:
        image: Its name.
        identity: Whom it shows.
        group: Its encounter, or "".
        date: As written, or "".
        side: Flank or view, or "".
    """

    image: str
    identity: str
    group: str = ""
    date: str = ""
    side: str = ""


def check_name(name: str) -> None:
    """Refuse names that a file or a spreadsheet would not give back."""
    if not name.strip() or any(ord(c) < 32 for c in name) or len(name) > 200:
        raise TransectError(
            f"{name!r} cannot be the name of an individual. Use 1 to 200 printable characters."
        )


def table_of(photos: Iterable[Photo]) -> str:
    """The table as CSV text; cells that a spreadsheet would run are guarded."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(spreadsheet_safe, photo) for photo in photos)
    return stream.getvalue()


def photos_from(path: Path) -> list[Photo]:
    """Read a table back, as any spreadsheet saves it; guards are taken off.

    Raises:
        TransectError: If it cannot be read or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TransectError(f"{path} cannot be read ({error}). Save it as CSV, UTF-8.") from error
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or tuple(rows[0]) != COLUMNS or any(len(r) != len(COLUMNS) for r in rows[1:]):
        raise TransectError(f"{path} must have the columns {', '.join(COLUMNS)}. Restore it.")
    return [Photo(*map(_bare, row)) for row in rows[1:]]


def _bare(cell: str) -> str:
    """Take the guard off a cell that ``spreadsheet_safe`` guarded."""
    guarded = len(cell) > 1 and cell[0] == "'" and spreadsheet_safe(cell[1:]) == cell
    return cell[1:] if guarded else cell
