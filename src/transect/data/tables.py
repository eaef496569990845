"""CSV tables as people make them: any usual encoding and delimiter, every bad row named."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.names import Matcher, Matches
from transect.errors import TransectError
from transect.types import Problem

__all__ = ["ALIASES", "MatchedTable", "match_images", "matched_table", "numbers", "read_table"]

TABLE_LIMIT = 1 << 30
"""Most bytes of a table; ten million rows are less."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "filename", "file_name", "file", "image_name", "image_id", "name", "id"),
    "class": ("class", "label", "category", "species", "class_name"),
    "identity": ("identity", "individual", "individual_id", "name", "label", "class", "id"),
    "x": ("x", "col", "column"),
    "y": ("y", "row"),
    "x0": ("x0", "xmin", "x_min", "left", "x1"),
    "y0": ("y0", "ymin", "y_min", "top", "y1"),
    "x1": ("x1", "xmax", "x_max", "right", "x2"),
    "y1": ("y1", "ymax", "y_max", "bottom", "y2"),
    "group": ("group", "site", "flight", "encounter", "slide", "patient"),
    "depth": ("depth", "z", "altitude"),
}
"""Names that are taken for a column, the first one found wins."""


def read_table(
    path: Path, columns: Sequence[str], *, optional: Iterable[str] = ()
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read a CSV with a header into text cells, under the names that we use.

    UTF-8 with or without a byte-order mark, UTF-16 and Latin-1 are told apart; so are commas,
    semicolons, tabs and bars.

    Args:
        path: The file.
        columns: Columns that must be there, by our names; ``ALIASES`` are understood.
        optional: Columns that are renamed to our names if they are there.

    Returns:
        All columns as stripped text, plus ``line``, the line in the file; and one problem per
        row that has too many or too few cells (those rows are left out).

    Raises:
        TransectError: If the file cannot be read, is empty, or lacks a column.
    """
    text = _text(path)
    header_line = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows, lines, problems = [], [], []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                problems.append(
                    Problem(
                        path.name,
                        f"{path.name} line {reader.line_num} has {len(row)} cells, and the header "
                        f"has {len(header)}; the row is left out. Mend the line.",
                    )
                )
                continue
            rows.append([cell.strip() for cell in row])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise TransectError(
            f"{path} line {reader.line_num} is not CSV ({error}). Save the table again as CSV."
        ) from error
    names = _named(path, header, columns, optional)
    table = pd.DataFrame(rows, columns=pd.Index(names), dtype=str)
    table["line"] = np.asarray(lines, np.int64)
    return table, problems


def numbers(column: Iterable[str]) -> NDArray[np.float64]:
    """Turn text cells into numbers; what is no finite number becomes NaN.

    A decimal comma is understood (tables with semicolons have them).

    Example:
        >>> numbers(["1", "2,5", "x", "inf"])
        array([1. , 2.5, nan, nan])
    """
    values = pd.to_numeric(
        pd.Series(list(column), dtype=object).astype(str).str.replace(",", ".", regex=False),
        errors="coerce",
    ).to_numpy(np.float64, copy=True)
    values[~np.isfinite(values)] = np.nan
    return values


@dataclass(frozen=True)
class MatchedTable:
    """A table whose column ``image`` holds the keys of images.

    Attributes:
        rows: Those whose image exists.
        problems: One per name that means no image.
        doubtful: Images that a name without image may have meant (see ``names.Matches``).
        told: One sentence per way in which names were read otherwise than written.
    """

    rows: pd.DataFrame
    problems: list[Problem]
    doubtful: frozenset[str]
    told: tuple[str, ...]


def match_images(
    table: pd.DataFrame, names: Iterable[str], root: Path, file: str
) -> tuple[pd.DataFrame, list[Problem]]:
    """As ``matched_table``, without what only training must know."""
    matched = matched_table(table, names, root, file)
    return matched.rows, matched.problems


def matched_table(table: pd.DataFrame, names: Iterable[str], root: Path, file: str) -> MatchedTable:
    """Replace the names in a table's column ``image`` by the keys of the images they mean.

    Args:
        table: With the columns image and line.
        names: Keys of the images that can be read.
        root: The folder of the images.
        file: The table's file name, for messages.

    Returns:
        The rows whose image exists, and what was not found.

    Raises:
        TransectError: If no row at all means an image.
    """
    matcher = Matcher(names, folder=root)
    lines = table.drop_duplicates("image").set_index("image")["line"]
    matches = matcher.all(str(text) for text in lines.index)
    problems = [
        Problem(
            file,
            f"{file} line {lines[text]} names {text!r}, which {why}; its rows are left out. "
            "Correct the name or add the image.",
        )
        for text, why in matches.refused.items()
    ]
    if len(table) and not matches.found:
        example = next(iter(matcher.names), "a.png")
        raise TransectError(
            f"no row of {file} names an image (first: {lines.index[0]!r}; an image is "
            f"{example!r}). Write the names as they stand below images/."
        )
    kept = table[table["image"].isin(list(matches.found))].copy()
    kept["image"] = kept["image"].map(dict(matches.found))
    kept = kept.reset_index(drop=True)
    return MatchedTable(kept, problems, matches.doubtful, _told(matches, file))


def _told(matches: Matches, file: str) -> tuple[str, ...]:
    """One sentence per way of reading names otherwise than they are written."""
    ways: dict[str, list[str]] = {}
    for text, how in matches.told.items():
        ways.setdefault(how, []).append(text)
    return tuple(
        f"{file}: {len(texts)} {'name is' if len(texts) == 1 else 'names are'} read {how} "
        f"(first: {texts[0]!r} is {matches.found[texts[0]]})"
        for how, texts in ways.items()
    )


def _text(path: Path) -> str:
    """Decode a table, line ends made one."""
    try:
        if path.stat().st_size > TABLE_LIMIT:
            raise TransectError(f"{path} is larger than 1 GiB. Split it.")
        data = path.read_bytes()
    except OSError as error:
        raise TransectError(f"{path} cannot be read ({error.strerror}). Restore it.") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    if not text.strip() or "\0" in text:
        what = "is empty" if not text.strip() else "is not a text file"
        raise TransectError(f"{path} {what}. Write a CSV with a header line.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _named(
    path: Path, header: list[str], columns: Sequence[str], optional: Iterable[str]
) -> list[str]:
    """Rename the header's columns to our names."""
    lowered = [cell.lower().replace(" ", "_") for cell in header]
    names = list(lowered)
    if len(set(lowered)) < len(lowered):
        double = next(name for name in lowered if lowered.count(name) > 1)
        raise TransectError(f"{path} has two columns called {double!r}. Rename or remove one.")
    taken: set[int] = set()
    # Corners written x1, y1, x2, y2: the first pair must not be taken for the second.
    wanted = [*columns, *optional]
    corners = "x2" in lowered and "y2" in lowered
    for name in wanted:
        options = ALIASES.get(name, (name,))
        if corners and name in ("x0", "y0", "x1", "y1"):
            options = {"x0": ("x1",), "y0": ("y1",), "x1": ("x2",), "y1": ("y2",)}[name]
        elif name in ("x0", "y0"):
            options = options[:-1]
        place = next(
            (lowered.index(o) for o in options if o in lowered and lowered.index(o) not in taken),
            None,
        )
        if place is not None:
            names[place] = name
            taken.add(place)
        elif name in columns:
            raise TransectError(
                f"{path} needs the columns {','.join(columns)}; got {','.join(header)[:200]}. "
                f"Add the column {name!r}."
            )
    return [
        f"_{n}" if n == "line" or (names.count(n) > 1 and i not in taken) else n
        for i, n in enumerate(names)
    ]
