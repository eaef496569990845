"""Label Studio: a JSON list of tasks; positions in percent, brushes in its own bit-packed RLE."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np

from transect.data import rle
from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.formats import checked
from transect.data.formats.brush import brush_to_mask, mask_to_brush
from transect.data.formats.head import Head
from transect.data.formats.labelstudio_min import PICTURE_KEYS, is_min, tasks_of_min
from transect.data.names import clean_name
from transect.data.outlines import box_ring, ellipse_ring
from transect.data.shapes import mask_of, parts_of
from transect.errors import TransectError
from transect.files import write_text

__all__ = ["NAME", "matches", "read", "write"]

NAME = "labelstudio"
_ASIDE = ("relation", "textarea", "taxonomy", "number", "rating", "pairwise", "labels")
"""Results that are no objects: they say something of another, or of the whole picture."""


def matches(head: Head) -> bool:
    """Whether a file is Label Studio's: a JSON list of tasks with data, or JSON-MIN."""
    return isinstance(head.first.get("data"), dict) or is_min(head.first)


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a Label Studio export (JSON or JSON-MIN).

    Of several answers to a task the ground truth counts, else the last that was not cancelled; a
    task without any is not labelled yet. Only a file without a single answer is read from its
    predictions. Polygons, rectangles (turned ones become polygons), ellipses, keypoints, brushes
    and choices (a word about the whole picture) are read.

    Args:
        path: The JSON file.
        pictures: Where sizes are looked up that the file does not tell.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: If it is no such export.
    """
    value = checked.read_json(path)
    tasks = value if isinstance(value, list) else [value]
    if any(isinstance(task, dict) and "data" not in task for task in tasks):
        tasks = tasks_of_min(tasks, path.name)
    builder = Builder(pictures)
    answered = any(
        isinstance(t, dict) and (t.get("annotations") or t.get("completions")) for t in tasks
    )
    for where, task in checked.numbered(tasks, path.name):
        try:
            entry = checked.mapping(task, where)
            results = _results(entry, where, answered, builder)
            name = builder.picture(_name(entry, where), _size_of(results or [], where))
        except TransectError as error:
            builder.problem(path.name, error, objects=_drawn(task), pictures=1)
            continue
        if results is None:
            builder.unlabelled(name)
            continue
        labels = _labels_by_region(results)
        for place, result in checked.numbered(results, f"{where}: result"):
            try:
                instance = _instance(checked.mapping(result, place), place, name, labels, builder)
                if instance is not None:
                    builder.add(name, instance)
            except TransectError as error:
                builder.problem(path.name, error)
    return builder.done()


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write tasks that Label Studio imports; what has holes or pieces becomes a brush.

    Args:
        annotations: Every picture with something on it needs its size.
        path: The JSON file.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size.
    """
    tasks = []
    for number, picture in enumerate(annotations.pictures, start=1):
        results = [
            _result(instance, picture, f"{number}-{i}")
            for i, instance in enumerate(picture.instances, start=1)
        ]
        answers = [{"result": results}] if picture.labelled else []
        task = {"id": number, "data": {"image": picture.name}, "annotations": answers}
        tasks.append(json.dumps(task))
    write_text(path, "[\n" + ",\n".join(tasks) + "\n]\n")
    return [path]


def _name(task: dict[str, Any], where: str) -> str:
    """The picture's name: a task's address of it."""
    data = checked.mapping(checked.keyed(task, "data", where), f"{where}.data")
    texts = {k: v for k, v in data.items() if isinstance(v, str)}
    address = next((texts[k] for k in PICTURE_KEYS if k in texts), None)
    address = address or next(iter(texts.values()), None)
    if not address:
        raise TransectError(f"{where}.data names no picture. Export it again.")
    # An upload's folders are the server's own; other addresses may name the survey's.
    name = urllib.parse.unquote(clean_name(checked.text(address, f"{where}.data")))
    uploaded = "upload" in name.split("/")[:-1]
    return name.rsplit("/", 1)[-1] if uploaded else name


