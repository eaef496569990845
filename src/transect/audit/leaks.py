"""Pairs that folds or splits part, the group that keeps them together, the leak-free score."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.audit.findings import AuditReport, Finding, Link
from transect.data.tables import match_images, read_table
from transect.errors import TransectError
from transect.files import spreadsheet_safe, write_text
from transect.types import Image, Survey

__all__ = [
    "Shared",
    "groups_of",
    "leak_findings",
    "leak_free",
    "propose_groups",
    "shared_findings",
    "shared_sets",
    "write_groups",
]

_WORDS = {
    "copy": "the same file",
    "near-copy": "nearly the same picture",
    "turned": "one picture mirrored or turned",
    "adjoining": "adjoining tiles of one larger picture",
    "crop": "overlapping crops of one photo",
    "background": "the same background",
}


def leak_findings(
    links: Sequence[Link], images: Sequence[Image], folds: Mapping[str, int] | None
) -> list[Finding]:
    """What links mean for the division into folds, or into training and test.

    Args:
        links: Pairs that belong together.
        images: All images with their group and split.
        folds: Image to fold; None if the survey is not divided yet.

    Returns:
        A fault per kind for pairs that are parted; a warning for pairs that no group keeps
        together where there are no folds yet.
    """
    by_name = {image.name: image for image in images}
    found = []
    for kind, what in _WORDS.items():
        some = [k for k in links if k.kind == kind and k.first in by_name and k.second in by_name]
        parted = [k for k in some if _parted(by_name[k.first], by_name[k.second], folds)]
        if parted:
            where = "different folds" if folds is not None else "training and test"
            found.append(_leak("fault", kind, parted, f"{what} stands in {where}"))
            continue
        loose = [
            k
            for k in some
            if by_name[k.first].group is None or by_name[k.first].group != by_name[k.second].group
        ]
        if folds is None and loose:
            found.append(_leak("warning", kind, loose, f"{what}: nothing keeps them in one fold"))
    return found


def _leak(severity: Any, kind: str, links: Sequence[Link], text: str) -> Finding:
    """One finding about many pairs."""
    names = tuple(dict.fromkeys(n for k in links for n in (k.first, k.second)))
    example = f"{links[0].first} and {links[0].second}"
    return Finding(
        "leak",
        severity,
        names,
        f"{len(links)} pairs of pictures are {text} (first: {example}).",
        "Give each set one group in images.csv (--write-groups does it), and train again.",
    )


def _parted(a: Image, b: Image, folds: Mapping[str, int] | None) -> bool:
    """Whether a fold or a split runs between two images."""
    if a.split != b.split:
        return True
    if folds is None or a.name not in folds or b.name not in folds:
        return False
    return folds[a.name] != folds[b.name]


@dataclass(frozen=True)
class Shared:
    """Images that the survey's own tables say belong together.

    Attributes:
        kind: ``group``, ``encounter`` (one individual on one date) or ``flanks`` (both sides of
            one sighting).
        label: The group, or individual and date.
        images: Their names, two or more.
    """

    kind: str
    label: str
    images: tuple[str, ...]


_SHARED = {
    "group": "pictures of one group",
    "encounter": "photos of one individual on one date",
    "flanks": "both flanks of one sighting",
}


def shared_sets(survey: Survey) -> tuple[Shared, ...]:
    """All sets of images that a group, an encounter or a sighting holds together.

    Args:
        survey: Opened.

    Returns:
        Sets of two or more images.
    """
    owner: dict[str, str] = {}
    if survey.identities is not None:
        known = survey.identities[survey.identities["identity"] != survey.unknown]
        owner = {str(n): str(w) for n, w in zip(known["image"], known["identity"], strict=True)}
    sets: dict[tuple[str, str], list[str]] = defaultdict(list)
    sides: dict[str, set[str]] = defaultdict(set)
    tables = _identity_columns(survey)
    for image in survey.images:
        extra = tables.get(image.name, {})
        group, date = image.group or extra.get("group"), image.date or extra.get("date")
        side = image.side or extra.get("side")
        if group:
            sets["group", group].append(image.name)
        if date and image.name in owner:
            sets["encounter", f"{owner[image.name]} on {date}"].append(image.name)
        if side and image.name in owner and (date or group):
            label = f"{owner[image.name]} on {date or group}"
            sets["flanks", label].append(image.name)
            sides[label].add(side)
    return tuple(
        Shared(kind, label, tuple(names))
        for (kind, label), names in sets.items()
        if len(names) > 1 and (kind != "flanks" or len(sides[label]) > 1)
    )


def shared_findings(
    sets: Iterable[Shared], images: Sequence[Image], folds: Mapping[str, int] | None
) -> list[Finding]:
    """Leaks that the tables themselves tell: a group, an encounter or a sighting that is parted.

    Args:
        sets: From ``shared_sets``.
        images: At least those of the sets.
        folds: Image to fold, or None: then only training and test are compared.

    Returns:
        One finding for each kind that stands in several folds or splits.
    """
    by_name = {image.name: image for image in images}
    torn: dict[str, list[Shared]] = defaultdict(list)
    for shared in sets:
        members = [by_name[name] for name in shared.images if name in by_name]
        if any(_parted(members[0], other, folds) for other in members[1:]):
            torn[shared.kind].append(shared)
    return [
        Finding(
            f"leak-{kind}",
            "fault",
            tuple(name for shared in torn[kind] for name in shared.images),
            f"{what} stand in several folds or splits: {len(torn[kind])} times (first: "
            f"{torn[kind][0].label}, {len(torn[kind][0].images)} pictures).",
            "Divide by that column: put it into images.csv as group, and train again.",
        )
        for kind, what in _SHARED.items()
        if torn[kind]
    ]


def groups_of(survey: Survey) -> dict[str, str]:
    """Group of every image that has one, by images.csv or else by identities.csv.

    Args:
        survey: Opened.

    Returns:
        Image to group.
    """
    tables = _identity_columns(survey)
    named = {i.name: i.group or tables.get(i.name, {}).get("group") for i in survey.images}
    return {name: group for name, group in named.items() if group}


def _identity_columns(survey: Survey) -> dict[str, dict[str, str]]:
    """group, date and side of identities.csv, where it has them."""
    table = survey.identities
    if table is None:
        return {}
    columns = [c for c in ("group", "date", "side") if c in table]
    out: dict[str, dict[str, str]] = {}
    for row in table[["image", *columns]].itertuples(index=False):
        values = {c: str(v) for c, v in zip(columns, row[1:], strict=True) if v and v == v}
        out.setdefault(str(row[0]), values)
    return out


def propose_groups(links: Iterable[Link], images: Sequence[Image]) -> dict[str, str]:
    """The group column that closes every leak: what hangs together gets one name.

    Groups that exist stay; two groups that a link joins become one, called after the first.

    Args:
        links: Pairs that belong together.
        images: All images with the groups they have.

    Returns:
        Image to group, only where it differs from what the image has.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    def join(a: str, b: str) -> None:
        low, high = sorted((root(a), root(b)))
        parent[high] = low

    known = {image.name for image in images}
    for image in images:
        if image.group is not None:
            join("g" + image.group, "i" + image.name)
    linked = [k for k in links if k.first in known and k.second in known]
    for link in linked:
        join("i" + link.first, "i" + link.second)
    touched = {root("i" + n) for k in linked for n in (k.first, k.second)}
    sets: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        if root("i" + image.name) in touched:
            sets[root("i" + image.name)].append(image)
    taken = {image.group for image in images}
    out: dict[str, str] = {}
    number = 0
    for some in sorted(sets.values(), key=lambda s: s[0].name):
        names = sorted({i.group for i in some if i.group is not None})
        if names:
            label = names[0]
        else:
            number += 1
            while f"together-{number:04d}" in taken:
                number += 1
            label = f"together-{number:04d}"
        out.update({i.name: label for i in some if i.group != label})
    return out


