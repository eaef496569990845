"""Our own survey folder: images/, masks/, points.csv, boxes.csv and identities.csv."""

from __future__ import annotations

import csv
import errno
import io
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data import rle
from transect.data.annotations import read_boxes, read_identities, read_points
from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures, window_of
from transect.data.folder import list_images, stem_of, with_table
from transect.data.png import write_png
from transect.data.survey import mask_labels, open_survey
from transect.errors import TransectError
from transect.files import atomic_path, safe_join, spreadsheet_safe, write_text
from transect.types import Image

__all__ = ["NAME", "matches", "read", "write", "write_tables"]

NAME = "survey"
_PARTS = ("masks", "points.csv", "counts.csv", "boxes.csv", "identities.csv")
_COLUMNS = ("group", "depth", "date", "side", "scale", "split", "kind")


def matches(path: Path) -> bool:
    """Whether a folder is a survey: images/ and a part that says something of them."""
    return (path / "images").is_dir() and any((path / part).exists() for part in _PARTS)


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a survey folder.

    Class masks give one object per class and picture, instance masks one per object.

    Args:
        path: The folder.
        pictures: Not needed.

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
    if (path / "masks").is_dir():
        survey = open_survey(path, question="segment", missing="unlabelled")
        known = {(p.name, p.what) for p in found}
        found += [p for p in survey.problems if (p.name, p.what) not in known]
        classes = survey.classes
        for image in survey.images:
            if image.name in survey.masks:
                labels = mask_labels(survey, image.name)
                for instance in _from_labels(labels, survey.mask_kind == "instances", classes):
                    builder.add(image.name, instance)
    found += _read_tables(path, images, builder)
    builder.problems += found
    return builder.done(classes)


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write a survey folder; pictures are hard-linked where the disk allows it, else copied.

    Objects of one class become instance masks, of several classes class masks; a single object
    per picture a binary mask. Where objects overlap the smaller one is on top.

    Args:
        annotations: What to write.
        path: The folder; it must not yet hold a survey.
        pictures: The picture files.

    Returns:
        The files written, pictures aside.

    Raises:
        TransectError: If there is no picture folder, or the folder holds a survey.
    """
    if pictures is None:
        raise TransectError("a survey needs its pictures. Name their folder with --images.")
    if matches(path):
        raise TransectError(f"{path} already holds a survey. Choose another folder, or remove it.")
    written: list[Path] = []
    solid = [i for p in annotations.pictures for i in p.instances if i.has_area]
    labels = [c for c in annotations.classes if c in {i.label for i in solid}]
    stems = Counter(stem_of(p.name) for p in annotations.pictures)
    for picture in annotations.pictures:
        key = pictures.find(picture.name)
        if key is None:
            raise TransectError(f"{picture.name} is not in {pictures.folder}. Add it.")
        _place(pictures.paths[key], safe_join(path / "images", picture.name))
        if solid:
            name = picture.name if stems[stem_of(picture.name)] > 1 else stem_of(picture.name)
            target = safe_join(path / "masks", f"{name}.png")
            write_png(target, _mask(picture, labels, annotations))
            written.append(target)
    written += write_tables(annotations, path)
    if annotations.classes and (solid or any((path / n).exists() for n in _PARTS[1:4])):
        order = [*labels, *(c for c in annotations.classes if c not in labels)]
        rows = [("value", "name"), *enumerate(map(spreadsheet_safe, order), start=1)]
        # A binary mask holds 255 where it holds anything.
        if solid and _binary(annotations, labels):
            rows[1] = (255, rows[1][1])
        written.append(_write_rows(path / "classes.csv", rows))
    return written


def _columns(image: Image) -> dict[str, str | None]:
    """What images.csv says of an image, as text."""
    found = {column: getattr(image, column) for column in _COLUMNS}
    found["split"] = "test" if image.split == "test" else None
    return {k: f"{v:g}" if isinstance(v, float) else v for k, v in found.items()}


def _from_labels(
    labels: NDArray[np.int32], instances: bool, classes: Sequence[str]
) -> Iterable[Instance]:
    """The objects, or the classes, of one label image."""
    from scipy.ndimage import find_objects

    size_hw = labels.shape[0], labels.shape[1]
    dense = np.maximum(labels, 0)
    values = np.arange(1, int(dense.max(initial=0)) + 1) if dense.max(initial=0) < 1 << 20 else None
    if values is None:  # find_objects makes a list as long as the largest number
        values, index = np.unique(dense, return_inverse=True)
        dense = index.reshape(size_hw) + (0 if values[0] == 0 else 1)
        values = values[values > 0]
    for i, place in enumerate(find_objects(dense), start=1):
        if place is None:
            continue
        top, left = int(place[0].start), int(place[1].start)
        counts = rle.counts_of(dense[place] == i, top=top, left=left, size_hw=size_hw)
        label = classes[0] if instances else classes[int(values[i - 1]) - 1]
        yield Instance(label, counts=tuple(counts))


def _read_tables(path: Path, images: Sequence[Image], builder: Builder) -> list[Any]:
    """Add dots, boxes and identities."""
    problems: list[Any] = []
    if (path / "points.csv").exists():
        table, more = read_points(path / "points.csv", images)
        problems += more
        for row in table.itertuples(index=False):
            name, x, y, label = row
            builder.add(str(name), Instance(str(label), point=(float(x), float(y))))
    if (path / "boxes.csv").exists():
        table, more = read_boxes(path / "boxes.csv", images)
        problems += more
        for row in table.itertuples(index=False):
            name, *corners, label = row
            x0, y0, x1, y1 = (float(v) for v in corners)
            builder.add(str(name), Instance(str(label), box=(x0, y0, x1, y1)))
    if (path / "identities.csv").exists():
        table, more = read_identities(path / "identities.csv", images)
        problems += more
        for record in table.to_dict("records"):
            name, box = str(record["image"]), None
            # The reader of identities makes numbers of the corners only if all four are there.
            corners = [record.get(c) for c in ("x0", "y0", "x1", "y1")]
            if all(isinstance(v, float) and v == v for v in corners):
                x0, y0, x1, y1 = (float(v) for v in corners)
                box = (x0, y0, x1, y1)
            builder.picture(name, None, **{c: record.get(c) for c in ("side", "group", "date")})
            builder.add(name, Instance(box=box, identity=str(record["identity"])))
    return problems


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


def _binary(annotations: Annotations, labels: Sequence[str]) -> bool:
    """Whether no picture has more than one object with an area, all of one class."""
    most = max(sum(i.has_area for i in p.instances) for p in annotations.pictures)
    return len(labels) == 1 and most <= 1


def _mask(
    picture: Picture, labels: Sequence[str], annotations: Annotations
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The mask of one picture: binary, instances or classes."""
    assert picture.size_hw is not None  # matched pictures have their file's size
    painted = np.zeros(picture.size_hw, np.uint16)
    solid = [i for i in picture.instances if i.has_area]
    if len(solid) > 65535:
        raise TransectError(f"{picture.name} has {len(solid)} objects, and 65535 fit. Cut it.")
    binary = _binary(annotations, labels)
    # Large ones first, so that small ones end on top.
    areas = [int(window_of(i, picture.size_hw)[0].sum()) for i in solid]
    for k in sorted(range(len(solid)), key=lambda k: (-areas[k], k)):
        value = 255 if binary else k + 1 if len(labels) == 1 else 1 + labels.index(solid[k].label)
        window, top, left = window_of(solid[k], picture.size_hw)
        painted[top : top + window.shape[0], left : left + window.shape[1]][window] = value
    # One depth for all masks: an instance survey is 16-bit as a whole.
    if binary or (len(labels) > 1 and len(labels) < 256):
        return painted.astype(np.uint8)
    return painted


