"""What is asked of a catalogue's tables."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transect.errors import TransectError, unknown_name

__all__ = [
    "PART",
    "all_numbers",
    "checked_rows",
    "count",
    "damaged",
    "digest",
    "must_know",
    "numbers",
    "photos_of",
    "rows_of_part",
    "size",
]

PART = 1000  # photos under one digest: a change re-reads that many, opening reads all once
_ROWS = "SELECT id, image, identity, encounter, date, side, gone FROM photo"


def size(db: sqlite3.Connection) -> int:
    """Photos, those that were removed included: the rows of vectors."""
    return int(db.execute("SELECT coalesce(max(id), -1) + 1 FROM photo").fetchone()[0])


def count(db: sqlite3.Connection) -> int:
    """Photos that are there."""
    return int(db.execute("SELECT count(*) FROM photo WHERE NOT gone").fetchone()[0])


def rows_of_part(db: sqlite3.Connection, part: int) -> list[tuple[Any, ...]]:
    """The photos under one digest."""
    bounds = (part * PART, (part + 1) * PART)
    return db.execute(f"{_ROWS} WHERE id >= ? AND id < ? ORDER BY id", bounds).fetchall()


def checked_rows(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """All photos, gone ones too, each part checked as it is read.

    Raises:
        TransectError: If a part is not what was written.
    """
    digests = dict(db.execute("SELECT id, photos FROM part"))
    found = db.execute(f"{_ROWS} ORDER BY id")
    for part in range(max(len(digests), -(-size(db) // PART))):
        rows = found.fetchmany(PART)
        if digest(repr(rows)) != digests.get(part):
            raise damaged(Path(db.execute("PRAGMA database_list").fetchone()[2]))
        yield from rows


def photos_of(db: sqlite3.Connection, name: str) -> list[int]:
    """Numbers of an individual's photos."""
    asked = "SELECT id FROM photo WHERE identity = ? AND NOT gone ORDER BY id"
    return [number for (number,) in db.execute(asked, (name,))]


def numbers(db: sqlite3.Connection, images: Sequence[str]) -> dict[str, int]:
    """Photos that are there, by name."""
    found = {}
    for name in images:
        line = db.execute("SELECT id FROM photo WHERE image = ? AND NOT gone", (name,)).fetchone()
        if line is not None:
            found[name] = int(line[0])
    return found


def all_numbers(db: sqlite3.Connection, images: Sequence[str]) -> list[int]:
    """Numbers of photos, all of which must be there."""
    found = numbers(db, images)
    missing = set(images) - set(found)
    if missing:
        raise TransectError(
            f"{len(missing)} photos are not in the catalogue (first: {min(missing)}). Add them "
            "first."
        )
    return sorted(found.values())


def must_know(db: sqlite3.Connection, name: str) -> None:
    """Refuse the name of nobody."""
    if not photos_of(db, name):
        asked = "SELECT DISTINCT identity FROM photo WHERE NOT gone ORDER BY 1"
        raise unknown_name("an individual", name, [found for (found,) in db.execute(asked)])


def digest(text: str) -> str:
    """SHA-256 of some text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def damaged(path: Path) -> TransectError:
    """What is said of a file that is not what was written."""
    return TransectError(
        f"{path} was changed or damaged after it was written. Restore it from a copy."
    )
