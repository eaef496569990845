"""A change of a catalogue in the making: written to the log, made, and signed by digests."""

from __future__ import annotations

import datetime
import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.catalogue import database, vectors
from transect.catalogue.photos import Photo, check_name
from transect.catalogue.rows import PART, damaged, digest, rows_of_part, size
from transect.errors import TransectError

__all__ = ["Change", "Edit", "Ledger"]

Edit = tuple[int, str, str]
"""Number of a photo and its name before and after; '' and 'gone' where it is taken out."""

_LINES = "SELECT n, op, time, who, words, sha256 FROM change"
_EMPTY = vectors.digest_of_rows(np.zeros((0, 1), np.float32))


@dataclass(frozen=True)
class Change:
    """One line of the log.

    Attributes:
        n: Its number, from 1.
        op: What was done.
        time: When, UTC, to the second.
        who: Person or program, or "".
        words: What it was done with, e.g. the two names that were merged.
        photos: How many photos it touched.
        images: Names of the photos that an ``undo`` of an addition took back, else empty.
    """

    n: int
    op: str
    time: str
    who: str
    words: Mapping[str, Any]
    photos: int
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ledger:
    """A change in the making; it becomes true when the transaction ends.

    Attributes:
        db: Within a transaction that writes.
        folder: The catalogue's.
        who: Person or program.
        time: When, or "" for now.
    """

    db: sqlite3.Connection
    folder: Path
    who: str
    time: str = ""

    def add(self, photos: Sequence[Photo], rows: NDArray[np.floating]) -> None:
        """Write photos and their (P, D) vectors behind the others."""
        for photo in photos:
            check_name(photo.identity)
        first, dim = size(self.db), self.dim()
        if dim not in (None, rows.shape[1]):
            raise TransectError(
                f"the catalogue holds vectors of {dim} numbers, these have {rows.shape[1]}. Use "
                "the run that made the catalogue."
            )
        self._check([first // PART])
        self.log("add", {"rows": len(photos), "first": first, "dim": int(rows.shape[1])})
        whole = np.ascontiguousarray(rows, dtype=np.float32)
        vectors.append_rows(self.folder / vectors.FILE, first, whole)
        self.db.executemany(
            "INSERT INTO photo VALUES (?, ?, ?, ?, ?, ?, 0)",
            ((first + i, *photo) for i, photo in enumerate(photos)),
        )
        self._sign(range(first // PART, -(-(first + len(photos)) // PART)))

    def relabel(
        self, op: str, words: Mapping[str, Any], names: Mapping[str, Sequence[int]]
    ) -> None:
        """Give photos other names; the change keeps the old ones, so that undo is exact.

        Args:
            op: What it is called in the log.
            words: For the log.
            names: New name to the numbers of its photos.
        """
        edits: list[Edit] = []
        for name, photos in names.items():
            check_name(name)
            for number in photos:
                asked = "SELECT identity FROM photo WHERE id = ?"
                (before,) = self.db.execute(asked, (number,)).fetchone()
                if before != name:
                    edits.append((number, before, name))
        self.edit(op, words, sorted(edits))

    def edit(self, op: str, words: Mapping[str, Any], edits: Sequence[Edit]) -> None:
        """Log a change of photos and make it."""
        n = self.log(op, words, edits)
        lines = ((n, *edit) for edit in edits)
        self.db.executemany("INSERT INTO changed VALUES (?, ?, ?, ?)", lines)
        self._make(edits)

    def undo(self) -> Change:
        """Take back the last change that still stands."""
        line = self.db.execute(
            f"{_LINES} WHERE op != 'undo' AND NOT undone ORDER BY n DESC LIMIT 1"
        ).fetchone()
        if line is None:
            raise TransectError(f"nothing is left to undo in {self.folder}.")
        asked = "SELECT id, before, after FROM changed WHERE n = ? ORDER BY id"
        edits: list[Edit] = self.db.execute(asked, line[:1]).fetchall()
        last = self._checked(line, edits)
        images: tuple[str, ...] = ()
        if last.op == "add":
            images = self._take_back(int(last.words["first"]))
        else:
            self._make([(number, after, before) for number, before, after in edits])
        self.db.execute("UPDATE change SET undone = 1 WHERE n = ?", (last.n,))
        self.log("undo", {"undoes": last.n})
        return replace(last, images=images)

    def log(self, op: str, words: Mapping[str, Any], edits: Sequence[Edit] = ()) -> int:
        """Write a line of the log and give its number."""
        (n,) = self.db.execute("SELECT coalesce(max(n), 0) + 1 FROM change").fetchone()
        when = self.time or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        text = json.dumps(dict(words), ensure_ascii=False)
        signed = _digest_of_change(op, when, self.who, text, edits)
        line = (n, op, when, self.who, text, 0, signed)
        self.db.execute("INSERT INTO change VALUES (?, ?, ?, ?, ?, ?, ?)", line)
        return int(n)

    def dim(self) -> int | None:
        """Numbers in a vector; None as long as there is no photo."""
        line = self.db.execute(
            f"{_LINES} WHERE op = 'add' AND NOT undone ORDER BY n LIMIT 1"
        ).fetchone()
        return None if line is None else int(self._checked(line, ()).words["dim"])

    def changes(self) -> tuple[Change, ...]:
        """All lines of the log, checked, first one first."""
        edits: dict[int, list[Edit]] = {}
        for n, *edit in self.db.execute("SELECT n, id, before, after FROM changed ORDER BY n, id"):
            edits.setdefault(n, []).append((edit[0], edit[1], edit[2]))
        lines = self.db.execute(f"{_LINES} ORDER BY n")
        return tuple(self._checked(line, edits.get(line[0], ())) for line in lines)

    def vectors(self) -> NDArray[np.float32]:
        """Those of all photos, gone ones too."""
        return vectors.open_rows(self.folder / vectors.FILE, size(self.db), self.dim() or 0)

    def check_vectors(self, table: NDArray[np.float32], part: int, signed: str) -> None:
        """Refuse vectors that are not what was written."""
        if vectors.digest_of_rows(table[part * PART : (part + 1) * PART]) != signed:
            raise damaged(self.folder / vectors.FILE)

    def _checked(self, line: Sequence[Any], edits: Sequence[Edit]) -> Change:
        """A line of the log, if it is what was written."""
        n, op, time, who, text, signed = line
        if _digest_of_change(op, time, who, text, edits) != signed:
            raise damaged(self.folder / database.FILE)
        words = json.loads(text)
        return Change(n, op, time, who, words, int(words.get("rows", len(edits))))

    def _make(self, edits: Sequence[Edit]) -> None:
        """Give photos their new names, take them out, or bring them back."""
        touched = sorted({number // PART for number, _, _ in edits})
        self._check(touched)
        gone = [(int(after == "gone"), i) for i, before, after in edits if "" in (before, after)]
        self.db.executemany("UPDATE photo SET gone = ? WHERE id = ?", gone)
        named = [(after, i) for i, before, after in edits if "" not in (before, after)]
        self.db.executemany("UPDATE photo SET identity = ? WHERE id = ?", named)
        self._sign(touched)

    def _take_back(self, first: int) -> tuple[str, ...]:
        """Forget the photos from a number on, which are the last ones."""
        self._check([first // PART])
        asked = "SELECT image FROM photo WHERE id >= ? ORDER BY id"
        images = tuple(image for (image,) in self.db.execute(asked, (first,)))
        self.db.execute("DELETE FROM photo WHERE id >= ?", (first,))
        self.db.execute("DELETE FROM part WHERE id >= ?", (-(-first // PART),))
        self._sign([first // PART] if first % PART else [])
        return images

    def _check(self, parts: Collection[int]) -> None:
        """Refuse to build on damage: what is signed anew was whole before."""
        table = self.vectors()
        for part in parts:
            asked = "SELECT photos, vectors FROM part WHERE id = ?"
            kept = self.db.execute(asked, (part,)).fetchone() or (digest("[]"), _EMPTY)
            if digest(repr(rows_of_part(self.db, part))) != kept[0]:
                raise damaged(self.folder / database.FILE)
            self.check_vectors(table, part, kept[1])

    def _sign(self, parts: Collection[int]) -> None:
        """Write the digests of parts anew."""
        table = self.vectors()
        for part in parts:
            rows = vectors.digest_of_rows(table[part * PART : (part + 1) * PART])
            line = (part, digest(repr(rows_of_part(self.db, part))), rows)
            self.db.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?)", line)


def _digest_of_change(op: str, time: str, who: str, words: str, edits: Sequence[Edit]) -> str:
    plain = [(int(number), str(before), str(after)) for number, before, after in edits]
    return digest(repr((op, time, who, words, plain)))
