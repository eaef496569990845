"""Catalogues of earlier versions (CSV, JSON lines, a file per addition), turned over into SQLite.

Every line of the old log is done again, with its time and person, so that all of it can still be
undone. The small old files are kept in ``earlier/``.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from transect.catalogue import database, vectors
from transect.catalogue.ledger import Ledger
from transect.catalogue.photos import Photo, photos_from
from transect.catalogue.store import LOCK, Catalogue
from transect.errors import TransectError
from transect.files import alone, digest_of, read_json, safe_join

__all__ = ["turn_over"]

_LOG = logging.getLogger(__name__)
SMALL = ("catalogue.json", "identities.csv", "log.jsonl")
BESIDE = ("keypoints", "album")  # of the photos; they lay in the run and belong to the catalogue


def turn_over(folder: Path) -> None:
    """Make ``catalogue.db`` of the files of an earlier version.

    Args:
        folder: Holds ``catalogue.json``.

    Raises:
        TransectError: If the old files do not fit one another, or the folder cannot be written.
    """
    with ExitStack() as stack:
        stack.enter_context(alone(folder / LOCK))
        if (folder / database.FILE).is_file():
            return  # another process was faster
        made = Path(
            stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix=".turning-"))
        )
        try:
            _replay(folder, made)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise TransectError(
                f"{folder}/log.jsonl does not fit the catalogue ({error!r}). Restore the folder."
            ) from error
        for name in BESIDE:
            lies, belongs = folder.resolve().parent / name, folder / name
            if (lies.parent / "recipe.json").is_file() and lies.is_dir() and not belongs.exists():
                lies.rename(belongs)
        if (made / vectors.FILE).is_file():
            (made / vectors.FILE).replace(folder / vectors.FILE)
        (made / database.FILE).replace(folder / database.FILE)  # from here on it is turned over
        (folder / "earlier").mkdir(exist_ok=True)
        for name in SMALL:
            (folder / name).replace(folder / "earlier" / name)
        shutil.rmtree(folder / "embeddings", ignore_errors=True)
    _LOG.warning(
        "%s was turned over into catalogue.db, its log included; `transect catalogue %s export "
        "FILE.csv` writes the table that lay there.",
        folder,
        folder,
    )


def _replay(folder: Path, made: Path) -> None:
    """Do the old log again in a new catalogue."""
    note = read_json(folder / "catalogue.json")
    if not isinstance(note, dict) or note.get("format") != 1:
        raise TransectError(f"{folder} is a catalogue of another version of transect.")
    new = Catalogue.create(made, about=note.get("about", {}))
    standing: list[Mapping[str, Any]] = []
    for entry in _read_log(folder / "log.jsonl"):
        with database.writing(made / database.FILE) as db:
            ledger = Ledger(db, made, str(entry.get("who", "")), str(entry.get("time", "")))
            if entry["op"] == "undo":
                if standing.pop()["n"] != entry["undoes"]:
                    raise ValueError(f"change {entry['n']} undoes another one than the last")
                ledger.undo()
                continue
            standing.append(entry)
            if entry["op"] == "add":
                photos = [Photo(*(str(value) for value in row)) for row in entry["photos"]]
                ledger.add(photos, _vectors_of(folder, entry, len(photos)))
            else:
                changes = sorted(
                    (int(k), str(v[0]), str(v[1])) for k, v in entry["changes"].items()
                )
                words: dict[str, Any] = {
                    k: str(entry[k])
                    for k in ("old", "new", "keep", "other", "identity")
                    if k in entry
                }
                ledger.edit(str(entry["op"]), words, changes)
    table, photos = photos_from(folder / "identities.csv"), list(new.photos)
    if _one_behind(table, photos, standing):
        return
    if [photo.image for photo in table] != [photo.image for photo in photos]:
        raise TransectError(
            f"photos were added, removed or moved by hand in {folder}/identities.csv. Restore it; "
            "only names of individuals may be changed by hand."
        )
    changed = [
        (i, was.identity, now.identity)
        for i, (was, now) in enumerate(zip(photos, table, strict=True))
        if was.identity != now.identity
    ]
    if changed:
        with database.writing(made / database.FILE) as db:
            Ledger(db, made, "by hand").edit("edit", {}, changed)


def _one_behind(
    table: Sequence[Photo], photos: Sequence[Photo], standing: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether a kill left the table as it was before the last change of the log."""
    if not standing:
        return False
    last = standing[-1]
    if last["op"] == "add":
        return list(table) == list(photos[: len(photos) - int(last["rows"])])
    back = {int(row): str(names[0]) for row, names in last["changes"].items()}
    before = [
        photo._replace(identity=back.get(i, photo.identity)) for i, photo in enumerate(photos)
    ]
    return bool(back) and before == list(table)


def _vectors_of(folder: Path, entry: Mapping[str, Any], count: int) -> np.ndarray[Any, Any]:
    """The vectors of one addition, checked against what was written."""
    path = safe_join(folder / "embeddings", str(entry["file"]))
    try:
        if entry.get("sha256") in (None, digest_of(path)):
            found: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            if found.ndim == 2 and len(found) == count:
                return found
    except (OSError, ValueError, EOFError) as error:
        raise TransectError(f"{path} cannot be read ({error}). Restore it.") from error
    raise TransectError(f"{path} was changed after it was written. Restore it from a copy.")


def _read_log(path: Path) -> list[dict[str, Any]]:
    """The changes; a last line that a kill cut short never happened."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TransectError(f"{path} cannot be read ({error}). Restore it from a copy.") from error
    log: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                entry = json.loads(line)
                log.append({**entry, "n": int(entry["n"]), "op": str(entry["op"])})
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):
                raise TransectError(f"{path}, line {number}, is broken. Restore it.") from error
    return log
