"""What people said of every image: the replay of a journal, with undo and redo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transect.errors import TransectError
from transect.review.marks import Mark

__all__ = ["Change", "Edit", "Sheets"]

Kept = dict[str, Mark | None]
"""By id what differs from the start: the mark as it is now, or None where it was deleted."""


@dataclass(frozen=True)
class Change:
    """What an action does to one image.

    Attributes:
        image: Its name.
        put: Marks that are new or other than before.
        drop: Ids of marks that go.
        accepted: Whether the image is as it should be now; None leaves that.
    """

    image: str
    put: tuple[Mark, ...] = ()
    drop: tuple[str, ...] = ()
    accepted: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        said: dict[str, Any] = {"image": self.image}
        if self.put:
            said["put"] = [mark.to_json() for mark in self.put]
        if self.drop:
            said["drop"] = list(self.drop)
        if self.accepted is not None:
            said["accepted"] = self.accepted
        return said

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> Change:
        """Read what ``to_json`` gave."""
        put = tuple(Mark.from_json(mark) for mark in said.get("put", ()))
        drop = tuple(str(id) for id in said.get("drop", ()))
        return Change(str(said["image"]), put, drop, said.get("accepted"))


@dataclass(frozen=True)
class Edit:
    """One action of a person, which undo takes back as a whole.

    Attributes:
        what: In a word: brush, move, accept, ...; ``undo`` and ``redo`` change nothing themselves.
        changes: By image.
        at: When, as ISO 8601 with the offset from UTC.
    """

    what: str
    changes: tuple[Change, ...] = ()
    at: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {"what": self.what, "at": self.at, "changes": [c.to_json() for c in self.changes]}

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> Edit:
        """Read what ``to_json`` gave.

        Raises:
            TransectError: If it is no action of ours.
        """
        try:
            changes = tuple(Change.from_json(change) for change in said["changes"])
            return Edit(str(said["what"]), changes, str(said["at"]))
        except (KeyError, TypeError) as error:
            raise TransectError(
                f"an action of the journal lacks {error}. Was it written by a newer transect?"
            ) from error


@dataclass
class _Before:
    """What an action replaced, so that it can be taken back."""

    edit: Edit
    marks: list[tuple[str, str, Mark | None, bool]] = field(default_factory=list)
    accepted: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def touched(self) -> dict[str, set[str]]:
        """Images with the ids of their marks."""
        found: dict[str, set[str]] = {change.image: set() for change in self.edit.changes}
        for image, id, _, _ in self.marks:
            found[image].add(id)
        return found


class Sheets:
    """The state of one person's review: differences from the start, and what can be undone."""

    def __init__(self, edits: Iterable[Edit] = ()) -> None:
        """Replay actions in their order."""
        self._kept: dict[str, Kept] = {}
        self._accepted: set[str] = set()
        self._done: list[_Before] = []
        self._undone: list[Edit] = []
        self.count = 0
        for edit in edits:
            self.apply(edit)

    def apply(self, edit: Edit) -> dict[str, set[str]]:
        """Carry out one action.

        Returns:
            The images that it touched, each with the ids of the marks that changed.

        Raises:
            TransectError: If there is nothing to undo or redo.
        """
        self.count += 1
        if edit.what == "undo":
            return self._undo()
        if edit.what == "redo":
            if not self._undone:
                raise TransectError("there is nothing to redo.")
            return self._carry_out(self._undone.pop())
        self._undone.clear()
        return self._carry_out(edit)

    def marks(self, image: str, start: Sequence[Mark]) -> list[Mark]:
        """The marks of an image now: those of the start as changed, then the new ones."""
        kept = self._kept.get(image, {})
        first = {mark.id: kept.get(mark.id, mark) for mark in start}
        new = (mark for id, mark in kept.items() if id not in first)
        return [mark for mark in (*first.values(), *new) if mark is not None]

    def accepted(self, image: str) -> bool:
        """Whether the person said that an image is as it should be."""
        return image in self._accepted

    @property
    def corrected(self) -> frozenset[str]:
        """Images with marks that differ from the start."""
        return frozenset(self._kept)

    @property
    def looked_at(self) -> frozenset[str]:
        """Images that were accepted, corrected or not."""
        return frozenset(self._accepted)

    @property
    def undoable(self) -> str:
        """What undo would take back, or ""."""
        return self._done[-1].edit.what if self._done else ""

    @property
    def redoable(self) -> str:
        """What redo would do again, or ""."""
        return self._undone[-1].what if self._undone else ""

    def _carry_out(self, edit: Edit) -> dict[str, set[str]]:
        """Change the marks, and remember what was there."""
        before = _Before(edit)
        for change in edit.changes:
            kept = self._kept.setdefault(change.image, {})
            new = [(mark.id, mark) for mark in change.put]
            for id, mark in (*new, *((id, None) for id in change.drop)):
                before.marks.append((change.image, id, kept.get(id), id in kept))
                kept[id] = mark
            if not kept:
                del self._kept[change.image]
            if change.accepted is not None:
                before.accepted.append((change.image, change.image in self._accepted))
                self._accept(change.image, change.accepted)
        self._done.append(before)
        return before.touched

    def _undo(self) -> dict[str, set[str]]:
        """Put back what the last action replaced."""
        if not self._done:
            raise TransectError("there is nothing to undo.")
        before = self._done.pop()
        for image, id, mark, known in reversed(before.marks):
            if known:
                self._kept[image][id] = mark
            else:
                del self._kept[image][id]
            if not self._kept[image]:
                del self._kept[image]
        for image, accepted in reversed(before.accepted):
            self._accept(image, accepted)
        self._undone.append(before.edit)
        return before.touched

    def _accept(self, image: str, accepted: bool) -> None:
        if accepted:
            self._accepted.add(image)
        else:
            self._accepted.discard(image)
