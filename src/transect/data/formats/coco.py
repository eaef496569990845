"""COCO: one JSON with images, categories and annotations (polygons, both RLEs, boxes, keypoints).

Boxes and polygons count from the outer corner of the picture, keypoints from pixel centres.
Sources: pycocotools fills a polygon from 0 to the width to the whole picture (our tests use it as
oracle); COCO's keypoints are whole numbers of pixels from 0, to which detectron2 adds 0.5 for that
reason (its tutorial on custom datasets).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transect.data import rle
from transect.data.exchange import Annotations, Builder, Instance, Part, Picture, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.outlines import turned_box
from transect.data.shapes import box_of, counts_for, window_of
from transect.errors import TransectError
from transect.files import write_text
from transect.types import IMAGE_COLUMNS

__all__ = ["NAME", "instance_json", "matches", "read", "read_root", "write"]

NAME = "coco"


def matches(head: Head) -> bool:
    """Whether a file is COCO: a JSON object with images and annotations."""
    value = head.json
    return (
        isinstance(value, dict)
        and isinstance(value.get("images"), list)
        and "detection_categories" not in value
    )


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a COCO file.

    A single keypoint is read as a point; of several, each visible one becomes a point of the
    class ``category/keypoint``; beside a box or an outline keypoints are parts of that object and
    are not kept. Crowd regions are no objects. Where an outline is broken a valid box counts.
    ``score`` is a confidence; an ``identity``, ``individual_id`` or ``name`` of an annotation is
    an identity.

    Args:
        path: The JSON file.
        pictures: Where sizes are looked up that the file does not tell.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: If it is not COCO at all, or two images have one file name.
    """
    root = checked.mapping(checked.read_json(path), path.name)
    return read_root(root, path.name, pictures)


