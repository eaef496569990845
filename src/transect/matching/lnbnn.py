"""Local naive Bayes nearest neighbour: every keypoint votes for the identities near it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transect.matching.features import Keypoints

__all__ = ["lnbnn_scores"]

ROWS_PER_BLOCK = 65_536  # gallery descriptors per product: 32 MB of them


def lnbnn_scores(
    queries: Sequence[Keypoints],
    gallery: Sequence[Keypoints],
    identities: NDArray[np.integer],
    *,
    neighbours: int = 4,
    normaliser: int = 1,
    query_groups: NDArray[np.integer] | None = None,
    gallery_groups: NDArray[np.integer] | None = None,
    chosen: Sequence[NDArray[np.integer]] | None = None,
    most: int | None = None,
) -> NDArray[np.float32]:
    """Score every identity for every query.

    A descriptor's K nearest gallery descriptors each give their identity the amount by which they
    are nearer than the (K + normaliser)-th; of one identity only the nearest counts. Unlike a
    score of pairs, a new gallery picture changes the scores of the others.

    Args:
        queries: Q pictures.
        gallery: G pictures.
        identities: (G,) 0 .. N-1.
        neighbours: K (4 in HotSpotter).
        normaliser: 1 in HotSpotter.
        query_groups: (Q,) encounter of each query, with ``gallery_groups``: gallery pictures of
            the query's own encounter take no part.
        gallery_groups: (G,).
        chosen: For each query the gallery pictures that are looked at, e.g. its shortlist; None
            looks at all. The work per query then no longer grows with the gallery.
        most: Only this many keypoints of each picture (the strongest).

    Returns:
        (Q, N) float32, 0 where nothing is near.

    References:
        McCann and Lowe 2012; Crall et al. 2013 (HotSpotter): K=4, Knorm=1.
    """
    total = int(identities.max()) + 1 if len(identities) else 0
    scores = np.zeros((len(queries), total), np.float32)
    blocks = [item.descriptors[:most] for item in gallery]
    sizes = np.array([len(block) for block in blocks], np.int64)
    if not total or not sizes.sum():
        return scores
    wanted = neighbours + normaliser
    everything = np.arange(len(gallery))
    if chosen is None:
        table, owner = _table(blocks, everything)
    for row, item in enumerate(queries):
        query = item.descriptors[:most]
        if not len(query):
            continue
        if chosen is not None:
            table, owner = _table(blocks, np.asarray(chosen[row]))
        if not len(table):
            continue
        names = np.asarray(identities)[owner]
        banned = None
        if query_groups is not None and gallery_groups is not None:
            banned = (np.asarray(gallery_groups) == query_groups[row])[owner]
        cosine, place = _nearest(query, table, wanted, banned)
        distance = np.sqrt(np.maximum(2 - 2 * cosine, 0))  # (Kq, wanted) ascending
        limit = distance[:, -1:]
        gain = np.where(np.isfinite(limit), limit, 0) - np.where(
            np.isfinite(limit), distance[:, :neighbours], 0
        )
        voted = names[place[:, :neighbours]]
        for rank in range(gain.shape[1]):  # nearest first: of one identity the first counts
            again = (voted[:, :rank] == voted[:, rank : rank + 1]).any(axis=1)
            np.add.at(scores[row], voted[:, rank], np.where(again, 0, gain[:, rank]))
    return scores


def _table(
    blocks: Sequence[NDArray[np.float32]], pictures: NDArray[np.integer]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Descriptors of some pictures in one table, and the picture of each."""
    if not len(pictures):
        return np.zeros((0, 1), np.float32), np.zeros(0, np.int64)
    parts = [blocks[i] for i in pictures]
    owner = np.repeat(np.asarray(pictures, np.int64), [len(part) for part in parts])
    return np.ascontiguousarray(np.concatenate(parts), dtype=np.float32), owner


def _nearest(
    query: NDArray[np.float32],
    table: NDArray[np.float32],
    wanted: int,
    banned: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``wanted`` largest cosines (Kq, wanted), descending, and their rows, block by block."""
    best = np.full((len(query), wanted), -np.inf, np.float32)
    place = np.zeros((len(query), wanted), np.int64)
    for start in range(0, len(table), ROWS_PER_BLOCK):
        cosine = query @ table[start : start + ROWS_PER_BLOCK].T
        if banned is not None:
            cosine[:, banned[start : start + ROWS_PER_BLOCK]] = -np.inf
        keep = min(wanted, cosine.shape[1])
        found = np.argpartition(cosine, -keep, axis=1)[:, -keep:]
        values = np.concatenate([best, np.take_along_axis(cosine, found, axis=1)], axis=1)
        rows = np.concatenate([place, found + start], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :wanted]
        best = np.take_along_axis(values, order, axis=1)
        place = np.take_along_axis(rows, order, axis=1)
    return best, place
