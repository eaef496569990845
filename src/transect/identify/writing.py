"""Answers about individuals as tables: of new photos, and the competition's."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transect.files import spreadsheet_safe, write_text
from transect.identify.answers import write_answers
from transect.identify.deciding import answers_table
from transect.identify.predicting import OneAnswer
from transect.openset.evidence import UNKNOWN
from transect.types import Image, Problem, Progress

__all__ = ["IdentityWriter", "submit_identities"]


class IdentityWriter:
    """Writes ``identities.csv``, and ``answers.html`` with the candidates side by side."""

    def __init__(self, out: Path, *, pages: bool) -> None:
        """Begin.

        Args:
            out: The folder to write.
            pages: Write ``answers.html`` and ``queries/``.
        """
        self._out, self._pages = out, pages
        self._last: OneAnswer | None = None

    def add(self, image: Image, answer: OneAnswer) -> None:
        """Take one answer; all of a call come with each of them."""
        self._last = answer

    def finish(self, progress: Progress) -> dict[str, Any]:
        """Write the table and the pages.

        Returns:
            files, and how many photos are new, known, and cannot be told.
        """
        if self._last is None:
            return {"files": [], "new": 0, "known": 0, "cannot_tell": 0}
        found, identifier = self._last.answered, self._last.identifier
        decision, table = found.decision, self._out / "identities.csv"
        text = answers_table(
            found.photos.subjects, decision, identifier.people, identifier.unknown, why=found.why
        )
        write_text(table, text)
        files = [str(table)]
        if self._pages:
            files.append(str(write_answers(self._out / "answers.html", identifier, found)))
        new = (decision.ranked[:, 0] == UNKNOWN) & ~decision.cannot_tell
        return {
            "files": files,
            "new": int(new.sum()),
            "known": int((~new & ~decision.cannot_tell).sum()),
            "cannot_tell": int(decision.cannot_tell.sum()),
        }


def submit_identities(
    unknown: str,
    answers: Iterator[tuple[Image, OneAnswer | Problem]],
    problems: Sequence[Problem],
    out: Path,
) -> None:
    """Write ``Image,Id`` with the identities of every photo in order.

    Args:
        unknown: The label of none we know.
        answers: Made as they are asked for.
        problems: Files that are known to be unreadable.
        out: The file.
    """
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["Image", "Id"])
    broken = list(problems)
    for _, answer in answers:
        if isinstance(answer, Problem):
            broken.append(answer)
            continue
        names = [name for name in answer.named.ranked[answer.row].tolist() if name]
        rows.writerow([spreadsheet_safe(answer.subject.key), spreadsheet_safe(" ".join(names))])
    for problem in broken:
        # A photo that cannot be read still needs a row, or the whole file is refused.
        rows.writerow([spreadsheet_safe(problem.name), unknown])
    write_text(out, stream.getvalue())