def read_root(root: dict[str, Any], file: str, pictures: Pictures | None) -> Annotations:
    """Read a decoded COCO file.

    Args:
        root: With images, categories and annotations.
        file: Its name, for messages.
        pictures: Where sizes are looked up that it does not tell.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: As ``read``.
    """
    builder = Builder(pictures)
    first = next(iter(checked.items(root.get("annotations", []), file)), None)
    if isinstance(first, dict) and "segments_info" in first:
        raise TransectError(
            f"{file} is COCO panoptic, whose masks are in PNG files. Export COCO instances instead."
        )
    names = _images(root, file, builder)
    labels, keypoints = _categories(root, file)
    annotations = checked.items(root.get("annotations", []), f"annotations of {file}")
    for where, value in checked.numbered(annotations, f"{file}: annotations"):
        try:
            entry = checked.mapping(value, where)
            key = _key(checked.keyed(entry, "image_id", where), f"{where}.image_id")
            if key not in names:
                raise TransectError(f"{where} is of image {key}, which is not listed. Correct it.")
            category = _key(entry.get("category_id", ""), f"{where}.category_id")
            if category and category not in labels:
                raise TransectError(f"{where} has the unknown category {category}. Correct it.")
            label = labels.get(category, "object")
            if entry.get("iscrowd") in (1, True):
                what = f"{where} is a crowd region and no object; left out."
                builder.problem(file, what, why="crowd region")
                continue
            if isinstance(entry.get("attributes"), dict):
                builder.unkept(entry["attributes"], "rotation")
            for instance in _instances(entry, where, names[key], builder, label, keypoints):
                builder.add(names[key], instance)
        except TransectError as error:
            builder.problem(file, error)
    return builder.done(labels.values())


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write a COCO file; outlines with holes and masks become compressed RLEs.

    Args:
        annotations: Every picture with masks or outlines needs its size.
        path: The JSON file.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size.
    """
    numbers = {name: i for i, name in enumerate(annotations.classes, start=1)}
    images: list[dict[str, Any]] = []
    entries: list[str] = []
    for i, picture in enumerate(annotations.pictures, start=1):
        height, width = picture.size_hw or (0, 0)
        image = {"id": i, "file_name": picture.name, "height": height, "width": width}
        images.append({**image, **{k: v for k, v in picture.columns.items() if k not in image}})
        for instance in picture.instances:
            ids = {"id": len(entries) + 1, "image_id": i}
            if instance.label in numbers:
                ids["category_id"] = numbers[instance.label]
            entries.append(json.dumps({**ids, **instance_json(instance, picture)}))
    pointed = {i.label for p in annotations.pictures for i in p.instances if i.point}
    categories = [
        {
            "id": i,
            "name": name,
            **({"keypoints": ["point"], "skeleton": []} if name in pointed else {}),
        }
        for name, i in numbers.items()
    ]
    head = json.dumps({"info": {"description": "written by transect"}, "licenses": []})[:-1]
    body = ",\n".join(entries)
    write_text(
        path,
        f'{head}, "categories": {json.dumps(categories)},\n"images": {json.dumps(images)},\n'
        f'"annotations": [\n{body}\n]}}\n',
    )
    return [path]


def instance_json(instance: Instance, picture: Picture) -> dict[str, Any]:
    """The geometry, score and identity of an object as COCO writes them.

    Raises:
        TransectError: If it has a mask and its picture no size.
    """
    entry: dict[str, Any] = {"iscrowd": 0}
    if instance.has_area and picture.size_hw is None:
        raise TransectError(
            f"the size of {picture.name} is not known, and COCO needs it. Name the folder of the "
            "pictures with --images."
        )
    box = box_of(instance, picture.size_hw)
    if box is not None:
        x0, y0, x1, y1 = box
        entry["bbox"] = [x0 + 0.5, y0 + 0.5, x1 - x0, y1 - y0]
        entry["area"] = (x1 - x0) * (y1 - y0)
    if instance.parts and all(len(part) == 1 for part in instance.parts):
        entry["segmentation"] = [(part[0] + 0.5).reshape(-1).tolist() for part in instance.parts]
        assert picture.size_hw is not None
        entry["area"] = int(window_of(instance, picture.size_hw)[0].sum())
    elif instance.has_area:
        assert picture.size_hw is not None
        pixels = counts_for(instance, picture.size_hw)
        counts = rle.compress_counts(pixels)
        entry["segmentation"] = {"size": list(picture.size_hw), "counts": counts}
        entry["area"] = sum(pixels[1::2])
    if instance.point is not None:
        entry["keypoints"] = [*instance.point, 2]
        entry["num_keypoints"] = 1
    if instance.confidence is not None:
        entry["score"] = instance.confidence
    if instance.identity is not None:
        entry["identity"] = instance.identity
    return entry


def _key(value: Any, where: str) -> str:
    """An id, number or text, as text."""
    return "" if value in ("", None) else checked.text(value, where)


def _images(root: dict[str, Any], file: str, builder: Builder) -> dict[str, str]:
    """Image ids to names."""
    names: dict[str, str] = {}
    owners: dict[str, str] = {}
    for where, value in checked.numbered(
        checked.items(root.get("images"), file), f"{file}: images"
    ):
        try:
            entry = checked.mapping(value, where)
            key = _key(checked.keyed(entry, "id", where), f"{where}.id")
            name = checked.text(checked.keyed(entry, "file_name", where), f"{where}.file_name")
            size = checked.size(entry.get("height"), entry.get("width"), where)
            columns = {
                k: str(v)
                for k, v in entry.items()
                if k in IMAGE_COLUMNS and isinstance(v, (str, int, float))
            }
            name = builder.picture(name, size, **columns)
        except TransectError as error:
            builder.problem(file, error, objects=0, pictures=1)
            continue
        if name in owners:
            raise TransectError(
                f"{file}: the images {owners[name]} and {key} have one file_name, {name}. Give "
                "each its own, with the folder it lies in."
            )
        names[key] = name
        owners[name] = key
    return names


def _categories(root: dict[str, Any], file: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Category ids to names, and names to their keypoints."""
    labels: dict[str, str] = {}
    keypoints: dict[str, list[str]] = {}
    found = checked.items(root.get("categories", []), f"categories of {file}")
    for where, value in checked.numbered(found, f"{file}: categories"):
        entry = checked.mapping(value, where)
        name = checked.label(entry.get("name"), f"{where}.name")
        labels[_key(checked.keyed(entry, "id", where), f"{where}.id")] = name
        names = checked.items(entry.get("keypoints") or [], f"{where}.keypoints")
        keypoints[name] = [checked.label(k, f"{where}.keypoints") for k in names]
    return labels, keypoints


