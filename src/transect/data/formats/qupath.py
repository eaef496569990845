"""QuPath: a GeoJSON per picture in pixels from the outer corner; called after its picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.folder import stem_of
from transect.data.formats import checked
from transect.data.formats.geojson import geometry_of
from transect.data.formats.head import Head
from transect.data.formats.stems import files_below, picture_of
from transect.data.outlines import box_ring
from transect.data.shapes import parts_of
from transect.errors import TransectError
from transect.files import safe_join, write_text

__all__ = ["NAME", "matches", "read", "write"]

NAME = "qupath"
_SUFFIXES = (".geojson", ".json")
_ENDINGS = (".qupath", "_annotations", "_detections", "-annotations")


def matches(head: Head) -> bool:
    """Whether a file, or the first GeoJSON of a folder, is QuPath's: features with objectType."""
    if head.is_dir:
        first = next(iter(files_below(head.path, (".geojson",))), None)
        return first is not None and matches(Head(first))
    entry = head.first
    if entry.get("type") == "FeatureCollection":
        features = entry.get("features")
        listed = features[0] if isinstance(features, list) and features else {}
        entry = listed if isinstance(listed, dict) else {}
        if not features and head.first.get("generator") == "transect-qupath":
            return True
    words = entry.get("properties")
    if entry.get("type") != "Feature" or not isinstance(words, dict):
        return False
    # Version 0.2 wrote object_type, and the kind as the feature's id.
    return bool({"objectType", "object_type"} & words.keys()) or str(entry.get("id")).startswith(
        "Path"
    )


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read GeoJSON files of QuPath.

    The class is the name of the classification, else of the object. A rectangle that is one in
    the axes is read as an outline, unless we wrote it as a box.

    Args:
        path: A GeoJSON, or a folder of them, one per picture.
        pictures: The pictures.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: If there is no such file.
    """
    files = [path] if path.is_file() else files_below(path, _SUFFIXES)
    if not files:
        raise TransectError(f"{path} has no .geojson. Name the folder of QuPath's exports.")
    root = path if path.is_dir() else path.parent
    builder = Builder(pictures)
    for file in files:
        shown = file.relative_to(root).as_posix()
        try:
            value = checked.read_json(file)
            listed = value.get("features", [value]) if isinstance(value, dict) else value
            features = checked.items(listed, shown)
            name = builder.picture(picture_of(stem_of(shown), _ENDINGS, pictures))
        except TransectError as error:
            builder.problem(shown, error, objects=0, pictures=1)
            continue
        for where, feature in checked.numbered(features, f"{shown}: features"):
            try:
                for instance in _instances(checked.mapping(feature, where), where, builder):
                    builder.add(name, instance)
            except TransectError as error:
                builder.problem(shown, error)
    return builder.done()


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write a GeoJSON per picture into a folder; drag it onto the open picture in QuPath.

    Args:
        annotations: Pictures with masks need their size.
        path: The folder.
        pictures: Not needed.

    Returns:
        The files written.
    """
    written = []
    for picture in annotations.pictures:
        target = safe_join(path, stem_of(picture.name) + ".geojson")
        lines = [json.dumps(_feature(i, picture)) for i in picture.instances]
        head = '{"type": "FeatureCollection", "generator": "transect-qupath", "features": ['
        body = ",\n".join(lines)
        write_text(target, f"{head}\n{body}\n]}}\n")
        written.append(target)
    return written


def _instances(feature: dict[str, Any], where: str, builder: Builder) -> list[Instance]:
    """The objects of one feature: one, or one per point."""
    words = checked.mapping(feature.get("properties") or {}, f"{where}.properties")
    given = words.get("classification")
    named = given.get("name") if isinstance(given, dict) else given
    if isinstance(given, dict) and given.get("names"):
        named = ": ".join(map(str, checked.items(given["names"], where)))
    said = words.get("metadata") if isinstance(words.get("metadata"), dict) else {}
    assert said is not None
    if words.get("measurements"):
        builder.reread("measurements not kept")
    if feature.get("nucleusGeometry"):
        builder.reread("nucleus of a cell not kept, its outline is")
    common: dict[str, Any] = {
        "label": checked.label(named or words.get("name"), f"{where}: classification"),
        "identity": checked.optional_text(said.get("identity"), f"{where}: identity"),
        "confidence": checked.confidence(said.get("confidence"), f"{where}: confidence"),
    }
    kind, parts = geometry_of(checked.mapping(feature.get("geometry"), where), where)
    if kind == "points":
        if len(parts) > 1:
            builder.reread("points of one annotation: an object each")
        return [Instance(**common, point=(x, y)) for x, y in (parts - 0.5).tolist()]
    moved = tuple(tuple(ring - 0.5 for ring in part) for part in parts)
    if said.get("shape") == "box":
        low, high = moved[0][0].min(axis=0).tolist(), moved[0][0].max(axis=0).tolist()
        return [Instance(**common, box=checked.box((*low, *high), where))]
    return [Instance(**common, parts=moved)]


def _feature(instance: Instance, picture: Picture) -> dict[str, Any]:
    """One object as a feature."""
    said: dict[str, str] = {}
    if instance.identity is not None:
        said["identity"] = instance.identity
    if instance.confidence is not None:
        said["confidence"] = repr(instance.confidence)
    if instance.has_area or instance.box is not None:
        parts = parts_of(instance, picture.size_hw) if instance.has_area else ()
        if not instance.has_area and instance.box is not None:
            said["shape"] = "box"
            parts = ((box_ring(*instance.box),),)
        rings = [[(r + 0.5).tolist() for r in part] for part in parts]
        closed = [[[*ring, ring[0]] for ring in part] for part in rings]
        geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": closed}
        if len(closed) == 1:
            geometry = {"type": "Polygon", "coordinates": closed[0]}
    else:
        x, y = instance.point or (0.0, 0.0)
        geometry = {"type": "Point", "coordinates": [x + 0.5, y + 0.5]}
    words = {"objectType": "annotation", "classification": {"name": instance.label}}
    return {"type": "Feature", "geometry": geometry, "properties": {**words, "metadata": said}}
