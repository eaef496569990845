"""Well-known binary: the geometries of GeoPackages and shapefiles, decoded within bounds."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Part
from transect.errors import TransectError

__all__ = ["closed", "encoded", "geometry"]

_VERTICES = 1_000_000  # of one geometry


def geometry(blob: bytes, at: int, where: str) -> tuple[str, Any]:
    """Decode a geometry.

    Args:
        blob: Bytes that hold it.
        at: Where it begins.
        where: Its place, for messages.

    Returns:
        ("points", (K, 2)) or ("parts", pieces).

    Raises:
        TransectError: If it is cut off, or has no area and no points.
    """
    try:
        return _wkb(blob, at, where, 0)[0]
    except (struct.error, ValueError) as error:
        raise TransectError(f"{where} has a geometry that is cut off. Export it again.") from error


def closed(points: NDArray[np.float64], where: str, least: int) -> NDArray[np.float64]:
    """Points without the repeated last one, checked."""
    if len(points) > 3 and (points[0] == points[-1]).all():
        points = points[:-1]
    if len(points) < least or not (np.abs(points) < 1e9).all():
        raise TransectError(f"{where} has too few points, or such beyond the Earth. Correct it.")
    return points


def _wkb(blob: bytes, at: int, where: str, depth: int) -> tuple[tuple[str, Any], int]:
    """Decode well-known binary at a place; gives the place behind it."""
    order = "<" if blob[at : at + 1] == b"\x01" else ">"
    (code,) = struct.unpack_from(f"{order}I", blob, at + 1)
    at += 5
    extra = {0: 0, 1: 1, 2: 1, 3: 2}.get(code % 0x10000000 // 1000, 0)
    extra += (code >> 31 & 1) + (code >> 30 & 1)
    kind, width = code % 1000 if code < 1 << 28 else code & 0xFF, 2 + extra
    if kind == 1:
        point = np.frombuffer(blob, f"{order}f8", width, at).astype(np.float64)[None, :2]
        return ("points", closed(point, where, 1)), at + 8 * width
    if kind == 3:
        rings, at = _wkb_rings(blob, at, order, width, where)
        return ("parts", (rings,)), at
    if kind not in (4, 6) or depth:
        raise TransectError(f"{where} is a geometry of type {kind}, without area. Remove it.")
    (count,) = struct.unpack_from(f"{order}I", blob, at)
    at += 4
    if not 0 < count <= _VERTICES:
        raise TransectError(f"{where} has {count} pieces. Remove it.")
    pieces = []
    for _ in range(count):
        (inner, values), at = _wkb(blob, at, where, depth + 1)
        if inner != ("points" if kind == 4 else "parts"):
            raise TransectError(f"{where} mixes points and polygons. Export it again.")
        pieces.append(values)
    if kind == 4:
        return ("points", np.concatenate(pieces)), at
    return ("parts", tuple(part for piece in pieces for part in piece)), at


def _wkb_rings(blob: bytes, at: int, order: str, width: int, where: str) -> tuple[Part, int]:
    """The rings of a polygon."""
    (count,) = struct.unpack_from(f"{order}I", blob, at)
    at += 4
    rings = []
    if not 0 < count <= _VERTICES:
        raise TransectError(f"{where} has a polygon of {count} rings. Remove it.")
    for _ in range(count):
        (points,) = struct.unpack_from(f"{order}I", blob, at)
        values = np.frombuffer(blob, f"{order}f8", points * width, at + 4)
        ring = values.reshape(-1, width)[:, :2].astype(np.float64)
        rings.append(closed(ring, where, 3))
        at += 4 + 8 * width * points
    return tuple(rings), at


def encoded(kind: str, coordinates: list[Any]) -> bytes:
    """A Point or MultiPolygon, with coordinates as GeoJSON has them, as well-known binary."""
    if kind == "Point":
        return struct.pack("<BI2d", 1, 1, *coordinates)
    body = struct.pack("<BII", 1, 6, len(coordinates))
    for part in coordinates:
        body += struct.pack("<BII", 1, 3, len(part))
        for ring in part:
            body += struct.pack("<I", len(ring)) + np.array(ring, "<f8").tobytes()
    return body
