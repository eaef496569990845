"""Tables of dots or boxes: ours (``image,x,y,class``), and those of other tools."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.cells import numbers
from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.tables import read_table
from transect.errors import TransectError
from transect.files import spreadsheet_safe, write_text

__all__ = [
    "CLASS_COLUMNS",
    "IMAGE_COLUMNS",
    "boxes_of_text",
    "first_column",
    "matches",
    "objects_of",
    "read",
    "write",
    "write_rows",
]

IMAGE_COLUMNS = (
    "image",
    "image_path",
    "images",
    "path",
    "filepath",
    "file_path",
    "filename",
    "file_name",
    "file",
    "image_name",
    "img",
    "photo",
    "image_id",
    "imageid",
    "name",
    "id",
)
"""Names of the column that names the picture; a path comes before an id."""
CLASS_COLUMNS = (
    "class",
    "label",
    "labels",
    "category",
    "species",
    "class_name",
    "labelname",
    "label_name",
    "class_label",
    "category_name",
    "object_class",
    "scientific_name",
    "scientificname",
    "common_name",
    "taxon",
    "tag",
    "type",
)
_SCORES = ("confidence", "score", "conf", "probability")
_IDENTITIES = ("identity", "individual", "individual_id")
_X, _Y = ("x", "x_px", "pixel_x", "col", "column"), ("y", "y_px", "pixel_y", "row")
_CORNERS = (
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
_SIDES = (
    ("x", "y", "width", "height"),
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    ("x", "y", "w", "h"),
    ("left", "top", "width", "height"),
)
_TEXTS = ("bbox", "box")
_ASIDE = {
    "line",
    "width",
    "height",
    "source",
    "index",
    "",
    "geometry",
    "image_width",
    "image_height",
}
_NOTHING = {"", "na", "nan", "none", "null"}


@dataclass(frozen=True)
class _Layout:
    """Which columns of a table say what.

    Attributes:
        image: The picture.
        corners: x0, y0, x1, y1, or (); or x, y, width, height where ``sides``.
        sides: Whether ``corners`` ends in width and height.
        text: A column with ``[x, y, width, height]`` in one cell, or None.
        dot: x and y, or ().
        label: The class, or None.
        score: The confidence, or None.
        identity: The individual, or None.
        shift: Added to every position: -0.5 where a tool counts from the outer corner.
    """

    image: str
    corners: tuple[str, ...]
    sides: bool
    text: str | None
    dot: tuple[str, ...]
    label: str | None
    score: str | None
    identity: str | None
    shift: float


def matches(head: Head) -> bool:
    """Whether a table has an image column and x, y or boxes."""
    return bool(head.columns) and _layout(head.columns) is not None


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a table of dots, boxes or both, a row each.

    The columns of many tools are understood (see ``IMAGE_COLUMNS``): corners, x, y, width and
    height, or a cell ``[x, y, width, height]``. Positions under our own names are ours (see
    ``exchange``). Boxes of other tools count from the outer corner of the picture, so that its
    width is a coordinate, and are moved by half a pixel; their dots are taken to name a pixel, as
    a click does. A row without a position says that there is nothing on its picture.

    Sources: fizyr/keras-retinanet#847 ("top left of the image is 0,0"); torchvision's RetinaNet,
    which DeepForest trains, wants ``0 <= x1 < x2 <= W`` (pytorch/vision#1868). For dots no tool
    that we found states a convention: a whole number is a pixel, by our choice.

    Args:
        path: The table.
        pictures: Where sizes are looked up.

    Returns:
        The annotations; faulty rows are left out and listed.

    Raises:
        TransectError: If it is no such table.
    """
    table, problems = read_table(path, [])
    layout = _layout(table.columns)
    if layout is None:
        raise TransectError(f"{path} needs the columns image,x,y or image,x0,y0,x1,y1. Add them.")
    builder = Builder(pictures)
    builder.rows(problems)
    boxes, blank = _boxes(table, layout)
    dots = _numbers(table, layout.dot)
    blank &= _blank(table, layout.dot)
    names, lines = table[layout.image].tolist(), table["line"].tolist()
    said = {
        key: table[column].tolist() if column else [""] * len(table)
        for key, column in (
            ("label", layout.label),
            ("score", layout.score),
            ("identity", layout.identity),
        )
    }
    for column in table.columns:
        used = {layout.image, layout.text, layout.label, layout.score, layout.identity}
        filled = (
            0
            if column in used | {*layout.corners, *layout.dot} | _ASIDE
            else _filled(table[column])
        )
        if filled:
            builder.reread(f"column {column[:40]!r} not kept", objects=filled)
    for i, name in enumerate(names):
        where = f"{path.name} line {lines[i]}"
        try:
            picture = builder.picture(checked.text(name, f"{where}: image"))
            if blank[i]:
                builder.reread(
                    "row without a position: nothing on its picture", objects=0, pictures=1
                )
                continue
            common: dict[str, Any] = {
                "label": checked.label(said["label"][i], f"{where}: class"),
                "confidence": checked.confidence(said["score"][i], f"{where}: confidence"),
                "identity": checked.optional_text(said["identity"][i], f"{where}: identity"),
            }
            corners = boxes[i]
            if np.isfinite(corners).all():
                box = checked.box(tuple(corners.tolist()), where)
                builder.add(picture, Instance(**common, box=box))
                continue
            x, y = dots[i].tolist()
            if x != x or y != y:
                cells = [table[c].iloc[i] for c in (*layout.corners, *layout.dot)]
                shown = ", ".join(map(str, cells))[:80]
                raise TransectError(
                    f"{where} must have numbers for its position; got {shown}. Correct it."
                )
            builder.add(picture, Instance(**common, point=(x + layout.shift, y + layout.shift)))
        except TransectError as error:
            builder.problem(path.name, error)
    return builder.done()


