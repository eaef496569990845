"""Flanks: which photos can be compared with which, and what that makes of the truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from transect.openset.evidence import UNKNOWN

__all__ = ["SIDES", "comparable", "reachable"]

SIDES = ("together", "separate")


def comparable(
    queries: NDArray[np.str_], gallery: NDArray[np.str_], sides: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Queries with the part of the gallery that they can be compared with.

    Args:
        queries: (Q,) sides, '' where nobody said.
        gallery: (G,) likewise.
        sides: ``separate`` compares a flank with the same flank only, and with photos whose side
            nobody said; ``together`` compares all with all.

    Yields:
        Rows of queries and rows of the gallery; every query once.
    """
    if sides == "together":
        yield np.arange(len(queries)), np.arange(len(gallery))
        return
    for side in np.unique(queries):
        fits = (gallery == side) | (gallery == "") | (side == "")
        yield np.flatnonzero(queries == side), np.flatnonzero(fits)


def reachable(
    own: NDArray[np.int64],
    sides: NDArray[np.str_],
    owners: NDArray[np.int64],
    gallery: NDArray[np.str_],
    how: str,
) -> NDArray[np.int64]:
    """The truth of queries: their individual, or ``UNKNOWN`` where no photo of it is comparable.

    Args:
        own: (Q,) number of each query's individual, or ``UNKNOWN``.
        sides: (Q,) of the queries.
        owners: (G,) individuals of the gallery.
        gallery: (G,) sides of the gallery.
        how: As in ``comparable``.
    """
    truth = np.full(len(own), UNKNOWN, np.int64)
    for mine, theirs in comparable(sides, gallery, how):
        truth[mine] = np.where(np.isin(own[mine], owners[theirs]), own[mine], UNKNOWN)
    return truth
