"""Strangers' JSON, XML and numbers, read within bounds: what is not as it should be says where."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = [
    "JSON_LIMIT",
    "XML_LIMIT",
    "box",
    "confidence",
    "integer",
    "items",
    "json_files",
    "keyed",
    "label",
    "long_text",
    "mapping",
    "number",
    "numbered",
    "optional_text",
    "read_bytes",
    "read_json",
    "read_text",
    "ring",
    "size",
    "text",
]

JSON_LIMIT = 512 << 20
"""Most bytes of a JSON file; decoded it may take ten times as much memory."""
XML_LIMIT = 1 << 30
"""Most bytes of an XML file, which is read image by image."""
FILES_LIMIT = 2_000_000
"""Most files of one folder of annotations."""
_FAR = 1e7  # no picture is ten million pixels wide
_DEPTH = 64  # of nested JSON; no format of ours needs more than 12


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a file of bounded size.

    Raises:
        TransectError: If it cannot be read, is empty or larger than ``limit`` bytes.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > limit:
            raise TransectError(f"{path} is larger than {limit >> 20} MiB. Split it.")
        data = path.read_bytes()
    except OSError as error:
        raise TransectError(f"{path} cannot be read ({error.strerror}). Restore it.") from error
    if not data.strip():
        raise TransectError(f"{path} is empty. Restore it.")
    return data


def read_text(path: Path, limit: int) -> str:
    """Read a text file of bounded size: UTF-8 or, failing that, Latin-1."""
    data = read_bytes(path, limit)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_json(path: Path, *, limit: int = JSON_LIMIT) -> Any:
    """Decode a JSON file.

    Raises:
        TransectError: If it is not JSON, too large, or nested deeper than 64 levels.
    """
    data = read_bytes(path, limit)
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise TransectError(
            f"{path} is not in UTF-8 (byte {error.start}), so its words cannot be told; it may be "
            "in GBK, Shift JIS or Latin-1. Open it in a text editor and save it as UTF-8."
        ) from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise TransectError(
            f"{path} is not valid JSON ({str(error)[:120]}). Export it again."
        ) from error
    level, depth = [value], 0
    while level := [v for v in level if isinstance(v, (dict, list))]:
        depth += 1
        if depth > _DEPTH:
            raise TransectError(f"{path} is nested deeper than {_DEPTH} levels. Export it again.")
        level = [v for node in level for v in (node.values() if isinstance(node, dict) else node)]
    return value


def json_files(path: Path) -> list[Path]:
    """One file, or all ``.json`` files below a folder, sorted; links out of it are passed over."""
    if path.is_file():
        return [path]
    inside = path.resolve()
    found = sorted(p for p in path.rglob("*.json") if p.resolve().is_relative_to(inside))
    if not found or len(found) > FILES_LIMIT:
        what = "has no .json file" if not found else f"has more than {FILES_LIMIT} files"
        raise TransectError(f"{path} {what}. Name the folder of the annotations.")
    return found


def mapping(value: Any, where: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        TransectError: If it is something else.
    """
    if not isinstance(value, dict):
        raise _wrong(value, where, "an object {...}")
    return value


def items(value: Any, where: str) -> list[Any]:
    """A JSON list.

    Raises:
        TransectError: If it is something else.
    """
    if not isinstance(value, list):
        raise _wrong(value, where, "a list [...]")
    return value


