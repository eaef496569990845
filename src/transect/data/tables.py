"""Tables as people make them: any usual encoding and delimiter, Excel, every bad row named."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from transect.data.cells import is_missing, plain_numbers
from transect.data.images import IMAGE_SUFFIXES
from transect.data.names import Matcher, Matches
from transect.data.sheets import SHEET_SUFFIXES, is_workbook, sheet_rows
from transect.errors import TransectError
from transect.types import Problem

__all__ = [
    "ALIASES",
    "MatchedTable",
    "match_images",
    "matched_table",
    "read_table",
    "table_file",
]

TABLE_LIMIT = 1 << 30
"""Most bytes of a table; ten million rows are less."""

_NUMBERS = frozenset(
    (
        *("x", "y", "x0", "y0", "x1", "y1", "width", "height", "depth", "scale", "weight"),
        *("confidence", "score"),
    )
)
_WORDS = frozenset(
    ("image", "class", "identity", "group", "date", "side", "split", "kind", "name", "comment")
)
"""Columns that hold numbers; and those whose cells are never rewritten."""
_LABELS = frozenset(("label", "labels", "tag", "tags"))
"""Columns in which "none" is a word like others: the label of images that show nothing."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "image": (
        *("image", "filename", "file_name", "file", "image_name", "image_path", "imagepath"),
        *("images", "file_path", "filepath", "path", "photo", "picture", "image_id", "name", "id"),
    ),
    "class": ("class", "label", "category", "species", "class_name", "labels", "category_name"),
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


def table_file(root: Path, name: str) -> Path | None:
    """Find the table of a survey: ``name`` with .csv, .tsv or, from Excel, .xlsx and .xlsm.

    Raises:
        TransectError: If there are several.
    """
    suffixes = (".csv", ".tsv", *SHEET_SUFFIXES)
    # A sync or an archive may have changed the case.
    found = sorted(
        path
        for path in (root.iterdir() if root.is_dir() else ())
        if path.stem.lower() == name and path.suffix.lower() in suffixes and path.is_file()
    )
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise TransectError(f"{root} has both {names}. Keep the one that counts.")
    return found[0] if found else None