def write_groups(report: AuditReport, root: Path) -> Path:
    """Write the proposed groups into ``images.csv``; other columns and rows stay as they are.

    Args:
        report: With proposed groups.
        root: The survey.

    Returns:
        The table's path. It is replaced whole, or not at all.

    Raises:
        TransectError: If the table cannot be read or written.
    """
    path = root / "images.csv"
    groups = dict(report.groups)
    if path.exists():
        table, _ = read_table(path, ["image"], optional=["group"])
        table = table.drop(columns="line")
        raw = table["image"].tolist()
        names = [n for n in _image_names(root) if n]
        matched, _ = match_images(
            pd.DataFrame({"image": raw, "line": range(len(raw))}), names, root / "images", path.name
        )
        meant = dict(zip(matched["line"], matched["image"], strict=True))
        if "group" not in table:
            table["group"] = ""
        labels = table["group"].tolist()
        for row in range(len(raw)):
            labels[row] = groups.pop(str(meant.get(row, raw[row])), labels[row])
        table["group"] = labels
    else:
        table = pd.DataFrame({"image": [], "group": []}, dtype=str)
    rest = pd.DataFrame({"image": sorted(groups), "group": [groups[n] for n in sorted(groups)]})
    table = pd.concat([table, rest], ignore_index=True).fillna("")
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(table.columns)
    for cells in table.to_numpy().tolist():
        rows.writerow([spreadsheet_safe(str(cell)) for cell in cells])
    write_text(path, text.getvalue())
    return path


