"""The catalogue of known individuals: a folder that can be read, changed, changed back and copied.

``catalogue.db`` (SQLite: a row per photo, a row per change, by whom and when), ``vectors.f32`` (a
row of numbers per photo) and, beside them, whatever else belongs to the photos, such as their
keypoints. Copying the folder copies the catalogue.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.catalogue import database, rows, vectors
from transect.catalogue.ledger import Change, Ledger
from transect.catalogue.photos import Photo, photos_from, table_of
from transect.errors import TransectError
from transect.files import alone, write_text

__all__ = ["Catalogue", "Change", "Photo"]

LOCK = ".lock"


class Catalogue:
    """An open catalogue folder. Every change is logged and can be undone, last one first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._photos: tuple[Photo, ...] | None = None  # as read and checked
        self._vectors: NDArray[np.float32] | None = None

    @staticmethod
    def create(folder: Path, *, about: Mapping[str, Any] | None = None) -> Catalogue:
        """Begin an empty catalogue.

        Args:
            folder: Must not hold one yet.
            about: Plain values to keep beside it, such as the run that makes the embeddings.
        """
        with alone(folder / LOCK):
            if Catalogue.there(folder):
                raise TransectError(
                    f"{folder} already holds a catalogue. Open it, or choose another."
                )
            text = json.dumps(dict(about or {}), ensure_ascii=False)
            database.create(folder / database.FILE, text, rows.digest(text))
        return Catalogue(folder)

    @staticmethod
    def there(folder: Path) -> bool:
        """Whether a folder holds a catalogue, of this version or of the one before."""
        return any((folder / name).is_file() for name in (database.FILE, "catalogue.json"))

    @staticmethod
    def open(folder: Path) -> Catalogue:
        """Open a catalogue; one of CSV and JSON lines, as earlier versions wrote, is turned over.

        Raises:
            TransectError: If it is no catalogue, or is damaged.
        """
        book = Catalogue(folder)
        if not (folder / database.FILE).is_file():
            if not Catalogue.there(folder):
                raise TransectError(
                    f"{folder / database.FILE} is missing. Was this folder written by transect?"
                )
            from transect.catalogue.earlier import turn_over

            turn_over(folder)
        with database.reading(folder / database.FILE):  # the tables are looked at
            return book

    @property
    def photos(self) -> tuple[Photo, ...]:
        """All photos, in the order of their embeddings, checked against their digests."""
        if self._photos is None:
            with database.reading(self.folder / database.FILE) as db:
                lines = rows.checked_rows(db)
                self._photos = tuple(Photo(*line[1:6]) for line in lines if not line[6])
        return self._photos

    @property
    def individuals(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(name for name, _ in self.counts())

    def counts(self) -> list[tuple[str, int]]:
        """Individuals, sorted, and their numbers of photos; an index alone is read."""
        asked = "SELECT identity, count(*) FROM photo WHERE NOT gone GROUP BY 1 ORDER BY 1"
        with database.reading(self.folder / database.FILE) as db:
            return db.execute(asked).fetchall()

    def __len__(self) -> int:
        """Number of photos."""
        with database.reading(self.folder / database.FILE) as db:
            return rows.count(db)

    @property
    def log(self) -> tuple[Change, ...]:
        """All changes, checked, first one first."""
        with database.reading(self.folder / database.FILE) as db:
            return Ledger(db, self.folder, "").changes()

    @property
    def about(self) -> dict[str, Any]:
        """What was given to ``create``."""
        with database.reading(self.folder / database.FILE) as db:
            text, digest = db.execute("SELECT json, sha256 FROM about").fetchone()
        if rows.digest(text) != digest:
            raise rows.damaged(self.folder / database.FILE)
        return dict(json.loads(text))

    def embeddings(self) -> NDArray[np.float32]:
        """(G, D) one row per photo, checked; a memory map as long as none was removed."""
        if self._vectors is None:
            with database.reading(self.folder / database.FILE) as db:
                ledger = Ledger(db, self.folder, "")
                table = ledger.vectors()
                for part, digest in db.execute("SELECT id, vectors FROM part ORDER BY id"):
                    ledger.check_vectors(table, part, digest)
                there = [
                    i for (i,) in db.execute("SELECT id FROM photo WHERE NOT gone ORDER BY id")
                ]
            self._vectors = table if len(there) == len(table) else table[there]
        return self._vectors

    def add(
        self, photos: Sequence[Photo], embeddings: NDArray[np.floating], *, who: str = ""
    ) -> None:
        """Add photos, of known individuals or new ones.

        Args:
            photos: P photos; a name that is there already is refused.
            embeddings: (P, D).
            who: Person or program, for the log.
        """
        if np.ndim(embeddings) != 2 or len(embeddings) != len(photos):
            raise TransectError(
                f"{len(photos)} photos need ({len(photos)}, D) embeddings; got "
                f"{np.shape(embeddings)}."
            )
        with self._changing(who) as ledger:
            names = sorted(photo.image for photo in photos)
            again = sorted(rows.numbers(ledger.db, names)) or [
                one for one, other in pairwise(names) if one == other
            ]
            if again:
                raise TransectError(
                    f"{len(again)} photos are in the catalogue already (first: {again[0]}). Leave "
                    "them out, or give them other names."
                )
            ledger.add(photos, embeddings)

    def rename(self, old: str, new: str, *, who: str = "") -> None:
        """Give an individual another name, which must be free."""
        with self._changing(who) as ledger:
            rows.must_know(ledger.db, old)
            if rows.photos_of(ledger.db, new):
                raise TransectError(
                    f"{new} is another individual already. Use merge to join the two."
                )
            photos = rows.photos_of(ledger.db, old)
            ledger.relabel("rename", {"old": old, "new": new}, {new: photos})

    def merge(self, keep: str, other: str, *, who: str = "") -> None:
        """Two names are one individual: all photos of ``other`` become ``keep``'s."""
        with self._changing(who) as ledger:
            rows.must_know(ledger.db, keep)
            rows.must_know(ledger.db, other)
            if keep == other:
                raise TransectError(f"{keep} cannot be merged with itself.")
            photos = rows.photos_of(ledger.db, other)
            ledger.relabel("merge", {"keep": keep, "other": other}, {keep: photos})

    def split(self, identity: str, images: Sequence[str], new: str, *, who: str = "") -> None:
        """Some photos of an individual show another one."""
        with self._changing(who) as ledger:
            rows.must_know(ledger.db, identity)
            mine = set(rows.photos_of(ledger.db, identity))
            found = rows.numbers(ledger.db, images)
            wrong = sorted(name for name in set(images) if found.get(name) not in mine)
            if wrong or not found:
                raise TransectError(
                    f"{len(wrong) or 'no'} photos to split are {identity}'s"
                    + (f" not (first: {wrong[0]})" if wrong else "")
                    + ". Name photos of that individual."
                )
            if rows.photos_of(ledger.db, new):
                raise TransectError(f"{new} is another individual already. Choose a free name.")
            words = {"identity": identity, "new": new}
            ledger.relabel("split", words, {new: sorted(found.values())})

    def assign(self, images: Sequence[str], identity: str, *, who: str = "") -> None:
        """Say of some photos whom they show."""
        with self._changing(who) as ledger:
            photos = rows.all_numbers(ledger.db, images)
            ledger.relabel("assign", {"identity": identity}, {identity: photos})

    def name_groups(self, groups: Mapping[str, Sequence[str]], *, who: str = "") -> None:
        """Say of the photos of many individuals whom they show, in one change.

        Args:
            groups: Name to the photos that show it.
            who: Person, for the log.
        """
        self._name("group", {"individuals": len(groups)}, groups, who)

    def take_names(self, path: Path, *, who: str = "") -> None:
        """Take names from a table that ``export`` wrote and a person corrected, in one change.

        Args:
            path: CSV; photos that it does not list keep their names.
            who: Person, for the log.
        """
        names: dict[str, list[str]] = {}
        for photo in photos_from(path):
            names.setdefault(photo.identity, []).append(photo.image)
        self._name("edit", {"table": path.name}, names, who)

    def export(self, path: Path) -> None:
        """Write all photos as CSV."""
        write_text(path, table_of(self.photos))

    def remove(self, images: Sequence[str], *, who: str = "") -> None:
        """Take photos out; ``undo`` brings them back."""
        with self._changing(who) as ledger:
            photos = rows.all_numbers(ledger.db, images)
            if not photos:
                raise TransectError("no photo to remove was named. Name some.")
            ledger.edit("remove", {}, [(number, "", "gone") for number in photos])

    def undo(self, *, who: str = "") -> Change:
        """Take back the last change that still stands, and tell which it was."""
        with self._changing(who) as ledger:
            last = ledger.undo()
        if last.op == "add":
            first, dim = int(last.words["first"]), int(last.words["dim"])
            vectors.shorten(self.folder / vectors.FILE, first, dim)
        return last

    def _name(
        self, op: str, words: Mapping[str, Any], names: Mapping[str, Sequence[str]], who: str
    ) -> None:
        """One change that gives photos the names that they are listed under."""
        with self._changing(who) as ledger:
            found = {name: rows.all_numbers(ledger.db, images) for name, images in names.items()}
            ledger.relabel(op, words, found)

    @contextmanager
    def _changing(self, who: str) -> Iterator[Ledger]:
        """The catalogue to oneself; what was read before may be another state by now."""
        if not os.access(self.folder, os.W_OK):
            raise TransectError(f"{self.folder} cannot be written. See who may write it.")
        with alone(self.folder / LOCK), database.writing(self.folder / database.FILE) as db:
            yield Ledger(db, self.folder, who)
        self._photos = self._vectors = None
