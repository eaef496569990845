"""YOLO: a text file per picture with boxes or polygons as shares, and data.yaml."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np

from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.folder import list_pictures, stem_of
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.outlines import one_ring
from transect.data.shapes import box_of, rings_of
from transect.errors import TransectError
from transect.files import safe_join, write_text

__all__ = ["NAME", "matches", "read", "read_names", "write"]

NAME = "yolo"
_SPLITS = {
    "train": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
}
_LIMIT = 64 << 20  # bytes of one label file
_NUMBERS = re.compile(r"[-+0-9.eE\s]*\Z")


def matches(head: Head) -> bool:
    """Whether a folder (or its data.yaml) is a YOLO data set: label files, or YAML with names."""
    path = head.path
    if path.suffix.lower() in (".yaml", ".yml"):
        return "names" in checked.read_text(path, _LIMIT)
    if not path.is_dir():
        return False
    first = next((p for p in path.rglob("*.txt") if "labels" in p.relative_to(path).parts), None)
    if first is None or not (first.stat().st_size <= _LIMIT):
        return False
    return bool(_NUMBERS.match(first.read_text(encoding="utf-8", errors="replace")))


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a YOLO data set: ``images/**`` and ``labels/**``, or ``train/images`` and so on.

    Lines are ``class x y width height [confidence]`` or ``class x y x y x y ...``, all shares of
    the picture. Pictures without a label file have nothing on them.

    Args:
        path: The folder, or its data.yaml.
        pictures: The pictures, if they are not in the folder.

    Returns:
        The annotations; faulty lines are left out and listed.

    Raises:
        TransectError: If there is no label file.
    """
    root = path if path.is_dir() else path.parent
    yaml = path if path.is_file() else _yaml(root)
    classes = read_names(yaml) if yaml else {}
    inside = root.resolve()
    labels = sorted(
        p
        for p in root.rglob("*.txt")
        if "labels" in p.relative_to(root).parts and p.resolve().is_relative_to(inside)
    )
    if not labels:
        raise TransectError(f"{root} has no labels/*.txt. Name the folder of the data set.")
    own = pictures is None
    pictures = pictures or Pictures(root)
    builder = Builder(pictures)
    if own:
        stems = {_without(name, "images"): name for name in list_pictures(pictures.folder)[0]}
    else:
        stems = {stem_of(name): name for name in pictures.paths}
    for stem, name in stems.items():
        builder.picture(name, None, split=_split(stem))
    for file in labels:
        shown = file.relative_to(root).as_posix()
        stem = _without(shown, "labels")
        found = stems.get(stem) or pictures.find(stem)
        if found is None:
            builder.problem(shown, f"{shown} has no picture of that name. Add it to images/.")
            continue
        try:
            _read_labels(file, shown, builder.picture(found), classes, builder)
        except TransectError as error:
            builder.problem(shown, error)
    return builder.done(classes.values())


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


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write ``labels/*.txt`` and ``data.yaml`` into a folder; pictures belong into its ``images/``.

    Objects with an outline or mask become polygons (pieces and holes joined by bridges), others
    boxes. Points are left out, for YOLO has none.

    Args:
        annotations: Every picture needs its size.
        path: The folder.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size.
    """
    drawn = (i for p in annotations.pictures for i in p.instances if i.has_area or i.box)
    order = dict.fromkeys([*annotations.classes, *(i.label for i in drawn)])
    numbers = {name: i for i, name in enumerate(order)}
    written = []
    for picture in annotations.pictures:
        lines = [
            line for i in picture.instances if (line := _line(i, picture, numbers)) is not None
        ]
        target = safe_join(path / "labels", stem_of(picture.name) + ".txt")
        write_text(target, "".join(f"{line}\n" for line in lines))
        written.append(target)
    names = "".join(f"  {i}: {_yaml_text(name)}\n" for name, i in numbers.items())
    target = path / "data.yaml"
    write_text(target, f"path: .\ntrain: images\nval: images\nnc: {len(numbers)}\nnames:\n{names}")
    return [*written, target]


def _yaml(root: Path) -> Path | None:
    """The YAML file of a data set: data.yaml, else the only one."""
    found = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    named = [p for p in found if p.stem in ("data", "dataset")]
    return named[0] if named else found[0] if len(found) == 1 else None


def _without(name: str, folder: str) -> str:
    """A name without its suffix and without one folder on its way."""
    parts = stem_of(name).split("/")
    if folder in parts[:-1]:
        parts.remove(folder)
    return "/".join(parts)


def _split(stem: str) -> str | None:
    """The split that a folder on the way names."""
    return next((_SPLITS[p] for p in stem.split("/")[:-1] if p in _SPLITS), None)


def _read_labels(
    file: Path, shown: str, name: str, classes: dict[int, str], builder: Builder
) -> None:
    """Add the objects of one label file."""
    if file.stat().st_size == 0:
        return
    height, width = builder.size(name, "YOLO writes shares of it")
    scale = np.array([width, height], np.float64)
    content = checked.read_text(file, _LIMIT)
    for i, line in enumerate(content.splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        where = f"{shown} line {i}"
        try:
            number = checked.integer(cells[0], f"{where}: class")
            if classes and number not in classes:
                raise TransectError(f"{where} has the unknown class {number}. Add it to names.")
            label = classes.get(number, str(number))
            values = [checked.number(c, where) for c in cells[1:]]
            if any(not -0.5 <= v <= 1.5 for v in values):
                raise TransectError(f"{where} has numbers beyond 0..1. Divide pixels by the size.")
            if len(values) in (4, 5):
                middle, half = np.array(values[:2]) * scale, np.array(values[2:4]) * scale / 2
                corners = (*(middle - half - 0.5).tolist(), *(middle + half - 0.5).tolist())
                score = checked.confidence(values[4], where) if len(values) == 5 else None
                builder.add(
                    name, Instance(label, box=checked.box(corners, where), confidence=score)
                )
                continue
            score = checked.confidence(values.pop(), where) if len(values) % 2 else None
            ring = checked.ring(values, where) * scale - 0.5
            builder.add(name, Instance(label, parts=((ring,),), confidence=score))
        except TransectError as error:
            builder.problem(shown, error)


def _line(instance: Instance, picture: Picture, numbers: dict[str, int]) -> str | None:
    """One object as a line, or None for what YOLO cannot say."""
    if not instance.has_area and instance.box is None:
        return None
    if picture.size_hw is None:
        raise TransectError(
            f"the size of {picture.name} is not known, and YOLO writes shares of it. Name the "
            "folder of the pictures with --images."
        )
    scale = np.array([picture.size_hw[1], picture.size_hw[0]])
    if instance.has_area:
        rings = rings_of(instance, picture.size_hw)
        if not rings:
            return None
        values = ((one_ring(rings) + 0.5) / scale).reshape(-1)
    else:
        box = box_of(instance, picture.size_hw)
        assert box is not None
        low, high = (np.array(box).reshape(2, 2) + 0.5) / scale
        values = np.concatenate([(low + high) / 2, high - low])
    score = [] if instance.confidence is None else [instance.confidence]
    cells = " ".join(f"{v:.10g}" for v in [*values.tolist(), *score])
    return f"{numbers[instance.label]} {cells}"


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


def _yaml_text(name: str) -> str:
    """A name in the quotes that it does not contain."""
    quote = "'" if '"' in name else '"'
    return f"{quote}{name.replace(quote, ' ')}{quote}"
