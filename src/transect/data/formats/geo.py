"""GeoJSON and GeoPackage: annotations on the ground, placed by the pictures' GeoTIFF tags.

Map coordinates are those of the pictures unless the file says otherwise; between two reference
systems rasterio reprojects (``pip install transect[geo]``). The position tags themselves are read
without it.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Annotations, Builder, Instance, Part, Picture, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.images import geo_tags
from transect.data.outlines import box_ring, signed_area
from transect.data.shapes import parts_of
from transect.errors import TransectError
from transect.files import atomic_path, write_text

__all__ = ["NAME", "Ground", "ground_of", "matches", "read", "write"]

NAME = "geo"
_GPKG_LIMIT = 8 << 30
_VERTICES = 1_000_000  # of one geometry


@dataclass(frozen=True)
class Ground:
    """Where a picture lies.

    Attributes:
        matrix: (2, 3): map x, y = matrix @ (column, row, 1), counted from the outer corner.
        epsg: The reference system's number, or None if the tags do not tell one.
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    epsg: int | None

    def to_map(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Our pixel positions (K, 2) as map coordinates (K, 2)."""
        matrix = np.array(self.matrix)
        return (points + 0.5) @ matrix[:, :2].T + matrix[:, 2]

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map coordinates (K, 2) as our pixel positions (K, 2)."""
        matrix = np.array(self.matrix)
        return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T - 0.5


def ground_of(path: Path) -> Ground | None:
    """Read where a picture lies from its GeoTIFF tags.

    Args:
        path: A picture.

    Returns:
        Its place, or None if it is no TIFF or has no such tags.

    Raises:
        TransectError: If the tags are broken.
    """
    with path.open("rb") as handle:
        if handle.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return None
    tags = {code: value for code, _, _, value, _ in geo_tags(path)}
    try:
        if 34264 in tags:
            m = [float(v) for v in tags[34264]]
            matrix = ((m[0], m[1], m[3]), (m[4], m[5], m[7]))
        elif 33550 in tags and 33922 in tags:
            scale, tie = tags[33550], tags[33922]
            sx, sy = float(scale[0]), -float(scale[1])
            x, y = float(tie[3]) - sx * float(tie[0]), float(tie[4]) - sy * float(tie[1])
            matrix = ((sx, 0.0, x), (0.0, sy, y))
        else:
            return None
        keys = [int(v) for v in tags.get(34735, ())]
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise TransectError(
            f"{path} has broken position tags. Export the GeoTIFF again."
        ) from error
    values = {keys[i]: keys[i + 3] for i in range(4, len(keys) - 3, 4) if keys[i + 1] == 0}
    epsg = next((values[k] for k in (3072, 2048) if 0 < values.get(k, 0) < 32767), None)
    if values.get(1025) == 2:  # the tie point means the pixel's centre
        (a, b, c), (d, e, f) = matrix
        matrix = ((a, b, c - (a + b) / 2), (d, e, f - (d + e) / 2))
    (a, b, _), (d, e, _) = matrix
    if not all(math.isfinite(v) for row in matrix for v in row) or abs(a * e - b * d) < 1e-30:
        raise TransectError(f"{path} has position tags without extent. Export the GeoTIFF again.")
    return Ground(matrix, epsg)


def matches(head: Head) -> bool:
    """Whether a file is GeoJSON or GeoPackage."""
    value = head.json
    kinds = ("FeatureCollection", "Feature")
    return head.suffix == ".gpkg" or (isinstance(value, dict) and value.get("type") in kinds)


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read features and place them on the pictures.

    A feature with a property ``image`` belongs to that picture, any other to every picture that
    holds its centre. Without ``crs`` the positions are in the pictures' system or, if they lie on
    none of them and can be degrees, WGS 84. Points, multipoints, polygons and multipolygons are
    read; ``class`` (or label, species, name), ``identity``, ``confidence`` and ``shape: box`` are
    understood.

    Args:
        path: GeoJSON or GeoPackage.
        pictures: The GeoTIFFs.

    Returns:
        All georeferenced pictures with their objects; faulty features, and those on no picture,
        are left out and listed.

    Raises:
        TransectError: If no picture has a position, or the file cannot be read.
    """
    if pictures is None:
        raise TransectError(
            f"{path.name} is in map coordinates. Name the folder of its GeoTIFFs with --images."
        )
    builder = Builder(pictures)
    grounds: dict[str, Ground] = {}
    for name in pictures.paths:
        try:
            ground = ground_of(pictures.paths[name])
            if ground is not None and pictures.size(name) is not None:
                grounds[builder.picture(name)] = ground
        except TransectError as error:
            builder.problem(name, error, objects=0, pictures=1)
    if not grounds:
        raise TransectError(
            f"no picture in {pictures.folder} has a position on the ground. Give GeoTIFFs."
        )
    features = _gpkg_features if path.suffix.lower() == ".gpkg" else _geojson_features
    sizes = {name: builder.size(name, "its extent follows from it") for name in grounds}
    index = _Index(grounds, sizes)
    for where, geometry, words, epsg in features(path, builder):
        try:
            _place(where, geometry, words, epsg, index, builder)
        except TransectError as error:
            builder.problem(path.name, error)
    return builder.done()


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write features in the map coordinates of the pictures: GeoPackage for .gpkg, else GeoJSON.

    GeoJSON names the reference system in a ``crs`` member, as GIS programs read and write it.

    Args:
        annotations: What to write.
        path: The file.
        pictures: The GeoTIFFs.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no position, or the pictures have several systems.
    """
    if pictures is None:
        raise TransectError(
            f"{path.name} needs map coordinates. Name the folder of the GeoTIFFs with --images."
        )
    features: list[tuple[str, list[Any], dict[str, Any]]] = []
    systems: set[int | None] = set()
    for picture in annotations.pictures:
        key = pictures.find(picture.name)
        ground = ground_of(pictures.paths[key]) if key else None
        if ground is None:
            raise TransectError(
                f"{picture.name} has no position on the ground, so nothing on it can be written to "
                "a map. Give GeoTIFFs, or write coco."
            )
        systems.add(ground.epsg)
        for instance in picture.instances:
            feature = _feature(instance, picture, ground)
            if feature is not None:
                features.append(feature)
    if len(systems) > 1:
        raise TransectError(
            f"the pictures have several reference systems ({systems}). Convert them one by one."
        )
    epsg = next(iter(systems), None)
    if path.suffix.lower() == ".gpkg":
        _write_gpkg(path, features, epsg)
    else:
        _write_geojson(path, features, epsg)
    return [path]


def _place(
    where: str,
    geometry: tuple[str, Any],
    words: dict[str, Any],
    epsg: int | None,
    index: _Index,
    builder: Builder,
) -> None:
    """Put one feature on its pictures."""
    label = next(
        (words[k] for k in ("class", "label", "species", "category", "name") if words.get(k)), None
    )
    common: dict[str, Any] = {
        "label": checked.label(label, f"{where}: class"),
        "identity": checked.optional_text(words.get("identity"), f"{where}: identity"),
        "confidence": checked.confidence(words.get("confidence"), f"{where}: confidence"),
    }
    key = None
    if words.get("image") and builder.pictures is not None:
        name = checked.text(words["image"], f"{where}: image")
        key = builder.pictures.find(name)
        if key not in index.grounds:
            raise TransectError(f"{where} names {name[:80]!r}, which is no GeoTIFF here.")
    kind, parts = geometry
    # Each dot, or the whole outline, goes to the pictures that hold its middle.
    pieces = [points[None] for points in parts] if kind == "points" else [_outer(parts)]
    placed = False
    for piece in pieces:
        middle = (piece.min(axis=0) + piece.max(axis=0)) / 2
        if epsg is None and not index.holding(middle, None) and (np.abs(middle) <= (180, 90)).all():
            epsg = 4326  # RFC 7946: degrees, unless a crs says otherwise
        for name in [key] if key is not None else index.holding(middle, epsg):
            ground = index.grounds[name]
            placed = True
            if kind == "points":
                x, y = index.pixels(piece, epsg, ground)[0].tolist()
                builder.add(name, Instance(**common, point=(x, y)))
                continue
            moved = tuple(tuple(index.pixels(r, epsg, ground) for r in part) for part in parts)
            if words.get("shape") == "box":
                every = _outer(moved)
                low, high = every.min(axis=0).tolist(), every.max(axis=0).tolist()
                builder.add(name, Instance(**common, box=checked.box((*low, *high), where)))
            else:
                builder.add(name, Instance(**common, parts=moved))
    if not placed:
        raise TransectError(f"{where} lies on none of the pictures. Add its GeoTIFF.")


def _outer(parts: Sequence[Part]) -> NDArray[np.float64]:
    """All points of the outer rings: (K, 2)."""
    return np.concatenate([part[0] for part in parts])


class _Index:
    """Which of many pictures hold a position on the ground."""

    def __init__(self, grounds: dict[str, Ground], sizes: dict[str, tuple[int, int]]) -> None:
        """Gather the places of all pictures by their reference systems."""
        self.grounds = grounds
        self._systems: dict[int | None, list[str]] = {}
        for name, ground in grounds.items():
            self._systems.setdefault(ground.epsg, []).append(name)
        self._inverses = {
            epsg: np.linalg.inv([(*grounds[n].matrix, (0.0, 0.0, 1.0)) for n in names])[:, :2]
            for epsg, names in self._systems.items()
        }
        self._limits = {
            epsg: np.array([sizes[n][::-1] for n in names]) for epsg, names in self._systems.items()
        }

    def holding(self, point: NDArray[np.float64], epsg: int | None) -> list[str]:
        """The pictures that hold a map position (2,)."""
        found = []
        for target, names in self._systems.items():
            x, y = _reprojected(point[None], epsg, target)[0]
            place = self._inverses[target] @ np.array([x, y, 1.0])  # (P, 2) column, row
            inside = ((place >= 0) & (place < self._limits[target])).all(axis=1)
            found += [names[i] for i in np.flatnonzero(inside)]
        return found

    def pixels(
        self, points: NDArray[np.float64], epsg: int | None, ground: Ground
    ) -> NDArray[np.float64]:
        """Map positions (K, 2) in any system as our pixel positions."""
        return ground.to_pixels(_reprojected(points, epsg, ground.epsg))


def _reprojected(
    points: NDArray[np.float64], source: int | None, target: int | None
) -> NDArray[np.float64]:
    """Map positions (K, 2) in another reference system; the same ones where that is the same."""
    if source is None or target is None or source == target:
        return points
    try:
        from rasterio.warp import transform
    except ImportError as error:
        raise TransectError(
            f"the features are in EPSG:{source} and the picture in EPSG:{target}. Install "
            "rasterio to reproject them: pip install transect[geo]."
        ) from error
    try:
        x, y = transform(
            f"EPSG:{source}", f"EPSG:{target}", points[:, 0].tolist(), points[:, 1].tolist()
        )
    except Exception as error:  # GDAL has errors of its own beside those of rasterio
        raise TransectError(
            f"coordinates cannot be moved from EPSG:{source} to EPSG:{target} "
            f"({str(error)[:80]}). Export them in the pictures' system."
        ) from error
    moved = np.stack([x, y], axis=1).astype(np.float64)
    if not np.isfinite(moved).all():
        raise TransectError(f"a feature lies outside the reach of EPSG:{target}. Remove it.")
    return moved


# --- GeoJSON -----------------------------------------------------------------------------------


def _geojson_features(
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
                continue
            geometry = _geometry(checked.mapping(feature["geometry"], where), where)
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


def _geometry(value: dict[str, Any], where: str) -> tuple[str, Any]:
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
    return _closed(points, where, least)


def _closed(points: NDArray[np.float64], where: str, least: int) -> NDArray[np.float64]:
    """Points without the repeated last one, checked."""
    if len(points) > 3 and (points[0] == points[-1]).all():
        points = points[:-1]
    if len(points) < least or not (np.abs(points) < 1e9).all():
        raise TransectError(f"{where} has too few points, or such beyond the Earth. Correct it.")
    return points


def _feature(
    instance: Instance, picture: Picture, ground: Ground
) -> tuple[str, list[Any], dict[str, Any]] | None:
    """Kind, coordinates and properties of one object; None for a word about the whole picture."""
    words: dict[str, Any] = {"image": picture.name, "class": instance.label}
    if instance.identity is not None:
        words["identity"] = instance.identity
    if instance.confidence is not None:
        words["confidence"] = instance.confidence
    if instance.point is not None and not instance.has_area and instance.box is None:
        return "Point", ground.to_map(np.array([instance.point]))[0].tolist(), words
    if instance.has_area:
        parts = parts_of(instance, picture.size_hw)
        words["shape"] = "outline"
    elif instance.box is not None:
        parts = ((box_ring(*instance.box),),)
        words["shape"] = "box"
    else:
        return None
    if not parts:
        return None
    return "MultiPolygon", [[r.tolist() for r in _turned(part, ground)] for part in parts], words


def _turned(part: Part, ground: Ground) -> Iterator[NDArray[np.float64]]:
    """Rings on the map, closed: the outer one anticlockwise, holes clockwise, as RFC 7946 asks."""
    for i, ring in enumerate(part):
        moved = ground.to_map(ring)
        # On a map y runs up, so what signed_area calls clockwise is anticlockwise there.
        if (signed_area(moved) > 0) != (i == 0):
            moved = moved[::-1]
        yield np.concatenate([moved, moved[:1]])


def _write_geojson(
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


# --- GeoPackage --------------------------------------------------------------------------------

_COLUMNS = ("image", "class", "identity", "confidence", "shape")
_SCHEMA = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY,
  organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL,
  description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL,
  identifier TEXT UNIQUE, description TEXT DEFAULT '', last_change DATETIME NOT NULL,
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
  geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
"""


def _write_gpkg(
    path: Path, features: Sequence[tuple[str, list[Any], dict[str, Any]]], epsg: int | None
) -> None:
    """Write a GeoPackage 1.2 with a table of points and a table of outlines."""
    srs = epsg if epsg is not None else -1
    tables = {"points": ("POINT", "Point"), "outlines": ("MULTIPOLYGON", "MultiPolygon")}
    with (
        atomic_path(path) as temporary,
        contextlib.closing(sqlite3.connect(temporary)) as base,
        base,
    ):
        base.execute("PRAGMA application_id = 1196444487")  # "GPKG"
        base.execute("PRAGMA user_version = 10200")
        base.executescript(_SCHEMA)
        systems = [("undefined", -1, "NONE", -1), ("undefined", 0, "NONE", 0)]
        systems += [("WGS 84", 4326, "EPSG", 4326)]
        if srs not in (-1, 4326):
            systems.append((f"EPSG:{srs}", srs, "EPSG", srs))
        base.executemany(
            "INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, NULL)",
            [(*system, _definition(system[1])) for system in systems],
        )
        for table, (type_name, kind) in tables.items():
            chosen = [f for f in features if f[0] == kind]
            if chosen or table == "points":
                _write_layer(base, table, type_name, chosen, srs)


def _definition(epsg: int) -> str:
    """The text of a reference system, if rasterio is there to tell it."""
    if epsg in (-1, 0):
        return "undefined"
    with contextlib.suppress(Exception):  # only a convenience: readers look EPSG numbers up
        from rasterio.crs import CRS

        return str(CRS.from_epsg(epsg).to_wkt())
    return "undefined"


def _write_layer(
    base: sqlite3.Connection,
    table: str,
    type_name: str,
    features: Sequence[tuple[str, list[Any], dict[str, Any]]],
    srs: int,
) -> None:
    """Write one table of features."""
    points = [_flat(coordinates) for _, coordinates, _ in features]
    extent: list[float | None] = [None] * 4
    if points:
        every = np.concatenate(points)
        extent = [*every.min(axis=0).tolist(), *every.max(axis=0).tolist()]
    base.execute(
        "INSERT INTO gpkg_contents VALUES (?, 'features', ?, '', '2000-01-01T00:00:00.000Z', "
        "?, ?, ?, ?, ?)",
        (table, table, *extent, srs),
    )
    base.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?, ?, 0, 0)", (table, type_name, srs)
    )
    base.execute(
        f"CREATE TABLE {table} (fid INTEGER PRIMARY KEY AUTOINCREMENT, geom {type_name}, "
        "image TEXT, class TEXT, identity TEXT, confidence DOUBLE, shape TEXT)"
    )
    base.executemany(
        f"INSERT INTO {table} (geom, image, class, identity, confidence, shape) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        [
            (_blob(kind, coordinates, srs), *(words.get(c) for c in _COLUMNS))
            for kind, coordinates, words in features
        ],
    )


def _flat(coordinates: list[Any]) -> NDArray[np.float64]:
    """All positions of a geometry as (K, 2)."""
    if isinstance(coordinates[0], (int, float)):
        return np.array([coordinates], np.float64)
    return np.concatenate([_flat(inner) for inner in coordinates])


def _blob(kind: str, coordinates: list[Any], srs: int) -> bytes:
    """A geometry in GeoPackage's binary form: header, then well-known binary."""
    head = struct.pack("<2sBBi", b"GP", 0, 1, srs)
    if kind == "Point":
        return head + struct.pack("<BI2d", 1, 1, *coordinates)
    body = struct.pack("<BII", 1, 6, len(coordinates))
    for part in coordinates:
        body += struct.pack("<BII", 1, 3, len(part))
        for ring in part:
            body += struct.pack("<I", len(ring)) + np.array(ring, "<f8").tobytes()
    return head + body


def _gpkg_features(
    path: Path, builder: Builder
) -> Iterator[tuple[str, tuple[str, Any], dict[str, Any], int | None]]:
    """Place, geometry, columns and reference system of every feature of every layer."""
    if not path.is_file() or path.stat().st_size > _GPKG_LIMIT:
        raise TransectError(f"{path} is missing or larger than {_GPKG_LIMIT >> 30} GiB. Split it.")
    address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as base:
            base.execute("PRAGMA trusted_schema = OFF")
            steps = iter(range(20_000))
            base.set_progress_handler(lambda: next(steps, None) is None, 1_000_000)
            layers = base.execute(
                "SELECT g.table_name, g.column_name, s.organization_coordsys_id FROM "
                "gpkg_geometry_columns g JOIN sqlite_master m ON m.name = g.table_name AND "
                "m.type = 'table' LEFT JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id "
                "LIMIT 1000"
            ).fetchall()
            for table, column, epsg in layers:
                yield from _layer_features(base, path, str(table), str(column), epsg, builder)
    except (sqlite3.Error, UnicodeError, OverflowError) as error:
        raise TransectError(
            f"{path} is not a GeoPackage that can be read ({str(error)[:100]}). Export it again."
        ) from error


def _layer_features(
    base: sqlite3.Connection,
    path: Path,
    table: str,
    column: str,
    epsg: Any,
    builder: Builder,
) -> Iterator[tuple[str, tuple[str, Any], dict[str, Any], int | None]]:
    """The features of one layer."""
    quoted = '"' + table.replace('"', '""') + '"'
    cursor = base.execute(f"SELECT * FROM {quoted}")
    names = [str(d[0]) for d in cursor.description]
    if column not in names:
        raise TransectError(f"{path}: layer {table[:60]!r} has no geometry. Export it again.")
    system = epsg if isinstance(epsg, int) and epsg > 0 else None
    for number, row in enumerate(cursor, start=1):
        where = f"{path.name}: {table[:60]} row {number}"
        words = dict(zip(names, row, strict=True))
        blob = words.pop(column)
        if blob is None:
            continue
        try:
            if not isinstance(blob, bytes):
                raise TransectError(f"{where} has no binary geometry. Export it again.")
            yield where, _from_blob(blob, where), words, system
        except TransectError as error:
            builder.problem(path.name, error)


def _from_blob(blob: bytes, where: str) -> tuple[str, Any]:
    """Decode a GeoPackage geometry."""
    if len(blob) < 8 or blob[:2] != b"GP":
        raise TransectError(f"{where} is no GeoPackage geometry. Export it again.")
    envelope = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}.get(blob[3] >> 1 & 7)
    if envelope is None or blob[3] & 0x20:
        raise TransectError(f"{where} has a geometry of an unknown kind. Export it again.")
    try:
        found, _ = _wkb(blob, 8 + envelope, where, 0)
    except (struct.error, ValueError) as error:
        raise TransectError(f"{where} has a geometry that is cut off. Export it again.") from error
    return found


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
        return ("points", _closed(point, where, 1)), at + 8 * width
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
        rings.append(_closed(ring, where, 3))
        at += 4 + 8 * width * points
    return tuple(rings), at
