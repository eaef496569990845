"""Labels of whole pictures: a table of image and label, and a folder per class."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transect.data.exchange import Annotations, Builder, Instance, Pictures
from transect.data.folder import list_pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.formats.table import IMAGE_COLUMNS, first_column
from transect.data.label_table import is_label, said_labels
from transect.data.tables import read_table
from transect.data.tally import Tally
from transect.errors import TransectError
from transect.files import spreadsheet_safe, write_text

__all__ = ["label_rows", "made", "matches", "matches_folders", "read", "read_folders", "write"]

_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test"))
_PLACED = frozenset(("x", "y", "x0", "x1", "xmin", "bbox", "box_x", "rle_mask", "encodedpixels"))


def matches(head: Head) -> bool:
    """Whether a table has an image and a label, and no place or identity."""
    columns = set(head.columns)
    named = first_column(head.columns, IMAGE_COLUMNS) is not None
    return named and any(map(is_label, columns)) and not columns & _PLACED


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a table of image and label; ``a;b``, several columns or rows are several labels.

    Args:
        path: The table.
        pictures: Where sizes are looked up.

    Returns:
        One word about the whole picture for every label.

    Raises:
        TransectError: If it is no such table.
    """
    table, problems = read_table(path, ["image"])
    builder = Builder(pictures)
    builder.rows(problems)
    said = said_labels(table, path, None)
    for name, line, labels in zip(table["image"], table["line"], said.labels, strict=True):
        where = f"{path.name} line {line}"
        try:
            key = builder.picture(checked.text(name, where))
            for label in labels:
                builder.add(key, Instance(checked.label(label, where)))
        except TransectError as error:
            builder.problem(path.name, error)
    return builder.done()


def made(annotations: Annotations) -> Annotations:
    """Every label of a picture once; what stands twice is told.

    Args:
        annotations: With words.

    Returns:
        What the table will say.
    """
    tally = Tally(annotations.told)
    pictures = []
    for picture in annotations.pictures:
        once = {i.label: i for i in picture.instances}
        if len(once) < len(picture.instances):
            tally.tell("same label twice", objects=len(picture.instances) - len(once))
        pictures.append(replace(picture, instances=tuple(once.values())))
    return replace(annotations, pictures=tuple(pictures), told=tally.done())


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write ``image,label``, a row for every label; a picture without any has an empty cell.

    Args:
        annotations: As ``made`` leaves them.
        path: The CSV.
        pictures: Not needed.

    Returns:
        The files written.
    """
    labels = {p.name: [i.label for i in p.instances] for p in annotations.pictures}
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("image", "label"), *label_rows(labels)])
    write_text(path, out.getvalue())
    return [path]


def label_rows(labels: dict[str, list[str]]) -> list[Sequence[str]]:
    """Rows of image and label, safe in a spreadsheet.

    Raises:
        TransectError: If a label holds the sign that parts labels.
    """
    for label in {label for some in labels.values() for label in some}:
        if ";" in label or "|" in label:
            raise TransectError(f"the label {label!r} holds ; or |, which part labels. Rename it.")
    return [
        (spreadsheet_safe(name), spreadsheet_safe(label))
        for name, some in labels.items()
        for label in (some or [""])
    ]


def matches_folders(head: Head) -> bool:
    """Whether a folder holds train/CLASS/..., val/CLASS/... and the like, and nothing else."""
    path = head.path
    if not path.is_dir() or any(path.glob("*.csv")) or any(path.glob("*.json")):
        return False
    outer = {p.name.lower() for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")}
    if not outer or not outer <= _SPLITS:
        return False
    inner = {p.name.lower() for part in path.iterdir() if part.is_dir() for p in part.iterdir()}
    found = list(list_pictures(path)[0])
    # images/ and labels/ below a split are YOLO's.
    return bool(found) and not inner & {"images", "labels"} and all(n.count("/") > 1 for n in found)


def read_folders(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a folder per class, as torchvision's ImageFolder; above it perhaps train, val, test.

    Args:
        path: The folder of folders.
        pictures: Not needed.

    Returns:
        The innermost folder of every picture as its label; pictures below ``test`` keep that split.

    Raises:
        TransectError: If no picture lies in a folder.
    """
    if not path.is_dir():
        raise TransectError(f"{path} is not a folder. Name the folder of the classes' folders.")
    builder = Builder(pictures or Pictures(path))
    for name in list_pictures(path)[0]:
        outer, label = name.partition("/")[0].lower(), posixpath.basename(posixpath.dirname(name))
        if not label or (outer in _SPLITS and name.count("/") < 2):
            what = f"{name} lies in no folder of a class. Move it into one."
            builder.problem(name, what, why="in no folder of a class", pictures=1)
            continue
        try:
            split = "test" if outer == "test" and outer in _SPLITS else None
            builder.add(
                builder.picture(name, None, split=split), Instance(checked.label(label, name))
            )
        except TransectError as error:
            builder.problem(name, error)
    found = builder.done()
    if not found.pictures:
        raise TransectError(f"{path} has no folder with pictures. Make one per class.")
    return found
