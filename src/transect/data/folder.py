"""The pictures below a folder: listed, their headers read by several threads, the table joined."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from transect.data.cells import numbers
from transect.data.images import IMAGE_SUFFIXES, image_info
from transect.data.names import output_stems
from transect.data.tables import match_images, read_table
from transect.errors import TransectError, unknown_name
from transect.types import IMAGE_COLUMNS, Image, Problem

__all__ = [
    "Progress",
    "in_threads",
    "list_complete",
    "list_images",
    "list_new",
    "list_pictures",
    "readable_name",
    "stem_of",
    "with_table",
]

Progress = Callable[[int, int], None]
"""Called with (done, all)."""

_SIDECARS = {".xml", ".tfw", ".jgw", ".pgw", ".wld", ".prj", ".txt", ".md", ".csv", ".json", ".db"}
_SPLITS = {"train": "train", "val": "train", "valid": "train", "validation": "train", "": "train"}
_SPLITS |= {"test": "test", "external": "external"}
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_threads(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    progress: Progress | None = None,
    threads: int | None = None,
) -> list[_Result]:
    """Apply ``work`` to all items by several threads, results in the order of the items.

    Args:
        work: Reads or decodes one item; releases the interpreter while it does.
        items: The items.
        progress: Told about every hundredth of the way.
        threads: How many; None is one per core, at least 2, at most 16.

    Returns:
        One result per item.
    """
    threads = threads or min(max(os.cpu_count() or 1, 2), 16)
    results: list[_Result] = []
    step = max(len(items) // 100, 1)
    with ThreadPoolExecutor(threads) as pool:
        # In portions, so that a hundred thousand tasks do not wait in memory and Ctrl-C is prompt.
        for start in range(0, len(items), 512):
            for result in pool.map(work, items[start : start + 512]):
                results.append(result)
                if progress and (len(results) % step == 0 or len(results) == len(items)):
                    progress(len(results), len(items))
    return results


def list_pictures(folder: Path) -> tuple[dict[str, Path], list[Problem]]:
    """Find the picture files below a folder.

    Hidden files and the usual side files (world files, texts, tables) are passed over; links
    that lead out of the folder, and files that are no pictures by name, become problems.

    Args:
        folder: Where to look, at any depth; the folder itself may be a link.

    Returns:
        Name (path below the folder, forward slashes) to path, sorted by name; and problems.
    """
    found: dict[str, Path] = {}
    problems = []
    inside = folder.resolve()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        with os.scandir(current) as entries:
            for entry in entries:
                path = Path(entry.path)
                name = path.relative_to(folder).as_posix()
                if entry.name.startswith("."):
                    continue
                if (plain := readable_name(name)) != name:
                    what = f"{plain} is a name that is not UTF-8. Rename it."
                    problems.append(Problem(plain, what))
                elif entry.is_symlink() and not path.resolve().is_relative_to(inside):
                    problems.append(
                        Problem(name, f"{name} is a link out of {folder}. Copy the file instead.")
                    )
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif entry.is_dir():
                    continue  # a link to a folder inside: its files are met where they lie
                elif path.suffix.lower() in IMAGE_SUFFIXES and not entry.is_file():
                    # Opening a named pipe would wait for ever; a dangling link is no file either.
                    what = f"{name} is no regular file. Remove it, or copy the picture there."
                    problems.append(Problem(name, what))
                elif path.suffix.lower() in IMAGE_SUFFIXES:
                    found[name] = path
                elif path.suffix.lower() not in _SIDECARS and entry.name != "Thumbs.db":
                    what = f"{name} is no picture by its name. Save it as PNG, JPEG or TIFF."
                    problems.append(Problem(name, what))
    return dict(sorted(found.items())), sorted(problems, key=lambda p: p.name)


def list_images(
    folder: Path, *, progress: Progress | None = None
) -> tuple[tuple[Image, ...], tuple[Problem, ...]]:
    """List the pictures of a folder, or one picture, with sizes from their headers.

    This is all that prediction needs: no annotations are looked for.

    Args:
        folder: A folder of pictures at any depth, a folder with ``images/``, or one picture.
        progress: Called with (done, all).

    Returns:
        The images that can be read, sorted by name, and the files that cannot.

    Raises:
        TransectError: If there is no picture at all.
    """
    problems: list[Problem] = []
    if folder.is_file():
        found = {folder.name: folder}
    elif folder.is_dir():
        inner = folder / "images"
        found, problems = list_pictures(inner if inner.is_dir() else folder)
    else:
        raise TransectError(f"{folder} does not exist. Give a folder of pictures, or one picture.")

    def read(item: tuple[str, Path]) -> Image | Problem:
        name, path = item
        try:
            size_hw, channels, dtype = image_info(path)
        except TransectError as error:
            return Problem(name, str(error))
        return Image(name, path, size_hw, channels, dtype)

    results = in_threads(read, list(found.items()), progress)
    images = tuple(r for r in results if isinstance(r, Image))
    problems += [r for r in results if isinstance(r, Problem)]
    if not images:
        first = f" (first: {problems[0].what})" if problems else ""
        raise TransectError(
            f"{folder} has no picture that can be read{first}. Put PNG, JPEG, TIFF, BMP or WebP "
            "files there."
        )
    return images, tuple(problems)


def list_new(folder: Path) -> tuple[tuple[Image, ...], tuple[Problem, ...]]:
    """List pictures as ``list_images`` does, with what an ``images.csv`` beside them says.

    Those that share a stem (``a.jpg``, ``a.png``) get an ``output`` of their own.

    Raises:
        TransectError: As ``list_images`` and ``with_table``.
    """
    images, problems = list_images(folder)
    stems = output_stems(image.name for image in images)
    images = tuple(
        replace(i, output=stems[i.name]) if stems[i.name] != i.stem else i for i in images
    )
    if not (folder / "images.csv").is_file():
        return images, problems
    images, more = with_table(images, folder / "images.csv")
    return images, (*problems, *more)


def list_complete(folder: Path) -> tuple[Image, ...]:
    """List pictures for a competition's file, which needs an answer for each.

    Args:
        folder: As for ``list_new``.

    Returns:
        The pictures.

    Raises:
        TransectError: If one cannot be read: a submission with holes would be refused.
    """
    listed, problems = list_new(folder)
    if problems:
        raise TransectError(
            f"{problems[0].name}: {problems[0].what} A submission needs every picture."
        )
    return listed


def with_table(images: Iterable[Image], path: Path) -> tuple[tuple[Image, ...], list[Problem]]:
    """Add what ``images.csv`` says of each image.

    Args:
        images: The images.
        path: A table with the column image and any of ``IMAGE_COLUMNS``; other columns are
            tolerated.

    Returns:
        The images, completed, and problems with rows.

    Raises:
        TransectError: If the table cannot be read, or a split is none that we know.
    """
    images = tuple(images)
    table, problems = read_table(path, ["image"], optional=IMAGE_COLUMNS)
    root = images[0].path.parent if images else path.parent
    table, strange = match_images(table, [image.name for image in images], root, path.name)
    problems += strange
    double = table["image"].duplicated()
    problems += [
        Problem(path.name, f"{path.name} line {line} names {name} again; the first row counts.")
        for name, line in zip(table.loc[double, "image"], table.loc[double, "line"], strict=True)
    ]
    table = table[~double]
    cells = {}
    for column in IMAGE_COLUMNS:
        values = table[column].tolist() if column in table else [""] * len(table)
        cells[column] = dict(zip(table["image"], values, strict=True))
    problems += _number_problems(table, path.name)
    for split in sorted(set(cells["split"].values())):
        if split.lower() not in _SPLITS:
            raise unknown_name(f"split in {path}", split, [s for s in _SPLITS if s])
    done = []
    for image in images:
        row = {column: cells[column].get(image.name, "") for column in IMAGE_COLUMNS}
        depth, scale, weight = numbers([row["depth"], row["scale"], row["weight"]]).tolist()
        done.append(
            replace(
                image,
                group=row["group"] or None,
                depth=depth if depth == depth else None,
                date=row["date"] or None,
                side=row["side"] or None,
                scale=scale if scale == scale and scale > 0 else None,
                split=_SPLITS[row["split"].lower()],
                kind=row["kind"] or None,
                weight=weight if 0 <= weight < math.inf else 1.0,
            )
        )
    return tuple(done), problems


def readable_name(name: str) -> str:
    r"""A name as text that can be written anywhere: bytes that are no UTF-8 become escapes.

    Example:
        >>> readable_name(os.fsdecode(b"for\xeat.png"))
        'for\\xeat.png'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def stem_of(name: str) -> str:
    """A name without its last suffix.

    Example:
        >>> stem_of("site.1/a.b.png")
        'site.1/a.b'
    """
    return re.sub(r"\.[^./]+$", "", name)


def _number_problems(table: pd.DataFrame, file: str) -> list[Problem]:
    """Depths, scales and weights that are given but are no numbers, or out of range."""
    problems = []
    rules = (("depth", "", "unknown"), ("scale", " above 0", "unknown"), ("weight", " from 0", "1"))
    for column, rule, default in rules:
        if column not in table:
            continue
        values = numbers(table[column])
        bad = (values != values) & (table[column] != "").to_numpy()
        if column == "scale":
            bad |= values <= 0
        if column == "weight":
            bad |= (values < 0) | (values == math.inf)
        for text, line in zip(table.loc[bad, column], table.loc[bad, "line"], strict=True):
            what = f"{file} line {line}: {column} must be a number{rule}; got {text!r}."
            problems.append(Problem(file, f"{what} It is taken as {default}."))
    return problems
