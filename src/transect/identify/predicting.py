"""New photos through a loaded run: decoded, answered together, handed on one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from transect.identify.boxes import subjects_beside
from transect.identify.identifier import Answered, Identifier
from transect.identify.photos import Photos, Subject, subjects_of
from transect.identify.scoring import Named, named
from transect.task import NewImages
from transect.types import Image, Problem, Progress

__all__ = ["Answering", "OneAnswer"]


@dataclass(frozen=True)
class OneAnswer:
    """The answer to one photo or marked animal.

    Attributes:
        subject: What was asked.
        row: Its row in ``named`` and ``answered``.
        named: All answers of the call, by name.
        answered: The same with what spoke for them.
        identifier: What answered.
    """

    subject: Subject
    row: int
    named: Named
    answered: Answered
    identifier: Identifier


class Answering:
    """A loaded run, and whether photos of one encounter are one question."""

    def __init__(self, identifier: Identifier, *, encounters: bool) -> None:
        self._identifier, self._encounters = identifier, encounters

    def answers(
        self, new: NewImages, progress: Progress
    ) -> Iterator[tuple[Image, OneAnswer | Problem]]:
        """Decode all photos, cut to their boxes where there are any, and answer them together."""
        identifier = self._identifier
        if new.survey is not None:
            listed = tuple(replace(s, identity=None) for s in subjects_of(new.survey))
            problems: Sequence[Problem] = ()
        else:
            listed, problems = subjects_beside(new.source, new.images)
        photos = identifier.open_photos(listed, None, progress)
        by_name = {image.name: image for image in new.images}
        for problem in (*problems, *photos.problems):
            name = problem.name.partition("#")[0]
            yield by_name.get(name, new.images[0]), problem
        if not len(photos):
            return
        _tell_missing_sides(identifier, photos, progress)
        answered = identifier.answer(photos, progress, encounters=self._encounters)
        subjects = photos.subjects
        names = named(
            [s.key for s in subjects],
            [s.group or s.key for s in subjects],
            np.full(len(subjects), -1),
            answered.decision,
            identifier.people,
            identifier.unknown,
        )
        for row, subject in enumerate(subjects):
            yield subject.image, OneAnswer(subject, row, names, answered, identifier)


def _tell_missing_sides(identifier: Identifier, photos: Photos, progress: Progress) -> None:
    """Say where flanks are compared by themselves and new photos do not tell theirs."""
    known = any(photo.side for photo in identifier.book.photos)
    missing = int((photos.sides() == "").sum())
    if known and missing and identifier.decide.sides == "separate":
        progress.say(
            f"{missing} of {len(photos)} photos do not tell their side, so each is compared with "
            "both flanks, and the rates that were asked for may not hold. Give the column side in "
            "images.csv beside the photos."
        )
