"""Label Studio: a JSON list of tasks; positions in percent, brushes in its own bit-packed RLE."""

from __future__ import annotations

import json
import posixpath
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data import rle
from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.outlines import box_ring, ellipse_ring
from transect.data.shapes import mask_of, parts_of
from transect.errors import TransectError
from transect.files import write_text

__all__ = ["NAME", "brush_to_mask", "mask_to_brush", "matches", "read", "write"]

NAME = "labelstudio"
_PICTURE_KEYS = ("image", "img", "photo", "picture", "url", "ocr")


def matches(head: Head) -> bool:
    """Whether a file is Label Studio's: a JSON list of tasks with data and annotations."""
    return isinstance(head.first.get("data"), dict)


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a Label Studio export (JSON).

    The last annotation of a task that was not cancelled counts; a task with predictions only is
    read from those. Polygons, rectangles (turned ones become polygons), ellipses, keypoints,
    brushes and choices (a word about the whole picture) are read.

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
    builder = Builder(pictures)
    for where, task in checked.numbered(tasks, path.name):
        try:
            entry = checked.mapping(task, where)
            name = builder.picture(_name(entry, where), _task_size(entry, where))
            results = _results(entry, where)
        except TransectError as error:
            builder.problem(path.name, error)
            continue
        for place, result in checked.numbered(results, f"{where}: result"):
            try:
                for instance in _instances(checked.mapping(result, place), place, name, builder):
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
        task = {"id": number, "data": {"image": picture.name}, "annotations": [{"result": results}]}
        tasks.append(json.dumps(task))
    write_text(path, "[\n" + ",\n".join(tasks) + "\n]\n")
    return [path]


def brush_to_mask(
    code: Sequence[int], size_hw: tuple[int, int], *, where: str = "the brush"
) -> NDArray[np.bool_]:
    """Decode a brush: an RGBA picture, packed bit by bit; its alpha is the mask.

    Args:
        code: Bytes as numbers: 32 bits count of values, 5 bits word size less 1, four times 4
            bits run size less 1; then runs: 1 bit repeat, 2 bits which run size, length less 1,
            and one word (repeat) or as many words as the length.
        size_hw: (height, width) of the picture.
        where: Its place, for messages.

    Returns:
        (H, W) bool.

    Raises:
        TransectError: If it is no such code, or for another size.
    """
    height, width = size_hw
    wanted = height * width * 4
    try:
        array = np.array(code)
        if array.dtype.kind not in "ui" or array.ndim != 1 or array.min() < 0 or array.max() > 255:
            raise ValueError("no bytes")
    except (ValueError, OverflowError):
        raise TransectError(f"{where} is no list of bytes. Export it again.") from None
    if height * width > rle.MASK_LIMIT_PX:
        raise TransectError(f"{where} is on a picture of {height} x {width} pixels. Cut it.")
    data = array.astype(np.uint8).tobytes()
    bits = _Bits(data, where)
    count = bits.read(32)
    if count != wanted:
        raise TransectError(
            f"{where} holds {count} values, and {height} x {width} pixels need {wanted}. Correct "
            "original_height and original_width."
        )
    word = bits.read(5) + 1
    sizes = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(wanted, np.uint8)
    at = 0
    while at < wanted:
        repeat = bits.read(1)
        length = bits.read(sizes[bits.read(2)]) + 1
        if at + length > wanted:
            raise TransectError(f"{where} runs past its picture. Export it again.")
        if repeat:
            values[at : at + length] = min(bits.read(word), 255)
        else:
            values[at : at + length] = bits.words(length, word)
        at += length
    return values.reshape(height, width, 4)[..., 3] > 0


def mask_to_brush(mask: NDArray[np.bool_]) -> list[int]:
    """Encode a mask as Label Studio's brush; see ``brush_to_mask``.

    Args:
        mask: (H, W) bool.

    Returns:
        Bytes as numbers.

    Example:
        >>> mask = np.eye(3, dtype=bool)
        >>> bool((brush_to_mask(mask_to_brush(mask), (3, 3)) == mask).all())
        True
    """
    sizes = (3, 8, 12, 16)
    flat = mask.reshape(-1)
    borders = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    pieces = [f"{flat.size * 4:032b}", f"{7:05b}", *(f"{s - 1:04b}" for s in sizes)]
    starts = borders[:-1].tolist() if flat.size else []
    for start, length in zip(starts, (np.diff(borders) * 4).tolist(), strict=False):
        word = "11111111" if flat[start] else "00000000"
        while length:
            part = min(length, 1 << 16)
            which = next(i for i, s in enumerate(sizes) if part <= 1 << s)
            pieces.append(f"1{which:02b}{part - 1:0{sizes[which]}b}{word}")
            length -= part
    text = "".join(pieces)
    bits = np.frombuffer(text.encode("ascii"), np.uint8) - 48
    return np.packbits(bits).tolist()