def _instances(
    entry: dict[str, Any],
    where: str,
    name: str,
    builder: Builder,
    label: str,
    keypoints: dict[str, list[str]],
) -> list[Instance]:
    """What one annotation says: an object, and its keypoints."""
    identity = next((entry[k] for k in ("identity", "individual_id", "name") if entry.get(k)), None)
    common: dict[str, Any] = {
        "label": label,
        "identity": checked.optional_text(identity, f"{where}.identity"),
        "confidence": checked.confidence(entry.get("score"), f"{where}.score"),
    }
    corners = point = None
    parts: tuple[Part, ...] = ()
    counts = None
    if entry.get("bbox"):
        values = checked.items(entry["bbox"], f"{where}.bbox")
        if len(values) != 4:
            raise TransectError(f"{where}.bbox must be [x, y, width, height]. Correct it.")
        x, y, w, h = (checked.number(v, f"{where}.bbox") for v in values)
        if (w, h) == (0, 0) and (x, y) != (0, 0):
            point = (x - 0.5, y - 0.5)
        elif (w, h) != (0, 0):
            corners = checked.box((x - 0.5, y - 0.5, x + w - 0.5, y + h - 0.5), where)
    try:
        parts, counts = _segmentation(entry.get("segmentation"), where, name, builder)
    except TransectError:
        if corners is None and point is None:
            raise
        builder.reread("broken outline: its box is used")
    points = _points(entry, where)
    if parts or counts is not None or corners is not None or point is not None:
        if points:
            builder.reread("keypoints of an object with a box or outline not kept")
        if point is not None and not parts and counts is None:
            builder.reread("box without area read as a dot")
            return [Instance(**common, point=point)]
        degrees = _rotation(entry, where)
        if corners is not None and degrees % 360 and not parts and counts is None:
            builder.reread("turned box read as an outline")
            parts = ((turned_box(corners, degrees),),)
        # The box of an outline follows from it; keeping both would let them disagree.
        box = None if parts or counts is not None else corners
        return [Instance(**common, parts=parts, counts=counts, box=box)]
    if not points:
        return [Instance(**common)]
    if len(points) == 1:
        return [Instance(**common, point=points[0][1])]
    builder.reread("keypoints of an object read as dots", objects=1)
    named = keypoints.get(label, [])
    found = []
    for i, place in points:
        suffix = named[i] if i < len(named) else str(i + 1)
        found.append(Instance(**{**common, "label": f"{label}/{suffix}"}, point=place))
    return found


def _rotation(entry: dict[str, Any], where: str) -> float:
    """The degrees by which CVAT has turned a box about its middle, in an attribute."""
    words = entry.get("attributes")
    value = words.get("rotation") if isinstance(words, dict) else None
    return 0.0 if value is None else checked.number(value, f"{where}.attributes.rotation")


def _points(entry: dict[str, Any], where: str) -> list[tuple[int, tuple[float, float]]]:
    """The visible keypoints with their numbers."""
    flat = checked.items(entry.get("keypoints") or [], f"{where}.keypoints")
    if len(flat) % 3:
        raise TransectError(f"{where}.keypoints must be x, y, visible triples. Correct it.")
    values = [checked.number(v, f"{where}.keypoints") for v in flat]
    triples = zip(values[::3], values[1::3], values[2::3], strict=True)
    return [(i, (x, y)) for i, (x, y, visible) in enumerate(triples) if visible > 0]


def _segmentation(
    value: Any, where: str, name: str, builder: Builder
) -> tuple[tuple[Part, ...], tuple[int, ...] | None]:
    """Polygons or counts."""
    where = f"{where}.segmentation"
    if value in (None, [], {}, ""):
        return (), None
    if isinstance(value, list):
        rings = [value] if isinstance(value[0], (int, float)) else value
        return tuple((checked.ring(r, where) - 0.5,) for r in rings), None
    entry = checked.mapping(value, where)
    size = checked.items(checked.keyed(entry, "size", where), f"{where}.size")
    if len(size) != 2:
        raise TransectError(f"{where}.size must be [height, width]. Correct it.")
    size_hw = checked.size(size[0], size[1], where)
    if size_hw != builder.size(name, "its RLE needs it"):
        raise TransectError(f"{where} is for {size_hw} pixels, unlike its image. Correct the size.")
    counts = checked.keyed(entry, "counts", where)
    if isinstance(counts, str):
        counts = rle.decompress_counts(counts, where=where)
    elif not all(type(v) is int for v in checked.items(counts, where)):
        raise TransectError(f"the counts of {where} must be whole numbers. Export them again.")
    if min(counts, default=0) < 0 or sum(counts) != size_hw[0] * size_hw[1]:
        raise TransectError(
            f"the counts of {where} do not add up to the image's pixels. Export them again."
        )
    return (), tuple(counts)
