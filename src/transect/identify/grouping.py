"""Photos without a name, grouped into proposed individuals by how alike known ones are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transect.catalogue.clustering import (
    MOST_FOR_AVERAGE,
    NEIGHBOURS,
    fit_grouping_level,
    group_neighbours,
    group_unknowns,
)
from transect.catalogue.store import Catalogue
from transect.errors import TransectError
from transect.openset.search import nearest
from transect.run import RunFolder

__all__ = ["propose_groups"]

MOST_LEARNED_FROM = 2000  # photos of known individuals that the level is fitted on


def propose_groups(
    book: Catalogue, run: RunFolder | None, *, who: str = "", write: bool = False
) -> list[str]:
    """Group the photos without a name into proposed individuals.

    Two groups are joined while they are as much alike as photos of one known individual are. Up to
    some thousand photos are compared all with all, more of them with their nearest ones.

    Args:
        book: The catalogue.
        run: Its run, which knows the label of the unknown; else "unknown".
        who: Person, for the log.
        write: Give the groups names that are free.

    Returns:
        One line per group of two photos or more.

    Raises:
        TransectError: If there is nothing to learn the likeness from.
    """
    unknown = "unknown" if run is None else str(run.read_json("inputs.json")["unknown"])
    photos = book.photos
    names = np.array([p.identity for p in photos], dtype=np.str_)
    open_rows, known = np.flatnonzero(names == unknown), np.flatnonzero(names != unknown)
    if len(np.unique(names[known])) < 2:
        raise TransectError(
            f"{book.folder} has fewer than two named individuals, so how alike photos of one are "
            "cannot be learned. Name some photos first."
        )
    vectors, few = _vectors(book), len(open_rows) <= MOST_FOR_AVERAGE
    learned = _some(names[known], known)
    level, agreement = fit_grouping_level(
        vectors[learned] @ vectors[learned].T,
        names[learned].tolist(),
        how="average" if few else "graph",
    )
    encounters = [photos[i].group or None for i in open_rows]
    mine = vectors[open_rows]
    if few:
        group = group_unknowns(mine @ mine.T, level, encounters=encounters)
    else:
        rows, alike = nearest(mine, mine, top=NEIGHBOURS + 1)
        group = group_neighbours(rows, alike, level, encounters=encounters)
    groups = _named(group, [photos[i].image for i in open_rows], set(book.individuals))
    if write and groups:
        book.name_groups(groups, who=who)
    return [
        f"{len(open_rows)} photos without a name; joined from a likeness of {level:.2f}, which "
        f"groups the known ones with an adjusted Rand index of {agreement:.2f}",
        *(f"{name}: {', '.join(images)}" for name, images in groups.items()),
    ]


def _some(names: NDArray[np.str_], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of whole individuals, as many as a table of all pairs has room for."""
    if len(rows) <= MOST_LEARNED_FROM:
        return rows
    number = np.unique(names, return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(int(number.max()) + 1)[number]
    chosen = np.sort(np.argsort(order, kind="stable")[:MOST_LEARNED_FROM])
    found: NDArray[np.int64] = rows[chosen]
    return found


def _named(group: NDArray[np.int64], images: list[str], taken: set[str]) -> dict[str, list[str]]:
    """Names that are free, and the photos of every group of two or more."""
    members: dict[int, list[str]] = {}
    for found, image in zip(group.tolist(), images, strict=True):
        members.setdefault(found, []).append(image)
    named: dict[str, list[str]] = {}
    number = 0
    for _, together in sorted(members.items()):
        if len(together) < 2:
            continue
        number += 1
        while f"proposed_{number:03d}" in taken:
            number += 1
        named[f"proposed_{number:03d}"] = together
    return named


def _vectors(book: Catalogue) -> NDArray[np.float32]:
    """(G, D) vectors of length 1 of all embeddings side by side."""
    parts = [e for e in book.about.get("layout", []) if not int(e["views"])]
    if not parts:
        raise TransectError(
            f"{book.folder} holds no vectors of an embedding, which grouping compares. Train with "
            "an embedding, e.g. auto."
        )
    stored = book.embeddings()
    joined = np.concatenate([stored[:, int(e["start"]) : int(e["stop"])] for e in parts], axis=1)
    length = np.linalg.norm(joined, axis=1, keepdims=True)
    return np.asarray(joined / np.maximum(length, 1e-12), np.float32)
