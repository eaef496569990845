"""Photos for a catalogue: begun for a run, added with all that answers need, and asked about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from transect.catalogue.store import Catalogue, Photo
from transect.data.folder import list_new
from transect.data.tables import read_table
from transect.identify.belongings import album_of, forget, keypoints_of
from transect.identify.boxes import subjects_beside
from transect.identify.identifier import Identifier
from transect.identify.photos import Photos
from transect.identify.scorers import EXTRA, source_names
from transect.identify.scoring import labels_of
from transect.run import RunFolder
from transect.types import Problem, Progress

__all__ = ["add_photos", "ask_photos", "begin"]

SHOWN = 3  # individuals named per photo asked


def begin(folder: Path, run: RunFolder) -> None:
    """Begin an empty catalogue for the networks of a run.

    Args:
        folder: Where; it must not hold one yet.
        run: A run that identifies.
    """
    own = Catalogue.open(run.path / "catalogue").about
    Catalogue.create(folder, about={**own, "run": str(run.path.resolve())})


def add_photos(
    run: RunFolder, place: Path, images: Path, *, who: str, device: str, progress: Progress
) -> int:
    """Add photos with their vectors, keypoints and pictures to a catalogue.

    Args:
        run: The run whose networks make its vectors.
        place: The catalogue's folder.
        images: Photos; names come from ``identities.csv`` beside them (a table that ``predict``
            wrote and a person corrected will do), the others are unknown.
        who: Person, for the log.
        device: Where the networks run.
        progress: Told what happens.

    Returns:
        Photos added; those that cannot be read are told and left out.
    """
    identifier = Identifier(run, device=device, catalogue=place)
    photos = _opened(identifier, images, progress)
    named: dict[str, str] = {}
    table = images / "identities.csv"
    if table.is_file():
        rows, strange = read_table(table, ["image", "identity"])
        _left_out(strange, progress)
        named = {str(r["image"]): str(r["identity"]) for r in rows.to_dict("records")}
    vectors = identifier.vectors(photos, progress)
    photos.subjects = tuple(
        replace(s, identity=named.get(s.key, identifier.unknown)) for s in photos.subjects
    )
    known = {p.image for p in identifier.book.photos}
    forget(place, identifier.decide, [s.key for s in photos.subjects if s.key not in known])
    if set(EXTRA) & set(source_names(identifier.recipe)):
        keypoints_of(place, identifier.decide).take(photos.subjects, progress)
    album_of(place).keep(photos)
    identifier.book.add(
        [
            Photo(s.key, str(s.identity), s.group or "", s.date or "", s.side or "")
            for s in photos.subjects
        ],
        vectors,
        who=who,
    )
    return len(photos)


def ask_photos(
    run: RunFolder, place: Path, images: Path, *, device: str, progress: Progress
) -> list[str]:
    """Which individuals of a catalogue photos show: one line each, nothing is changed.

    Args:
        run: The run whose networks and decision answer.
        place: The catalogue's folder.
        images: Photos.
        device: Where the networks run.
        progress: Told what happens; of photos that cannot be read, too.
    """
    identifier = Identifier(run, device=device, catalogue=place)
    photos = _opened(identifier, images, progress)
    if not len(photos):
        return ["no photo could be read"]
    found = identifier.answer(photos, progress)
    ranked = labels_of(found.decision.ranked, identifier.people, identifier.unknown)
    chances = found.decision.probability
    lines = []
    for i, subject in enumerate(photos.subjects):
        told = [f"{name} ({chances[i, k]:.2f})" for k, name in enumerate(ranked[i][:SHOWN])]
        lines.append(f"{subject.key}: {', '.join(told) or 'cannot tell'}; {found.why[i]}")
    return lines


def _opened(identifier: Identifier, images: Path, progress: Progress) -> Photos:
    """Photos that can be read; the others are told."""
    listed, problems = list_new(images)
    subjects, more = subjects_beside(images, listed)
    photos = identifier.open_photos(subjects, None, progress)
    _left_out((*problems, *more, *photos.problems), progress)
    return photos


def _left_out(problems: Iterable[Problem], progress: Progress) -> None:
    for problem in problems:
        progress.say(f"left out: {problem.name}: {problem.what}")
