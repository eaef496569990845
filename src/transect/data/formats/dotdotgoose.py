"""DotDotGoose: a ``.pnt`` file, JSON with dots per picture and class; from the outer corner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transect.data.exchange import Annotations, Builder, Instance, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.errors import TransectError
from transect.files import write_json

__all__ = ["NAME", "matches", "read", "write"]

NAME = "dotdotgoose"
_COLOURS = ([255, 0, 0], [0, 128, 255], [0, 200, 0], [255, 200, 0], [200, 0, 255], [0, 220, 220])


def matches(head: Head) -> bool:
    """Whether a file is DotDotGoose's: points by picture, and classes."""
    value = head.json
    return isinstance(value, dict) and isinstance(value.get("points"), dict) and "classes" in value


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a DotDotGoose file.

    Args:
        path: The .pnt file.
        pictures: Where sizes are looked up.

    Returns:
        The annotations; what is faulty is left out and listed. Pictures without a dot are those
        that somebody opened, so they have nothing on them.

    Raises:
        TransectError: If it is no such file.
    """
    root = checked.mapping(checked.read_json(path), path.name)
    order = checked.items(root.get("classes") or [], f"{path.name}: classes")
    classes = [checked.label(c, f"{path.name}: classes") for c in order]
    builder = Builder(pictures)
    custom = root.get("custom_fields")
    filled = custom.get("data") if isinstance(custom, dict) else None
    if isinstance(filled, dict) and filled:
        builder.reread("custom fields not kept", objects=0, pictures=len(filled))
    for file, kinds in checked.mapping(root.get("points"), f"{path.name}: points").items():
        where = f"{path.name}: {file[:80]!r}"
        try:
            name = builder.picture(checked.text(file, where))
            entries = checked.mapping(kinds, where)
        except TransectError as error:
            builder.problem(path.name, error, objects=0, pictures=1)
            continue
        for kind, dots in entries.items():
            for place, dot in checked.numbered(checked.items(dots, where), f"{where}, {kind[:40]}"):
                try:
                    entry = checked.mapping(dot, place)
                    x, y = (checked.number(entry.get(k), f"{place}.{k}") - 0.5 for k in ("x", "y"))
                    builder.add(name, Instance(checked.label(kind, place), point=(x, y)))
                except TransectError as error:
                    builder.problem(path.name, error)
    return builder.done(classes)


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write a DotDotGoose file; put it beside the pictures.

    Args:
        annotations: Objects are dots.
        path: The .pnt file.
        pictures: Not needed.

    Returns:
        The files written.
    """
    points: dict[str, dict[str, list[Any]]] = {}
    for picture in annotations.pictures:
        kinds = points.setdefault(picture.name, {c: [] for c in annotations.classes})
        for i in picture.instances:
            x, y = i.point or (0.0, 0.0)
            kinds.setdefault(i.label, []).append({"x": x + 0.5, "y": y + 0.5})
    classes = list(annotations.classes)
    value = {
        "classes": classes,
        "points": points,
        "colors": {c: _COLOURS[i % len(_COLOURS)] for i, c in enumerate(classes)},
        "metadata": {"survey_id": "", "coordinates": {}},
        "custom_fields": {"fields": [], "data": {}},
        "ui": {"grid": {"size": 200, "color": [255, 255, 255]}, "point": {"radius": 25}},
    }
    write_json(path, value)
    return [path]
