"""The competitions' files: masks as run-length codes, counts per class, ranked identities."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.data import rle
from transect.errors import TransectError
from transect.files import atomic_path, spreadsheet_safe

__all__ = ["write_counts", "write_identities", "write_masks"]


def write_masks(
    path: Path,
    batches: Iterable[tuple[Sequence[str], NDArray[np.bool_]]],
    *,
    header: tuple[str, str] = ("id", "rle_mask"),
    keep_suffix: bool = False,
) -> int:
    """Write ``id,rle_mask``, batch by batch as they come, whole or not at all.

    Args:
        path: The CSV.
        batches: Names and their masks (n, H, W); all of a batch have one size.
        header: The two column names.
        keep_suffix: Write ``a.png`` instead of ``a``.

    Returns:
        Rows written.

    Raises:
        TransectError: If a name comes twice, or names and masks differ in number.
    """
    seen: set[str] = set()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(header)
        for names, masks in batches:
            _check_lengths(len(names), len(masks), "masks")
            ids = [_id(name, keep_suffix, seen) for name in names]
            table.writerows(zip(ids, rle.encode_many(masks), strict=True))
    return len(seen)


def write_counts(
    path: Path,
    names: Sequence[str],
    counts: ArrayLike,
    classes: Sequence[str],
    *,
    id_column: str = "test_id",
    whole: bool = False,
) -> int:
    """Write a row per picture and a column per class.

    Args:
        path: The CSV.
        names: Of the pictures; suffixes are dropped.
        counts: (N, C) numbers; below 0 becomes 0.
        classes: C names, the columns.
        id_column: The first column's name; the sea-lion competition's by default.
        whole: Round to whole numbers.

    Returns:
        Rows written.

    Raises:
        TransectError: If a name comes twice, the shapes differ, or a count is no number.
    """
    values = np.asarray(counts, np.float64).reshape(len(names), -1)
    if values.shape[1] != len(classes) or not np.isfinite(values).all():
        raise TransectError(
            f"counts must be numbers of shape ({len(names)}, {len(classes)}); got {values.shape}, "
            f"{int((~np.isfinite(values)).sum())} of them no numbers. Pass one column per class."
        )
    values = np.maximum(values, 0)
    values = np.rint(values) if whole else values
    seen: set[str] = set()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow([id_column, *map(spreadsheet_safe, classes)])
        for name, row in zip(names, values.tolist(), strict=True):
            table.writerow([_id(name, False, seen), *(f"{v:.10g}" for v in row)])
    return len(seen)


def write_identities(
    path: Path,
    names: Sequence[str],
    ranked: Sequence[Sequence[str]],
    *,
    top: int = 5,
    header: tuple[str, str] = ("Image", "Id"),
) -> int:
    """Write ``Image,Id`` with the best identities of each picture, separated by blanks.

    Args:
        path: The CSV.
        names: Of the pictures, with suffix.
        ranked: Identities of each picture, the best first; the first ``top`` are written.
        top: How many.
        header: The two column names.

    Returns:
        Rows written.

    Raises:
        TransectError: If a name comes twice, an identity has a blank or comes twice in a row.
    """
    _check_lengths(len(names), len(ranked), "answers")
    seen: set[str] = set()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(header)
        for name, identities in zip(names, ranked, strict=True):
            best = list(identities[:top])
            wrong = next((i for i in best if not i or i != "".join(i.split())), None)
            if wrong is not None or len(set(best)) < len(best) or not best:
                raise TransectError(
                    f"the answer for {name} must be up to {top} different identities without "
                    f"blanks; got {best}. Rename the identities."
                )
            table.writerow([_id(name, True, seen), spreadsheet_safe(" ".join(best))])
    return len(seen)


def _id(name: str, keep_suffix: bool, seen: set[str]) -> str:
    """A picture's name in a competition's file, checked to come once."""
    stem, dot, suffix = name.rpartition(".")
    text = name if keep_suffix or not dot or "/" in suffix else stem
    if text in seen:
        raise TransectError(f"{text!r} would stand twice in the file. Give each picture its name.")
    seen.add(text)
    return spreadsheet_safe(text)


def _check_lengths(names: int, values: int, what: str) -> None:
    """As many names as values."""
    if names != values:
        raise TransectError(f"there are {names} names and {values} {what}. Pass one of each.")
