"""GeoPackage: tables of features in an SQLite file, read and written without a library."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Builder
from transect.data.formats.wkb import encoded, geometry
from transect.errors import TransectError
from transect.files import atomic_path

__all__ = ["features", "write"]

_LIMIT = 8 << 30  # bytes
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


def write(
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
    return struct.pack("<2sBBi", b"GP", 0, 1, srs) + encoded(kind, coordinates)


def features(
    path: Path, builder: Builder
) -> Iterator[tuple[str, tuple[str, Any], dict[str, Any], int | None]]:
    """Place, geometry, columns and reference system of every feature of every layer."""
    if not path.is_file() or path.stat().st_size > _LIMIT:
        raise TransectError(f"{path} is missing or larger than {_LIMIT >> 30} GiB. Split it.")
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
        try:
            if blob is None:
                raise TransectError(f"{where} has no geometry. Draw it, or remove it.")
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
    return geometry(blob, 8 + envelope, where)
