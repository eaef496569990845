"""Label Studio's JSON-MIN: one flat object per answer, made tasks again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transect.data.formats import checked

__all__ = ["PICTURE_KEYS", "is_min", "tasks_of_min"]

PICTURE_KEYS = ("image", "img", "photo", "picture", "url", "ocr")
"""How tasks usually call the address of their picture."""
_ABOUT = ("annotation_id", "annotator", "lead_time", "created_at", "updated_at")


def is_min(entry: Mapping[str, Any]) -> bool:
    """Whether an object is an entry of JSON-MIN: who answered, and a picture."""
    return any(key in entry for key in _ABOUT[:3]) and any(key in entry for key in PICTURE_KEYS)


def tasks_of_min(entries: Sequence[Any], file: str) -> list[dict[str, Any]]:
    """Tasks with answers as the full export has them; entries of one picture are its answers.

    Args:
        entries: Of the file.
        file: Its name, for messages.

    Returns:
        One task per picture, in the order of the file.

    Raises:
        TransectError: If an entry is no object.
    """
    tasks: dict[str, dict[str, Any]] = {}
    for where, value in checked.numbered(entries, file):
        entry = checked.mapping(value, where)
        data = {k: v for k, v in entry.items() if k in PICTURE_KEYS}
        key = str(next(iter(data.values()), where))
        results = [
            {**_result(region), "from_name": name}
            for name, regions in entry.items()
            if name not in (*PICTURE_KEYS, *_ABOUT, "id")
            for region in _regions(regions)
        ]
        task = tasks.setdefault(key, {"data": data, "annotations": []})
        task["annotations"].append({"result": results})
    return list(tasks.values())


def _regions(value: Any) -> list[dict[str, Any]]:
    """The regions, or the choices, under one key."""
    if isinstance(value, dict) and isinstance(value.get("choices"), list):
        return [{"choices": [choice]} for choice in value["choices"]]
    found = value if isinstance(value, list) else []
    return [region for region in found if isinstance(region, dict)]


def _result(region: dict[str, Any]) -> dict[str, Any]:
    """A region as a result: its kind follows from the name of its labels."""
    labels = next((k for k in region if k.endswith("labels") and k != "labels"), None)
    kind = labels or next((k for k in ("choices", "text") if k in region), None)
    if kind is None:
        shapes = {"points": "polygon", "rle": "brush", "radiusX": "ellipse", "height": "rectangle"}
        kind = next((v for k, v in shapes.items() if k in region), "keypoint")
    sizes: dict[str, Any] = {
        k: region[k] for k in ("original_width", "original_height") if k in region
    }
    value = {k: v for k, v in region.items() if k not in sizes}
    return {"type": "textarea" if kind == "text" else kind, "value": value, **sizes}
