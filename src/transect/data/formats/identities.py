"""Identities: Kaggle's ``Image,Id`` table, and a folder per individual."""

from __future__ import annotations

import csv
import io
import posixpath
import shutil
from dataclasses import replace
from pathlib import Path

from transect.data.exchange import Annotations, Builder, Instance, Pictures
from transect.data.folder import list_pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.tables import read_table
from transect.data.tally import Tally
from transect.errors import TransectError
from transect.files import atomic_path, safe_join, spreadsheet_safe, write_text

__all__ = [
    "NAME",
    "matches",
    "matches_folder",
    "one_each",
    "read",
    "read_folder",
    "write",
    "write_folder",
]

NAME = "identities"


def matches(head: Head) -> bool:
    """Whether a CSV begins with ``Image,Id``."""
    first, second = (*head.columns, "", "")[:2]
    return first in ("image", "filename") and second in ("id", "identity")


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read ``Image,Id``: one identity per picture.

    Args:
        path: The CSV.
        pictures: Where sizes are looked up.

    Returns:
        The annotations; faulty rows are left out and listed.

    Raises:
        TransectError: If it is no such table.
    """
    table, problems = read_table(path, ["image", "identity"])
    builder = Builder(pictures)
    builder.rows(problems)
    for line, text, identity in zip(
        *(table[c] for c in ("line", "image", "identity")), strict=True
    ):
        where = f"{path.name} line {line}"
        try:
            name = builder.picture(checked.text(text, where))
            builder.add(name, Instance(identity=checked.text(identity, f"{where}: identity")))
        except TransectError as error:
            builder.problem(path.name, error)
    return builder.done()


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


def one_each(annotations: Annotations) -> Annotations:
    """The first identity of every picture; the other individuals on it are told.

    Args:
        annotations: With identities.

    Returns:
        One object per picture.
    """
    tally = Tally(annotations.told)
    for picture in annotations.pictures:
        if len(picture.instances) > 1:
            why = "second individual of a picture, and the format holds one"
            tally.tell(why, objects=len(picture.instances) - 1)
    pictures = (replace(p, instances=p.instances[:1]) for p in annotations.pictures)
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