def _image_names(root: Path) -> list[str]:
    """Names of the pictures of a survey, without opening them."""
    from transect.data.folder import list_pictures

    if not (root / "images").is_dir():
        raise TransectError(f"{root} has no folder images/. Give the folder of the survey.")
    return list(list_pictures(root / "images")[0])


def leak_free(
    values: NDArray[np.floating], pairs: NDArray[np.integer], folds: NDArray[np.integer]
) -> dict[str, Any]:
    """A score printed twice: as the folds are, and without pictures that a twin gave away.

    Args:
        values: (N,) the score of every image, out of fold; NaN where there is none.
        pairs: (P, 2) rows that belong together.
        folds: (N,) the fold in which each was predicted; -1 for images only seen in training.

    Returns:
        ``as_split`` and ``leak_free`` means, how many images were ``removed`` (those that have a
        twin in another fold, which the model was trained on), the mean of the ``removed_mean``,
        and ``kept`` as (N,) bool.

    Example:
        >>> found = leak_free(np.array([0.9, 0.9, 0.5]), np.array([[0, 1]]), np.array([0, 1, 0]))
        >>> found["as_split"], found["leak_free"], found["removed"]
        (0.7666666666666666, 0.5, 2)
    """
    values = np.asarray(values, np.float64)
    kept = np.isfinite(values)
    given = kept.copy()
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    across = pairs[folds[pairs[:, 0]] != folds[pairs[:, 1]]]
    kept[across.ravel()] = False
    gone = given & ~kept

    def mean(mask: NDArray[np.bool_]) -> float:
        return float(values[mask].mean()) if mask.any() else float("nan")

    return {
        "as_split": mean(given),
        "leak_free": mean(kept),
        "removed": int(gone.sum()),
        "removed_mean": mean(gone),
        "kept": kept,
    }


def name_hint(images: Sequence[Image]) -> Finding | None:
    """File names that begin alike hint at a group that nobody wrote down."""
    if len(images) < 10 or any(image.group for image in images):
        return None
    stems = [re.sub(r"\.[^./]+$", "", image.name) for image in images]
    prefixes = [re.sub(r"[-_ ]+[^-_ /]*$", "", stem) for stem in stems]
    count = Counter(p for p, s in zip(prefixes, stems, strict=True) if p and p != s)
    shared = sum(n for n in count.values() if n > 1)
    sets = sum(1 for n in count.values() if n > 1)
    if sets < 3 or shared < 0.8 * len(images) or max(count.values()) > 0.5 * len(images):
        return None
    example = count.most_common(1)[0][0]
    return Finding(
        "name-groups",
        "note",
        (),
        f"the file names fall into {sets} sets by how they begin (as {example!r}), and images.csv "
        "names no group.",
        "If a set is one site, flight or slide, write it into images.csv as group.",
    )
