"""LabelMe: a JSON per picture with shapes; positions count from the outer corner."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data import rle
from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.folder import stem_of
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.outlines import ellipse_ring
from transect.data.shapes import rings_of
from transect.errors import TransectError
from transect.files import safe_join, write_json

__all__ = ["NAME", "matches", "read", "write"]

NAME = "labelme"
_IDENTITY = "identity: "  # before an identity in a description


def matches(head: Head) -> bool:
    """Whether a file, or the first JSON of a folder, is LabelMe's: shapes and imagePath."""
    if head.is_dir:
        first = next((p for p in sorted(head.path.rglob("*.json"))), None)
        return first is not None and matches(Head(first))
    value = head.json
    return isinstance(value, dict) and "shapes" in value and "imagePath" in value


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read LabelMe files.

    Polygons, rectangles, circles, points and masks are read; shapes of one ``group_id`` and
    label are one object. Lines have no area and are left out. A picture is called after
    its JSON file, or where no picture is, after ``imagePath``; ``imageData`` is never decoded.
    A description is an identity only where we wrote it (``identity: name``).

    Args:
        path: A JSON file, or a folder of them at any depth.
        pictures: Where sizes are looked up that a file does not tell.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: If there is no such file.
    """
    builder = Builder(pictures)
    root = path if path.is_dir() else path.parent
    for file in checked.json_files(path):
        shown = file.relative_to(root).as_posix()
        value = None
        try:
            value = checked.mapping(checked.read_json(file), shown)
            source = checked.text(checked.keyed(value, "imagePath", shown), f"{shown}: imagePath")
            suffix = PurePosixPath(source.replace("\\", "/")).suffix
            size = checked.size(value.get("imageHeight"), value.get("imageWidth"), shown)
            stem = stem_of(shown).removeprefix("images/")
            own = pictures is None or pictures.find(stem + suffix) or not pictures.find(source)
            name = builder.picture(stem + suffix if own else source, size)
            builder.unkept(checked.mapping(value.get("flags") or {}, f"{shown}: flags"))
            shapes = checked.items(checked.keyed(value, "shapes", shown), f"{shown}: shapes")
        except TransectError as error:
            drawn = value.get("shapes") if isinstance(value, dict) else None
            lost = len(drawn) if isinstance(drawn, list) else 0
            builder.problem(shown, error, objects=lost, pictures=1)
            continue
        groups: dict[object, list[Instance]] = {}  # in the order of their first shape
        for number, (where, shape) in enumerate(checked.numbered(shapes, f"{shown}: shapes")):
            try:
                entry = checked.mapping(shape, where)
                instance = _instance(entry, where, name, builder)
                group = entry.get("group_id")
                grouped = group is not None and instance.parts
                key = (
                    (checked.text(group, f"{where}.group_id"), instance.label)
                    if grouped
                    else number
                )
                groups.setdefault(key, []).append(instance)
            except TransectError as error:
                builder.problem(shown, error)
        for instances in groups.values():
            if len(instances) > 1:
                extra = len(instances) - 1
                builder.reread("piece of one group_id joined to its object", objects=extra)
            parts = tuple(part for instance in instances for part in instance.parts)
            builder.add(name, replace(instances[0], parts=parts))
    return builder.done()


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write one LabelMe file per picture, into the folder ``path``.

    Pieces of one object share a ``group_id``; holes are joined to the outline by bridges.

    Args:
        annotations: Every picture needs its size.
        path: The folder.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size.
    """
    written = []
    for picture in annotations.pictures:
        if picture.size_hw is None:
            raise TransectError(
                f"the size of {picture.name} is not known, and LabelMe needs it. Name the folder "
                "of the pictures with --images."
            )
        target = safe_join(path, stem_of(picture.name) + ".json")
        shapes: list[dict[str, Any]] = []
        for i, instance in enumerate(picture.instances, start=1):
            shapes += _shapes(instance, picture, i)
        value: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": PurePosixPath(picture.name).name,
            "imageData": None,
            "imageHeight": picture.size_hw[0],
            "imageWidth": picture.size_hw[1],
        }
        write_json(target, value)
        written.append(target)
    return written