def text(value: Any, where: str) -> str:
    """A text that is not empty; whole numbers are taken as text.

    Raises:
        TransectError: If it is something else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > 10_000:
        raise _wrong(value, where, "a text")
    return value.strip()


def long_text(value: Any, where: str) -> str:
    """A text of any length, perhaps empty.

    Raises:
        TransectError: If it is something else.
    """
    if not isinstance(value, str):
        raise _wrong(value, where, "a text")
    return value


def optional_text(value: Any, where: str) -> str | None:
    """A text, or None for what is missing or empty."""
    return None if value in (None, "") else text(value, where)


def label(value: Any, where: str) -> str:
    """The name of a class: a short printable text; "object" if there is none.

    Raises:
        TransectError: If it is something else.
    """
    if value in (None, ""):
        return "object"
    name = text(value, where)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        name = "\n"
    if not name.isprintable() or len(name) > 200:
        raise _wrong(value, where, "a short name")
    return name


def number(value: Any, where: str) -> float:
    """A finite number within ten million, also as text.

    Raises:
        TransectError: If it is something else.
    """
    result = math.nan
    if not isinstance(value, bool) and isinstance(value, (int, float, str)):
        try:
            result = float(value)
        except (ValueError, OverflowError):
            result = math.nan
    if not abs(result) <= _FAR:
        raise _wrong(value, where, "a number")
    return result


def integer(value: Any, where: str) -> int:
    """A whole number within ten million.

    Raises:
        TransectError: If it is something else.
    """
    result = number(value, where)
    if result != int(result):
        raise _wrong(value, where, "a whole number")
    return int(result)


def confidence(value: Any, where: str) -> float | None:
    """A number in [0, 1], or None for what is missing.

    Raises:
        TransectError: If it is something else.
    """
    if value is None or value == "":
        return None
    result = number(value, where)
    if not 0 <= result <= 1:
        raise _wrong(value, where, "a number from 0 to 1")
    return result


def size(height: Any, width: Any, where: str) -> tuple[int, int] | None:
    """(height, width), or None if both are missing or 0.

    Raises:
        TransectError: If they are no size.
    """
    if height in (None, "", 0, "0", -1) and width in (None, "", 0, "0", -1):
        return None
    size_hw = integer(height, f"the height of {where}"), integer(width, f"the width of {where}")
    if min(size_hw) < 1:
        raise _wrong(list(size_hw), where, "height and width of at least 1")
    return size_hw


def ring(points: Any, where: str, *, least: int = 3) -> NDArray[np.float64]:
    """A list of [x, y] pairs, or a flat list x, y, x, y, as (K, 2).

    Raises:
        TransectError: If it is something else, or has fewer than ``least`` points.
    """
    found = items(points, where)
    try:
        flat = np.array(found, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise _wrong(points, where, "pairs of numbers") from None
    if flat.ndim == 1 and flat.size % 2 == 0:
        flat = flat.reshape(-1, 2)
    if flat.ndim != 2 or flat.shape[1] != 2 or not (np.abs(flat) <= _FAR).all():
        raise _wrong(points, where, "pairs of numbers")
    if len(flat) > 3 and (flat[0] == flat[-1]).all():
        flat = flat[:-1]
    if len(flat) < least:
        raise TransectError(f"{where} has {len(flat)} points, and {least} are needed. Draw it.")
    return flat


def box(values: tuple[float, float, float, float], where: str) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 in order, with an area.

    Raises:
        TransectError: If it has none.
    """
    x0, x1 = sorted((float(values[0]), float(values[2])))
    y0, y1 = sorted((float(values[1]), float(values[3])))
    if x1 <= x0 or y1 <= y0:
        raise TransectError(f"{where} is a box without area. Remove or redraw it.")
    return x0, y0, x1, y1


def keyed(value: Mapping[str, Any], key: str, where: str) -> Any:
    """What stands under a key.

    Raises:
        TransectError: If there is no such key.
    """
    if key not in value:
        raise TransectError(f"{where} has no '{key}'. Export it again.")
    return value[key]


def numbered(values: Iterable[Any], where: str) -> Iterator[tuple[str, Any]]:
    """The entries of a list, each with its place for messages."""
    for i, value in enumerate(values):
        yield f"{where}[{i}]", value


def _wrong(value: Any, where: str, wanted: str) -> TransectError:
    """The sentence for a value of the wrong kind."""
    shown = ascii(value if isinstance(value, (str, int, float)) else type(value).__name__)
    return TransectError(f"{where} must be {wanted}; got {shown[:60]}. Correct it.")
