"""Queries and the gallery photos that they are compared with, as many as memory has room for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transect.identify.sides import comparable
from transect.openset.search import IndexedGallery, search_indexed

__all__ = ["JoinedVectors", "blocks"]

QUERIES = 512  # in one table of photos, ...
CELLS = 2**25  # ... or fewer, so that a table of float64 takes a quarter of a gigabyte
MOST_EXACT = 1_000_000  # gallery photos beyond which an index makes the short list
LISTED = 1_000  # photos on it, per query
PROBES = 256  # cells looked at: 32 found 93 % of the five nearest of 10^5; this is our guess
TOGETHER = 16  # queries whose short lists are compared together


class JoinedVectors:
    """Vectors of several networks side by side, put together for the rows that are asked for.

    A product of two joined vectors of length 1 is the mean cosine of the networks.
    """

    def __init__(self, parts: Sequence[NDArray[np.float32]]) -> None:
        self._parts = parts
        self._share = np.float32(1 / np.sqrt(len(parts)))
        self.shape = (len(parts[0]), sum(part.shape[1] for part in parts))

    def __len__(self) -> int:
        """Number of photos."""
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """(R, D) of some photos."""
        return np.concatenate([part[rows] for part in self._parts], axis=1) * self._share


def blocks(
    query_sides: NDArray[np.str_],
    gallery_sides: NDArray[np.str_],
    sides: str,
    embeddings: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Comparable queries and gallery photos, some at a time.

    Up to a million photos a query meets all of them. Beyond, an index gives each query the
    thousand nearest, and these are compared in full: what is missed is missed by the index alone.

    Args:
        query_sides: (Q,) flanks, '' where nobody said.
        gallery_sides: (G,) likewise.
        sides: As in ``comparable``.
        embeddings: Of every network that embeds, (Q, D) vectors of queries and (G, D) of gallery
            photos; without any there is no index.

    Yields:
        Rows of queries and rows of the gallery; every query once.
    """
    for mine, theirs in comparable(query_sides, gallery_sides, sides):
        if len(theirs) > MOST_EXACT and embeddings:
            yield from _shortlisted(mine, theirs, embeddings)
            continue
        step = int(np.clip(CELLS // max(len(theirs), 1), 1, QUERIES))
        for start in range(0, len(mine), step):
            yield mine[start : start + step], theirs


def _shortlisted(
    mine: NDArray[np.int64],
    theirs: NDArray[np.int64],
    embeddings: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Some queries, and all photos that the index lists for one of them."""
    asked = JoinedVectors([own for own, _ in embeddings])
    whole = len(theirs) == len(embeddings[0][1])
    known = JoinedVectors([known if whole else known[theirs] for _, known in embeddings])
    indexed = IndexedGallery.build(known, probes=PROBES)
    for start in range(0, len(mine), TOGETHER):
        rows = mine[start : start + TOGETHER]
        near, _ = search_indexed(asked[rows], indexed, top=LISTED, refine=2)
        yield rows, theirs[np.unique(near[near >= 0])]


def embeddings_of(
    members: Mapping[tuple[str, int], NDArray[np.float32]],
    others: Mapping[tuple[str, int], NDArray[np.float32]],
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Pairs of (Q, D) and (G, D) vectors of the networks that embed; pair heads have no such."""
    return [(members[p], others[p]) for p in members if members[p].ndim == 2]
