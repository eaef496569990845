"""The classes of a YOLO data set: data.yaml, classes.txt, obj.names or notes.json."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from transect.data.formats import checked
from transect.errors import TransectError

__all__ = ["NAME_FILES", "keypoint_shape", "names_of", "read_names", "yaml_of"]

NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")
"""Files with a class per line, as labelImg, Label Studio, CVAT and Roboflow write them."""
_LIMIT = 64 << 20  # bytes


def names_of(folders: Sequence[Path], yaml: Path | None) -> dict[int, str]:
    """The classes of a data set by their numbers; empty if no file names them.

    Args:
        folders: Where lists of names may lie.
        yaml: Its YAML file, if it has one; it comes first.

    Raises:
        TransectError: If a file with names cannot be understood.
    """
    if yaml is not None and (names := read_names(yaml)):
        return names
    for folder in folders:
        for file in (folder / name for name in NAME_FILES):
            if file.is_file():
                lines = checked.read_text(file, _LIMIT).splitlines()
                while lines and not lines[-1].strip():
                    lines.pop()
                return {i: checked.label(line.strip(), file.name) for i, line in enumerate(lines)}
        notes = folder / "notes.json"
        if notes.is_file():
            value = checked.mapping(checked.read_json(notes), notes.name)
            found = checked.items(value.get("categories") or [], notes.name)
            entries = [
                checked.mapping(v, where) for where, v in checked.numbered(found, notes.name)
            ]
            return {
                checked.integer(e.get("id"), notes.name): checked.label(e.get("name"), notes.name)
                for e in entries
            }
    return {}


def yaml_of(root: Path) -> Path | None:
    """The YAML file of a data set: data.yaml, else the only one."""
    found = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    named = [p for p in found if p.stem in ("data", "dataset")]
    return named[0] if named else found[0] if len(found) == 1 else None


def keypoint_shape(yaml: Path | None) -> tuple[int, int] | None:
    """``kpt_shape`` of a pose data set: keypoints, and numbers for each; None for other sets."""
    if yaml is None:
        return None
    found = re.search(
        r"^kpt_shape\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*\]", checked.read_text(yaml, _LIMIT), re.M
    )
    return None if found is None else (int(found[1]), int(found[2]))


def read_names(path: Path) -> dict[int, str]:
    """The classes in data.yaml, of which only ``names`` is read, by a parser for just that.

    Args:
        path: The YAML file: ``names: [a, b]``, a list of ``- a`` lines, or ``0: a`` lines.

    Returns:
        Number to name.

    Raises:
        TransectError: If the names are written in any other way.
    """
    lines = checked.read_text(path, _LIMIT).replace("\r\n", "\n").split("\n")
    at = next((i for i, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if at is None:
        return {}
    rest = lines[at].split(":", 1)[1].strip()
    if rest and not rest.startswith("#"):
        block = " ".join([rest, *lines[at + 1 :]]) if rest[0] in "[{" else rest
        if rest[0] not in "[{":
            raise TransectError(f"{path}: names must be a list. Write names: [a, b].")
        close = block.find("]" if rest[0] == "[" else "}")
        if close < 0 or close > 1_000_000:
            raise TransectError(f"{path}: the list of names does not end. Close it.")
        cells = _split_cells(block[1:close])
        if rest[0] == "{":
            return dict(_pair(cell, path) for cell in cells)
        return {i: _scalar(cell, path) for i, cell in enumerate(cells)}
    entries = list(
        itertools.takewhile(
            lambda line: not line.strip() or line[0] in " \t-#",
            lines[at + 1 :],
        )
    )
    cells = [line.strip() for line in entries if line.strip() and not line.strip().startswith("#")]
    if all(cell.startswith("-") for cell in cells):
        return {i: _scalar(cell[1:], path) for i, cell in enumerate(cells)}
    return dict(_pair(cell, path) for cell in cells)


def _split_cells(text: str) -> list[str]:
    """Cells between commas, quotes respected."""
    cells = re.findall(r"""(?:"[^"]*"|'[^']*'|[^,])+""", text)
    return [cell for cell in cells if cell.strip()]


def _pair(cell: str, path: Path) -> tuple[int, str]:
    """``0: name``."""
    number, colon, name = cell.partition(":")
    number = number.strip().strip("'\"")
    if not colon or not number.isascii() or not number.isdigit() or len(number) > 6:
        raise TransectError(f"{path}: {cell[:60]!r} is not 'number: name'. Correct names.")
    return int(number), _scalar(name, path)


def _scalar(text: str, path: Path) -> str:
    """A name, with or without quotes and a comment behind it."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        end = text.find(text[0], 1)
        if end < 0:
            raise TransectError(f"{path}: {text[:60]!r} has no closing quote. Correct names.")
        return checked.label(text[1:end], f"{path.name}: names")
    return checked.label(text.split(" #")[0].strip(), f"{path.name}: names")