def _shapes(instance: Instance, picture: Picture, number: int) -> list[dict[str, Any]]:
    """The shapes of one object."""

    def shape(kind: str, points: NDArray[np.float64], group: int | None = None) -> dict[str, Any]:
        return {
            "label": instance.label,
            "points": (points + 0.5).tolist(),
            "group_id": group,
            "description": f"{_IDENTITY}{instance.identity}" if instance.identity else "",
            "shape_type": kind,
            "flags": {},
        }

    if instance.has_area:
        rings = rings_of(instance, picture.size_hw)
        return [shape("polygon", ring, number if len(rings) > 1 else None) for ring in rings]
    if instance.box is not None:
        return [shape("rectangle", np.array(instance.box).reshape(2, 2))]
    if instance.point is not None:
        return [shape("point", np.array([instance.point]))]
    return []


def _instance(entry: dict[str, Any], where: str, name: str, builder: Builder) -> Instance:
    """One shape as an object of its own."""
    label = checked.label(entry.get("label"), f"{where}.label")
    kind = entry.get("shape_type") or "polygon"
    least = {"point": 1, "polygon": 3}.get(kind if isinstance(kind, str) else "", 2)
    points = checked.ring(checked.keyed(entry, "points", where), f"{where}.points", least=least)
    points = points - 0.5
    said = checked.optional_text(entry.get("description"), f"{where}.description") or ""
    identity = said.removeprefix(_IDENTITY) if said.startswith(_IDENTITY) else None
    if said and identity is None:
        builder.reread("description not kept")
    for words in (entry.get("flags"), entry.get("attributes")):
        builder.unkept(words if isinstance(words, dict) else {})
    if kind == "point":
        return Instance(label, point=(float(points[0, 0]), float(points[0, 1])), identity=identity)
    if kind == "rectangle":
        low, high = points.min(axis=0), points.max(axis=0)
        return Instance(label, box=checked.box((*low, *high), where), identity=identity)
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        builder.reread("circle read as an outline")
        ring = ellipse_ring(points[0, 0], points[0, 1], radius, radius)
        return Instance(label, parts=((ring,),), identity=identity)
    if kind in ("polygon", "rotation"):
        return Instance(label, parts=((points,),), identity=identity)
    if kind == "mask":
        size_hw = builder.size(name, "its mask needs it")
        mask = _mask(entry.get("mask"), where)
        left, top = (int(v) for v in np.rint(points[0] + 0.5))
        if size_hw[0] * size_hw[1] > rle.MASK_LIMIT_PX:
            raise TransectError(f"{where} is a mask on a picture of {size_hw} pixels. Cut it.")
        counts = tuple(rle.counts_of(mask, top=top, left=left, size_hw=size_hw))
        return Instance(label, counts=counts, identity=identity)
    raise TransectError(f"{where} is a {str(kind)[:40]!r}, which has no area. Draw a polygon.")


def _mask(data: Any, where: str) -> NDArray[np.bool_]:
    """A base64 PNG as a mask."""
    from PIL import PngImagePlugin

    try:
        raw = base64.b64decode(data, validate=True)
        image = PngImagePlugin.PngImageFile(io.BytesIO(raw))
        if image.size[0] * image.size[1] > rle.MASK_LIMIT_PX:
            raise TransectError(f"{where} has a mask of {image.size} pixels. Cut the picture.")
        array = np.asarray(image)
    except TransectError:
        raise
    except Exception as error:  # decoders may raise anything
        raise TransectError(f"{where}.mask is no base64 PNG. Export it again.") from error
    return (array if array.ndim == 2 else array[..., 0]) > 0
