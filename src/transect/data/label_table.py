"""Labels of whole images from the tables that people write: one each, several, or a grade."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.cells import numbers
from transect.data.rows import faults, lost, matched
from transect.errors import TransectError, unknown_name
from transect.types import Image, LabelKind, Problem

__all__ = ["LabelTable", "SaidLabels", "is_label", "read_labels", "said_labels"]

_FACTS = frozenset(
    (
        *("image", "line", "group", "depth", "date", "side", "scale", "split", "kind", "weight"),
        *("doubt", "width", "height", "row_name", "comment"),
    )
)
"""Columns that say something of an image, and no label; so do those that begin with ``p:``."""
_LABEL = re.compile(
    r"(labels?|class(es)?|class_name|categor(y|ies)|category_name|species|tags?|targets?|grades?"
    r"|diagnosis|level|rating|severity|stage|score)(_?\d+)?"
)
_GRADE = re.compile(r"(grades?|diagnosis|level|rating|severity|stage|score)(_?\d+)?")
_YES, _NO = frozenset(("1", "1.0", "true", "yes")), frozenset(("0", "0.0", "false", "no"))
_REPEATED = 0.05
"""Share of images with several labels in several rows from which the table means several; fewer
are taken for mistakes. Our choice."""


@dataclass(frozen=True)
class LabelTable:
    """What a table of labels says.

    Attributes:
        rows: The column image, then one of 0 and 1 for every label; one row per image.
        classes: The labels in their order; grades from the lowest.
        kind: single, several or grades.
        problems: Rows that were left out.
    """

    rows: pd.DataFrame
    classes: tuple[str, ...]
    kind: LabelKind
    problems: list[Problem]


@dataclass(frozen=True)
class SaidLabels:
    """Labels by row of a table, and how it is laid out.

    Attributes:
        labels: Of every row.
        wide: Whether every label has a column of 0 and 1.
        graded: Whether the column is called as grades are.
        names: The columns of a wide table.
    """

    labels: list[tuple[str, ...]]
    wide: bool
    graded: bool
    names: tuple[str, ...] = ()


def read_labels(
    path: Path,
    images: Sequence[Image],
    *,
    classes: Sequence[str] = (),
    kind: LabelKind | None = None,
    notes: list[str] | None = None,
) -> LabelTable:
    """Read ``labels.csv``: image and label, several labels in cells or rows, or 0/1 columns.

    ``a;b`` and ``a|b`` are two labels; with ``kind="several"`` blanks part them, too, where
    nothing else does. An empty cell is an image without any label, where images have several.

    Args:
        path: The table.
        images: The images that can be read.
        classes: The only labels allowed, in their order, or () for any.
        kind: What the labels are; None reads it from the table: numbers in a column called grade,
            level, diagnosis and the like are grades; images with more labels than one, or 0/1
            columns of which not each row has exactly one, are several; all else is single.
        notes: Where to say what was read otherwise than written.

    Returns:
        The labels; rows without a label that can be used are left out and listed.

    Raises:
        TransectError: If the table cannot be read as a whole.
    """
    table, problems = matched(path, images, ["image"], [], notes)
    said = said_labels(table, path, kind)
    by_image: dict[str, tuple[str, ...]] = {}
    for name, labels in zip(table["image"].tolist(), said.labels, strict=True):
        known = by_image.setdefault(name, ())
        by_image[name] = (*known, *(label for label in labels if label not in known))
    kind = kind or _kind(said, by_image)
    problems += _faulty(table, said, by_image, kind, classes, path.name)
    problems += lost(path.name, table["image"], by_image)
    order = tuple(classes) or _order(by_image.values(), said, kind)
    if strange := sorted({label for some in by_image.values() for label in some} - set(order)):
        raise unknown_name(f"the label in {path.name}", strange[0], order)
    if "image" in order:
        raise TransectError(f"{path} has a label called 'image'. Call it otherwise.")
    marks = np.array([[c in labels for c in order] for labels in by_image.values()], np.int8)
    rows = pd.DataFrame(marks.reshape(len(by_image), len(order)), columns=list(order))
    rows.insert(0, "image", list(by_image))
    return LabelTable(rows, order, kind, problems)


def is_label(column: str) -> bool:
    """Whether a column is called as labels are.

    Example:
        >>> is_label("species"), is_label("label_2"), is_label("width")
        (True, True, False)
    """
    return _LABEL.fullmatch(column) is not None


def said_labels(table: pd.DataFrame, path: Path, kind: LabelKind | None) -> SaidLabels:
    """The labels of every row of a table, whatever its layout.

    Args:
        table: From ``read_table``.
        path: For messages.
        kind: What is known of them.

    Raises:
        TransectError: If no column holds labels.
    """
    columns = [c for c in table.columns if c not in _FACTS and not c.startswith("p:")]
    named = [c for c in columns if is_label(c)]
    if not columns:
        raise TransectError(
            f"{path} has no column of labels. Write image,label or a column of 0 and 1 per label."
        )
    if named or len(columns) == 1:
        words = named or columns
        rows = [tuple(_parted(row)) for row in table[words].itertuples(index=False, name=None)]
        if kind == "several" and len(words) == 1 and all(len(row) < 2 for row in rows):
            rows = [tuple(" ".join(row).split()) for row in rows]  # as competitions write them
        return SaidLabels(rows, wide=False, graded=all(_GRADE.fullmatch(c) for c in words))
    cells = table[columns].apply(lambda column: column.str.lower())
    strange = ~cells.isin(_YES | _NO)
    if strange.to_numpy().any():
        row, at = (int(v[0]) for v in np.nonzero(strange.to_numpy()))
        raise TransectError(
            f"{path} line {table['line'].iloc[row]}: {columns[at]} must be 0 or 1; got "
            f"{table[columns[at]].iloc[row]!r}. Write 0 or 1, or call the column of labels 'label'."
        )
    yes = cells.isin(_YES).to_numpy()
    rows = [tuple(c for c, there in zip(columns, row, strict=True) if there) for row in yes]
    return SaidLabels(rows, wide=True, graded=False, names=tuple(columns))


def _parted(cells: Iterable[str]) -> list[str]:
    """The labels in the cells of a row."""
    found = [part.strip() for cell in cells for part in re.split(r"[;|]", cell)]
    return list(dict.fromkeys(part for part in found if part))


def _kind(said: SaidLabels, by_image: dict[str, tuple[str, ...]]) -> LabelKind:
    """What the labels are, by how they are written."""
    counts = np.array([len(labels) for labels in by_image.values()])
    if said.wide:
        return "single" if (counts == 1).all() else "several"
    one_row = any(len(row) > 1 for row in said.labels)
    if one_row or (counts > 1).mean() > _REPEATED:
        return "several"
    texts = {label for labels in by_image.values() for label in labels}
    return "grades" if said.graded and not np.isnan(numbers(sorted(texts))).any() else "single"


def _faulty(
    table: pd.DataFrame,
    said: SaidLabels,
    by_image: dict[str, tuple[str, ...]],
    kind: LabelKind,
    classes: Sequence[str],
    file: str,
) -> list[Problem]:
    """Take out images without the one label that they need, and say why."""
    if kind == "several":
        return []
    names = table["image"].tolist()
    counts = np.array([len(by_image[name]) for name in names])
    texts = [by_image[name][0] if by_image[name] else "0" for name in names]
    wordy: NDArray[np.bool_] = np.zeros(len(names), bool)
    if kind == "grades" and not classes:
        wordy = np.isnan(numbers(texts)) & (counts == 1)
    first = ~table["image"].duplicated().to_numpy()
    problems = faults(
        file, table, (counts == 0) & first,
        lambda i: f"{names[i]} has no label and is left out. Write one.",
    )  # fmt: skip
    problems += faults(
        file, table, (counts > 1) & first,
        lambda i: (
            f"{names[i]} has more than one label ({', '.join(by_image[names[i]][:3])}) and is left "
            "out. Keep the right one, or say --labels several."
        ),
    )  # fmt: skip
    problems += faults(
        file, table, wordy & first,
        lambda i: (
            f"a grade must be a number; got {texts[i]!r}, so {names[i]} is left out. Write a "
            "number, or the grades from the lowest up in classes.csv."
        ),
    )  # fmt: skip
    for name in {names[i] for i in np.flatnonzero((counts != 1) | wordy)}:
        del by_image[name]
    return problems


def _order(labels: Iterable[Sequence[str]], said: SaidLabels, kind: LabelKind) -> tuple[str, ...]:
    """Columns as they stand; else by number if all are numbers, else by name."""
    if said.names:
        return said.names
    found = sorted({label for some in labels for label in some})
    values = numbers(found)
    if kind == "grades" or not np.isnan(values).any():
        return tuple(found[i] for i in np.argsort(values, kind="stable"))
    return tuple(found)
