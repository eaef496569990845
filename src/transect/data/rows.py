"""Rows of a table of annotations: matched with images, faults named one by one, losses told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.names import Matcher
from transect.data.tables import matched_table, read_table
from transect.types import Image, Problem

__all__ = ["faults", "lost", "matched"]

_LISTED = 20
"""Faults of one kind that are listed one by one; the rest is counted in one more line."""


def matched(
    path: Path,
    images: Sequence[Image],
    columns: Sequence[str],
    optional: Sequence[str],
    notes: list[str] | None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read a table and keep the rows whose image can be read."""
    table, problems = read_table(path, columns, optional=optional)
    names = [image.name for image in images]
    root = images[0].path.parent if images else path.parent
    if images:  # the folder that all names stand below
        root = images[0].path.parents[images[0].name.count("/")]
    found = matched_table(table, names, root, path.name)
    if notes is not None:
        notes += found.told
    # A row with too few cells says something of an image, too: its name is what it may mean.
    matcher, known = Matcher(names, folder=root), set(found.rows["image"])
    resolved = [
        replace(p, unsure=tuple(n for t in p.unsure if (n := matcher.find(t)) and n not in known))
        for p in problems
    ]
    return found.rows, resolved + found.problems


def lost(file: str, before: Iterable[str], after: Iterable[str]) -> list[Problem]:
    """The images that had rows and have none left: they are not to be taken for empty."""
    names = tuple(sorted(set(before) - set(after)))
    if not names:
        return []
    what = f"{file} has no row that can be used for {names[0]}"
    what += f" and {len(names) - 1} more images" if len(names) > 1 else ""
    return [
        Problem(file, f"{what}: kept from training, not taken for empty. Mend the rows.", names)
    ]


def faults(
    file: str, table: pd.DataFrame, bad: NDArray[np.bool_], say: Callable[[int], str]
) -> list[Problem]:
    """One problem per bad row, up to a number, and one more that counts the rest."""
    places = np.flatnonzero(bad)
    lines = table["line"].to_numpy()
    listed = [Problem(file, f"{file} line {lines[i]}: {say(int(i))}") for i in places[:_LISTED]]
    if len(places) > _LISTED:
        more = len(places) - _LISTED
        listed.append(Problem(file, f"{file}: {more} more rows have the same fault as the last."))
    return listed
