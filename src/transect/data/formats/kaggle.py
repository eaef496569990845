"""Kaggle's mask tables: one row per mask, ``id,rle_mask``; several rows of an image are objects."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data import rle
from transect.data.exchange import Annotations, Builder, Instance, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.runs import counts_for_all
from transect.data.tables import read_table
from transect.errors import TransectError
from transect.files import atomic_path, spreadsheet_safe

__all__ = ["NAME", "matches", "read", "write"]

NAME = "kaggle"
_RLE = ("rle_mask", "encodedpixels", "rle", "segmentation", "annotation", "mask", "predicted")
_IMAGE = ("image", "imageid", "image_id", "img_id", "filename", "image_name", "case", "id", "name")
_CLASS = ("class", "classid", "class_id", "label", "category", "cell_type", "class_name")
_EMPTY = ("", "-1", "nan", "none")
_LOOKED_AT, _LOOKED_AT_PX = 40, 30_000_000  # codes, and pixels of one
_CLEARLY = 0.75  # our guess: the wrong order tears a blob of ten rows into ten
_TOGETHER = 256  # codes that are read at a time
_Row = tuple[str, str, str, str]  # place, picture, code, class
_CELL = 256 << 20  # bytes of one RLE; Python's csv stops at 128 KiB otherwise


def matches(head: Head) -> bool:
    """Whether a CSV has a column of run-length codes."""
    cells = set(head.columns)
    return bool(cells & set(_RLE)) and bool(cells & {*_IMAGE, "imageid_classid", "image_label"})


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a table of run-length codes (column by column, from 1).

    ``ImageId_ClassId`` and ``Image_Label`` columns are split at their last underscore. An empty
    cell or -1 is an empty mask. Sizes come from columns height and width, else from the pictures.

    Args:
        path: The CSV.
        pictures: Where sizes are looked up.

    Returns:
        The annotations; faulty rows are left out and listed.

    Raises:
        TransectError: If it is no such table.
    """
    with _long_cells():
        table, problems = read_table(path, [])
    codes = next((c for c in _RLE if c in table), None)
    joined = next((c for c in ("imageid_classid", "image_label") if c in table), None)
    image = joined or next((c for c in _IMAGE if c in table), None)
    kind = next((c for c in _CLASS if c in table), None)
    if codes is None or image is None:
        raise TransectError(f"{path} needs the columns id,rle_mask. Rename its columns.")
    builder = Builder(pictures)
    builder.rows(problems)
    blank = [""] * len(table)
    columns = (
        table["line"],
        table[image],
        table[codes],
        table[kind] if kind else blank,
        table.get("height", blank),
        table.get("width", blank),
    )
    rows: list[_Row] = []
    for line, text, code, label, height, width in zip(*columns, strict=True):
        where = f"{path.name} line {line}"
        try:
            if joined and "_" in text:
                text, label = text.rsplit("_", 1)
            named = checked.text(text, f"{where}: {image}")
            name = builder.picture(named, checked.size(height, width, where))
            if code.lower() not in _EMPTY:
                rows.append((where, name, code, label))
        except TransectError as error:
            builder.problem(path.name, error)
    by_row = _row_by_row(rows, builder)
    for (where, name, _, label), counts in zip(rows, _counts(rows, by_row, builder), strict=True):
        try:
            if isinstance(counts, TransectError):
                raise counts
            if by_row:
                builder.reread("run lengths row by row, told by the shapes that they give")
            builder.add(name, Instance(checked.label(label, where), counts=counts))
        except TransectError as error:
            builder.problem(path.name, error)
    return builder.done()


def _counts(
    rows: Sequence[_Row], by_row: bool, builder: Builder
) -> Iterator[tuple[int, ...] | TransectError]:
    """The counts of every code, or why there are none; codes of one size are read together."""
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        sizes = {builder.known_size(name) for _, name, _, _ in some}
        whole = next(iter(sizes)) if len(sizes) == 1 and not by_row else None
        if whole is not None:
            try:
                codes, places = [r[2] for r in some], [r[0] for r in some]
                yield from map(tuple, rle.counts_of_codes(codes, whole, names=places))
                continue
            except TransectError:
                pass  # one by one, then, for all but the faulty
        for row in some:
            try:
                yield _one(row, by_row, builder)
            except TransectError as error:
                yield error


def _one(row: _Row, by_row: bool, builder: Builder) -> tuple[int, ...]:
    """The counts of one code."""
    where, name, code, _ = row
    height, width = builder.size(name, "a run-length code needs it")
    if not by_row:
        return tuple(rle.counts_of_code(code, (height, width), where=where))
    counts = rle.counts_of_code(code, (width, height), where=where)
    turned = rle.mask_of_counts(counts, (width, height), where=where).T
    return tuple(rle.counts_of(np.ascontiguousarray(turned)))


def _row_by_row(rows: Sequence[_Row], builder: Builder) -> bool:
    """Whether codes run along rows: objects are then in fewer pieces than along columns.

    The competitions of Kaggle count down the columns; Sartorius, UW-Madison and a few others count
    along the rows, and no file says which.
    """
    along, down = 0, 0
    for where, name, code, _ in rows[:: max(1, len(rows) // _LOOKED_AT)][:_LOOKED_AT]:
        try:
            height, width = builder.size(name, "a run-length code needs it")
            if height * width > _LOOKED_AT_PX:
                continue
            counts = rle.counts_of_code(code, (height, width), where=where)
        except TransectError:
            continue
        by_column = rle.mask_of_counts(counts, (height, width), where=where)
        by_row = rle.mask_of_counts(counts, (width, height), where=where).T
        down += _border(by_column)
        along += _border(by_row)
    return along < _CLEARLY * down


def _border(mask: NDArray[np.bool_]) -> int:
    """Edges between pixels of an object and others."""
    return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write ``id,rle_mask,height,width`` (and class if there is one), row by row.

    An image with nothing on it gets one row with an empty code. Points are left out, for they
    have no pixels.

    Args:
        annotations: Every picture needs its size.
        path: The CSV.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size.
    """
    several = any(i.label != "object" for p in annotations.pictures for i in p.instances)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["id", "rle_mask", "height", "width", *(["class"] if several else [])])
        for picture in annotations.pictures:
            if picture.size_hw is None:
                raise TransectError(
                    f"the size of {picture.name} is not known, and a run-length code needs it. "
                    "Name the folder of the pictures with --images."
                )
            name = spreadsheet_safe(picture.name)
            solid = [i for i in picture.instances if i.has_area or i.box is not None]
            every = counts_for_all(solid, picture.size_hw)
            codes = [(rle.code_of_counts(c), i.label) for c, i in zip(every, solid, strict=True)]
            for code, label in codes or [("", "")]:
                label_cell = [spreadsheet_safe(label)] if several else []
                table.writerow([name, code, *picture.size_hw, *label_cell])
    return [path]


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    """Let the csv module read long cells for a while."""
    before = csv.field_size_limit(_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)
