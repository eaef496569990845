"""One person's review under way: images in the order of doubt, marks, and every action kept."""

from __future__ import annotations

import contextlib
import datetime
import functools
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transect.errors import TransectError
from transect.review.agreement import MEASURES, Pair, agreement
from transect.review.commands import Place, changes_of
from transect.review.folder import ReviewFolder
from transect.review.held_out import HeldOut
from transect.review.journal import Journal
from transect.review.marks import Mark
from transect.review.sheets import Edit, Sheets
from transect.review.start import Start
from transect.run import locked
from transect.types import Image, Survey

__all__ = ["Session", "opened"]


class Session:
    """What the server asks: it knows the survey, the run and the journal, and nothing of the web.

    Attributes:
        survey: What is reviewed.
        name: Who reviews it.
        folder: Where the answers are kept.
        surface: How annotations are drawn.
        torn: Bytes of a half-written action that were left out when the journal was opened.
    """

    def __init__(self, survey: Survey, folder: ReviewFolder, name: str, run: Path | None) -> None:
        """Open or begin the journal of a person; the folder must be locked.

        Raises:
            TransectError: If the journal is damaged.
        """
        self.survey, self.folder, self.name = survey, folder, name
        start = Start(survey)
        self.surface = start.surface
        self._held_out = HeldOut(run, survey)
        self._images = {image.name: image for image in survey.images}
        self._journal = Journal(folder.journal(name))
        self.torn = self._journal.read.torn
        self.sheets = Sheets(map(Edit.from_json, self._journal.read.entries))
        self._lock = threading.Lock()
        self._start = functools.lru_cache(64)(lambda name: start.marks(self.image(name)))

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def image(self, name: str) -> Image:
        """An image of the survey.

        Raises:
            TransectError: If there is none of that name.
        """
        if name not in self._images:
            raise TransectError(f"{name!r} is no image of {self.survey.root}. Reload the page.")
        return self._images[name]

    def about(self) -> dict[str, Any]:
        """What the page shows of the review as a whole: images, those in doubt first."""
        order = self._held_out.order([image.name for image in self.survey.images])
        with self._lock:
            rows = [
                {
                    "name": name,
                    "size": list(self._images[name].size_hw),
                    "why": self._held_out.reason(name),
                    "accepted": self.sheets.accepted(name),
                    "corrected": name in self.sheets.corrected,
                    "labelled": self._images[name].split != "test",
                }
                for name in order
            ]
            return {
                "survey": self.survey.root.resolve().name,
                "who": self.name,
                "surface": self.surface,
                "several": self.survey.label_kind == "several",
                "classes": list(self.survey.classes) or ["object"],
                "unknown": self.survey.unknown,
                "boxes": self.survey.boxes is not None and self.survey.points is None,
                "run": self._held_out.there,
                "images": rows,
                "known": [
                    {"id": "", "label": label, "confidence": None, "example": example}
                    for label, example in self._examples.items()
                ],
                **self._undoable(),
            }

    def marks(self, name: str) -> list[Mark]:
        """The marks of an image as they are now."""
        return self.sheets.marks(name, self._start(name))

    def opened(self, name: str) -> dict[str, Any]:
        """One image: its marks, and what the run answers for it without having seen it."""
        image = self.image(name)
        with self._lock:
            marks = [mark.shown() for mark in self.marks(name)]
        return {
            "name": name,
            "size": list(image.size_hw),
            "marks": marks,
            "accepted": self.sheets.accepted(name),
            "proposed": [
                {
                    **mark.shown(),
                    "confidence": confidence,
                    "example": self._examples.get(mark.label),
                }
                for mark, confidence in self._held_out.answer(image)
            ],
        }

    def do(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out what the browser asks; it is in the journal before it is answered.

        Args:
            asked: ``do`` and what it needs; all but undo and redo name an ``image``.

        Returns:
            ``images``: of each one that changed its marks now; and what can be undone.

        Raises:
            TransectError: If it cannot be done; then nothing changed.
        """
        with self._lock:
            word = str(asked.get("do"))
            if word in ("undo", "redo"):
                if not (self.sheets.undoable if word == "undo" else self.sheets.redoable):
                    raise TransectError(f"there is nothing to {word}.")
                return self._kept(Edit(word, at=_now()))
            changes = changes_of(asked, self._place(str(asked.get("image"))))
            if not changes:
                return {"images": {}, **self._undoable()}
            return self._kept(Edit(word, changes, _now()))

    def agreements(self) -> dict[str, Any]:
        """How far this person and each of the others agree on what both have answered."""
        found = []
        with self._lock:
            for other, sheets in self.folder.others(self.name):
                mine = self.sheets.corrected | self.sheets.looked_at
                names = sorted(mine & (sheets.corrected | sheets.looked_at) & set(self._images))
                pairs = (
                    Pair(self._images[n].size_hw, self.marks(n), sheets.marks(n, self._start(n)))
                    for n in names
                )
                classes = self.survey.classes or ("object",)
                measures = agreement(pairs, self.surface, classes)
                found.append({"who": other, "images": len(names), "measures": measures})
        return {"people": found, "words": MEASURES}

    def _kept(self, edit: Edit) -> dict[str, Any]:
        """Write an action to the journal, carry it out, and tell what is other now."""
        self._journal.append(edit.to_json())
        images = {}
        for name, ids in self.sheets.apply(edit).items():
            marks = self.marks(name)
            images[name] = {
                "marks": [mark.shown() for mark in marks if mark.id in ids],
                "ids": [mark.id for mark in marks],
                "accepted": self.sheets.accepted(name),
                "corrected": name in self.sheets.corrected,
            }
        return {"images": images, **self._undoable()}

    def _undoable(self) -> dict[str, str]:
        return {"undo": self.sheets.undoable, "redo": self.sheets.redoable}

    def _place(self, name: str) -> Place:
        """Where a command works."""
        image = self.image(name)
        return Place(
            image,
            self.marks(name),
            self.surface,
            self.survey.classes or ("object",),
            (f"n{self.sheets.count}.{k}" for k in itertools.count()),
            lambda: [mark for mark, _ in self._held_out.answer(image)],
            self._everywhere,
        )

    def _everywhere(self) -> Iterator[tuple[str, Sequence[Mark]]]:
        for name in self._images:
            yield name, self.marks(name)

    @functools.cached_property
    def _examples(self) -> dict[str, dict[str, Any]]:
        """Up to two photos of every individual, to hold beside another."""
        table = self.survey.identities
        if table is None or self.surface != "individuals":
            return {}
        found = {}
        for label, rows in table.groupby("identity"):
            shown = [
                {"image": str(row["image"]), "box": _box(row)}
                for row in rows.drop_duplicates("image").head(2).to_dict("records")
            ]
            found[str(label)] = {"photos": len(rows), "shown": shown}
        found.pop(self.survey.unknown, None)
        return found


@contextlib.contextmanager
def opened(
    survey: Survey, out: Path, *, name: str, run: Path | None = None, missing: str | None = None
) -> Iterator[Session]:
    """Hold a person's part of a review folder for this process.

    Args:
        survey: What is reviewed.
        out: The folder of the review; begun if it is not there.
        name: Who reviews.
        run: Whose answers are shown beside, or None.
        missing: What ``open_survey`` was told of images without annotation.

    Yields:
        The review under way.

    Raises:
        TransectError: If the folder is another review's, or another process holds that person's
            part.
    """
    folder = ReviewFolder(out)
    own = folder.of(name)
    folder.begin(survey, run, missing=missing)
    with locked(own):
        session = Session(survey, folder, name, run)
        try:
            yield session
        finally:
            session.close()


def _box(row: Mapping[Any, Any]) -> list[float] | None:
    """The box of a row, if it has one."""
    corners = [row.get(name) for name in ("x0", "y0", "x1", "y1")]
    box = [float(corner) for corner in corners if corner is not None and np.isfinite(corner)]
    return box if len(box) == 4 else None


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
