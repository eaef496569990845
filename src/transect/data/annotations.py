"""Dots, counts, boxes and identities from their tables, every faulty row found and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.cells import numbers
from transect.data.rows import faults, lost, matched
from transect.errors import TransectError, listed, unknown_name
from transect.types import Image, Problem

__all__ = ["read_boxes", "read_counts", "read_identities", "read_points"]


def read_points(
    path: Path,
    images: Sequence[Image],
    *,
    classes: Sequence[str] = (),
    notes: list[str] | None = None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read ``points.csv``: image, x, y and, if there are several kinds, class.

    A row without x and y says that nothing is on the image. Dots twice at the same place, outside
    their image, or without a number are left out and listed. x and y swapped, and positions given
    as shares of the image, are errors: training on them would teach nonsense.

    Args:
        path: The table.
        images: The images that can be read.
        classes: The only classes allowed, or () for any.
        notes: Where to say what was read otherwise than written.

    Returns:
        Columns image, x, y, class; and problems.

    Raises:
        TransectError: If the table cannot be read as a whole.
    """
    table, problems = matched(path, images, ["image", "x", "y"], ["class"], notes)
    table, _ = _said_empty(table, ["x", "y"])
    claimed = set(table["image"])
    problems += _keep_numbers(table, ["x", "y"], path.name)
    table = _kept(table)
    _check_classes(table, classes, path.name, "object")
    sizes = {image.name: image.size_hw for image in images}
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    height, width = _sizes(table, sizes)
    outside = _outside(x, y, height, width)
    _refuse_swapped(path.name, outside, _outside(y, x, height, width))
    _refuse_shares(path.name, x, y, height, width)
    problems += faults(
        path.name,
        table,
        outside,
        lambda i: (
            f"the dot x={x[i]:g}, y={y[i]:g} lies outside {table['image'].iloc[i]} (width "
            f"{width[i]:.0f}, height {height[i]:.0f}) and is left out. Correct or remove the row."
        ),
    )
    double = table.duplicated(["image", "x", "y", "class"]).to_numpy() & ~outside
    problems += faults(
        path.name, table, double, lambda i: "the same dot stands twice; one is left out."
    )
    points = table.loc[~outside & ~double, ["image", "x", "y", "class"]]
    problems += lost(path.name, claimed, points["image"])
    return points.reset_index(drop=True), problems


