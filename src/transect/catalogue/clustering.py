"""Photos of none we know, grouped into proposed new individuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transect.errors import unknown_name

__all__ = ["fit_grouping_level", "group_unknowns"]

MOST_FOR_AVERAGE = 6000  # photos; beyond, the table of average linkage does not fit a laptop
METHODS = ("average", "graph")


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
    else:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        np.fill_diagonal(table, -np.inf)
        near = table >= np.sort(table, axis=1)[:, -min(5, count - 1)][:, None]
        found = connected_components(csr_array(near & near.T & (table >= level)))[1]
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
