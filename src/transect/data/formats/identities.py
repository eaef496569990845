"""Identities: Kaggle's ``Image,Id`` table, and a folder per individual."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import posixpath
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from transect.data.exchange import Annotations, Builder, Instance, Pictures
from transect.data.folder import list_pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.formats.table import IMAGE_COLUMNS, boxes_of_text, first_column
from transect.data.tables import read_table
from transect.data.tally import Tally
from transect.errors import TransectError
from transect.files import atomic_path, safe_join, spreadsheet_safe, write_text

__all__ = [
    "NAME",
    "matches",
    "matches_folder",
    "matches_wildlife",
    "named_ones",
    "one_each",
    "read",
    "read_folder",
    "write",
    "write_folder",
    "write_wildlife",
]

NAME = "identities"
_IDENTITY = ("identity", "individual_id", "individual", "whaleid", "animal_id")


def matches(head: Head) -> bool:
    """Whether a table names individuals: ``Image,Id``, wildlife-datasets or HappyWhale."""
    first, second = (*head.columns, "", "")[:2]
    kaggle = first in ("image", "filename") and second in ("id", "identity")
    named = bool(set(_IDENTITY) & set(head.columns)) and not head.has("x", "y")
    return kaggle or (named and first_column(head.columns, IMAGE_COLUMNS) is not None)


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a table of identities: ``Image,Id``, or the columns of wildlife-datasets, HappyWhale.

    A ``path`` names the picture before an ``image_id``; ``bbox`` is ``[x, y, width, height]``
    from the outer corner; ``species`` is the class, ``orientation`` the side. A row without an
    identity is a picture that nobody has named.

    Args:
        path: The table.
        pictures: Where sizes are looked up.

    Returns:
        The annotations; faulty rows are left out and listed.

    Raises:
        TransectError: If it is no such table.
    """
    table, problems = read_table(path, [])
    image = first_column(table.columns, IMAGE_COLUMNS)
    identity = first_column(table.columns, _IDENTITY) or ("id" if image != "id" else None)
    if image is None or identity is None or identity not in table:
        raise TransectError(f"{path} needs the columns Image,Id. Rename its columns.")
    label = first_column(table.columns, ("species", "class", "category"))
    sides = first_column(table.columns, ("side", "orientation", "viewpoint", "position"))
    groups = first_column(table.columns, ("group", "encounter", "encounter_id", "sequence"))
    corners = boxes_of_text(table["bbox"]) if "bbox" in table else np.full((len(table), 4), np.nan)
    builder = Builder(pictures)
    builder.rows(problems)
    for number, row in enumerate(table.to_dict("records")):
        where = f"{path.name} line {row['line']}"
        try:
            words = {
                "date": row.get("date", ""),
                "side": row[sides] if sides else "",
                "group": row[groups] if groups else "",
            }
            name = builder.picture(checked.text(row[image], where), None, **words)
            if not row[identity]:
                builder.unlabelled(name)
                builder.reread("no identity: not labelled yet", objects=0, pictures=1)
                continue
            x, y, w, h = corners[number].tolist()
            box = None
            if x == x:
                box = checked.box((x - 0.5, y - 0.5, x + w - 0.5, y + h - 0.5), where)
            who = checked.text(row[identity], f"{where}: identity")
            what = checked.label(row[label], where) if label else "object"
            builder.add(name, Instance(what, identity=who, box=box))
        except TransectError as error:
            builder.problem(path.name, error)
    return builder.done()


def write_wildlife(
    annotations: Annotations, path: Path, *, pictures: Pictures | None = None
) -> list[Path]:
    """Write the metadata table of wildlife-datasets: image_id, identity, path, date, bbox, ...

    Args:
        annotations: With identities.
        path: The CSV.
        pictures: Not needed.

    Returns:
        The files written.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["image_id", "identity", "path", "date", "orientation", "species", "bbox"])
    for picture in annotations.pictures:
        for i in picture.instances:
            digest = hashlib.sha256(f"{picture.name}\n{i.identity}\n{i.box}".encode())
            box = ""
            if i.box is not None:
                x0, y0, x1, y1 = i.box
                box = json.dumps([x0 + 0.5, y0 + 0.5, x1 - x0, y1 - y0])
            said = (picture.columns.get("date", ""), picture.columns.get("side", ""))
            kind = "" if i.label == "object" else i.label
            cells = (i.identity or "", picture.name, *said, kind, box)
            table.writerow([digest.hexdigest()[:16], *map(spreadsheet_safe, cells)])
    write_text(path, out.getvalue())
    return [path]


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write ``Image,Id``: the first identity of every picture that has one.

    Args:
        annotations: With identities.
        path: The CSV.
        pictures: Not needed.

    Returns:
        The files written.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["Image", "Id"])
    for picture in annotations.pictures:
        identity = next((i.identity for i in picture.instances if i.identity), None)
        if identity is not None:
            table.writerow([spreadsheet_safe(picture.name), spreadsheet_safe(identity)])
    write_text(path, out.getvalue())
    return [path]


def matches_wildlife(head: Head) -> bool:
    """Whether a table is wildlife-datasets' metadata: identity and path."""
    return head.has("identity", "path")


