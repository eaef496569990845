"""YOLO: a text file per picture with boxes or polygons as shares, and a file of names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.folder import stem_of
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.formats.yolo_names import NAME_FILES, keypoint_shape, names_of, yaml_of
from transect.data.images import IMAGE_SUFFIXES
from transect.data.outlines import one_ring
from transect.data.shapes import box_of, rings_of
from transect.errors import TransectError
from transect.files import safe_join, write_text

__all__ = ["NAME", "matches", "read", "write"]

NAME = "yolo"
_SPLITS = {
    "train": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
}
_LIMIT = 64 << 20  # bytes of one label file
_NUMBERS = re.compile(r"[-+0-9.,eE\s]*\Z")
_LISTS = {*NAME_FILES, "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "notes.txt"}


def matches(head: Head) -> bool:
    """Whether a folder (or its data.yaml) is a YOLO data set: label files, or YAML with names."""
    if head.suffix in (".yaml", ".yml"):
        return b"names" in head.start
    if not head.is_dir:
        return False
    first = next(iter(_label_files(head.path)), None)
    if first is None or not (first.stat().st_size <= _LIMIT):
        return False
    return bool(_NUMBERS.match(first.read_text(encoding="utf-8-sig", errors="replace")))


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a YOLO data set: ``images/**`` and ``labels/**``, ``train/images`` and so on, or flat.

    Lines are ``class x y width height [confidence]`` or ``class x y x y x y ...``, all shares of
    the picture; of a pose (``kpt_shape``) the box is read. Names come from data.yaml, classes.txt,
    obj.names or notes.json. In folders ``labels/`` a picture without a label file has nothing on
    it; where labelImg puts the files beside the pictures it has not been labelled yet.

    Args:
        path: The folder, or its data.yaml.
        pictures: The pictures, if they are not in the folder.

    Returns:
        The annotations; faulty lines are left out and listed.

    Raises:
        TransectError: If there is no label file.
    """
    root = path if path.is_dir() else path.parent
    yaml = path if path.is_file() else yaml_of(root)
    labels = _label_files(root)
    if not labels:
        raise TransectError(
            f"{root} has no labels/*.txt and no text files beside its pictures. Name the folder of "
            "the data set."
        )
    flat = not any("labels" in p.relative_to(root).parts for p in labels)
    classes = names_of((root, *dict.fromkeys(p.parent for p in labels[:1])), yaml)
    pose = keypoint_shape(yaml)
    pictures = pictures or Pictures(root)
    builder = Builder(pictures)
    # The folder images/ may stand above or below the folders of the splits.
    stems = {_without(name, "images"): name for name in pictures.paths}
    for stem, name in stems.items():
        builder.picture(name, None, split=_split(stem))
    seen = set()
    for file in labels:
        shown = file.relative_to(root).as_posix()
        stem = _without(shown, "labels")
        found = stems.get(stem) or pictures.find(stem)
        lines = [line.replace(",", " ").split() for line in _lines(file)]
        if found is None:
            what = f"{shown} has no picture of that name. Add it to images/."
            builder.problem(
                shown, what, why="no picture of that name", objects=sum(map(bool, lines))
            )
            continue
        seen.add(found)
        _read_labels(lines, shown, builder.picture(found), classes, pose, builder)
    for name in (set(stems.values()) - seen) if flat else ():
        builder.unlabelled(name)
    return builder.done(classes.values())


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


def _label_files(root: Path) -> list[Path]:
    """Files in folders ``labels/``; without any those beside a picture of the same name."""
    inside = root.resolve()
    every = sorted(
        p
        for p in root.rglob("*.txt")
        if p.name.lower() not in _LISTS and p.resolve().is_relative_to(inside)
    )
    labels = [p for p in every if "labels" in p.relative_to(root).parts]
    if labels:
        return labels
    suffixes = [s for suffix in IMAGE_SUFFIXES for s in (suffix, suffix.upper())]
    # "a.txt" beside "a.jpg" or, as some tools have it, "a.jpg.txt".
    return [p for p in every if any(p.with_suffix(s).is_file() for s in ("", *suffixes))]


def _lines(file: Path) -> list[str]:
    """The lines of a label file; an empty one says that there is nothing."""
    return [] if file.stat().st_size == 0 else checked.read_text(file, _LIMIT).splitlines()


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
    lines: list[list[str]],
    shown: str,
    name: str,
    classes: dict[int, str],
    pose: tuple[int, int] | None,
    builder: Builder,
) -> None:
    """Add the objects of one label file."""
    for i, cells in enumerate(lines, start=1):
        if not cells:
            continue
        where = f"{shown} line {i}"
        try:
            height, width = builder.size(name, "YOLO writes shares of it")
            scale = np.array([width, height], np.float64)
            number = checked.integer(cells[0], f"{where}: class")
            if classes and number not in classes:
                raise TransectError(f"{where} has the unknown class {number}. Add it to names.")
            label = classes.get(number, str(number))
            values = [checked.number(c, where) for c in cells[1:]]
            if _is_pose(values, pose):
                builder.reread("keypoints of a pose not kept, its box is")
                values = values[:4]
            if any(not -0.5 <= v <= 1.5 for v in values):
                raise TransectError(f"{where} has numbers beyond 0..1. Divide pixels by the size.")
            if len(values) in (4, 5):
                middle, half = np.array(values[:2]) * scale, np.array(values[2:4]) * scale / 2
                corners = (*(middle - half - 0.5).tolist(), *(middle + half - 0.5).tolist())
                score = checked.confidence(values[4], where) if len(values) == 5 else None
                box = checked.box(corners, where)
                builder.add(name, Instance(label, box=box, confidence=score))
                continue
            score = checked.confidence(values.pop(), where) if len(values) % 2 else None
            ring = checked.ring(values, where) * scale - 0.5
            builder.add(name, Instance(label, parts=((ring,),), confidence=score))
        except TransectError as error:
            builder.problem(shown, error)


def _is_pose(values: list[float], pose: tuple[int, int] | None) -> bool:
    """Whether a line is a box with keypoints: by ``kpt_shape``, else by its visibilities."""
    if pose is not None:
        return len(values) >= 4 + pose[0] * pose[1]
    visible = values[6::3]
    return len(values) >= 13 and len(values) % 3 == 1 and set(visible) <= {0.0, 1.0, 2.0}


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


def _yaml_text(name: str) -> str:
    """A name in the quotes that it does not contain."""
    quote = "'" if '"' in name else '"'
    return f"{quote}{name.replace(quote, ' ')}{quote}"
