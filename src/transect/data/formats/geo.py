"""Annotations on the ground: GeoJSON, GeoPackage and shapefiles, placed by GeoTIFF tags.

Map coordinates are those of the pictures unless the file says otherwise; between two reference
systems rasterio reprojects (``pip install transect[geo]``). The position tags themselves are read
without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Annotations, Builder, Instance, Part, Picture, Pictures
from transect.data.formats import checked, geojson, gpkg, shapefile
from transect.data.formats.ground import Ground, ground_of, reprojected
from transect.data.formats.head import Head
from transect.data.outlines import box_ring, fill_window, signed_area
from transect.data.shapes import parts_of
from transect.errors import TransectError

__all__ = ["NAME", "Ground", "ground_of", "matches", "read", "write"]

NAME = "geo"
_CLASS_KEYS = ("class", "label", "species", "category", "classname", "class_name", "type", "name")
_KNOWN = ("image", "identity", "confidence", "shape", "fid", "id", "objectid")


def matches(head: Head) -> bool:
    """Whether a file is GeoJSON, GeoPackage or a shapefile."""
    value = head.json
    kinds = ("FeatureCollection", "Feature")
    named = head.suffix in (".gpkg", ".shp")
    return named or (isinstance(value, dict) and value.get("type") in kinds)


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read features and place them on the pictures.

    A feature with a property ``image`` belongs to that picture, any other to every picture that
    it covers a pixel of. Without ``crs`` the positions are in the pictures' system or, if they lie
    on none of them and can be degrees, WGS 84. Points, multipoints, polygons and multipolygons are
    read; ``class`` (or label, species, name, in any case), ``identity``, ``confidence`` and
    ``shape: box`` are understood.

    Args:
        path: GeoJSON, GeoPackage or a shapefile.
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
    readers = {".gpkg": gpkg.features, ".shp": shapefile.features}
    features = readers.get(path.suffix.lower(), geojson.features)
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
    writers = {".gpkg": gpkg.write, ".shp": shapefile.write}
    writers.get(path.suffix.lower(), geojson.write)(path, features, epsg)
    return [path]


def _place(
    where: str,
    geometry: tuple[str, Any],
    words: Mapping[str, Any],
    epsg: int | None,
    index: _Index,
    builder: Builder,
) -> None:
    """Put one feature on its pictures."""
    said = {key.lower(): value for key, value in words.items()}
    chosen = next((k for k in _CLASS_KEYS if said.get(k)), "")
    builder.unkept(said, *_KNOWN, chosen)
    common: dict[str, Any] = {
        "label": checked.label(said.get(chosen), f"{where}: class"),
        "identity": checked.optional_text(said.get("identity"), f"{where}: identity"),
        "confidence": checked.confidence(said.get("confidence"), f"{where}: confidence"),
    }
    key = None
    if said.get("image") and builder.pictures is not None:
        name = checked.text(said["image"], f"{where}: image")
        key = builder.pictures.find(name)
        if key not in index.grounds:
            raise TransectError(f"{where} names {name[:80]!r}, which is no GeoTIFF here.")
    kind, parts = geometry
    # Each dot goes to the pictures that hold it, the outline to those that it covers a pixel of.
    pieces = [points[None] for points in parts] if kind == "points" else [_outer(parts)]
    placed = 0
    for piece in pieces:
        if epsg is None and not index.holding(piece, None) and (np.abs(piece) <= (180, 90)).all():
            epsg = 4326  # RFC 7946: degrees, unless a crs says otherwise
        for name in [key] if key is not None else index.holding(piece, epsg):
            ground = index.grounds[name]
            if kind == "points":
                x, y = index.pixels(piece, epsg, ground)[0].tolist()
                builder.add(name, Instance(**common, point=(x, y)))
                placed += 1
                continue
            moved = tuple(tuple(index.pixels(r, epsg, ground) for r in part) for part in parts)
            if key is None and not fill_window(moved, index.sizes[name])[0].any():
                continue
            placed += 1
            if said.get("shape") == "box":
                every = _outer(moved)
                low, high = every.min(axis=0).tolist(), every.max(axis=0).tolist()
                builder.add(name, Instance(**common, box=checked.box((*low, *high), where)))
            else:
                builder.add(name, Instance(**common, parts=moved))
    if not placed:
        raise TransectError(f"{where} lies on none of the pictures. Add its GeoTIFF.")
    if placed > 1:
        why = "dots of one feature: an object each"
        builder.reread(why if len(pieces) > 1 else "over several pictures: an object on each")


def _outer(parts: Sequence[Part]) -> NDArray[np.float64]:
    """All points of the outer rings: (K, 2)."""
    return np.concatenate([part[0] for part in parts])


class _Index:
    """Which of many pictures hold a position on the ground."""

    def __init__(self, grounds: dict[str, Ground], sizes: dict[str, tuple[int, int]]) -> None:
        """Gather the places of all pictures by their reference systems."""
        self.grounds, self.sizes = grounds, sizes
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

    def holding(self, points: NDArray[np.float64], epsg: int | None) -> list[str]:
        """The pictures that map positions (K, 2) reach into, by the box around them."""
        found = []
        for target, names in self._systems.items():
            moved = reprojected(points, epsg, target)
            (x0, y0), (x1, y1) = moved.min(axis=0), moved.max(axis=0)
            corners = np.array([[x0, x1, x0, x1], [y0, y0, y1, y1], [1.0, 1.0, 1.0, 1.0]])
            place = self._inverses[target] @ corners  # (P, 2, 4) column, row
            low, high = place.min(axis=2), place.max(axis=2)
            inside = ((high >= 0) & (low < self._limits[target])).all(axis=1)
            found += [names[i] for i in np.flatnonzero(inside)]
        return found

    def pixels(
        self, points: NDArray[np.float64], epsg: int | None, ground: Ground
    ) -> NDArray[np.float64]:
        """Map positions (K, 2) in any system as our pixel positions."""
        return ground.to_pixels(reprojected(points, epsg, ground.epsg))


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