def _results(
    task: dict[str, Any], where: str, answered: bool, builder: Builder
) -> list[Any] | None:
    """The results that count, or None if nobody has labelled the task; the others are told."""
    given: list[dict[str, Any]] = []
    for key in ("annotations", "completions"):
        found = checked.items(task.get(key) or [], f"{where}.{key}")
        given += [checked.mapping(a, f"{where}.{key}") for a in found]
    valid = [a for a in given if not a.get("was_cancelled")]
    truth = [a for a in valid if a.get("ground_truth") is True]
    chosen = truth[-1] if truth else valid[-1] if valid else None
    for answer in given:
        if answer is not chosen and (drawn := _objects(answer.get("result"))):
            skipped = bool(answer.get("was_cancelled"))
            why = "skipped answer" if skipped else "answer of another annotator"
            by = "ground truth" if truth else "last answer"
            what = f"{where}: {drawn} objects of {'a' if skipped else 'another'} "
            what += f"{'skipped answer' if skipped else 'annotator'} are left out; the {by} counts."
            builder.problem(where, what, why=why, objects=drawn)
    if chosen is not None:
        if truth and len(valid) > 1:
            builder.reread("ground truth preferred to other answers", objects=0, pictures=1)
        return checked.items(chosen.get("result") or [], f"{where}.result")
    guesses = checked.items(task.get("predictions") or [], f"{where}.predictions")
    results = [checked.mapping(g, f"{where}.predictions").get("result") or [] for g in guesses]
    if results and not answered:
        builder.reread("read from a model's predictions", objects=_objects(results[0]), pictures=1)
        return checked.items(results[0], f"{where}.predictions")
    if results:
        what = f"{where} has only predictions, and other tasks have answers; they are left out."
        builder.problem(
            where, what, why="prediction that nobody confirmed", objects=_objects(results[0])
        )
    else:
        why = "task was skipped: not labelled" if given else "task waits: not labelled yet"
        builder.reread(why, objects=0, pictures=1)
    return None


def _drawn(task: Any) -> int:
    """How many objects the answers of a task hold."""
    answers = task.get("annotations") if isinstance(task, dict) else None
    found = (
        (a.get("result") for a in answers if isinstance(a, dict))
        if isinstance(answers, list)
        else ()
    )
    return sum(map(_objects, found))


def _objects(results: Any) -> int:
    """How many objects results speak of: a label in a tag of its own is none."""
    found = [r for r in results if isinstance(r, dict)] if isinstance(results, list) else []
    return sum(str(r.get("type")).lower() not in _ASIDE for r in found)


def _size_of(results: list[Any], where: str) -> tuple[int, int] | None:
    """The size that the first result tells."""
    for result in results:
        if isinstance(result, dict) and "original_width" in result:
            return checked.size(result.get("original_height"), result.get("original_width"), where)
    return None


def _labels_by_region(results: list[Any]) -> dict[str, list[Any]]:
    """Labels that stand in a tag of their own, by the region whose id they share."""
    found: dict[str, list[Any]] = {}
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if isinstance(value, dict) and str(result.get("type")).lower() in ("labels", "choices"):
            given = value.get("labels") or value.get("choices")
            if isinstance(given, list) and result.get("id") is not None:
                found.setdefault(str(result["id"]), []).extend(given)
    return found


def _instance(
    result: dict[str, Any],
    where: str,
    name: str,
    labels: dict[str, list[Any]],
    builder: Builder,
) -> Instance | None:
    """The object of one result; None if the result only says something of another."""
    kind = checked.text(result.get("type", "?"), f"{where}.type").lower()
    value = checked.mapping(result.get("value") or {}, f"{where}.value")
    if kind in _ASIDE:
        if kind != "labels":  # a "labels" entry repeats what its region says, or is read with it
            builder.reread(f"{kind} not kept")
        return None
    key = next((k for k in value if k.endswith("labels") or k == "choices"), None)
    given = checked.items(value[key] or [], f"{where}.value") if key else []
    region = value.keys() & {"x", "points", "rle"}
    if kind == "choices" and region:
        if not given:
            raise TransectError(f"{where} chooses nothing. Remove it.")
        return None  # read with its region, see ``_labels_by_region``
    apart = labels.get(str(result.get("id")), []) if kind != "choices" else []
    every = list(dict.fromkeys(checked.label(v, f"{where}.value") for v in [*given, *apart]))
    if len(every) > 1:
        builder.reread(f"second label of a {kind} not kept")
    label = every[0] if every else "object"
    meta = result.get("meta") if isinstance(result.get("meta"), dict) else {}
    identity = checked.optional_text((meta or {}).get("identity"), f"{where}.meta.identity")
    score = checked.confidence(result.get("score"), f"{where}.score")
    if kind == "choices":
        return Instance(label, identity=identity, confidence=score)
    if kind.startswith("ellipse"):
        builder.reread("ellipse read as an outline")
    geometry = _geometry(kind, value, where, builder.size(name, "Label Studio writes percent"))
    return Instance(label, identity=identity, confidence=score, **geometry)


