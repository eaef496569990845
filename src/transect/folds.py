"""Folds: alike in what matters, never splitting a group, written once and then respected."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.errors import TransectError, unknown_name
from transect.files import atomic_path, spreadsheet_safe
from transect.recipe import Folds

__all__ = ["STRATIFY", "folds_once", "make_folds", "nested_folds", "read_folds", "write_folds"]

STRATIFY = ("coverage", "class", "depth", "count", "identity", "kind")
QUANTILES = 10
"""Bins of a number, zero apart: the salt winners used ten coverage classes."""


def make_folds(table: pd.DataFrame, spec: Folds) -> NDArray[np.int64]:
    """Divide pictures into folds that are alike.

    Every column that is balanced is cut into bins: numbers into quantiles with 0 in a bin of its
    own, words by value, identities by individual with all that have one photo together. Then
    groups (or single pictures), the largest first, go to the fold where they disturb the
    balance of all bins and of the fold sizes least. ``depth`` alone, without groups, is dealt
    as the salt 1st place did: sorted, the i-th to fold i mod K.

    Args:
        table: One row per picture: image, the columns named by ``spec.stratify``, and group if
            there are groups. Missing groups are pictures of their own; missing values share a bin.
        spec: Number of folds, what to balance, whether to keep groups, seed.

    Returns:
        (N,) the fold of each row, 0 to K - 1; the same for the same table, spec and seed.

    Raises:
        TransectError: If there are fewer pictures or groups than folds, or nothing to balance by.

    References:
        Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of multi-label data", deals
        single items; we deal groups, by a squared deviation.

    Example:
        >>> table = pd.DataFrame({"image": list("abcd"), "coverage": [0, 0, 0.5, 0.5]})
        >>> folds = make_folds(table, Folds(count=2))
        >>> sorted(folds[:2].tolist()), sorted(folds[2:].tolist())
        ([0, 1], [0, 1])
    """
    _check(table, spec)
    grouped = spec.group and "group" in table and bool(_named(table["group"]).any())
    groups = _groups(table) if grouped else np.arange(len(table))
    n_groups = int(groups.max()) + 1
    if n_groups < spec.count:
        raise TransectError(
            f"{spec.count} folds need at least {spec.count} groups, and images.csv names "
            f"{n_groups}. Pass --set folds.count={max(n_groups, 2)}, or --set folds.group=false if "
            "pictures of a group have nothing in common."
        )
    if spec.stratify == ("depth",) and not grouped:
        return _dealt_by_depth(table, spec.count)
    bins = [_bins(table[name], name, spec.count) for name in spec.stratify]
    return _greedy(groups, bins, spec)


def nested_folds(
    table: pd.DataFrame, folds: NDArray[np.int64], spec: Folds, held: int
) -> NDArray[np.int64]:
    """Divide what is left when one fold is held out, to tune on it without touching that fold.

    Args:
        table: As for ``make_folds``.
        folds: The outer folds.
        spec: Of the inner folds; the seed is combined with ``held``.
        held: The outer fold that is held out.

    Returns:
        (N,) the inner fold of each row, -1 for the rows held out.

    Raises:
        TransectError: As ``make_folds``.
    """
    inside = folds != held
    seed = int(np.random.SeedSequence([spec.seed, held]).generate_state(1)[0])
    inner = np.full(len(table), -1, np.int64)
    left = table[inside].reset_index(drop=True)
    inner[inside] = make_folds(left, replace(spec, seed=seed))
    return inner


def write_folds(path: Path, images: Sequence[str], folds: NDArray[np.int64]) -> None:
    """Write ``folds.csv`` (image, fold), whole or not at all.

    Args:
        path: The file.
        images: (N,) names.
        folds: (N,) the fold of each.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "fold"])
        for name, fold in zip(images, folds.tolist(), strict=True):
            writer.writerow([spreadsheet_safe(name), fold])


