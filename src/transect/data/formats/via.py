"""VGG Image Annotator, versions 1 and 2: JSON, project or CSV; positions from the outer corner."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.outlines import ellipse_ring
from transect.data.shapes import parts_of, rings_of
from transect.data.tables import read_table
from transect.data.tally import Tally
from transect.errors import TransectError
from transect.files import spreadsheet_safe, write_json, write_text

__all__ = ["NAME", "made", "matches", "read", "write"]

NAME = "via"
_HEADER = (
    "filename",
    "file_size",
    "file_attributes",
    "region_count",
    "region_id",
    "region_shape_attributes",
    "region_attributes",
)
_CLASS_KEYS = ("class", "label", "type", "category", "species", "name")


def matches(head: Head) -> bool:
    """Whether a file is VIA's: JSON with regions, or CSV with region_shape_attributes."""
    if head.columns:
        return head.has("region_shape_attributes")
    value = head.json
    if not isinstance(value, dict):
        return False
    if "_via_img_metadata" in value:
        return True
    first = next(iter(value.values()), None)
    return isinstance(first, dict) and "filename" in first and "regions" in first


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a VIA file.

    The class of a region is its attribute class, label, type, category, species or name, else
    its first one. Polygons, rectangles, circles, ellipses and points are read.

    Args:
        path: A project, annotations as JSON, or annotations as CSV.
        pictures: Where the sizes of the pictures are looked up, for VIA does not tell them.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: If it is not VIA's.
    """
    builder = Builder(pictures)
    rows = _csv_rows(path, builder) if path.suffix.lower() == ".csv" else _json_rows(path, builder)
    for where, name, shape, attributes in rows:
        try:
            builder.add(name, _instance(shape, attributes, where, builder))
        except TransectError as error:
            builder.problem(path.name, error)
    return builder.done()


def made(annotations: Annotations) -> Annotations:
    """Each piece of an object as a region of its own, for VIA knows no objects of several.

    Args:
        annotations: Any; pictures with masks need their size.

    Returns:
        What ``write`` will write.
    """
    tally = Tally(annotations.told)
    pictures = []
    for picture in annotations.pictures:
        kept = []
        for i in picture.instances:
            parts = parts_of(i, picture.size_hw) if i.has_area else ()
            if len(parts) > 1:
                tally.tell("object of several pieces: a region each", lost=False, objects=1)
            pieces = [replace(i, parts=(part,), counts=None) for part in parts]
            kept += pieces if len(parts) > 1 else [i]
        pictures.append(replace(picture, instances=tuple(kept)))
    return replace(annotations, pictures=tuple(pictures), told=tally.done())


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write a VIA file: CSV if the name ends in .csv, else JSON.

    Each piece of an object becomes a region, its holes joined by bridges.

    Args:
        annotations: Pictures with masks need their size.
        path: The file.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a mask has a picture of unknown size.
    """
    files: dict[str, Any] = {}
    for picture in annotations.pictures:
        regions = [region for i in picture.instances for region in _regions(i, picture)]
        files[f"{picture.name}-1"] = {
            "filename": picture.name,
            "size": -1,
            "regions": regions,
            "file_attributes": dict(picture.columns),
        }
    if path.suffix.lower() != ".csv":
        write_json(path, files)
        return [path]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(_HEADER)
    for entry in files.values():
        name, columns = spreadsheet_safe(entry["filename"]), json.dumps(entry["file_attributes"])
        regions = entry["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]
        for i, region in enumerate(regions):
            cells = (
                json.dumps(region["shape_attributes"]),
                json.dumps(region["region_attributes"]),
            )
            table.writerow((name, -1, columns, len(entry["regions"]), i, *cells))
    write_text(path, out.getvalue())
    return [path]


def _json_rows(path: Path, builder: Builder) -> list[tuple[str, str, Any, Any]]:
    """Place, picture, shape and attributes of every region of a JSON file."""
    root = checked.mapping(checked.read_json(path), path.name)
    root = checked.mapping(root.get("_via_img_metadata", root), path.name)
    rows: list[tuple[str, str, Any, Any]] = []
    for key, value in root.items():
        where = f"{path.name}: {key[:80]!r}"
        try:
            entry = checked.mapping(value, where)
            name = checked.text(checked.keyed(entry, "filename", where), f"{where}.filename")
            name = builder.picture(name)
            regions = entry.get("regions") or []
            # Version 1 numbers regions as keys of an object.
            found = list(regions.values()) if isinstance(regions, dict) else regions
            for place, region in checked.numbered(checked.items(found, where), where):
                inner = checked.mapping(region, place)
                shape, words = inner.get("shape_attributes"), inner.get("region_attributes")
                rows.append((place, name, shape, words or {}))
        except TransectError as error:
            regions = value.get("regions") if isinstance(value, dict) else None
            lost = len(regions) if isinstance(regions, (list, dict)) else 0
            builder.problem(path.name, error, objects=lost, pictures=1)
    return rows


def _csv_rows(path: Path, builder: Builder) -> list[tuple[str, str, Any, Any]]:
    """Place, picture, shape and attributes of every region of a CSV file."""
    table, problems = read_table(path, [])
    builder.rows(problems)
    # VIA itself writes "#filename" as the first cell.
    table = table.rename(columns={"#filename": "filename"})
    lacking = {"filename", "region_shape_attributes", "region_attributes"} - set(table.columns)
    if lacking:
        raise TransectError(f"{path} lacks the column {min(lacking)}. Export it from VIA again.")
    rows: list[tuple[str, str, Any, Any]] = []
    columns = ("line", "filename", "region_shape_attributes", "region_attributes")
    for line, file, shape, words in zip(*(table[c] for c in columns), strict=True):
        where = f"{path.name} line {line}"
        try:
            name = builder.picture(checked.text(file, where))
            try:
                decoded = json.loads(shape or "{}"), json.loads(words or "{}")
            except (ValueError, RecursionError):
                raise TransectError(f"{where} has a cell that is no JSON. Export again.") from None
            if decoded[0]:
                rows.append((where, name, *decoded))
        except TransectError as error:
            builder.problem(path.name, error)
    return rows


def _label(attributes: Any, where: str, builder: Builder) -> str:
    """The class among a region's attributes; what else they say is told."""
    words = checked.mapping(attributes, f"{where}: region_attributes")
    key = next((k for k in _CLASS_KEYS if words.get(k)), None)
    if key is None:
        key = next((k for k, v in words.items() if v and k not in ("identity", "score")), None)
    builder.unkept(words, "identity", "score", *([] if key is None else [key]))
    value = None if key is None else words[key]
    if isinstance(value, dict):  # a checkbox: the first that is ticked
        ticked = [k for k, v in value.items() if v]
        if len(ticked) > 1:
            builder.reread(f"first of several ticks of {key!r} taken for the class")
        value = next(iter(ticked), None)
    return checked.label(value, f"{where}: region_attributes")


def _instance(shape: Any, attributes: Any, where: str, builder: Builder) -> Instance:
    """One region as an object."""
    values = checked.mapping(shape, f"{where}: shape_attributes")
    label = _label(attributes, where, builder)
    common: dict[str, Any] = {
        "identity": checked.optional_text(attributes.get("identity"), f"{where}: identity"),
        "confidence": checked.confidence(attributes.get("score"), f"{where}: score"),
    }

    def get(name: str) -> float:
        return checked.number(values.get(name), f"{where}.{name}")

    kind = values.get("name")
    if kind == "polygon":
        x = checked.items(values.get("all_points_x"), f"{where}.all_points_x")
        y = checked.items(values.get("all_points_y"), f"{where}.all_points_y")
        if len(x) != len(y):
            raise TransectError(f"{where} has {len(x)} x and {len(y)} y. Draw it again.")
        ring = checked.ring([list(pair) for pair in zip(x, y, strict=True)], where)
        return Instance(label, ((ring - 0.5,),), **common)
    if kind == "rect":
        left, top = get("x") - 0.5, get("y") - 0.5
        corners = checked.box((left, top, left + get("width"), top + get("height")), where)
        return Instance(label, box=corners, **common)
    if kind == "point":
        return Instance(label, point=(get("cx") - 0.5, get("cy") - 0.5), **common)
    if kind in ("circle", "ellipse"):
        radii = (get("r"), get("r")) if kind == "circle" else (get("rx"), get("ry"))
        turn = np.rad2deg(get("theta")) if "theta" in values else 0.0
        builder.reread(f"{kind} read as an outline")
        ring = ellipse_ring(get("cx") - 0.5, get("cy") - 0.5, *radii, degrees=float(turn))
        return Instance(label, ((ring,),), **common)
    raise TransectError(f"{where} is a {str(kind)[:40]!r}, which has no area. Draw a polygon.")


def _regions(instance: Instance, picture: Picture) -> list[dict[str, Any]]:
    """The regions of one object."""
    words: dict[str, Any] = {"class": instance.label}
    if instance.identity is not None:
        words["identity"] = instance.identity
    if instance.confidence is not None:
        words["score"] = instance.confidence
    shapes: list[dict[str, Any]] = []
    if instance.has_area:
        for ring in rings_of(instance, picture.size_hw):
            x, y = (ring + 0.5).T.tolist()
            shapes.append({"name": "polygon", "all_points_x": x, "all_points_y": y})
    elif instance.box is not None:
        x0, y0, x1, y1 = instance.box
        sides = {"width": x1 - x0, "height": y1 - y0}
        shapes.append({"name": "rect", "x": x0 + 0.5, "y": y0 + 0.5, **sides})
    elif instance.point is not None:
        x, y = instance.point
        shapes.append({"name": "point", "cx": x + 0.5, "cy": y + 0.5})
    return [{"shape_attributes": shape, "region_attributes": words} for shape in shapes]