def one_each(annotations: Annotations) -> Annotations:
    """The first identity of every picture that has one, without a class; the rest is told.

    Args:
        annotations: With identities.

    Returns:
        One object per picture.
    """
    named = named_ones(annotations)
    tally = Tally(named.told)
    pictures = []
    for picture in named.pictures:
        if len(picture.instances) > 1:
            why = "second individual of a picture, and the format holds one"
            tally.tell(why, objects=len(picture.instances) - 1)
        first = picture.instances[0]
        if first.label != "object":
            tally.tell("class of an identified individual not kept", lost=False, objects=1)
        pictures.append(replace(picture, instances=(replace(first, label="object"),)))
    return replace(named, pictures=tuple(pictures), classes=(), told=tally.done())


def named_ones(annotations: Annotations) -> Annotations:
    """The objects that have an identity; the others are told."""
    tally = Tally(annotations.told)
    pictures = []
    for picture in annotations.pictures:
        kept = tuple(i for i in picture.instances if i.identity is not None)
        if len(kept) < len(picture.instances):
            lost = len(picture.instances) - len(kept)
            tally.tell("object without an identity", objects=lost)
        if kept:
            pictures.append(replace(picture, instances=kept))
    return replace(annotations, pictures=tuple(pictures), told=tally.done())


def matches_folder(head: Head) -> bool:
    """Whether a folder holds nothing but folders of pictures, at least two."""
    path = head.path
    if not path.is_dir() or (path / "images").is_dir() or (path / "labels").is_dir():
        return False
    if (path / "masks").is_dir() or any(path.glob("*.csv")) or any(path.glob("*.json")):
        return False
    found = list(list_pictures(path)[0])
    return bool(found) and all("/" in n for n in found) and len({_owner(n) for n in found}) > 1


def read_folder(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read a folder per individual: the folder a picture lies in is its identity.

    Args:
        path: The folder of folders.
        pictures: Not needed.

    Returns:
        The annotations.

    Raises:
        TransectError: If no picture lies in a folder.
    """
    if not path.is_dir():
        raise TransectError(f"{path} is not a folder. Name the folder of the individuals' folders.")
    pictures = pictures or Pictures(path)
    builder = Builder(pictures)
    for name in pictures.paths:
        if "/" not in name:
            what = f"{name} lies in no individual's folder. Move it into one."
            builder.problem(name, what, why="in no individual's folder", pictures=1)
            continue
        try:
            builder.add(builder.picture(name), Instance(identity=checked.label(_owner(name), name)))
        except TransectError as error:
            builder.problem(name, error)
    found = builder.done()
    if not found.pictures:
        raise TransectError(f"{path} has no folder with pictures. Make one per individual.")
    return found


def write_folder(
    annotations: Annotations, path: Path, *, pictures: Pictures | None = None
) -> list[Path]:
    """Copy every picture that has an identity into the folder of its individual.

    Args:
        annotations: With identities.
        path: The folder of folders.
        pictures: The picture files.

    Returns:
        The files written.

    Raises:
        TransectError: If an identity can be no folder name.
    """
    if pictures is None:
        raise TransectError("the pictures are to be copied. Name their folder with --images.")
    written: list[Path] = []
    for picture in annotations.pictures:
        identity = next((i.identity for i in picture.instances if i.identity), None)
        key = pictures.find(picture.name)
        if identity is None or key is None:
            continue
        if "/" in identity or "\\" in identity or identity in (".", ".."):
            raise TransectError(f"the identity {identity!r} can be no folder. Rename it.")
        target = safe_join(path, f"{identity}/{posixpath.basename(picture.name)}")
        if target in written or target.exists():
            flat = picture.name.replace("/", "_")
            target = safe_join(path, f"{identity}/{flat}")
        with atomic_path(target) as temporary:
            shutil.copyfile(pictures.paths[key], temporary)
        written.append(target)
    return written


def _owner(name: str) -> str:
    """The innermost folder of a picture."""
    return posixpath.basename(posixpath.dirname(name))