def write_tables(annotations: Annotations, path: Path) -> list[Path]:
    """Write points.csv, boxes.csv, identities.csv and images.csv, each if there is something.

    Args:
        annotations: What to write.
        path: The survey folder.

    Returns:
        The files written.
    """
    points: list[Sequence[Any]] = []
    boxes: list[Sequence[Any]] = []
    identities: list[Sequence[Any]] = []
    words: dict[str, str] = {}
    for picture in annotations.pictures:
        name = spreadsheet_safe(picture.name)
        for i in picture.instances:
            label = spreadsheet_safe(i.label)
            if i.identity is not None:
                corners = i.box if i.box is not None else ("", "", "", "")
                identities.append((name, spreadsheet_safe(i.identity), *corners))
            elif i.point is not None:
                points.append((name, *i.point, label))
            elif i.box is not None and not i.has_area:
                boxes.append((name, *i.box, label))
            elif not i.has_area:
                words.setdefault(picture.name, i.label)
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
    used = [c for c in _COLUMNS if any(p.columns.get(c) for p in annotations.pictures)]
    if words and "kind" not in used:
        used.append("kind")
    if used:
        rows = [("image", *used)]
        for p in annotations.pictures:
            cells = {"kind": words.get(p.name, ""), **p.columns}
            rows.append(tuple(map(spreadsheet_safe, (p.name, *(cells.get(c, "") for c in used)))))
        written.append(_write_rows(path / "images.csv", rows))
    return written


def _write_rows(path: Path, rows: Iterable[Sequence[Any]]) -> Path:
    """Write a CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    write_text(path, out.getvalue())
    return path