def read_table(
    path: Path, columns: Sequence[str], *, optional: Iterable[str] = ()
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read a table with a header into text cells, under the names that we use.

    UTF-8 with or without a byte-order mark, UTF-16 and Latin-1 are told apart; so are commas,
    semicolons, tabs and bars, or a first line ``sep=;`` says it. Lines of comment (``#``) before
    the header, the row names of R and blank cells at the ends of lines are passed over. An Excel
    workbook gives the first sheet that has the columns.

    Args:
        path: The file.
        columns: Columns that must be there, by our names; ``ALIASES`` are understood.
        optional: Columns that are renamed to our names if they are there.

    Returns:
        All columns as stripped text, plus ``line``, the line in the file; and one problem per
        row that has too many or too few cells (those rows are left out). Numbers have a decimal
        point and no thousands (see ``cells.plain_numbers``); cells like NA are empty, but for
        the names of images.

    Raises:
        TransectError: If the file cannot be read, is empty, or lacks a column.
    """
    optional = tuple(optional)
    if is_workbook(path):
        return _from_workbook(path, columns, optional)
    text, above, delimiter = _body(_text(path))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            rows.append((reader.line_num + above, [cell.strip() for cell in row]))
    except csv.Error as error:
        raise TransectError(
            f"{path} line {reader.line_num + above} is not CSV ({error}). Save the table again as "
            "CSV."
        ) from error
    return _from_rows(path, rows, delimiter, columns, optional)


def _from_workbook(
    path: Path, columns: Sequence[str], optional: Sequence[str]
) -> tuple[pd.DataFrame, list[Problem]]:
    """The first sheet of a workbook that has the columns."""
    first: TransectError | None = None
    for rows in sheet_rows(path).values():
        numbered = [(line, row) for line, row in enumerate(rows, start=1) if any(row)]
        try:
            return _from_rows(path, numbered, "", columns, optional)
        except TransectError as error:
            first = first or error
    raise first or TransectError(f"{path} has no sheet with a cell. Write a header and rows.")


def _from_rows(
    path: Path,
    rows: Sequence[tuple[int, list[str]]],
    delimiter: str,
    columns: Sequence[str],
    optional: Sequence[str],
) -> tuple[pd.DataFrame, list[Problem]]:
    """A table from its rows, the header first, each with its line."""
    header = _trimmed(rows[0][1], 1) if rows else []
    filled = [(line, row) for line, row in rows[1:] if any(row)]
    wider = bool(filled) and all(len(row) == len(rows[0][1]) + 1 for _, row in filled)
    if wider and any(row[-1] for _, row in filled):
        header = ["row name", *header]  # R writes none above its row names
    width = len(header)
    names = _named(path, header, columns, optional)
    kept, lines, problems = [], [], []
    for line, row in filled:
        cells = _trimmed(row, width)
        if len(cells) == width:
            kept.append(cells)
            lines.append(line)
            continue
        what = f"{path.name} line {line} has {len(cells)} cells, and the header has {width}"
        place = names.index("image") if "image" in names else width
        unsure = tuple(cells[place : place + 1])
        problems.append(Problem(path.name, f"{what}; the row is left out. Mend the line.", unsure))
    cleaned = _cleaned(names, kept, delimiter)
    table = pd.DataFrame(dict(zip(names, cleaned, strict=True)), dtype=str)
    table["line"] = np.asarray(lines, np.int64)
    return table, problems


def _trimmed(row: list[str], width: int) -> list[str]:
    """A row without the blank cells beyond a width."""
    if len(row) <= width:
        return row
    end = len(row)
    while end > width and not row[end - 1]:
        end -= 1
    return row[:end]


def _cleaned(
    names: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str
) -> list[list[str]]:
    """The columns of a table: numbers written plainly, NA made empty, images' names left alone."""
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in names]
    for i, name in enumerate(names):
        if name != "image":
            words = ("none", "nil") if name in _LABELS else ()
            columns[i] = [
                "" if is_missing(cell) and cell.lower() not in words else cell
                for cell in columns[i]
            ]
    figures = [i for i, name in enumerate(names) if name in _NUMBERS]
    others = [i for i, name in enumerate(names) if name not in _NUMBERS | _WORDS | _LABELS]
    for places, spaces in ((figures, True), (others, False)):
        plain = plain_numbers([columns[i] for i in places], delimiter=delimiter, spaces=spaces)
        for i, column in zip(places, plain, strict=True):
            columns[i] = column
    return columns


@dataclass(frozen=True)
class MatchedTable:
    """A table whose column ``image`` holds the keys of images.

    Attributes:
        rows: Those whose image exists.
        problems: One per name that means no image.
        told: One sentence per way in which names were read otherwise than written.
    """

    rows: pd.DataFrame
    problems: list[Problem]
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
    if matches.doubtful:
        problems[0] = replace(problems[0], unsure=tuple(sorted(matches.doubtful)))
    if len(table) and not matches.found:
        example = next(iter(matcher.names), "a.png")
        raise TransectError(
            f"no row of {file} names an image (first: {lines.index[0]!r}; an image is "
            f"{example!r}). Write the names as they stand below images/."
        )
    kept = table[table["image"].isin(list(matches.found))].copy()
    kept["image"] = kept["image"].map(dict(matches.found))
    kept = kept.reset_index(drop=True)
    return MatchedTable(kept, problems, _told(matches, file))


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


def _body(text: str) -> tuple[str, int, str]:
    """What of a file is the table, how many lines stand above it, and what parts its cells."""
    above, delimiter = 0, ""
    while True:
        line, _, rest = text.partition("\n")
        told = re.fullmatch(r"\s*\"?sep=(.)\"?[;,\s]*", line, re.IGNORECASE)
        delimiter = told[1] if told else delimiter
        if not rest.strip() or not (told or not line.strip() or line.lstrip().startswith("#")):
            return text, above, delimiter or max(",;\t|", key=line.count)
        text, above = rest, above + 1


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
    if _is_data(header):
        raise TransectError(
            f"{path} has no header line: it begins with {','.join(header)[:100]!r}. Write the "
            f"names of the columns above it, e.g. {','.join([*columns, *optional][:6])}."
        )
    lowered = [
        cell.lower().replace(" ", "_") or f"column_{i}" for i, cell in enumerate(header, start=1)
    ]
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


def _is_data(header: Sequence[str]) -> bool:
    """Whether what should be a header is a row: it names a picture, or holds numbers."""
    pictures = any(PurePosixPath(cell).suffix.lower() in IMAGE_SUFFIXES for cell in header)
    figures = sum(cell.replace(".", "", 1).lstrip("-").isdecimal() for cell in header)
    return (pictures and len(header) > 1) or figures >= 2
