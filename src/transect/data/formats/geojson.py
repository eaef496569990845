"""GeoJSON: features with their properties, in map coordinates; read and written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Builder
from transect.data.formats import checked
from transect.data.formats.wkb import closed
from transect.errors import TransectError
from transect.files import write_text

__all__ = ["features", "geometry_of", "write"]


def features(
    path: Path, builder: Builder
) -> Iterator[tuple[str, tuple[str, Any], dict[str, Any], int | None]]:
    """Place, geometry, properties and reference system of every feature."""
    root = checked.mapping(checked.read_json(path), path.name)
    epsg = _named_system(root.get("crs"), path)
    values = root.get("features", []) if root.get("type") == "FeatureCollection" else [root]
    for where, value in checked.numbered(
        checked.items(values, path.name), f"{path.name}: features"
    ):
        try:
            feature = checked.mapping(value, where)
            if feature.get("geometry") is None:
                raise TransectError(f"{where} has no geometry. Draw it, or remove it.")
            geometry = geometry_of(checked.mapping(feature["geometry"], where), where)
            words = checked.mapping(feature.get("properties") or {}, where)
            yield where, geometry, words, epsg
        except TransectError as error:
            builder.problem(path.name, error)


def _named_system(crs: Any, path: Path) -> int | None:
    """The number in a ``crs`` member, or None without one."""
    if crs is None:
        return None  # the pictures' own system, or degrees: see ``_place``
    name = crs.get("properties") if isinstance(crs, dict) else None
    text = str(name.get("name")) if isinstance(name, dict) else ""
    if "CRS84" in text:
        return 4326
    found = re.search(r"EPSG:(?:[\d.]*:)?(\d{3,6})\Z", text)
    if found is None:
        raise TransectError(f"{path} has an unknown crs {text[:60]!r}. Write EPSG:number.")
    return int(found.group(1))


def geometry_of(value: dict[str, Any], where: str) -> tuple[str, Any]:
    """("points", (K, 2)) or ("parts", pieces)."""
    kind, coordinates = value.get("type"), value.get("coordinates")
    if kind == "Point":
        return "points", _positions([coordinates], where, 1)
    if kind == "MultiPoint":
        return "points", _positions(coordinates, where, 1)
    if kind in ("Polygon", "MultiPolygon"):
        many = [coordinates] if kind == "Polygon" else checked.items(coordinates, where)
        pieces = []
        for piece in many:
            rings = checked.items(piece, where)
            if not rings:
                raise TransectError(f"{where} has a polygon without rings. Remove it.")
            pieces.append(tuple(_positions(ring, where, 3) for ring in rings))
        if not pieces:
            raise TransectError(f"{where} has no coordinates. Remove it.")
        return "parts", tuple(pieces)
    raise TransectError(f"{where} is a {str(kind)[:40]!r}, which has no area. Remove it.")


def _positions(value: Any, where: str, least: int) -> NDArray[np.float64]:
    """Positions as (K, 2); heights are dropped, a repeated last point too."""
    found = checked.items(value, where)
    try:
        points = np.array([[float(p[0]), float(p[1])] for p in found], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        raise TransectError(f"{where} has coordinates that are no numbers. Correct them.") from None
    return closed(points, where, least)


def write(
    path: Path, features: Sequence[tuple[str, list[Any], dict[str, Any]]], epsg: int | None
) -> None:
    """Write a feature collection."""
    head: dict[str, Any] = {"type": "FeatureCollection", "name": path.stem}
    if epsg is not None:
        name = f"urn:ogc:def:crs:EPSG::{epsg}"
        head["crs"] = {"type": "name", "properties": {"name": name}}
    lines = [
        json.dumps(
            {
                "type": "Feature",
                "properties": words,
                "geometry": {"type": kind, "coordinates": coordinates},
            }
        )
        for kind, coordinates, words in features
    ]
    body = ",\n".join(lines)
    write_text(path, f'{json.dumps(head)[:-1]}, "features": [\n{body}\n]}}\n')