def boxes_of_text(cells: Iterable[str]) -> NDArray[np.float64]:
    """Cells ``[x, y, width, height]`` as (K, 4); NaN where a cell is something else.

    Example:
        >>> boxes_of_text(["[1, 2, 3.5, 4]", ""]).tolist()
        [[1.0, 2.0, 3.5, 4.0], [nan, nan, nan, nan]]
    """
    found = []
    for cell in cells:
        values = re.findall(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?", cell)[:5]
        found.append([float(v) for v in values] if len(values) == 4 else [np.nan] * 4)
    return np.array(found, np.float64).reshape(-1, 4)


def first_column(columns: Iterable[str], options: Sequence[str]) -> str | None:
    """The first of several names that a table has."""
    there = set(columns)
    return next((name for name in options if name in there), None)


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write dots and boxes; columns confidence and identity if there is any.

    Args:
        annotations: Objects are dots or boxes.
        path: The CSV.
        pictures: Not needed.

    Returns:
        The files written.
    """
    every = [i for p in annotations.pictures for i in p.instances]
    kinds = {"dot" if i.box is None else "box" for i in every}
    header = ["x", "y"] * ("dot" in kinds) + ["x0", "y0", "x1", "y1"] * ("box" in kinds)
    said = [s for s in ("confidence", "identity") if any(getattr(i, s) is not None for i in every)]
    rows: list[Sequence[Any]] = []
    for picture, i in objects_of(annotations):
        dot: Sequence[Any] = i.point if i.box is None and i.point else ("", "")
        place = [*dot] * ("dot" in kinds) + [*(i.box or ("", "", "", ""))] * ("box" in kinds)
        more = [getattr(i, s) for s in said]
        cells = (
            "" if v is None else spreadsheet_safe(v) if isinstance(v, str) else v for v in more
        )
        rows.append((spreadsheet_safe(picture.name), *place, spreadsheet_safe(i.label), *cells))
    return write_rows(path, ["image", *(header or ["x", "y"]), "class", *said], rows)


def _layout(columns: Iterable[str]) -> _Layout | None:
    """What the columns of a table say, or None if they place nothing on pictures."""
    there = set(columns)
    image = first_column(there, IMAGE_COLUMNS)
    corners: tuple[str, ...] = next((c for c in _CORNERS if set(c) <= there), ())
    sides = () if corners else next((c for c in _SIDES if set(c) <= there), ())
    text = None if corners or sides else first_column(there, _TEXTS)
    x, y = first_column(there - {*corners}, _X), first_column(there - {*corners}, _Y)
    dot = (x, y) if x and y and not sides else ()
    if image is None or not (corners or sides or text or dot):
        return None
    label = first_column(there - {image}, CLASS_COLUMNS)
    ours = image == "image" and (not corners or corners[0] in ("x0", "xmin")) and not text
    shift = 0.0 if ours or (dot and not corners and not sides) else -0.5
    score, identity = first_column(there, _SCORES), first_column(there, _IDENTITIES)
    return _Layout(image, corners or sides, bool(sides), text, dot, label, score, identity, shift)


def _boxes(table: pd.DataFrame, layout: _Layout) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Corners of every row (N, 4), NaN where it has none; and which rows leave them blank."""
    if layout.text:
        found = boxes_of_text(table[layout.text])
        found[:, 2:] += found[:, :2]
        return found + layout.shift, _blank(table, (layout.text,))
    if not layout.corners:
        return np.full((len(table), 4), np.nan), np.ones(len(table), bool)
    found = _numbers(table, layout.corners)
    blank = _blank(table, layout.corners) | (found == 0).all(axis=1)  # DeepForest's "nothing"
    if layout.sides:
        found[:, 2:] += found[:, :2]
    return found + layout.shift, blank


def _numbers(table: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """Columns as numbers, (N, K)."""
    if not columns:
        return np.full((len(table), 2), np.nan)
    return np.stack([numbers(table[c]) for c in columns], axis=1)


def _blank(table: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.bool_]:
    """Rows whose cells are all blank."""
    blank = np.ones(len(table), bool)
    for column in columns:
        blank &= table[column].str.lower().isin(_NOTHING).to_numpy()
    return blank


def _filled(column: pd.Series) -> int:
    """How many cells say something."""
    return int((~column.astype(str).str.lower().isin(_NOTHING)).sum())


def objects_of(annotations: Annotations) -> Iterable[tuple[Picture, Instance]]:
    """Every object with its picture."""
    return ((picture, i) for picture in annotations.pictures for i in picture.instances)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Path]:
    """Write a CSV."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    write_text(path, out.getvalue())
    return [path]