def read_folds(path: Path, images: Sequence[str]) -> NDArray[np.int64]:
    """Read the folds of some images from ``folds.csv``.

    Args:
        path: The file, ours or the user's own.
        images: (N,) names; rows for other images are passed over.

    Returns:
        (N,) the fold of each image.

    Raises:
        TransectError: If the file is not such a table, or an image has no row.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TransectError(f"{path} cannot be read ({error}). Restore or remove it.") from error
    if not rows or [cell.strip().lower() for cell in rows[0][:2]] != ["image", "fold"]:
        raise TransectError(f"{path} needs the header image,fold. Restore or remove it.")
    known: dict[str, int] = {}
    for line, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        number = row[1].strip() if len(row) > 1 else ""
        if not re.fullmatch(r"[0-9]{1,6}", number):
            raise TransectError(
                f"{path} line {line} must be an image and the number of its fold; got "
                f"{','.join(row)[:80]!r}. Correct it."
            )
        if known.setdefault(row[0], int(number)) != int(number):
            raise TransectError(f"{path} line {line} gives {row[0]} a second fold. Remove one.")
    missing = [name for name in images if spreadsheet_safe(name) not in known]
    missing = [name for name in missing if name not in known]
    if missing:
        raise TransectError(
            f"{len(missing)} of {len(images)} images have no fold in {path} (first: {missing[0]}): "
            "pictures were added since it was written. Add rows for them, or start a new run."
        )
    found = [known.get(spreadsheet_safe(name), known.get(name, -1)) for name in images]
    return np.array(found, np.int64)


def folds_once(path: Path, table: pd.DataFrame, spec: Folds) -> NDArray[np.int64]:
    """Read ``folds.csv`` if it is there, else make the folds and write it.

    Args:
        path: The file.
        table: As for ``make_folds``.
        spec: Used if there is no file yet. A file with another number of folds is an error.

    Returns:
        (N,) the fold of each row.

    Raises:
        TransectError: As ``make_folds`` and ``read_folds``.
    """
    names = table["image"].tolist()
    if not path.exists():
        folds = make_folds(table, spec)
        write_folds(path, names, folds)
        return folds
    folds = read_folds(path, names)
    found = len(np.unique(folds))
    if found != spec.count or folds.max() >= spec.count:
        raise TransectError(
            f"{path} has {found} folds, numbered up to {folds.max()}, and the recipe asks for "
            f"{spec.count} (0 to {spec.count - 1}). Pass --set folds.count={found}, or remove the "
            "file."
        )
    return folds


def _check(table: pd.DataFrame, spec: Folds) -> None:
    """Refuse what cannot be divided."""
    if spec.count < 2:
        raise TransectError(f"folds.count must be at least 2; got {spec.count}. Pass 2 or more.")
    if len(table) < spec.count:
        raise TransectError(
            f"{spec.count} folds need at least {spec.count} labelled images; there are "
            f"{len(table)}. Pass --set folds.count={max(len(table), 2)} or label more."
        )
    for name in spec.stratify:
        if name not in STRATIFY:
            raise unknown_name("folds.stratify", name, STRATIFY)
        if name not in table:
            there = [column for column in STRATIFY if column in table] or ["nothing"]
            raise TransectError(
                f"folds.stratify asks for {name}, which this survey does not have (it has "
                f"{', '.join(there)}). Choose among those."
            )


def _named(column: pd.Series) -> NDArray[np.bool_]:
    """Rows whose cell says something."""
    return (column.notna() & (column.astype(str) != "")).to_numpy(bool)


def _groups(table: pd.DataFrame) -> NDArray[np.int64]:
    """The number of each row's group; rows without one are groups of their own."""
    named = _named(table["group"])
    keys = [
        (0, str(group)) if there else (1, str(i))
        for i, (group, there) in enumerate(zip(table["group"], named, strict=True))
    ]
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int64)


def _dealt_by_depth(table: pd.DataFrame, count: int) -> NDArray[np.int64]:
    """Sort by depth, give the i-th to fold i mod K; equal depths in the order of the names."""
    order = np.lexsort((table["image"].astype(str).to_numpy(str), table["depth"].astype(float)))
    folds = np.empty(len(table), np.int64)
    folds[order] = np.arange(len(table)) % count
    return folds


def _bins(column: pd.Series, name: str, count: int) -> NDArray[np.int64]:
    """Cut a column into bins, numbered from 0."""
    if name in ("coverage", "count", "depth"):
        return _number_bins(np.asarray(column, np.float64), zero_apart=name != "depth")
    words = column.where(_named(column), "").astype(str)
    if name == "identity":
        photos = words.map(words.value_counts())
        words = words.where(photos > 1, "\0single")
    return np.unique(words.to_numpy(str), return_inverse=True)[1].astype(np.int64)


def _number_bins(values: NDArray[np.float64], *, zero_apart: bool) -> NDArray[np.int64]:
    """Quantiles by rank, so that bins are even however the values are spread."""
    bins = np.zeros(len(values), np.int64)  # bin 0: unknown
    zero = (values == 0) & zero_apart
    bins[zero] = 1
    rest = np.flatnonzero(~zero & ~np.isnan(values))
    if len(rest):
        # Equal values share a bin: the rank of the first of them decides.
        distinct, inverse = np.unique(values[rest], return_inverse=True)
        first = np.searchsorted(np.sort(values[rest]), distinct)
        bins[rest] = 2 + (first[inverse] * QUANTILES) // len(rest)
    return np.unique(bins, return_inverse=True)[1].astype(np.int64)


def _greedy(
    groups: NDArray[np.int64], bins: Sequence[NDArray[np.int64]], spec: Folds
) -> NDArray[np.int64]:
    """Give each group to the fold where it adds least to the squared deviation of all bins."""
    rng = np.random.default_rng(spec.seed)
    starts = np.cumsum([0, 1, *(int(b.max()) + 1 for b in bins)])
    # Bin 0 holds every picture, so that the folds are of equal size, too.
    columns = np.stack(
        [np.zeros(len(groups), np.int64), *(b + s for b, s in zip(bins, starts[1:], strict=False))],
        axis=1,
    )
    totals = np.bincount(columns.ravel(), minlength=starts[-1]).astype(float)
    weight = 1 / np.maximum(totals / spec.count, 1.0) ** 2
    weight[0] *= max(len(bins), 1)
    sizes = np.bincount(groups)
    # Largest group first; among equals the one with the rarest bin; then by chance.
    rarity = np.full(len(sizes), np.inf)
    np.minimum.at(rarity, groups, totals[columns].min(axis=1))
    order = np.lexsort((rng.permutation(len(sizes)), rarity, -sizes))
    rows = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    filled = np.zeros((spec.count, starts[-1]))
    fold_of = np.empty(len(sizes), np.int64)
    chance = rng.random((len(sizes), spec.count))
    for turn, group in enumerate(order):
        there, amounts = np.unique(columns[rows[group]], return_counts=True)
        cost = filled[:, there] @ (weight[there] * amounts)
        # Rounded: folds that differ by nothing but arithmetic are a tie, and chance decides.
        fold = int(np.lexsort((chance[turn], np.round(cost, 12)))[0])
        fold_of[group] = fold
        filled[fold, there] += amounts
    return fold_of[groups]