class _Bits:
    """Reads numbers of any width from bytes, the highest bit first."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0

    def read(self, width: int) -> int:
        """One number of ``width`` bits."""
        start, end = self.at, self.at + width
        if end > 8 * len(self.data):
            raise TransectError(f"{self.where} is cut off. Export it again.")
        self.at = end
        piece = int.from_bytes(self.data[start >> 3 : (end + 7) >> 3], "big")
        return piece >> (-end % 8) & ((1 << width) - 1)

    def words(self, count: int, width: int) -> NDArray[np.uint8]:
        """``count`` numbers of ``width`` bits, cut to 255."""
        start, end = self.at, self.at + count * width
        if end > 8 * len(self.data):
            raise TransectError(f"{self.where} is cut off. Export it again.")
        self.at = end
        raw = np.frombuffer(self.data, np.uint8, (end + 7 >> 3) - (start >> 3), start >> 3)
        bits = np.unpackbits(raw)[start % 8 :][: count * width].reshape(count, width)
        return np.where(bits[:, :-8].any(axis=1), 255, np.packbits(bits[:, -8:], axis=1)[:, 0])


def _name(task: dict[str, Any], where: str) -> str:
    """The picture's name from a task's address of it."""
    data = checked.mapping(checked.keyed(task, "data", where), f"{where}.data")
    texts = {k: v for k, v in data.items() if isinstance(v, str)}
    address = next((texts[k] for k in _PICTURE_KEYS if k in texts), None)
    address = address or next(iter(texts.values()), None)
    if not address:
        raise TransectError(f"{where}.data names no picture. Export it again.")
    parsed = urllib.parse.urlsplit(checked.text(address, f"{where}.data").split("?d=")[-1])
    path = urllib.parse.unquote(parsed.path)
    # Addresses and uploads carry the server's folders; only a plain relative path is the survey's.
    remote = bool(parsed.scheme) or path.startswith("/") or "?d=" in address or ".." in path
    return posixpath.basename(path) if remote else path


def _results(task: dict[str, Any], where: str) -> list[Any]:
    """The results that count: of the last annotation, or of the first prediction."""
    for key in ("annotations", "completions", "predictions"):
        found = [
            checked.mapping(a, f"{where}.{key}") for a in checked.items(task.get(key) or [], where)
        ]
        valid = [a for a in found if not a.get("was_cancelled")]
        if valid:
            chosen = valid[0] if key == "predictions" else valid[-1]
            return checked.items(chosen.get("result") or [], f"{where}.{key}.result")
    return []


def _task_size(task: dict[str, Any], where: str) -> tuple[int, int] | None:
    """The size that the first result tells."""
    for result in _results(task, where):
        if isinstance(result, dict) and "original_width" in result:
            return checked.size(result.get("original_height"), result.get("original_width"), where)
    return None


def _instances(result: dict[str, Any], where: str, name: str, builder: Builder) -> list[Instance]:
    """The objects of one result: one per label it carries."""
    kind = checked.text(result.get("type", "?"), f"{where}.type").lower()
    value = checked.mapping(result.get("value") or {}, f"{where}.value")
    key = next((k for k in value if k.endswith("labels") or k == "choices"), None)
    given = checked.items(value[key] or [None], f"{where}.value") if key else [None]
    labels = [checked.label(v, f"{where}.value") for v in given]
    score = checked.confidence(result.get("score"), f"{where}.score")
    meta = result.get("meta") if isinstance(result.get("meta"), dict) else {}
    identity = checked.optional_text((meta or {}).get("identity"), f"{where}.meta.identity")
    if kind == "choices":
        return [Instance(label, identity=identity, confidence=score) for label in labels]
    if kind in ("relation", "textarea", "taxonomy", "number", "rating", "labels"):
        return []  # a plain "labels" entry repeats what its region says
    geometry = _geometry(kind, value, where, builder.size(name, "Label Studio writes percent"))
    return [Instance(label, identity=identity, confidence=score, **geometry) for label in labels]


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
