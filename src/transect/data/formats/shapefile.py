"""ESRI shapefiles, by pyogrio (``pip install transect[geo]``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transect.data.exchange import Builder
from transect.data.formats.wkb import encoded, geometry
from transect.errors import TransectError

__all__ = ["features", "write"]

_FIELDS = ("image", "class", "identity", "confidence", "shape")


def features(
    path: Path, builder: Builder
) -> Iterator[tuple[str, tuple[str, Any], dict[str, Any], int | None]]:
    """Place, geometry, columns and reference system of every feature.

    Raises:
        TransectError: If pyogrio is missing, or the file cannot be read.
    """
    raw = _pyogrio(path)
    try:
        meta, _, blobs, columns = raw.read(path)
    except Exception as error:  # GDAL's errors, and those of pyogrio
        raise TransectError(
            f"{path} cannot be read as a shapefile ({str(error)[:100]}). Keep its .shx and .dbf "
            "beside it, or export a GeoPackage."
        ) from error
    names = [str(name) for name in meta["fields"]]
    epsg = _epsg(meta.get("crs"))
    for number, blob in enumerate(blobs):
        where = f"{path.name}: feature {number + 1}"
        words = {name: _plain(column[number]) for name, column in zip(names, columns, strict=True)}
        try:
            if blob is None:
                raise TransectError(f"{where} has no geometry. Draw it, or remove it.")
            yield where, geometry(bytes(blob), 0, where), words, epsg
        except TransectError as error:
            builder.problem(path.name, error)


def write(
    path: Path, found: Sequence[tuple[str, list[Any], dict[str, Any]]], epsg: int | None
) -> None:
    """Write a shapefile of dots or of outlines.

    Raises:
        TransectError: If there are both, or pyogrio is missing.
    """
    raw = _pyogrio(path)
    kinds = {kind for kind, _, _ in found}
    if len(kinds) != 1:
        what = "dots and outlines" if kinds else "nothing"
        raise TransectError(
            f"a shapefile cannot hold {what}. Write a GeoPackage, {path.stem}.gpkg."
        )
    columns = [np.array([words.get(f) for _, _, words in found], object) for f in _FIELDS[:3]]
    sure = [words.get("confidence") for _, _, words in found]
    columns.append(np.array([np.nan if v is None else float(v) for v in sure]))
    columns.append(np.array([words.get("shape") for _, _, words in found], object))
    blobs = np.array([encoded(kind, place) for kind, place, _ in found], object)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        raw.write(
            path,
            blobs,
            columns,
            np.array(_FIELDS, object),
            geometry_type=next(iter(kinds)),
            crs=None if epsg is None else f"EPSG:{epsg}",
            driver="ESRI Shapefile",
            encoding="UTF-8",
        )
    except Exception as error:  # GDAL's errors, and those of pyogrio
        raise TransectError(f"{path} cannot be written ({str(error)[:100]}).") from error


def _pyogrio(path: Path) -> Any:
    """Pyogrio's interface without geopandas."""
    try:
        from pyogrio import raw
    except ImportError as error:
        raise TransectError(
            f"{path} is a shapefile, and pyogrio reads it. Install it: pip install transect[geo], "
            "or export GeoJSON or a GeoPackage."
        ) from error
    return raw


def _epsg(crs: Any) -> int | None:
    """The number of a reference system, or None."""
    found = re.search(r"EPSG:(\d{3,6})\Z", str(crs))
    return int(found[1]) if found else None


def _plain(value: Any) -> Any:
    """A cell as Python has it: NaN is nothing."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and value != value else value
