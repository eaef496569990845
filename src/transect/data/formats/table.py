"""Plain tables of dots or boxes: ``image,x,y,class`` or ``image,x0,y0,x1,y1,class``, ours."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from transect.data.exchange import Annotations, Builder, Instance, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.shapes import box_of, centre_of
from transect.data.tables import ALIASES, read_table
from transect.errors import TransectError
from transect.files import spreadsheet_safe, write_text

__all__ = ["NAME", "matches", "read", "write"]

NAME = "table"


def matches(head: Head) -> bool:
    """Whether a CSV has an image column and x, y or the corners of boxes."""
    cells = set(head.columns)
    dots = cells & set(ALIASES["x"]) and cells & set(ALIASES["y"])
    boxes = all(cells & set(ALIASES[c]) for c in ("x0", "y0", "x1", "y1"))
    return bool(cells & set(ALIASES["image"]) and (dots or boxes))


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a table of dots or boxes; positions are ours, see ``exchange``.

    Args:
        path: The CSV.
        pictures: Where sizes are looked up.

    Returns:
        The annotations; faulty rows are left out and listed.

    Raises:
        TransectError: If it is no such table.
    """
    corners = ["x0", "y0", "x1", "y1"]
    optional = ["class", "confidence", "identity", *corners, "x", "y"]
    table, problems = read_table(path, ["image"], optional=optional)
    builder = Builder(pictures)
    builder.rows(problems)
    boxed = all(c in table for c in corners)
    if not boxed and not {"x", "y"} <= set(table.columns):
        raise TransectError(f"{path} needs the columns image,x,y or image,x0,y0,x1,y1. Add them.")
    for row in table.to_dict("records"):
        where = f"{path.name} line {row['line']}"
        try:
            name = builder.picture(checked.text(row["image"], f"{where}: image"))
            common: dict[str, Any] = {
                "label": checked.label(row.get("class"), f"{where}: class"),
                "confidence": checked.confidence(row.get("confidence"), f"{where}: confidence"),
            }
            if boxed:
                x0, y0, x1, y1 = (checked.number(row[c], f"{where}: {c}") for c in corners)
                box = checked.box((x0, y0, x1, y1), where)
                builder.add(name, Instance(**common, box=box))
            else:
                x, y = (checked.number(row[c], f"{where}: {c}") for c in ("x", "y"))
                builder.add(name, Instance(**common, point=(x, y)))
        except TransectError as error:
            builder.problem(path.name, error)
    return builder.done()


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write dots, or boxes if no object is a dot; a column confidence if there is any.

    Args:
        annotations: Objects with an outline give their box, or its middle.
        path: The CSV.
        pictures: Not needed.

    Returns:
        The files written.
    """
    every = [i for p in annotations.pictures for i in p.instances]
    dots = any(i.point is not None for i in every)
    scored = any(i.confidence is not None for i in every)
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    place = ["x", "y"] if dots else ["x0", "y0", "x1", "y1"]
    table.writerow(["image", *place, "class", *(["confidence"] if scored else [])])
    for picture in annotations.pictures:
        for i in picture.instances:
            where: Any = (centre_of if dots else box_of)(i, picture.size_hw)
            if where is None:
                continue
            score = [] if not scored else ["" if i.confidence is None else i.confidence]
            cells = (spreadsheet_safe(picture.name), *map(float, where), spreadsheet_safe(i.label))
            table.writerow([*cells, *score])
    write_text(path, out.getvalue())
    return [path]
