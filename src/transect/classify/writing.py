"""Labels of new images as tables: with probabilities and doubt, and the competition's."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transect.classify.predicting import Labels
from transect.errors import TransectError
from transect.files import spreadsheet_safe, write_text
from transect.types import Image, Problem, Progress

__all__ = ["LabelWriter", "submit_labels"]


class LabelWriter:
    """Writes ``labels.csv``: image, label, doubt and the probability of every label.

    The table is one of labels like any other: corrected, it can be trained on.
    """

    def __init__(self, out: Path) -> None:
        """Begin; nothing is written before the end."""
        self._out = out
        self._rows: list[tuple[str, Labels]] = []

    def add(self, image: Image, answer: Labels) -> None:
        """Take one answer."""
        self._rows.append((image.name, answer))

    def finish(self, progress: Progress) -> dict[str, Any]:
        """Write the table.

        Returns:
            files, and how many images each label was given to.
        """
        stream = io.StringIO()
        rows = csv.writer(stream, lineterminator="\n")
        classes = self._rows[0][1].classes if self._rows else ()
        rows.writerow(["image", "label", "doubt", *(spreadsheet_safe(f"p:{c}") for c in classes)])
        for name, labels in self._rows:
            cells = (spreadsheet_safe(name), spreadsheet_safe(";".join(labels.names)))
            rows.writerow([*cells, f"{labels.doubt:.4f}", *(f"{v:.4f}" for v in labels.p)])
        write_text(self._out / "labels.csv", stream.getvalue())
        counts = Counter(label for _, labels in self._rows for label in labels.names)
        return {
            "files": [str(self._out / "labels.csv")],
            "labels": {name: counts[name] for name in classes if counts[name]},
        }


def submit_labels(
    answers: Iterator[tuple[Image, Labels | Problem]], problems: Sequence[Problem], out: Path
) -> None:
    """Write ``image,label``, several labels parted by blanks.

    Args:
        answers: Made as they are asked for.
        problems: Files that are known to be unreadable.
        out: The file.

    Raises:
        TransectError: On an image that cannot be read: a submission with holes is refused.
    """
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["image", "label"])
    broken = list(problems)
    for image, answer in answers:
        if isinstance(answer, Problem):
            broken.append(answer)
        else:
            label = " ".join(answer.names)
            rows.writerow([spreadsheet_safe(image.name), spreadsheet_safe(label)])
    if broken:
        raise TransectError(
            f"{broken[0].name}: {broken[0].what} A submission needs every picture; "
            f"{len(broken)} cannot be read."
        )
    write_text(out, stream.getvalue())
