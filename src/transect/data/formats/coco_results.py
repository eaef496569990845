"""COCO results: a bare list of predictions, read with the images and categories they refer to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transect.data.exchange import Annotations, Pictures
from transect.data.formats import checked, coco
from transect.data.formats.head import Head
from transect.errors import TransectError
from transect.files import write_json, write_text

__all__ = ["NAME", "matches", "read", "write"]

NAME = "coco-results"
_LOOKED_AT = 20  # JSON files beside the results


def matches(head: Head) -> bool:
    """Whether a file is a JSON list of entries with image_id and category_id."""
    return isinstance(head.json, list) and {"image_id", "category_id"} <= head.first.keys()


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a list of results, with the ground truth's images and categories.

    Args:
        path: The JSON list; its ground truth lies in the same folder or in ``annotations/``.
        pictures: Where sizes are looked up that the ground truth does not tell.

    Returns:
        The predictions, each with its confidence; what is faulty is left out and listed.

    Raises:
        TransectError: If there is no ground truth that lists the images.
    """
    results = checked.items(checked.read_json(path), path.name)
    entries = (r for r in results if isinstance(r, dict) and "image_id" in r)
    wanted = {str(entry["image_id"]) for entry in entries}
    truth = _truth(path, wanted)
    if truth is None:
        raise TransectError(
            f"{path} is a list of COCO results, which names neither pictures nor classes. Put the "
            "ground truth file, with images and categories, into its folder."
        )
    return coco.read_root({**truth, "annotations": results}, path.name, pictures)


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write a list of results, by the numbers of the ground truth beside it if there is one.

    Without one a second file, ``NAME_images.json``, holds the images and categories.

    Args:
        annotations: Every picture with masks or outlines needs its size.
        path: The JSON list.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size.
    """
    written = [path]
    truth = _truth(path, set(), {p.name for p in annotations.pictures})
    if truth is None:
        truth = {
            "images": [
                {
                    "id": i,
                    "file_name": p.name,
                    **(dict(zip(("height", "width"), p.size_hw, strict=True)) if p.size_hw else {}),
                }
                for i, p in enumerate(annotations.pictures, start=1)
            ],
            "categories": [
                {"id": i, "name": name} for i, name in enumerate(annotations.classes, start=1)
            ],
            "annotations": [],
        }
        beside = path.with_name(f"{path.stem}_images.json")
        write_json(beside, truth)
        written.append(beside)
    images = {entry["file_name"]: entry["id"] for entry in truth["images"]}
    kinds = {entry["name"]: entry["id"] for entry in truth["categories"]}
    lines = []
    for picture in annotations.pictures:
        for instance in picture.instances:
            if instance.label not in kinds:
                raise TransectError(
                    f"the ground truth beside {path} has no category {instance.label!r}. Add "
                    "it, or write into another folder."
                )
            entry = coco.instance_json(instance, picture)
            ids = {"image_id": images[picture.name], "category_id": kinds[instance.label]}
            kept = {k: v for k, v in entry.items() if k in ("bbox", "segmentation", "score")}
            lines.append(json.dumps({**ids, "score": 1.0, **kept}))
    body = ",\n".join(lines)
    write_text(path, f"[\n{body}\n]\n")
    return written


def _truth(path: Path, ids: set[str], names: set[str] | None = None) -> dict[str, Any] | None:
    """The COCO file beside results that lists all their images."""
    folders = [path.parent, path.parent / "annotations"]
    files = [p for f in folders if f.is_dir() for p in sorted(f.glob("*.json")) if p != path]
    for file in files[:_LOOKED_AT]:
        try:
            value = checked.read_json(file)
        except TransectError:
            continue  # some other program's file
        if not isinstance(value, dict) or not isinstance(value.get("images"), list):
            continue
        entries = [e for e in value["images"] if isinstance(e, dict) and "file_name" in e]
        listed = {str(e.get("id")) for e in entries}
        named = {e["file_name"] for e in entries}
        if listed and ids <= listed and (names is None or names <= named):
            return {"images": value["images"], "categories": value.get("categories") or []}
    return None
