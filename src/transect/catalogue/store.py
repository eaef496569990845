"""The catalogue of known individuals: a plain folder that can be read, changed, and changed back.

``identities.csv`` (one row per photo), ``embeddings/*.npy`` (one file per addition) and
``log.jsonl`` (one line per change, by whom and when). Nothing else; no database.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import functools
import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError, unknown_name
from transect.files import (
    alone,
    atomic_path,
    digest_of,
    read_json,
    safe_join,
    spreadsheet_safe,
    write_json,
    write_text,
)

__all__ = ["Catalogue", "Photo"]

COLUMNS = ("image", "identity", "group", "date", "side")
FORMAT = 1
LOCK = ".lock"


@dataclass(frozen=True)
class Photo:
    """One photo of the catalogue.

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


P = ParamSpec("P")
T = TypeVar("T")


def _alone(
    change: Callable[Concatenate[Catalogue, P], T],
) -> Callable[Concatenate[Catalogue, P], T]:
    """Make a change with the folder locked, and to what it holds by then."""

    @functools.wraps(change)
    def locked(book: Catalogue, /, *args: P.args, **more: P.kwargs) -> T:
        with alone(book.folder / LOCK):
            now = Catalogue._opened(book.folder)
            book._photos, book._log = now._photos, now._log
            return change(book, *args, **more)

    return locked


