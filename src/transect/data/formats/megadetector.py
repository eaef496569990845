"""MegaDetector's batch output: a JSON with detections per photo, boxes as shares."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.tally import Tally
from transect.errors import TransectError
from transect.files import write_text

__all__ = ["NAME", "made", "matches", "read", "write"]

NAME = "megadetector"
_DOUBTFUL = 0.2  # MegaDetector v5's own advice for a threshold


def matches(head: Head) -> bool:
    """Whether a file is MegaDetector's: images and detection_categories."""
    value = head.json
    return isinstance(value, dict) and "detection_categories" in value and "images" in value


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read detections; the best classification of one, where there is any, is its class.

    Every detection is read, however doubtful; how many are below 0.2 is told. A photo that the
    detector could not open is left out.

    Args:
        path: The JSON file.
        pictures: The photos, for shares become pixels.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: If it is no such file.
    """
    root = checked.mapping(checked.read_json(path), path.name)
    builder = Builder(pictures)
    names = _names(root, "detection_categories", path.name)
    species = _names(root, "classification_categories", path.name)
    images = checked.items(root.get("images"), f"{path.name}: images")
    for where, value in checked.numbered(images, f"{path.name}: images"):
        try:
            entry = checked.mapping(value, where)
            name = checked.text(checked.keyed(entry, "file", where), f"{where}.file")
            if entry.get("failure"):
                reason = str(entry["failure"])[:60]
                what = f"{name}: the detector failed ({reason}); left out. Run it again."
                builder.problem(name, what, why="the detector failed", objects=0, pictures=1)
                continue
            size = checked.size(entry.get("height"), entry.get("width"), where)
            name = builder.picture(name, size)
            found = checked.items(entry.get("detections") or [], f"{where}.detections")
        except TransectError as error:
            builder.problem(path.name, error, objects=0, pictures=1)
            continue
        for place, detection in checked.numbered(found, f"{where}: detections"):
            try:
                thing = checked.mapping(detection, place)
                builder.add(name, _instance(thing, place, name, names, species, builder))
            except TransectError as error:
                builder.problem(path.name, error)
    return builder.done(names.values())


def made(annotations: Annotations) -> Annotations:
    """Every detection needs a confidence: 1 where none is known, told."""
    tally = Tally(annotations.told)
    pictures = []
    for picture in annotations.pictures:
        sure = [i for i in picture.instances if i.confidence is None]
        if sure:
            tally.tell("confidence 1 where none was known", lost=False, objects=len(sure))
        done = (
            replace(i, confidence=1.0) if i.confidence is None else i for i in picture.instances
        )
        pictures.append(replace(picture, instances=tuple(done)))
    return replace(annotations, pictures=tuple(pictures), told=tally.done())


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write a batch output, as Timelapse and other tools read it.

    Args:
        annotations: As ``made`` leaves them; every picture with a box needs its size.
        path: The JSON file.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size.
    """
    numbers = {name: str(i) for i, name in enumerate(annotations.classes, start=1)}
    lines = []
    for picture in annotations.pictures:
        found = [_detection(i, picture, numbers) for i in picture.instances]
        entry: dict[str, Any] = {"file": picture.name, "detections": found}
        if picture.size_hw is not None:
            entry |= {"height": picture.size_hw[0], "width": picture.size_hw[1]}
        lines.append(json.dumps(entry))
    categories = json.dumps({number: name for name, number in numbers.items()})
    info = json.dumps({"format_version": "1.3", "detector": "transect"})
    body = ",\n".join(lines)
    write_text(
        path,
        f'{{"info": {info},\n"detection_categories": {categories},\n"images": [\n{body}\n]}}\n',
    )
    return [path]


def _names(root: dict[str, Any], key: str, file: str) -> dict[str, str]:
    """Numbers to names of one of the tables of categories."""
    found = checked.mapping(root.get(key) or {}, f"{file}: {key}")
    return {str(k): checked.label(v, f"{file}: {key}") for k, v in found.items()}


def _instance(
    thing: dict[str, Any],
    where: str,
    name: str,
    names: dict[str, str],
    species: dict[str, str],
    builder: Builder,
) -> Instance:
    """One detection."""
    category = checked.text(thing.get("category"), f"{where}.category")
    if names and category not in names:
        raise TransectError(f"{where} has the unknown category {category[:40]}. Correct it.")
    label, score = names.get(category, category), checked.confidence(thing.get("conf"), where)
    guesses = thing.get("classifications")
    if species and isinstance(guesses, list) and guesses:
        best = checked.items(guesses[0], f"{where}.classifications")
        label = species.get(str(best[0]), label)
        builder.reread("class from the first of the detection's classifications")
    if score is not None and score < _DOUBTFUL:
        builder.reread(f"confidence below {_DOUBTFUL:g}, read all the same")
    values = checked.items(thing.get("bbox"), f"{where}.bbox")
    if len(values) != 4:
        raise TransectError(f"{where}.bbox must be [x, y, width, height]. Correct it.")
    x, y, w, h = (checked.number(v, f"{where}.bbox") for v in values)
    if max(x, y, w, h) > 1.5:
        raise TransectError(f"{where}.bbox has numbers beyond 1, and shares are needed. Divide it.")
    height, width = builder.size(name, "boxes are shares of it")
    corners = (x * width - 0.5, y * height - 0.5, (x + w) * width - 0.5, (y + h) * height - 0.5)
    return Instance(label, box=checked.box(corners, where), confidence=score)


def _detection(instance: Instance, picture: Picture, numbers: dict[str, str]) -> dict[str, Any]:
    """One object as a detection."""
    if picture.size_hw is None:
        raise TransectError(
            f"the size of {picture.name} is not known, and boxes are shares of it. Name the "
            "folder of the pictures with --images."
        )
    height, width = picture.size_hw
    x0, y0, x1, y1 = instance.box or (0.0, 0.0, 0.0, 0.0)
    box = [(x0 + 0.5) / width, (y0 + 0.5) / height, (x1 - x0) / width, (y1 - y0) / height]
    return {"category": numbers[instance.label], "conf": instance.confidence, "bbox": box}
