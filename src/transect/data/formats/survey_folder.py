"""Our own survey folder: images/, masks/, points.csv, boxes.csv, identities.csv, labels.csv."""

from __future__ import annotations

import csv
import errno
import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.annotations import read_boxes, read_identities, read_points
from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.folder import list_images, stem_of, with_table
from transect.data.formats.head import Head
from transect.data.formats.image_labels import label_rows
from transect.data.formats.label_images import instances_of, painted
from transect.data.label_table import read_labels
from transect.data.labels import object_numbers
from transect.data.manifest import Manifest, read_manifest, write_manifest
from transect.data.objects import OBJECTS_HEADER
from transect.data.png import write_png
from transect.data.runs import counts_of_labels
from transect.data.shapes import box_of
from transect.data.survey import mask_labels, open_survey
from transect.data.tables import read_table, table_file
from transect.errors import TransectError
from transect.files import atomic_path, safe_join, spreadsheet_safe, write_text
from transect.types import IMAGE_COLUMNS, Image, LabelKind, MaskKind, Problem, Survey

__all__ = ["NAME", "is_survey", "matches", "read", "write", "write_objects", "write_tables"]

NAME = "survey"
_TABLES = ("points", "counts", "boxes", "identities", "labels")


def matches(head: Head) -> bool:
    """Whether a folder is a survey: images/ and a part that says something of them."""
    return is_survey(head.path)


def is_survey(path: Path) -> bool:
    """Whether a folder holds images/ and a part that says something of them."""
    if not (path / "images").is_dir():
        return False
    return (path / "masks").is_dir() or any(table_file(path, name) for name in _TABLES)


