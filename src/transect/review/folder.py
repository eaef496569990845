"""The folder of a review: what it is a review of, and one journal per person."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transect.data.describe import changed_files, fingerprint
from transect.errors import TransectError, unknown_name
from transect.files import read_json, write_json
from transect.review.journal import read_journal
from transect.review.sheets import Edit, Sheets
from transect.types import Survey

__all__ = ["ReviewFolder", "checked_name"]

_FILE = "review.json"
_JOURNAL = "journal.txt"


@dataclass(frozen=True)
class ReviewFolder:
    """Paths and records of one review.

    Attributes:
        path: The folder.
    """

    path: Path

    def begin(self, survey: Survey, run: Path | None, *, missing: str | None = None) -> None:
        """Note what is reviewed, or check that it is still the same.

        Args:
            survey: What is reviewed.
            run: Whose answers are shown beside, or None.
            missing: What ``open_survey`` was told of images without annotation.

        Raises:
            TransectError: If the folder belongs to other data, or holds something else.
        """
        now = fingerprint(survey)
        if not (self.path / _FILE).is_file():
            if self.path.is_dir() and any(p.name != ".lock" for p in self.path.iterdir()):
                raise TransectError(
                    f"{self.path} holds something else than a review. Choose another --out."
                )
            self._write(survey, now, run, missing)
            return
        before = self.record()
        if before["fingerprint"]["sha256"] != now["sha256"]:
            names = changed_files(before["fingerprint"], now)
            raise TransectError(
                f"{survey.root} is not the survey that the review in {self.path} was begun on"
                f"{f' ({names[0]} differs)' if names else ''}. Restore it, or choose another --out."
            )
        if run is not None:
            self._write(survey, now, run, before["missing"])

    def _write(
        self, survey: Survey, found: dict[str, Any], run: Path | None, missing: str | None
    ) -> None:
        """Write what is reviewed; the run by its place as seen from here."""
        near = None if run is None else os.path.relpath(run.resolve(), self.path.resolve())
        record = {
            "folder": survey.root.resolve().name,
            "question": survey.question,
            "missing": missing,
            "mask_kind": survey.mask_kind,
            "label_kind": survey.label_kind,
            "run": near,
            "fingerprint": found,
        }
        write_json(self.path / _FILE, record)

    def record(self) -> dict[str, Any]:
        """What ``begin`` noted.

        Raises:
            TransectError: If this is no review.
        """
        if not (self.path / _FILE).is_file():
            raise TransectError(
                f"{self.path} holds no review. Begin one: transect review DATA --out {self.path}."
            )
        return dict(read_json(self.path / _FILE))

    @property
    def run(self) -> Path | None:
        """The run whose answers were shown, if there was one and it is still there."""
        near = self.record().get("run")
        found = self.path / str(near)
        return found if near is not None and (found / "recipe.json").is_file() else None

    def people(self) -> list[str]:
        """Who has answered, in the order of the alphabet."""
        return sorted(path.parent.name for path in self.path.glob(f"*/{_JOURNAL}"))

    def of(self, name: str) -> Path:
        """The folder of one person."""
        return self.path / checked_name(name)

    def journal(self, name: str) -> Path:
        """The journal of one person."""
        return self.of(name) / _JOURNAL

    def sheets(self, name: str) -> Sheets:
        """What one person said, from the journal as it is on the disk.

        Raises:
            TransectError: If the journal is damaged.
        """
        return Sheets(map(Edit.from_json, read_journal(self.journal(name)).entries))

    def chosen(self, name: str | None) -> str:
        """Whose corrections count: those of ``name``, or of the only one who made some.

        Raises:
            TransectError: If nobody answered, several did and none is named, or the name is none.
        """
        people = self.people()
        if name is not None and name not in people:
            raise unknown_name(f"--name, who answered in {self.path},", name, people)
        if not people:
            raise TransectError(f"nobody has answered in {self.path} yet. Correct an image first.")
        if name is None and len(people) > 1:
            raise TransectError(
                f"{', '.join(people)} have answered in {self.path}. Say whose corrections count "
                "with --name."
            )
        return name or people[0]

    def others(self, name: str) -> Iterator[tuple[str, Sheets]]:
        """All other people with what they said."""
        for other in self.people():
            if other != name:
                yield other, self.sheets(other)


def checked_name(name: str) -> str:
    """A person's name that can be a folder's.

    Raises:
        TransectError: If it cannot.
    """
    if not re.fullmatch(r"[^\W_][\w-]{0,39}", name):
        raise TransectError(
            f"--name must be up to 40 letters, digits, - and _, and begin with one of the first "
            f"two; got {name!r}."
        )
    return name
