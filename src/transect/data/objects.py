"""``objects.csv``: the class of every numbered object of instance masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transect.data.cells import numbers
from transect.data.rows import faults, matched
from transect.data.tables import table_file
from transect.errors import unknown_name
from transect.types import Image, Problem

__all__ = ["OBJECTS_HEADER", "ObjectClasses", "read_objects"]

OBJECTS_HEADER = ("image", "object", "class")


@dataclass(frozen=True)
class ObjectClasses:
    """The classes of numbered objects.

    Attributes:
        of_image: Image name to number to class.
        classes: Those that occur, in the order of classes.csv, else of the table.
        problems: Rows that were left out.
    """

    of_image: Mapping[str, Mapping[int, str]]
    classes: tuple[str, ...]
    problems: tuple[Problem, ...]


def read_objects(
    root: Path,
    images: Sequence[Image],
    *,
    classes: Sequence[str] = (),
    notes: list[str] | None = None,
) -> ObjectClasses | None:
    """Read the table that names the class of each object of a survey's instance masks.

    Args:
        root: A folder that may hold ``objects.csv`` (image, object, class).
        images: The images that can be read.
        classes: The only classes allowed, or () for any.
        notes: Where to say what was read otherwise than written.

    Returns:
        The classes, or None if there is no such table. Rows without a whole number above 0, or
        that give one object a second class, are left out and listed.

    Raises:
        TransectError: If the table cannot be read as a whole, or names a class that is not allowed.
    """
    path = table_file(root, "objects")
    if path is None:
        return None
    table, problems = matched(path, images, list(OBJECTS_HEADER), [], notes)
    table = table.reset_index(drop=True)
    values = numbers(table["object"])
    table["object"] = values
    bad = ~((values > 0) & (values == values.round()))
    bad |= table["class"].eq("").to_numpy() | table.duplicated(["image", "object"]).to_numpy()
    problems += faults(
        path.name,
        table,
        bad,
        lambda i: (
            f"object {table['object'][i]:g} with the class {table['class'][i]!r} is no number from "
            "1 with a class, or stands twice; the row is left out. Correct it."
        ),
    )
    of_image: dict[str, dict[int, str]] = {}
    found: dict[str, None] = {}
    for name, number, label in table.loc[~bad, list(OBJECTS_HEADER)].itertuples(index=False):
        if classes and label not in classes:
            raise unknown_name(f"a class of {path.name}", label, classes)
        of_image.setdefault(name, {})[int(number)] = label
        found.setdefault(label)
    order = tuple(c for c in classes if c in found) or tuple(found)
    return ObjectClasses(of_image, order, tuple(problems))
