"""Excel workbooks as rows of text, read by openpyxl (the extra ``[xlsx]``)."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path
from typing import Any

from transect.errors import TransectError

__all__ = ["SHEET_SUFFIXES", "is_workbook", "sheet_rows"]

SHEET_SUFFIXES = (".xlsx", ".xlsm")
_LIMIT = 1 << 30
"""Most bytes that a workbook may unpack to."""
_ZIP, _OLD = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def is_workbook(path: Path) -> bool:
    """Whether a file's first bytes are those of an Excel workbook, whatever its name.

    Raises:
        TransectError: If it is one of a kind that is not read (.xls), or cannot be read at all.
    """
    try:
        with path.open("rb") as handle:
            start = handle.read(8)
    except OSError as error:
        raise TransectError(f"{path} cannot be read ({error.strerror}). Restore it.") from error
    if start == _OLD:
        raise TransectError(f"{path} is an old Excel file (.xls). Save it as .xlsx or as CSV.")
    return start.startswith(_ZIP)


def sheet_rows(path: Path) -> dict[str, list[list[str]]]:
    """Read the sheets of a workbook.

    Args:
        path: An .xlsx or .xlsm file.

    Returns:
        Sheet name to its rows, each a list of texts; numbers as Python writes them, dates as
        ``2024-05-31``, formulas as their last result. Sheets without a cell are left out.

    Raises:
        TransectError: If openpyxl is not installed, or the file is no workbook, or too large.
    """
    try:
        import openpyxl
    except ImportError:
        raise TransectError(
            f"{path} is an Excel workbook, and reading one needs openpyxl. Install "
            "transect[xlsx], or save the sheet as CSV."
        ) from None
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(item.file_size for item in packed.infolist())
        if size > _LIMIT:
            raise TransectError(f"{path} unpacks to {size >> 20} MiB. Save the sheet as CSV.")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            return {
                sheet.title: rows
                for sheet in book.worksheets
                if (rows := [[_text(c) for c in row] for row in sheet.iter_rows(values_only=True)])
            }
        finally:
            book.close()
    except TransectError:
        raise
    except Exception as error:  # a parser of strangers' files may raise anything
        raise TransectError(
            f"{path} cannot be read as an Excel workbook ({str(error)[:100]}). Save it again, or "
            "save the sheet as CSV."
        ) from error


def _text(value: Any) -> str:
    """A cell's value as text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time(0):
        return value.date().isoformat()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value).strip()