def read(
    path: Path, *, pictures: Pictures | None = None, mask_kind: MaskKind | None = None
) -> Annotations:
    """Read a survey folder.

    Class masks give one object per class and picture, instance masks one per object.

    Args:
        path: The folder.
        pictures: Not needed.
        mask_kind: How the masks are to be read; None as ``open_survey`` tells.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: If it is no survey.
    """
    images, problems = list_images(path / "images")
    found = list(problems)
    if (path / "images.csv").exists():
        images, more = with_table(images, path / "images.csv")
        found += more
    builder = Builder(None)
    for image in images:
        builder.picture(image.name, image.size_hw, **_columns(image))
    classes: tuple[str, ...] = ()
    if (path / "classes.csv").is_file():
        classes = tuple(read_table(path / "classes.csv", ["name"])[0]["name"])
    if (path / "masks").is_dir():
        survey = open_survey(path, question="segment", missing="unlabelled", mask_kind=mask_kind)
        for note in survey.notes:
            builder.reread(note, objects=0)
        known = {(p.name, p.what) for p in found}
        found += [p for p in survey.problems if (p.name, p.what) not in known]
        named, numbered = survey.classes, survey.mask_kind == "instances"
        classes = tuple(dict.fromkeys([*named, *classes]))
        for image in survey.images:
            if image.name in survey.masks:
                for instance in _objects(survey, image.name, numbered):
                    builder.add(image.name, instance)
    for problem in found:
        builder.problem(problem.name, problem.what, why="file or row left out", objects=0)
    _read_tables(path, images, builder)
    found_all = builder.done(classes)
    waiting = {image.name for image in images if image.split == "test"}
    marked = (
        replace(p, labelled=bool(p.instances) or p.name not in waiting) for p in found_all.pictures
    )
    return replace(found_all, pictures=tuple(marked))


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write a survey folder; pictures are hard-linked where the disk allows it, else copied.

    Objects become instance masks, with their classes in ``objects.csv`` if there are several;
    where no picture has two objects of one class, class masks or binary masks say the same. Where
    objects overlap the smaller one is on top. A picture that nobody has labelled gets the split
    ``test``, and no mask.

    Args:
        annotations: As ``survey_made.made`` leaves them.
        path: The folder; it must not yet hold a survey.
        pictures: The picture files.

    Returns:
        The files written, pictures aside.

    Raises:
        TransectError: If there is no picture folder, or the folder holds a survey.
    """
    if pictures is None:
        raise TransectError("a survey needs its pictures. Name their folder with --images.")
    if is_survey(path):
        raise TransectError(f"{path} already holds a survey. Choose another folder, or remove it.")
    written: list[Path] = []
    solid = [i for p in annotations.pictures for i in p.instances if i.has_area]
    labels = [c for c in annotations.classes if c in {i.label for i in solid}]
    kind = _kind(annotations, labels)
    # One depth for all masks, so that a survey is of one kind as a whole.
    most = max(max(_numbers(p, labels, kind), default=0) for p in annotations.pictures)
    stems = Counter(stem_of(p.name) for p in annotations.pictures)
    for picture in annotations.pictures:
        key = pictures.find(picture.name)
        if key is None:
            raise TransectError(f"{picture.name} is not in {pictures.folder}. Add it.")
        _place(pictures.paths[key], safe_join(path / "images", picture.name))
        if solid and picture.labelled:
            name = picture.name if stems[stem_of(picture.name)] > 1 else stem_of(picture.name)
            target = safe_join(path / "masks", f"{name}.png")
            mask = _mask(picture, labels, kind)
            write_png(target, mask.astype(np.uint8) if most < 256 else mask.astype(np.uint16))
            written.append(target)
    written += write_tables(annotations, path)
    if kind == "instances" and len(labels) > 1:
        written.append(write_objects(annotations, path))
    words = _words(annotations)
    if annotations.classes and (solid or any(table_file(path, name) for name in _TABLES[:3])):
        order = [*labels, *(c for c in annotations.classes if c not in labels)]
        rows = [("value", "name"), *enumerate(map(spreadsheet_safe, order), start=1)]
        # A binary mask holds 255 where it holds anything.
        if kind == "binary":
            rows[1] = (255, rows[1][1])
        written.append(_write_rows(path / "classes.csv", rows))
    each: LabelKind = "single" if all(len(some) == 1 for some in words.values()) else "several"
    manifest = Manifest(kind, labels=each if words else None)
    if (file := write_manifest(path, manifest)) is not None:
        written.append(file)
    return written


def _objects(survey: Survey, name: str, numbered: bool) -> Iterable[Instance]:
    """The objects of one mask, or its classes."""
    if survey.objects:
        classes = survey.objects.get(name, {})
        for number, counts in counts_of_labels(object_numbers(survey, name)):
            yield Instance(survey.classes[classes[number] - 1], counts=counts)
        return
    labels = mask_labels(survey, name, of_picture=False)
    yield from instances_of(labels, survey.classes[:1] if numbered else survey.classes)


def _columns(image: Image) -> dict[str, str | None]:
    """What images.csv says of an image, as text."""
    found = {column: getattr(image, column) for column in IMAGE_COLUMNS}
    found["split"] = image.split if image.split != "train" else None
    found["weight"] = image.weight if image.weight != 1 else None
    return {k: f"{v:g}" if isinstance(v, float) else v for k, v in found.items()}


def _read_tables(path: Path, images: Sequence[Image], builder: Builder) -> None:
    """Add dots, boxes and identities."""
    if file := table_file(path, "points"):
        for name, x, y, label in _rows(file, read_points, images, builder):
            builder.add(str(name), Instance(str(label), point=(float(x), float(y))))
    if file := table_file(path, "boxes"):
        for name, *corners, label in _rows(file, read_boxes, images, builder):
            x0, y0, x1, y1 = (float(v) for v in corners)
            builder.add(str(name), Instance(str(label), box=(x0, y0, x1, y1)))
    if file := table_file(path, "identities"):
        table, problems = read_identities(file, images)
        _tell(file, len(table), problems, builder)
        for record in table.to_dict("records"):
            name, box = str(record["image"]), None
            # The reader of identities makes numbers of the corners only if all four are there.
            corners = [record.get(c) for c in ("x0", "y0", "x1", "y1")]
            if all(isinstance(v, float) and v == v for v in corners):
                x0, y0, x1, y1 = (float(v) for v in corners)
                box = (x0, y0, x1, y1)
            builder.picture(name, None, **{c: record.get(c) for c in ("side", "group", "date")})
            builder.add(name, Instance(box=box, identity=str(record["identity"])))
    if file := table_file(path, "labels"):
        said = read_labels(file, images, kind=read_manifest(path).labels)
        _tell(file, len(said.rows), said.problems, builder)
        for name, *marks in said.rows.itertuples(index=False, name=None):
            for label in (c for c, there in zip(said.classes, marks, strict=True) if there):
                builder.add(str(name), Instance(label))
    if file := table_file(path, "counts"):
        what = f"{file.name} holds totals and no objects, so convert passes it over. Copy it."
        builder.problem(file.name, what, why=f"{file.name} passed over: totals", objects=0)


def _rows(
    file: Path,
    reader: Callable[[Path, Sequence[Image]], tuple[pd.DataFrame, list[Problem]]],
    images: Sequence[Image],
    builder: Builder,
) -> Iterable[tuple[Any, ...]]:
    """The rows of a table that can be used; the others are told."""
    table, problems = reader(file, images)
    _tell(file, len(table), problems, builder)
    return table.itertuples(index=False, name=None)


def _tell(file: Path, kept: int, problems: Sequence[Problem], builder: Builder) -> None:
    """Note the sentences about a table, and how many of its rows were lost."""
    every, broken = read_table(file, ["image"])
    for problem in problems:
        builder.problem(problem.name, problem.what, why=f"row of {file.name}", objects=0)
    if lost := len(every) + len(broken) - kept:
        builder.tally.tell(f"row of {file.name}", objects=lost)


def _place(source: Path, target: Path) -> None:
    """Hard-link a picture, or copy it where links do not reach."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # The file itself, not a link to it: the survey must stand alone.
        os.link(source.resolve(), target)
        return
    except FileExistsError:
        raise TransectError(f"{target} exists already. Choose another folder.") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.ENOENT):
            raise TransectError(f"{source} cannot be linked: {error.strerror}. Copy it.") from error
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _kind(annotations: Annotations, labels: Sequence[str]) -> MaskKind | None:
    """The simplest masks that hold all objects with an area; None if there is none."""
    if not labels:
        return None
    per_class = (Counter(i.label for i in p.instances if i.has_area) for p in annotations.pictures)
    if max(max(n.values(), default=0) for n in per_class) > 1:
        return "instances"
    return "classes" if len(labels) > 1 else "binary"


