"""napari: CSV files of points or shapes layers, called after their picture; row, then column."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.cells import numbers
from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.folder import stem_of
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.formats.stems import files_below, picture_of
from transect.data.formats.table import CLASS_COLUMNS, first_column
from transect.data.outlines import box_ring, ellipse_ring, one_ring
from transect.data.shapes import rings_of
from transect.data.tables import read_table
from transect.errors import TransectError
from transect.files import safe_join, spreadsheet_safe, write_text

__all__ = ["NAME", "matches", "read", "write"]

NAME = "napari"
_ENDINGS = (".points", ".shapes", "_points", "_shapes", "-points", "-shapes", " points", " shapes")
_SAID = ("class", "identity", "confidence")


def matches(head: Head) -> bool:
    """Whether a file, or the first CSV of a folder, is of a napari layer: axis-0 and axis-1."""
    if head.is_dir:
        first = next(iter(files_below(head.path, (".csv",))), None)
        return first is not None and matches(Head(first))
    return head.has("axis-0", "axis-1")


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read layers: every point is a dot; rectangles, polygons and ellipses are objects.

    A column class (or label) names the class; napari's own files have none.

    Args:
        path: A CSV, or a folder of them.
        pictures: The pictures.

    Returns:
        The annotations; paths, lines and faulty shapes are left out and listed.

    Raises:
        TransectError: If there is no such file.
    """
    files = [path] if path.is_file() else files_below(path, (".csv",))
    if not files:
        raise TransectError(f"{path} has no .csv. Name the folder of napari's layers.")
    root = path if path.is_dir() else path.parent
    builder = Builder(pictures)
    for file in files:
        shown = file.relative_to(root).as_posix()
        try:
            table, problems = read_table(file, [])
            if not {"axis-0", "axis-1"} <= set(table.columns):
                raise TransectError(f"{shown} has no axis-0 and axis-1. Save the layer again.")
            if "axis-2" in table:
                raise TransectError(f"{shown} is of a stack. Save the layer of one plane.")
            name = builder.picture(picture_of(stem_of(shown), _ENDINGS, pictures))
        except TransectError as error:
            builder.problem(shown, error, objects=0, pictures=1)
            continue
        builder.rows(problems)
        _add(table, shown, name, builder)
    return builder.done()


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write ``NAME.points.csv`` and ``NAME.shapes.csv`` per picture into a folder.

    Args:
        annotations: Pictures with masks need their size.
        path: The folder.
        pictures: Not needed.

    Returns:
        The files written.
    """
    written = []
    for picture in annotations.pictures:
        dots, shapes = io.StringIO(), io.StringIO()
        points = csv.writer(dots, lineterminator="\n")
        corners = csv.writer(shapes, lineterminator="\n")
        points.writerow(["index", "axis-0", "axis-1", *_SAID])
        corners.writerow(["index", "shape-type", "vertex-index", "axis-0", "axis-1", *_SAID])
        for number, i in enumerate(picture.instances):
            said = [spreadsheet_safe(i.label), spreadsheet_safe(i.identity or "")]
            said.append("" if i.confidence is None else repr(i.confidence))
            if i.point is not None and i.box is None and not i.has_area:
                points.writerow([number, i.point[1], i.point[0], *said])
                continue
            kind, ring = _shape(i, picture)
            for k, (x, y) in enumerate(ring.tolist()):
                corners.writerow([number, kind, k, y, x, *said])
        for ending, content in ((".points.csv", dots), (".shapes.csv", shapes)):
            target = safe_join(path, stem_of(picture.name) + ending)
            write_text(target, content.getvalue())
            written.append(target)
    return written


def _shape(instance: Instance, picture: Picture) -> tuple[str, NDArray[np.float64]]:
    """The kind and the corners of a shape."""
    if instance.has_area:
        return "polygon", one_ring(rings_of(instance, picture.size_hw))
    assert instance.box is not None
    return "rectangle", box_ring(*instance.box)


def _add(table: pd.DataFrame, shown: str, name: str, builder: Builder) -> None:
    """Add the objects of one layer."""
    label = first_column(table.columns, CLASS_COLUMNS)
    places = np.stack([numbers(table["axis-1"]), numbers(table["axis-0"])], axis=1)
    columns = {
        k: table[c].tolist() if c in table else [""] * len(table)
        for k, c in (("label", label), ("identity", "identity"), ("confidence", "confidence"))
    }
    lines, kinds = table["line"].tolist(), table.get("shape-type")
    kind_of = None if kinds is None else kinds.tolist()
    keys = table["index"].tolist() if kind_of and "index" in table else range(len(table))
    rows: dict[Any, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    for key, inside in rows.items():
        first = inside[0]
        where = f"{shown} line {lines[first]}"
        try:
            common: dict[str, Any] = {
                "label": checked.label(columns["label"][first], f"{where}: class"),
                "identity": checked.optional_text(columns["identity"][first], where),
                "confidence": checked.confidence(columns["confidence"][first], where),
            }
            ring = places[inside]
            if not np.isfinite(ring).all():
                raise TransectError(
                    f"{where}: shape {key} has an axis that is no number. Correct it."
                )
            if kind_of is None:
                builder.add(name, Instance(**common, point=(float(ring[0, 0]), float(ring[0, 1]))))
                continue
            builder.add(name, _instance(kind_of[first], ring, common, where, builder))
        except TransectError as error:
            builder.problem(shown, error)


def _instance(
    kind: str, ring: NDArray[np.float64], common: dict[str, Any], where: str, builder: Builder
) -> Instance:
    """One shape as an object."""
    low, high = ring.min(axis=0), ring.max(axis=0)
    if kind == "rectangle" and len(np.unique(ring[:, 0])) == 2 == len(np.unique(ring[:, 1])):
        return Instance(**common, box=checked.box((*low.tolist(), *high.tolist()), where))
    if kind in ("rectangle", "polygon"):
        return Instance(**common, parts=((checked.ring(ring.tolist(), where),),))
    if kind == "ellipse" and len(ring) == 4:
        builder.reread("ellipse read as an outline")
        middle, across = ring.mean(axis=0), ring[1] - ring[0]
        radii = np.hypot(*across) / 2, np.hypot(*(ring[2] - ring[1])) / 2
        degrees = float(np.rad2deg(np.arctan2(across[1], across[0])))
        x, y = middle.tolist()
        outline = ellipse_ring(x, y, float(radii[0]), float(radii[1]), degrees)
        return Instance(**common, parts=((outline,),))
    raise TransectError(f"{where} is a {kind[:40]!r}, which has no area. Draw a polygon.")