def _geometry(
    kind: str, value: dict[str, Any], where: str, size_hw: tuple[int, int]
) -> dict[str, Any]:
    """The geometry of a region as fields of ``Instance``."""
    scale = np.array([size_hw[1], size_hw[0]]) / 100

    def get(name: str, default: Any = None) -> float:
        return checked.number(value.get(name, default), f"{where}.value.{name}")

    if kind.startswith("polygon"):
        points = checked.ring(checked.keyed(value, "points", where), f"{where}.points")
        return {"parts": ((points * scale - 0.5,),)}
    if kind.startswith("brush"):
        if value.get("format") != "rle":
            raise TransectError(f"{where} is a brush that is not in RLE. Export it as JSON.")
        mask = brush_to_mask(checked.items(value.get("rle"), f"{where}.rle"), size_hw, where=where)
        return {"counts": tuple(rle.counts_of(mask))}
    x, y = get("x") * scale[0] - 0.5, get("y") * scale[1] - 0.5
    if kind.startswith("keypoint"):
        return {"point": (float(x), float(y))}
    if kind.startswith("rectangle"):
        w, h = get("width") * scale[0], get("height") * scale[1]
        corners = checked.box((float(x), float(y), float(x + w), float(y + h)), where)
        degrees = get("rotation", 0)
        if degrees % 360 == 0:
            return {"box": corners}
        # Turned clockwise about the top left corner.
        turn = np.deg2rad(degrees)
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        return {"parts": (((box_ring(*corners) - [x, y]) @ matrix + [x, y],),)}
    if kind.startswith("ellipse"):
        radii = get("radiusX") * scale[0], get("radiusY") * scale[1]
        return {"parts": ((ellipse_ring(x, y, *radii, degrees=get("rotation", 0)),),)}
    raise TransectError(f"{where} is of the type {kind[:40]!r}, which we do not read. Remove it.")


def _result(instance: Instance, picture: Picture, key: str) -> dict[str, Any]:
    """One object as a result."""
    if picture.size_hw is None:
        raise TransectError(
            f"the size of {picture.name} is not known, and Label Studio writes percent. Name the "
            "folder of the pictures with --images."
        )
    height, width = picture.size_hw
    scale = np.array([100 / width, 100 / height])
    value: dict[str, Any]
    parts = parts_of(instance, picture.size_hw)
    if len(parts) == 1 and len(parts[0]) == 1 and instance.counts is None:
        kind = "polygon"
        value = {"points": ((parts[0][0] + 0.5) * scale).tolist(), "closed": True}
    elif instance.has_area:
        kind = "brush"
        value = {"format": "rle", "rle": mask_to_brush(mask_of(instance, picture.size_hw))}
    elif instance.box is not None:
        kind = "rectangle"
        (x0, y0), (x1, y1) = (np.array(instance.box).reshape(2, 2) + 0.5) * scale
        value = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0}
    elif instance.point is not None:
        kind = "keypoint"
        x, y = (np.array(instance.point) + 0.5) * scale
        value = {"x": x, "y": y, "width": 0.5}
    else:
        kind = "choices"
        value = {"choices": [instance.label]}
    if kind != "choices":
        value[f"{kind}labels"] = [instance.label]
    result = {
        "id": key,
        "type": kind if kind == "choices" else f"{kind}labels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
    }
    if instance.confidence is not None:
        result["score"] = instance.confidence
    if instance.identity is not None:
        result["meta"] = {"identity": instance.identity}
    return result
