"""Numbers as people and spreadsheets write them: decimal commas, thousands, empty cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["MISSING", "is_missing", "numbers", "plain_numbers"]

MISSING = frozenset(
    {"", "na", "n/a", "#n/a", "nan", "<na>", "null", "none", "nil", "-", "--", "?", "."}
)
"""Cells, in lower case, that R, pandas, SQL and people leave where nothing is known."""
_LONGEST = max(map(len, MISSING))
_NUMBER = re.compile(r"[+-]?(\d[\d.,' ]*|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
_BLANKS = str.maketrans({"\u00a0": "", "\u202f": "", "\u2009": "", "\u2212": "-", "\u2019": "'"})
_UNUSUAL = re.compile(r"[,' ]|\..*\.|[^\x00-\x7f]")
_POINT, _COMMA = ".", ","


def is_missing(cell: str) -> bool:
    """Whether a cell, without blanks around it, says that nothing is known.

    Example:
        >>> is_missing("NA"), is_missing("0")
        (True, False)
    """
    return len(cell) <= _LONGEST and cell.lower() in MISSING


def numbers(column: Iterable[str]) -> NDArray[np.float64]:
    """Turn cells of a table that ``read_table`` read into numbers; others become NaN.

    Example:
        >>> numbers(["1", "2.5", "x", "1,234", "inf"]).tolist()
        [1.0, 2.5, nan, nan, nan]
    """
    cells = column.tolist() if isinstance(column, pd.Series) else list(column)
    values = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(
        np.float64, copy=True
    )
    values[~np.isfinite(values)] = np.nan
    return values


def plain_numbers(
    columns: Sequence[Sequence[str]], *, delimiter: str, spaces: bool = True
) -> list[list[str]]:
    """Write the numbers of a table with a decimal point and without thousands.

    ``12,5`` and ``1.005,5`` are read with a decimal comma, ``1,050.5`` with a point. ``1,234``
    alone may be either, so the table's other cells decide, and failing them the delimiter: where
    the comma parts cells it cannot be the decimal sign of who wrote them, so it parts thousands.

    Args:
        columns: Cells of the columns that hold numbers; they are read in the light of each other.
        delimiter: What parts the table's cells.
        spaces: Whether blanks may part thousands (``1 234``); they part runs in run-length codes.

    Returns:
        The columns; cells that are no number, or one of two numbers and nothing tells which, are
        left as they are.

    Example:
        >>> plain_numbers([["12,5", "1.005,5"], ["3", "1.005"]], delimiter=";")
        [['12.5', '1005.5'], ['3', '1005']]
        >>> plain_numbers([["1,234", "950"]], delimiter=",")
        [['1234', '950']]
    """
    if not any(_UNUSUAL.search(cell) for column in columns for cell in column):
        return [list(column) for column in columns]
    marks = {mark for column in columns for cell in column if (mark := _decimal_of(cell, spaces))}
    if len(marks) == 1:
        decimal = next(iter(marks))
    elif marks:
        decimal = ""  # both are used: only what can be read one way is a number
    else:
        decimal = _POINT if delimiter == "," else _COMMA
    usual = decimal if marks else _POINT  # of "1.234": a point, unless commas are decimal
    return [[_plain(cell, decimal, usual, spaces) for cell in column] for column in columns]


def _decimal_of(cell: str, spaces: bool) -> str:
    """The decimal sign that a cell shows beyond doubt, or nothing."""
    text = _digits(cell, spaces)
    if text is None:
        return ""
    commas, points = text.count(_COMMA), text.count(_POINT)
    if commas and points:
        return _COMMA if text.rindex(_COMMA) > text.rindex(_POINT) else _POINT
    if commas + points > 1:
        return _POINT if commas else _COMMA
    mark = _COMMA if commas else _POINT if points else ""
    return "" if not mark or _grouped(text, mark) else mark


def _plain(cell: str, decimal: str, usual: str, spaces: bool) -> str:
    """One cell, its decimal sign being known if the cell does not show it."""
    text = _digits(cell, spaces)
    if text is None or not (_COMMA in text or _POINT in text):
        return cell if text is None else text
    own = _decimal_of(cell, spaces)
    if not own:
        mark = _COMMA if _COMMA in text else _POINT
        choice = decimal if mark == _COMMA else usual
        if not choice:
            return cell
        own = choice
    other = _POINT if own == _COMMA else _COMMA
    whole, _, rest = text.partition(own)
    if other in rest or own in rest:
        return cell
    if other in whole and not _grouped(whole, other):
        return cell
    whole = whole.replace(other, "")
    return f"{whole}.{rest}" if rest or own in text else whole


def _digits(cell: str, spaces: bool) -> str | None:
    """A cell that may be a number, without blanks and apostrophes; None for any other."""
    text = cell.strip().translate(_BLANKS)
    if text and text[0].isalpha():
        return None
    if not _NUMBER.fullmatch(text) or (" " in text and not spaces):
        return None
    for mark in (" ", "'"):
        if mark in text:
            whole = re.split(r"[.,]", text)[0]
            if not _grouped(whole, mark):
                return None
            text = text.replace(mark, "")
    return text


def _grouped(text: str, mark: str) -> bool:
    """Whether ``mark`` parts groups of three digits, as it parts thousands."""
    return bool(re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+", text))
