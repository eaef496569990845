"""The catalogue by command: add, name, merge, split, group and undo, each a line of its log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.catalogue.clustering import fit_grouping_level, group_unknowns
from transect.catalogue.store import Catalogue, Photo
from transect.data.folder import list_new
from transect.data.tables import read_table
from transect.errors import TransectError, unknown_name
from transect.files import alone
from transect.identify.boxes import subjects_beside
from transect.identify.geometry import KeypointFiles
from transect.identify.identifier import Identifier
from transect.identify.scorers import EXTRA, source_names
from transect.identify.thumbnails import Album
from transect.recipe import IdentifyDecide
from transect.run import RunFolder
from transect.types import Progress

__all__ = ["ACTIONS", "add_photos", "change", "propose_groups"]

ADDING = ".adding"  # additions wait for one another: keypoints and pictures go by name

ACTIONS = {
    "list": (0, 0, "individuals and their numbers of photos"),
    "log": (0, 0, "all changes, first one first"),
    "add": (1, 1, "IMAGES: a folder of photos, perhaps with identities.csv"),
    "rename": (2, 2, "OLD NEW"),
    "merge": (2, 2, "KEEP OTHER: two names are one individual"),
    "split": (3, None, "NAME NEW PHOTO...: some photos show another one"),
    "assign": (2, None, "NAME PHOTO...: say whom photos show"),
    "group": (0, 0, "propose individuals among the photos without a name"),
    "undo": (0, 0, "take the last change back"),
}


def change(
    folder: Path,
    action: str,
    words: Sequence[str] = (),
    *,
    who: str = "",
    write: bool = False,
    device: str = "cpu",
    progress: Progress,
) -> list[str]:
    """Carry one command out.

    Args:
        folder: A run, or its ``catalogue`` folder.
        action: One of ``ACTIONS``.
        words: What the action takes.
        who: Person, for the log.
        write: ``group`` gives the proposed individuals names, instead of only telling.
        device: Where the networks of ``add`` run.
        progress: Told what happens.

    Returns:
        Lines that say what was found or done.

    Raises:
        TransectError: On an unknown action, wrong words, or what the catalogue refuses.
    """
    if action not in ACTIONS:
        raise unknown_name("a change of a catalogue", action, ACTIONS)
    least, most, about = ACTIONS[action]
    if len(words) < least or (most is not None and len(words) > most):
        raise TransectError(
            f"catalogue {action} takes {least if least == most else f'{least} or more'} words; got "
            f"{len(words)}. {action}: {about}."
        )
    run, place = _place(folder)
    book = Catalogue.open(place)
    if action == "list":
        names = [p.identity for p in book.photos]
        return [f"{name:<24}{names.count(name):>6}" for name in book.individuals]
    if action == "log":
        return [_line(entry) for entry in book.log]
    if action == "add":
        with alone(place / ADDING):
            added = add_photos(_needed(run, place), Path(words[0]), who, device, progress)
        return [f"{added} photos added to {place}"]
    if action == "group":
        return propose_groups(book, run, who=who, write=write)
    if action == "undo":
        with alone(place / ADDING):
            undone = book.undo(who=who)
            if run is not None and undone["op"] == "add":
                _forget(run, [str(row[0]) for row in undone["photos"]])
        return [f"taken back: {_line(undone)}"]
    if action == "rename":
        book.rename(words[0], words[1], who=who)
    elif action == "merge":
        book.merge(words[0], words[1], who=who)
    elif action == "split":
        book.split(words[0], words[2:], words[1], who=who)
    else:
        book.assign(words[1:], words[0], who=who)
    return [_line(book.log[-1])]


def add_photos(run: RunFolder, images: Path, who: str, device: str, progress: Progress) -> int:
    """Add photos with their vectors, keypoints and pictures to a run's catalogue.

    Args:
        run: The run whose networks made the catalogue.
        images: Photos; names come from ``identities.csv`` beside them (a table that ``predict``
            wrote and a person corrected will do), the others are unknown.
        who: Person, for the log.
        device: Where the networks run.
        progress: Told what happens.

    Returns:
        Photos added; those that cannot be read are told and left out.
    """
    identifier = Identifier(run, device=device)
    listed, problems = list_new(images)
    subjects, more = subjects_beside(images, listed)
    photos = identifier.open_photos(subjects, None, progress)
    for problem in (*problems, *more, *photos.problems):
        progress.say(f"left out: {problem.name}: {problem.what}")
    named: dict[str, str] = {}
    table = images / "identities.csv"
    if table.is_file():
        rows, strange = read_table(table, ["image", "identity"])
        for problem in strange:
            progress.say(f"left out: {problem.name}: {problem.what}")
        named = {str(r["image"]): str(r["identity"]) for r in rows.to_dict("records")}
    vectors = identifier.vectors(photos, progress)
    photos.subjects = tuple(
        replace(s, identity=named.get(s.key, identifier.unknown)) for s in photos.subjects
    )
    known = {p.image for p in identifier.book.photos}
    _forget(run, [s.key for s in photos.subjects if s.key not in known])
    if set(EXTRA) & set(source_names(identifier.recipe)):
        KeypointFiles.of(run.path / "keypoints", identifier.decide).take(photos.subjects, progress)
    Album(run.path / "album").keep(photos)
    identifier.book.add(
        [
            Photo(s.key, str(s.identity), s.group or "", s.date or "", s.side or "")
            for s in photos.subjects
        ],
        vectors,
        who=who,
    )
    return len(photos)


def _forget(run: RunFolder, keys: Sequence[str]) -> None:
    """Remove keypoints and pictures of photos that the catalogue does not hold (any more)."""
    decide = run.recipe().decide
    assert isinstance(decide, IdentifyDecide)
    files, album = KeypointFiles.of(run.path / "keypoints", decide), Album(run.path / "album")
    for key in keys:
        files.path(key).unlink(missing_ok=True)
        album.path(key).unlink(missing_ok=True)


def propose_groups(
    book: Catalogue, run: RunFolder | None, *, who: str = "", write: bool = False
) -> list[str]:
    """Group the photos without a name into proposed individuals.

    Two groups are joined while they are as much alike as photos of one known individual are.

    Args:
        book: The catalogue.
        run: Its run, which knows the label of the unknown; else "unknown".
        who: Person, for the log.
        write: Give the groups names that are free.

    Returns:
        One line per group of two photos or more.

    Raises:
        TransectError: If there is nothing to learn the likeness from.
    """
    unknown = "unknown" if run is None else str(run.read_json("inputs.json")["unknown"])
    photos = book.photos
    names = np.array([p.identity for p in photos], dtype=np.str_)
    open_rows, known = np.flatnonzero(names == unknown), np.flatnonzero(names != unknown)
    if len(np.unique(names[known])) < 2:
        raise TransectError(
            f"{book.folder} has fewer than two named individuals, so how alike photos of one are "
            "cannot be learned. Name some photos first."
        )
    vectors = _vectors(book)
    level, agreement = fit_grouping_level(vectors[known] @ vectors[known].T, names[known].tolist())
    group = group_unknowns(
        vectors[open_rows] @ vectors[open_rows].T,
        level,
        encounters=[photos[i].group or None for i in open_rows],
    )
    lines = [
        f"{len(open_rows)} photos without a name; joined from a likeness of {level:.2f}, which "
        f"groups the known ones with an adjusted Rand index of {agreement:.2f}"
    ]
    taken = set(book.individuals)
    number = 0
    for found in range(int(group.max(initial=-1)) + 1):
        images = [photos[i].image for i in open_rows[group == found]]
        if len(images) < 2:
            continue
        number += 1
        while f"proposed_{number:03d}" in taken:
            number += 1
        name = f"proposed_{number:03d}"
        if write:
            book.assign(images, name, who=who)
        lines.append(f"{name}: {', '.join(images)}")
    return lines


def _place(folder: Path) -> tuple[RunFolder | None, Path]:
    """The run and the catalogue that a folder means."""
    if (folder / "catalogue.json").is_file():
        above = folder.resolve().parent
        return (RunFolder.open(above) if (above / "recipe.json").is_file() else None), folder
    if (folder / "catalogue" / "catalogue.json").is_file():
        return RunFolder.open(folder), folder / "catalogue"
    raise TransectError(
        f"{folder} is neither a catalogue nor a run that has one. Give the run folder that "
        "`transect train` wrote."
    )


def _needed(run: RunFolder | None, place: Path) -> RunFolder:
    """The run, which adding photos cannot do without."""
    if run is None:
        raise TransectError(
            f"adding photos needs the networks of the run that made {place}. Move the catalogue "
            "back into its run folder."
        )
    return run


def _vectors(book: Catalogue) -> NDArray[np.float32]:
    """(G, D) vectors of length 1 of all embeddings side by side."""
    parts = [e for e in book.about.get("layout", []) if not int(e["views"])]
    if not parts:
        raise TransectError(
            f"{book.folder} holds no vectors of an embedding, which grouping compares. Train with "
            "an embedding, e.g. auto."
        )
    stored = book.embeddings()
    joined = np.concatenate([stored[:, int(e["start"]) : int(e["stop"])] for e in parts], axis=1)
    length = np.linalg.norm(joined, axis=1, keepdims=True)
    return np.asarray(joined / np.maximum(length, 1e-12), np.float32)


def _line(entry: dict[str, object]) -> str:
    """A change as people read it."""
    kinds: tuple[str, ...] = ("old", "new", "keep", "other", "identity", "rows")
    told = {kind: entry[kind] for kind in kinds if kind in entry}
    if "changes" in entry:
        changes = entry["changes"]
        assert isinstance(changes, dict)
        told["photos"] = len(changes)
    if "undoes" in entry:
        told["change"] = entry["undoes"]
    words = ", ".join(f"{key} {value}" for key, value in told.items())
    by = f" by {entry['who']}" if entry.get("who") else ""
    return f"{entry['n']}. {entry['time']}{by}: {entry['op']} {words}".rstrip()
