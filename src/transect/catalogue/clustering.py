"""Photos of none we know, grouped into proposed new individuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transect.errors import unknown_name

__all__ = [
    "METHODS",
    "MOST_FOR_AVERAGE",
    "NEIGHBOURS",
    "fit_grouping_level",
    "group_neighbours",
    "group_unknowns",
]

MOST_FOR_AVERAGE = 3000  # photos; beyond, a table of all pairs costs more than it is worth
METHODS = ("average", "graph")
NEIGHBOURS = 5  # of the graph: mutual ones, so a photo among many of one animal needs few


def group_unknowns(
    similarity: NDArray[np.floating],
    level: float,
    *,
    encounters: Sequence[str | None] | None = None,
    how: str = "average",
) -> NDArray[np.int64]:
    """Group photos that show one individual.

    Args:
        similarity: (N, N) symmetric, higher is more alike, e.g. cosines.
        level: Two groups are joined while their mean similarity is at or above this.
        encounters: (N,) or None; photos of one encounter need no more than half of the distance
            to the level, because bursts mostly show one animal.
        how: ``average`` (agglomerative, mean linkage) or ``graph`` (components of mutual nearest
            neighbours above the level; for many photos).

    Returns:
        (N,) group of each photo, numbered by first appearance.
    """
    if how not in METHODS:
        raise unknown_name("how unknowns are grouped", how, METHODS)
    count = len(similarity)
    if count < 2:
        return np.zeros(count, np.int64)
    table = np.array(similarity, np.float64)
    table = (table + table.T) / 2
    if encounters is not None:
        names = np.asarray(
            [f"{g}" if g is not None else f"alone {i}" for i, g in enumerate(encounters)]
        )
        same = names[:, None] == names[None]
        table = np.where(same & (table < level), (table + level) / 2, table)
    if how == "average" and count <= MOST_FOR_AVERAGE:
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import squareform

        top = float(table.max())
        distance = top - table
        np.fill_diagonal(distance, 0.0)
        tree = linkage(squareform(distance, checks=False), "average")
        found = fcluster(tree, top - level + 1e-12, "distance")
        return _numbered(found)
    np.fill_diagonal(table, -np.inf)
    near = np.argsort(-table, axis=1, kind="stable")[:, : min(NEIGHBOURS, count - 1)]
    return group_neighbours(near, np.take_along_axis(table, near, axis=1), level)


def group_neighbours(
    neighbours: NDArray[np.integer],
    similarity: NDArray[np.floating],
    level: float,
    *,
    encounters: Sequence[str | None] | None = None,
) -> NDArray[np.int64]:
    """Group photos by their nearest ones alone: components of mutual neighbours that are alike.

    Time and memory grow as the photos, where a table of all pairs grows as their square.

    Args:
        neighbours: (N, K) the nearest other photos of each; -1 where there are fewer.
        similarity: (N, K) how alike they are.
        level: Two photos are joined if each is a neighbour of the other, and they are this alike.
        encounters: As in ``group_unknowns``.

    Returns:
        (N,) group of each photo, numbered by first appearance.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, width = neighbours.shape
    one = np.repeat(np.arange(count), width)
    other, alike = neighbours.ravel(), similarity.ravel().astype(np.float64)
    if encounters is not None:
        names, met = np.unique([g or "" for g in encounters], return_inverse=True)
        met[names[met] == ""] = -1 - np.flatnonzero(names[met] == "")
        same = (met[one] == met[other]) & (other >= 0) & (alike < level)
        alike = np.where(same, (alike + level) / 2, alike)
    joined = (other >= 0) & (other != one) & (alike >= level)
    marks = np.ones(int(joined.sum()), np.int8)
    graph = coo_array((marks, (one[joined], other[joined])), shape=(count, count)).tocsr()
    return _numbered(connected_components(graph.multiply(graph.T), directed=False)[1])


def _numbered(found: NDArray[np.integer]) -> NDArray[np.int64]:
    """Groups numbered by first appearance."""
    _, first, group = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group].astype(np.int64)


def fit_grouping_level(
    similarity: NDArray[np.floating],
    identities: Sequence[str],
    *,
    steps: int = 40,
    how: str = "average",
) -> tuple[float, float]:
    """The level at which known individuals, taken as unknown, are grouped best.

    Args:
        similarity: (N, N) between photos of known individuals, out of fold.
        identities: (N,).
        steps: Levels tried, at quantiles of the similarities.
        how: As in ``group_unknowns``.

    Returns:
        The level, and the adjusted Rand index there.
    """
    from sklearn.metrics import adjusted_rand_score

    truth = np.unique(np.asarray(identities), return_inverse=True)[1]
    table = np.asarray(similarity, np.float64)
    upper = table[np.triu_indices(len(table), 1)]
    # Pairs of one individual are rare: the levels that matter are the highest quantiles.
    shares = 1 - np.geomspace(1 / max(len(upper), 2), 0.5, steps)
    best = (float(upper.max(initial=0.0)), -1.0)
    for level in np.unique(np.quantile(upper, shares)) if len(upper) else ():
        score = float(adjusted_rand_score(truth, group_unknowns(table, float(level), how=how)))
        if score > best[1]:
            best = (float(level), score)
    return best