class Catalogue:
    """An open catalogue folder. Every change is logged and can be undone, last one first."""

    def __init__(self, folder: Path, photos: list[Photo], log: list[dict[str, Any]]) -> None:
        self.folder = folder
        self._photos = photos
        self._log = log

    @staticmethod
    def create(folder: Path, *, about: Mapping[str, Any] | None = None) -> Catalogue:
        """Begin an empty catalogue.

        Args:
            folder: Must not hold one yet.
            about: Plain values to keep beside it, such as the run that makes the embeddings.
        """
        if (folder / "catalogue.json").exists():
            raise TransectError(f"{folder} already holds a catalogue. Open it, or choose another.")
        write_text(folder / "identities.csv", _to_csv([]))
        write_text(folder / "log.jsonl", "")
        # Last: a folder with this file is a catalogue that is whole.
        write_json(folder / "catalogue.json", {"format": FORMAT, "about": dict(about or {})})
        return Catalogue(folder, [], [])

    @staticmethod
    def open(folder: Path) -> Catalogue:
        """Open a catalogue; a change that a kill cut short is finished.

        ``identities.csv`` may have been changed by hand: that is logged as a change of its own,
        as long as its photos are the same ones in the same order.

        Raises:
            TransectError: If it is no catalogue, or its files do not fit one another.
        """
        note = read_json(folder / "catalogue.json")
        if not isinstance(note, dict) or note.get("format") != FORMAT:
            raise TransectError(f"{folder} is a catalogue of another version of transect.")
        # Unlocked, a change between two reads would pass for one made by hand.
        writable = os.access(folder, os.W_OK)
        try:
            with alone(folder / LOCK) if writable else contextlib.nullcontext():
                return Catalogue._opened(folder)
        except (KeyError, TypeError, ValueError, IndexError, StopIteration) as error:
            raise TransectError(
                f"{folder}/log.jsonl does not fit the catalogue ({error}). Restore the folder."
            ) from error

    @staticmethod
    def _opened(folder: Path) -> Catalogue:
        """Read the folder and settle what a kill or a hand left behind."""
        text = _read(folder / "identities.csv")
        photos = _from_csv(text, folder)
        log = _read_log(folder / "log.jsonl")
        book = Catalogue(folder, photos, log)
        if log and _digest(text) != log[-1]["after"]:
            if _digest(text) == log[-1]["before"]:
                book._finish(log.pop())
            else:
                book._accept(text, photos)
        rows = sum(int(entry["rows"]) for entry in book._shards())
        if rows != len(book._photos):
            raise TransectError(
                f"{folder} has {len(book._photos)} photos in identities.csv and {rows} in "
                "embeddings. Restore the files from a copy."
            )
        return book

    @property
    def photos(self) -> tuple[Photo, ...]:
        """All photos, in the order of their embeddings."""
        return tuple(self._photos)

    @property
    def individuals(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted({p.identity for p in self._photos}))

    @property
    def log(self) -> tuple[dict[str, Any], ...]:
        """All changes, first one first."""
        return tuple(dict(entry) for entry in self._log)

    @property
    def about(self) -> dict[str, Any]:
        """What was given to ``create``."""
        return dict(read_json(self.folder / "catalogue.json").get("about", {}))

    def embeddings(self) -> NDArray[np.float32]:
        """(G, D) one row per photo; a memory map where there was one addition only."""
        parts = [self._vectors_of(entry) for entry in self._shards()]
        if not parts:
            return np.zeros((0, 0), np.float32)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _vectors_of(self, entry: Mapping[str, Any]) -> NDArray[np.float32]:
        """The vectors of one addition, checked against what was written."""
        path = safe_join(self.folder / "embeddings", str(entry["file"]))
        try:
            whole = entry.get("sha256") in (None, digest_of(path))
            if whole:
                found: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
                return found
        except (OSError, ValueError, EOFError) as error:
            raise TransectError(f"{path} cannot be read ({error}). Restore it.") from error
        raise TransectError(
            f"{path} was changed after it was written. Restore it from a copy; or undo the "
            "addition and add its photos again."
        )

    @_alone
    def add(
        self, photos: Sequence[Photo], embeddings: NDArray[np.floating], *, who: str = ""
    ) -> None:
        """Add photos, of known individuals or new ones.

        Args:
            photos: P photos; a name that is there already is refused.
            embeddings: (P, D).
            who: Person or program, for the log.
        """
        known = {p.image for p in self._photos}
        names = [p.image for p in photos]
        again = sorted(known.intersection(names)) or sorted(
            {n for n in names if names.count(n) > 1} if len(set(names)) < len(names) else set()
        )
        if again:
            raise TransectError(
                f"{len(again)} photos are in the catalogue already (first: {again[0]}). Leave them "
                "out, or give them other names."
            )
        if len(embeddings) != len(photos) or np.ndim(embeddings) != 2:
            raise TransectError(
                f"{len(photos)} photos need ({len(photos)}, D) embeddings; got "
                f"{np.shape(embeddings)}."
            )
        have = self.embeddings()
        if len(have) and have.shape[1] != embeddings.shape[1]:
            raise TransectError(
                f"the catalogue holds vectors of {have.shape[1]} numbers, these have "
                f"{embeddings.shape[1]}. Use the run that made the catalogue."
            )
        for photo in photos:
            _check_name(photo.identity)
        number = 1 + max((int(e["n"]) for e in self._log), default=0)
        file = f"{number:06d}.npy"
        path = self.folder / "embeddings" / file
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(embeddings, dtype=np.float32))
        rows = [[p.image, p.identity, p.group, p.date, p.side] for p in photos]
        entry = {"op": "add", "file": file, "rows": len(photos), "photos": rows}
        self._change({**entry, "sha256": digest_of(path)}, who)

    @_alone
    def rename(self, old: str, new: str, *, who: str = "") -> None:
        """Give an individual another name, which must be free."""
        self._known(old)
        if new in self.individuals:
            raise TransectError(f"{new} is another individual already. Use merge to join the two.")
        self._relabel({"op": "rename", "old": old, "new": new}, {old: new}, who)

    @_alone
    def merge(self, keep: str, other: str, *, who: str = "") -> None:
        """Two names are one individual: all photos of ``other`` become ``keep``'s."""
        self._known(keep)
        self._known(other)
        if keep == other:
            raise TransectError(f"{keep} cannot be merged with itself.")
        self._relabel({"op": "merge", "keep": keep, "other": other}, {other: keep}, who)

    @_alone
    def split(self, identity: str, images: Sequence[str], new: str, *, who: str = "") -> None:
        """Some photos of an individual show another one."""
        self._known(identity)
        rows = [i for i, p in enumerate(self._photos) if p.image in set(images)]
        wrong = sorted(
            set(images)
            - {self._photos[i].image for i in rows if self._photos[i].identity == identity}
        )
        if wrong or not rows:
            raise TransectError(
                f"{len(wrong) or 'no'} photos to split are {identity}'s"
                + (f" not (first: {wrong[0]})" if wrong else "")
                + ". Name photos of that individual."
            )
        if new in self.individuals:
            raise TransectError(f"{new} is another individual already. Choose a free name.")
        _check_name(new)
        changes = {str(i): [identity, new] for i in rows}
        self._change({"op": "split", "identity": identity, "new": new, "changes": changes}, who)

    @_alone
    def assign(self, images: Sequence[str], identity: str, *, who: str = "") -> None:
        """Say of some photos whom they show, e.g. of a proposed group of unknowns."""
        _check_name(identity)
        wanted = set(images)
        changes = {
            str(i): [p.identity, identity]
            for i, p in enumerate(self._photos)
            if p.image in wanted and p.identity != identity
        }
        missing = wanted - {p.image for p in self._photos}
        if missing:
            raise TransectError(
                f"{len(missing)} photos are not in the catalogue (first: {min(missing)}). Add them "
                "first."
            )
        self._change({"op": "assign", "identity": identity, "changes": changes}, who)

    @_alone
    def undo(self, *, who: str = "") -> dict[str, Any]:
        """Take back the last change that still stands; returns its log entry."""
        standing = self._standing()
        if not standing:
            raise TransectError(f"nothing is left to undo in {self.folder}.")
        last = standing[-1]
        self._change({"op": "undo", "undoes": last["n"]}, who)
        return dict(last)

    def _relabel(self, entry: dict[str, Any], names: Mapping[str, str], who: str) -> None:
        """Log a change of names as the rows it touches, so that it can be taken back exactly."""
        for new in names.values():
            _check_name(new)
        entry["changes"] = {
            str(i): [p.identity, names[p.identity]]
            for i, p in enumerate(self._photos)
            if p.identity in names
        }
        self._change(entry, who)

    def _known(self, name: str) -> None:
        if name not in self.individuals:
            raise unknown_name("an individual", name, self.individuals)

    def _standing(self) -> list[dict[str, Any]]:
        """Changes that have not been undone."""
        stack: list[dict[str, Any]] = []
        for entry in self._log:
            if entry["op"] == "undo":
                stack.pop()
            else:
                stack.append(entry)
        return stack

    def _shards(self) -> list[dict[str, Any]]:
        """Additions that stand, in order."""
        return [entry for entry in self._standing() if entry["op"] == "add"]

    def _after(self, entry: Mapping[str, Any]) -> list[Photo]:
        """The photos after a change."""
        photos = list(self._photos)
        if entry["op"] == "add":
            return photos + [Photo(*(str(v) for v in row)) for row in entry["photos"]]
        if entry["op"] == "undo":
            undone = next(e for e in self._log if e["n"] == entry["undoes"])
            if undone["op"] == "add":
                return photos[: len(photos) - int(undone["rows"])]
            changes = {row: [new, old] for row, (old, new) in undone["changes"].items()}
        else:
            changes = entry["changes"]
        for row, (_, new) in changes.items():
            old = photos[int(row)]
            photos[int(row)] = Photo(old.image, str(new), old.group, old.date, old.side)
        return photos

    def _change(self, entry: dict[str, Any], who: str) -> None:
        """Log a change, then make it: a kill between the two is mended by ``open``."""
        photos = self._after(entry)
        before, after = _to_csv(self._photos), _to_csv(photos)
        entry["n"] = 1 + max((int(e["n"]) for e in self._log), default=0)
        entry["time"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        entry["who"] = who
        entry["before"], entry["after"] = _digest(before), _digest(after)
        _append(self.folder / "log.jsonl", json.dumps(entry, ensure_ascii=False, sort_keys=True))
        self._log.append(entry)
        write_text(self.folder / "identities.csv", after)
        self._photos = photos

    def _finish(self, entry: dict[str, Any]) -> None:
        """Make a change that was logged but not made."""
        self._photos = self._after(entry)
        self._log.append(entry)
        write_text(self.folder / "identities.csv", _to_csv(self._photos))

    def _accept(self, text: str, photos: list[Photo]) -> None:
        """Log what was changed by hand in ``identities.csv``."""
        recorded: list[Photo] = []
        replay = Catalogue(self.folder, recorded, [])
        for entry in self._log:
            replay._photos = replay._after(entry)
            replay._log.append(entry)
        if [p.image for p in replay._photos] != [p.image for p in photos]:
            raise TransectError(
                f"photos were added, removed or moved by hand in {self.folder}/identities.csv. "
                "Restore it; only names of individuals may be changed by hand."
            )
        changes = {
            str(i): [old.identity, new.identity]
            for i, (old, new) in enumerate(zip(replay._photos, photos, strict=True))
            if old.identity != new.identity
        }
        self._photos = [
            Photo(o.image, n.identity, o.group, o.date, o.side)
            for o, n in zip(replay._photos, photos, strict=True)
        ]
        made = list(self._photos)
        self._photos = replay._photos
        if changes:
            self._change({"op": "edit", "changes": changes}, "by hand")
        self._photos = made
        if _to_csv(made) != text:
            write_text(self.folder / "identities.csv", _to_csv(made))


def _check_name(name: str) -> None:
    """Refuse names that a file or a spreadsheet would not give back."""
    if not name.strip() or any(ord(c) < 32 for c in name) or len(name) > 200:
        raise TransectError(
            f"{name!r} cannot be the name of an individual. Use 1 to 200 printable characters."
        )


def _to_csv(photos: Sequence[Photo]) -> str:
    """The table as text; cells that a spreadsheet would run are guarded."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for p in photos:
        writer.writerow(
            [spreadsheet_safe(v) for v in (p.image, p.identity, p.group, p.date, p.side)]
        )
    return stream.getvalue()


def _from_csv(text: str, folder: Path) -> list[Photo]:
    """The table, guards taken off."""
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or tuple(rows[0]) != COLUMNS or any(len(r) != len(COLUMNS) for r in rows[1:]):
        raise TransectError(
            f"{folder}/identities.csv must have the columns {', '.join(COLUMNS)}. Restore it."
        )
    return [Photo(*(_bare(value) for value in row)) for row in rows[1:]]


def _bare(cell: str) -> str:
    """Take the guard off a cell that ``spreadsheet_safe`` guarded."""
    return (
        cell[1:]
        if len(cell) > 1 and cell[0] == "'" and spreadsheet_safe(cell[1:]) == cell
        else cell
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _read(path: Path) -> str:
    """A text file, line ends as written by any spreadsheet."""
    try:
        return path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TransectError(f"{path} cannot be read ({error}). Restore it from a copy.") from error


def _read_log(path: Path) -> list[dict[str, Any]]:
    """The changes; a last line that a kill cut short never happened."""
    lines = _read(path).split("\n")
    log: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            log.append({**entry, "n": int(entry["n"]), "op": str(entry["op"])})
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                write_text(path, "".join(f"{good}\n" for good in lines[: number - 1]))
                break
            raise TransectError(f"{path}, line {number}, is broken. Restore it.") from error
    else:
        if lines[-1].strip():  # cut off before its line end: the next line must not be joined to it
            write_text(path, "".join(f"{line}\n" for line in lines if line.strip()))
    return log


def _append(path: Path, line: str) -> None:
    """Append one line and flush it to the device."""
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TransectError(f"{path} cannot be written ({error.strerror}).") from error