def read_boxes(
    path: Path,
    images: Sequence[Image],
    *,
    classes: Sequence[str] = (),
    notes: list[str] | None = None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read ``boxes.csv``: image, x0, y0, x1, y1 (or xmin ... or x, y, width, height) and class.

    A row without corners, or with zeros only, says that nothing is on the image. Boxes are cut to
    their image, which reaches from -0.5 to its width minus 0.5; boxes wholly outside, without
    area, or without numbers are left out and listed.

    Args:
        path: The table.
        images: The images that can be read.
        classes: The only classes allowed, or () for any.
        notes: Where to say what was read otherwise than written.

    Returns:
        Columns image, x0, y0, x1, y1, class; and problems.

    Raises:
        TransectError: If the table cannot be read as a whole.
    """
    corners = ["x0", "y0", "x1", "y1"]
    optional = [*corners, "class", "x", "y"]
    table, problems = matched(path, images, ["image"], optional, notes)
    if "x0" not in table and {"x", "y", "width", "height"} <= set(table.columns):
        for low, side, high in (("x", "width", "x1"), ("y", "height", "y1")):
            start, length = numbers(table[low]), numbers(table[side])
            for name, values in ((f"{low}0", start), (high, start + length)):
                table[name] = ["" if v != v else repr(v) for v in values.tolist()]
    absent = [c for c in corners if c not in table]
    if absent:
        raise TransectError(
            f"{path} needs the columns image,x0,y0,x1,y1; {', '.join(absent)} is missing. Add it."
        )
    table, _ = _said_empty(table, corners)
    claimed = set(table["image"])
    problems += _keep_numbers(table, corners, path.name)
    table = _kept(table)
    _check_classes(table, classes, path.name, "object")
    table, more = _cut_boxes(table, images, path.name)
    problems += more + lost(path.name, claimed, table["image"])
    return table[["image", *corners, "class"]].reset_index(drop=True), problems


def read_counts(
    path: Path,
    images: Sequence[Image],
    *,
    classes: Sequence[str] = (),
    notes: list[str] | None = None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read ``counts.csv``: image, then a column of non-negative numbers per class.

    Args:
        path: The table.
        images: The images that can be read.
        classes: The only classes allowed, or () for any.
        notes: Where to say what was read otherwise than written.

    Returns:
        Columns image and the classes, one row per image; and problems. Rows with a cell that is
        no count, and second rows of an image, are left out and listed.

    Raises:
        TransectError: If the table cannot be read as a whole.
    """
    table, problems = matched(path, images, ["image"], [], notes)
    claimed = set(table["image"])
    found = [c for c in table.columns if c not in ("image", "line")]
    unknown = [c for c in found if classes and c not in classes]
    if unknown or not found:
        what = f"has the unknown class {unknown[0]!r}" if unknown else "has no column of counts"
        raise TransectError(
            f"{path} {what}. Write image, then one column per class"
            f"{': ' + listed(classes) if classes else ''}."
        )
    problems += _keep_numbers(table, found, path.name)
    table = _kept(table)
    values = table[found].to_numpy(float)
    negative: NDArray[np.bool_] = np.any(values < 0, axis=1)
    problems += faults(
        path.name,
        table,
        negative,
        lambda i: f"{table['image'].iloc[i]} has a count below 0 and is left out. Correct it.",
    )
    double = table["image"].duplicated().to_numpy() & ~negative
    problems += faults(
        path.name,
        table,
        double,
        lambda i: f"{table['image'].iloc[i]} stands in an earlier row, which counts. Remove one.",
    )
    counts = table.loc[~negative & ~double, ["image", *found]].reset_index(drop=True)
    return counts, problems + lost(path.name, claimed, counts["image"])


def read_identities(
    path: Path, images: Sequence[Image], *, notes: list[str] | None = None
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read ``identities.csv``: image, identity and, where given, a box, side, group, date.

    A photo may show several individuals if each row has its own box.

    Args:
        path: The table.
        images: The images that can be read; side, group and date are taken from them where the
            table has none.
        notes: Where to say what was read otherwise than written.

    Returns:
        Columns image, identity, the box columns if given (NaN for rows without), side, group,
        date where known, and any other column of the table as text; and problems.

    Raises:
        TransectError: If the table cannot be read as a whole.
    """
    corners = ["x0", "y0", "x1", "y1"]
    optional = [*corners, "side", "group", "date"]
    table, problems = matched(path, images, ["image", "identity"], optional, notes)
    nameless = (table["identity"] == "").to_numpy()
    problems += faults(
        path.name,
        table,
        nameless,
        lambda i: f"{table['image'].iloc[i]} has no identity and is left out. Write one.",
    )
    table = table[~nameless].reset_index(drop=True)
    boxed = all(c in table for c in corners)
    if boxed:
        table, more = _optional_boxes(table, images, path.name)
        problems += more
    key = ["image", *(corners if boxed else [])]
    same = table.duplicated([*key, "identity"]).to_numpy()
    problems += faults(
        path.name, table, same, lambda i: f"{table['image'].iloc[i]} stands twice; once counts."
    )
    table = table[~same].reset_index(drop=True)
    conflict = table.duplicated(key, keep=False).to_numpy()
    problems += faults(
        path.name,
        table,
        conflict,
        lambda i: (
            f"{table['image'].iloc[i]} has more than one identity ({table['identity'].iloc[i]!r} "
            "is one) and is left out. Keep the right one, or give each its box."
        ),
    )
    table = table[~conflict].reset_index(drop=True)
    by_name = {image.name: image for image in images}
    for column in ("side", "group", "date"):
        known = [getattr(by_name[name], column) or "" for name in table["image"].tolist()]
        if column not in table and any(known):
            table[column] = known
        elif column in table:
            table[column] = table[column].where(table[column] != "", known)
    return table.drop(columns="line"), problems


def _said_empty(table: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, set[str]]:
    """Take out rows that name an image and nothing else: it was looked at, and nothing is there.

    DeepForest writes such a row with a box of zeros.
    """
    cells = table[list(columns)]
    nothing = (cells == "").all(axis=1)
    if len(columns) == 4:
        nothing |= cells.isin(["0", "0.0"]).all(axis=1)
    return table[~nothing].reset_index(drop=True), set(table.loc[nothing, "image"])


def _keep_numbers(table: pd.DataFrame, columns: Sequence[str], file: str) -> list[Problem]:
    """Turn columns into numbers in place; rows that have none are marked in ``_bad``."""
    bad = np.zeros(len(table), bool)
    problems: list[Problem] = []
    for column in columns:
        text = table[column].copy()
        values = numbers(text)
        wrong = np.isnan(values) & ~bad
        problems += faults(
            file,
            table,
            wrong,
            lambda i, text=text, column=column: (  # type: ignore[misc]
                f"{column} must be a number; got {text.iloc[i]!r}, so the row is left out. "
                "Correct it."
            ),
        )
        bad |= wrong
        table[column] = values
    table["_bad"] = bad
    return problems


def _kept(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not marked."""
    return table[~table["_bad"]].drop(columns="_bad").reset_index(drop=True)


def _check_classes(table: pd.DataFrame, classes: Sequence[str], file: str, single: str) -> None:
    """Give dots without a class one name, and refuse classes that are not in classes.csv."""
    if "class" not in table:
        table["class"] = classes[0] if len(classes) == 1 else single
    table["class"] = table["class"].where(table["class"] != "", single)
    strange = sorted(set(table["class"]) - set(classes)) if classes else []
    if strange:
        raise unknown_name(f"the class in {file}", strange[0], classes)


def _sizes(
    table: pd.DataFrame, sizes: Mapping[str, tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Height and width of the image of every row."""
    both = np.array([sizes[name] for name in table["image"].tolist()], float).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _outside(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    height: NDArray[np.float64],
    width: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Dots beyond the outer edges; a whole pixel of slack on the far side, where tools differ."""
    return (x < -0.5) | (y < -0.5) | (x > width) | (y > height)


def _refuse_swapped(
    file: str, outside: NDArray[np.bool_], outside_swapped: NDArray[np.bool_]
) -> None:
    """Dots that lie outside, but inside once x and y change places."""
    n = int(outside.sum())
    if n >= 3 and n > 0.02 * len(outside) and not (outside_swapped & outside).any():
        if outside_swapped.sum() > outside.sum():
            return
        raise TransectError(
            f"{n} of {len(outside)} dots of {file} lie outside their image, and inside it once x "
            "and y change places. Swap the columns: x runs to the right, y down."
        )


def _refuse_shares(
    file: str,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    height: NDArray[np.float64],
    width: NDArray[np.float64],
) -> None:
    """Positions in 0..1 or in percent instead of pixels."""
    if len(x) < 5 or np.minimum(height, width).min() < 32:
        return
    top = float(max(x.max(), y.max()))
    fractions = (x % 1 != 0).mean() > 0.5 and (y % 1 != 0).mean() > 0.5
    if top <= 1.0 and fractions:
        raise TransectError(
            f"the positions of {file} all lie in 0..1, so they seem to be shares of the image. "
            "Multiply x by the width and y by the height: pixels are needed."
        )
    # Percent cannot be told from pixels in small photos: only when dots fill 0..100 in all images
    # that are several times as large, which pixels would do by an odd chance.
    large = np.minimum(height, width).min() >= 400
    if large and len(x) >= 30 and 80 < top <= 100.0 and fractions:
        raise TransectError(
            f"the positions of {file} all lie in 0..100 in images at least "
            f"{np.minimum(height, width).min():.0f} pixels wide, so they seem to be percent. "
            "Convert them to pixels."
        )


def _cut_boxes(
    table: pd.DataFrame, images: Sequence[Image], file: str
) -> tuple[pd.DataFrame, list[Problem]]:
    """Cut boxes to their image; drop those without area inside it."""
    height, width = _sizes(table, {image.name: image.size_hw for image in images})
    corners = table[["x0", "y0", "x1", "y1"]].to_numpy(float)
    _refuse_swapped(
        file,
        _outside(corners[:, 2] - 2, corners[:, 3] - 2, height, width),
        _outside(corners[:, 3] - 2, corners[:, 2] - 2, height, width),
    )
    _refuse_shares(file, corners[:, 2], corners[:, 3], height, width)
    # Pixel centres are at integers, so an image ends half a pixel before its width.
    cut = np.clip(corners, -0.5, np.stack([width, height, width, height], axis=1) - 0.5)
    empty = (cut[:, 2] <= cut[:, 0]) | (cut[:, 3] <= cut[:, 1])
    problems = faults(
        file,
        table,
        empty,
        lambda i: (
            f"the box {corners[i].tolist()} has no area inside {table['image'].iloc[i]} "
            f"(width {width[i]:.0f}, height {height[i]:.0f}) and is left out. Correct the row."
        ),
    )
    table[["x0", "y0", "x1", "y1"]] = cut
    return table[~empty].reset_index(drop=True), problems


def _optional_boxes(
    table: pd.DataFrame, images: Sequence[Image], file: str
) -> tuple[pd.DataFrame, list[Problem]]:
    """Boxes of identities: rows with four empty cells mean the whole image."""
    corners = ["x0", "y0", "x1", "y1"]
    without = (table[corners] == "").all(axis=1).to_numpy()
    boxed = table[~without].reset_index(drop=True)
    problems = _keep_numbers(boxed, corners, file)
    boxed, more = _cut_boxes(_kept(boxed), images, file)
    whole = table[without].copy()
    whole[corners] = np.nan
    parts = [part for part in (boxed, whole) if len(part)]
    joined = pd.concat(parts).sort_values("line", kind="stable") if parts else boxed
    joined[corners] = joined[corners].astype(float)
    return joined.reset_index(drop=True), problems + more