def _numbers(picture: Picture, labels: Sequence[str], kind: MaskKind | None) -> list[int]:
    """The number of each object with an area in a picture's mask."""
    solid = [i.label for i in picture.instances if i.has_area]
    if len(solid) > 65535:
        raise TransectError(f"{picture.name} has {len(solid)} objects, and 65535 fit. Cut it.")
    if kind == "instances":
        return list(range(1, len(solid) + 1))
    return [255 if kind == "binary" else 1 + labels.index(label) for label in solid]


def _mask(picture: Picture, labels: Sequence[str], kind: MaskKind | None) -> NDArray[np.int32]:
    """The mask of one picture: binary, instances or classes."""
    assert picture.size_hw is not None  # matched pictures have their file's size
    solid = [i for i in picture.instances if i.has_area]
    return painted(solid, picture.size_hw, _numbers(picture, labels, kind))


def write_objects(annotations: Annotations, path: Path) -> Path:
    """Write ``objects.csv``: the class of each object with an area, numbered as in the masks.

    Args:
        annotations: What to write.
        path: The folder.

    Returns:
        The file.
    """
    rows: list[Sequence[Any]] = [OBJECTS_HEADER]
    for picture in annotations.pictures:
        name, solid = spreadsheet_safe(picture.name), (i for i in picture.instances if i.has_area)
        rows += [(name, k, spreadsheet_safe(i.label)) for k, i in enumerate(solid, start=1)]
    return _write_rows(path / "objects.csv", rows)


def write_tables(annotations: Annotations, path: Path) -> list[Path]:
    """Write points, boxes, identities, labels and images, each as a table if there is something.

    Args:
        annotations: What to write.
        path: The survey folder.

    Returns:
        The files written.
    """
    points: list[Sequence[Any]] = []
    boxes: list[Sequence[Any]] = []
    identities: list[Sequence[Any]] = []
    for picture in annotations.pictures:
        name = spreadsheet_safe(picture.name)
        for i in picture.instances:
            label = spreadsheet_safe(i.label)
            if i.identity is not None:
                corners = box_of(i, picture.size_hw) or ("", "", "", "")
                identities.append((name, spreadsheet_safe(i.identity), *corners))
            if i.has_area:
                continue
            if i.box is not None:
                if i.identity is None:
                    boxes.append((name, *i.box, label))
            elif i.point is not None:
                points.append((name, *i.point, label))
    written = []
    corners_header = ("x0", "y0", "x1", "y1")
    if points:
        written.append(_write_rows(path / "points.csv", [("image", "x", "y", "class"), *points]))
    if boxes:
        rows = [("image", *corners_header, "class"), *boxes]
        written.append(_write_rows(path / "boxes.csv", rows))
    if identities:
        plain = all(row[2] == "" for row in identities)
        header = ("image", "identity", *corners_header)
        rows = [row[:2] if plain else row for row in (header, *identities)]
        written.append(_write_rows(path / "identities.csv", rows))
    if words := _words(annotations):
        rows = [("image", "label"), *label_rows(words)]
        written.append(_write_rows(path / "labels.csv", rows))
    aside = {"split"} if any(not p.labelled for p in annotations.pictures) else set()
    used = [
        c
        for c in IMAGE_COLUMNS
        if c in aside or any(p.columns.get(c) for p in annotations.pictures)
    ]
    if used:
        rows = [("image", *used)]
        for p in annotations.pictures:
            cells = {**p.columns, **({} if p.labelled else {"split": "test"})}
            rows.append(tuple(map(spreadsheet_safe, (p.name, *(cells.get(c, "") for c in used)))))
        written.append(_write_rows(path / "images.csv", rows))
    return written


def _words(annotations: Annotations) -> dict[str, list[str]]:
    """Words about whole pictures by picture, those without any among them; none, if none has one.

    Pictures that nobody has labelled, and pictures of which only something else is said, are left
    out.
    """
    found = {
        p.name: [i.label for i in p.instances if _is_word(i)]
        for p in annotations.pictures
        if p.labelled and (not p.instances or any(map(_is_word, p.instances)))
    }
    return found if any(found.values()) else {}


def _is_word(instance: Instance) -> bool:
    """Whether an object speaks of the whole picture and is no individual."""
    drawn = instance.has_area or instance.box is not None or instance.point is not None
    return not drawn and instance.identity is None


def _write_rows(path: Path, rows: Iterable[Sequence[Any]]) -> Path:
    """Write a CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    write_text(path, out.getvalue())
    return path
