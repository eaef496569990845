"""The SQLite file of a catalogue: its tables, its connections, and what damage to it says."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from transect.errors import TransectError

__all__ = ["FILE", "create", "reading", "writing"]

FILE = "catalogue.db"
FORMAT = 2  # 1 was a folder of CSV and JSON lines
WAIT = 60.0  # seconds that a connection waits for another one's change

TABLES = (
    "CREATE TABLE about (format INTEGER NOT NULL, json TEXT NOT NULL, sha256 TEXT NOT NULL)",
    # Numbers run from 0 without a gap: a photo that was removed stays, as gone, for undo.
    "CREATE TABLE photo (id INTEGER PRIMARY KEY, image TEXT NOT NULL, identity TEXT NOT NULL, "
    "encounter TEXT NOT NULL, date TEXT NOT NULL, side TEXT NOT NULL, gone INTEGER NOT NULL)",
    "CREATE UNIQUE INDEX photo_image ON photo (image) WHERE NOT gone",
    "CREATE INDEX photo_identity ON photo (identity, gone)",
    # Digests of a thousand photos and their vectors each: one change touches few of them.
    "CREATE TABLE part (id INTEGER PRIMARY KEY, photos TEXT NOT NULL, vectors TEXT NOT NULL)",
    "CREATE TABLE change (n INTEGER PRIMARY KEY, op TEXT NOT NULL, time TEXT NOT NULL, "
    "who TEXT NOT NULL, words TEXT NOT NULL, undone INTEGER NOT NULL, sha256 TEXT NOT NULL)",
    "CREATE TABLE changed (n INTEGER NOT NULL, id INTEGER NOT NULL, before TEXT NOT NULL, "
    "after TEXT NOT NULL, PRIMARY KEY (n, id)) WITHOUT ROWID",
)


def create(path: Path, about: str, digest: str) -> None:
    """Make an empty catalogue's file, whole or not at all.

    Args:
        path: The file; it must not be there.
        about: JSON.
        digest: Its SHA-256.
    """
    from transect.files import atomic_path

    with atomic_path(path) as temporary, _connected(temporary, "rw") as db:
        for line in TABLES:
            db.execute(line)
        db.execute("INSERT INTO about VALUES (?, ?, ?)", (FORMAT, about, digest))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose reads all see one state of the catalogue."""
    # What a kill left half written is rolled back by the next one who may write.
    with _connected(path, "rw" if os.access(path, os.W_OK) else "ro") as db:
        db.execute("BEGIN")
        _check_tables(db, path)
        yield db
        db.execute("ROLLBACK")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose writes are made together when the block ends well, or not at all."""
    with _connected(path, "rw") as db:
        db.execute("BEGIN IMMEDIATE")
        _check_tables(db, path)
        yield db
        db.execute("COMMIT")


@contextlib.contextmanager
def _connected(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection; what SQLite has to say becomes a sentence."""
    try:
        db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}", timeout=WAIT, isolation_level=None, uri=True
        )
    except sqlite3.Error as error:
        raise _explained(error, path) from error
    try:
        db.execute("PRAGMA trusted_schema = OFF")
        yield db
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _explained(error, path) from error
    finally:
        db.close()  # what was not committed is rolled back


def _check_tables(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file with other tables than ours: a stranger's may hold triggers that write."""
    found = {row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    if found != set(TABLES) or db.execute("SELECT format FROM about").fetchall() != [(FORMAT,)]:
        raise TransectError(
            f"{path} is no catalogue, or one of another version of transect. Restore it from a "
            "copy, or open it with the version that made it."
        )


def _explained(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> TransectError:
    """What went wrong, and what to do."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return TransectError(
            f"the disk of {path.parent} is full, so {path.name} was not changed. Free some space "
            "and repeat."
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return TransectError(
            f"{path} has been in use by another program for {WAIT:.0f} s. Wait for it to end, and "
            "repeat."
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return TransectError(f"{path} cannot be opened or written ({error}). See who may write it.")
    return TransectError(f"{path} is damaged ({error}). Restore it from a copy.")
