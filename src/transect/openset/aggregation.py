"""From pictures to identities, from views and models to one score, from photos to encounters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError, unknown_name

__all__ = ["TO_IDENTITY", "by_encounter", "power_mean", "prototypes", "to_identity"]

TO_IDENTITY = ("max", "mean", "sum", "top2", "prototype", "classes")


def to_identity(
    scores: NDArray[np.floating],
    identities: NDArray[np.integer],
    count: int,
    *,
    how: str = "max",
    level: float = 0.0,
) -> NDArray[np.float64]:
    """Turn scores of gallery pictures into scores of identities.

    Args:
        scores: (Q, G); -inf where a picture takes no part, e.g. of the query's own encounter.
        identities: (G,) 0 .. count-1; below 0 a picture belongs to nobody.
        count: N identities.
        how: max (the whale kernel), mean (yu4u), sum (of what lies above ``level``; whale 5th),
            top2 (mean of the two best). ``prototype`` and ``classes`` work on embeddings: see
            ``prototypes`` and ``identify.classes``.
        level: Of ``sum``.

    Returns:
        (Q, N); -inf where an identity has no picture that takes part. For ``sum`` an identity
        without a picture above the level keeps its best score less 1e6, so that those with a sum
        come first and the others stay in order.
    """
    if how not in TO_IDENTITY or how in TO_IDENTITY[-2:]:
        raise unknown_name("to_identity of scores", how, TO_IDENTITY[:-2])
    owners = np.asarray(identities)
    used = np.flatnonzero(owners >= 0)
    used = used[np.argsort(owners[used], kind="stable")]
    out = np.full((len(scores), count), -np.inf)
    if not len(used):
        return out
    starts = np.flatnonzero(np.diff(owners[used], prepend=-1) != 0)
    names = owners[used][starts]
    in_order = len(used) == len(owners) and (used == np.arange(len(used))).all()
    table = np.asarray(scores) if in_order else np.asarray(scores)[:, used]
    best = np.maximum.reduceat(table, starts, axis=1).astype(np.float64)
    if how == "max":
        out[:, names] = best
        return out
    table = table.astype(np.float64)
    real = np.isfinite(table)
    number = np.add.reduceat(real, starts, axis=1)
    if how == "mean":
        total = np.add.reduceat(np.where(real, table, 0.0), starts, axis=1)
        out[:, names] = np.where(number > 0, total / np.maximum(number, 1), -np.inf)
    elif how == "sum":
        worth = np.where(real & (table >= level), table - level + 1e-9, 0.0)
        total = np.add.reduceat(worth, starts, axis=1)
        out[:, names] = np.where(total > 0, total, best - 1e6)
    else:
        # The second best: hide one copy of the best, take the maximum again.
        column = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, table.shape[1])))
        is_best = real & (table == best[:, column])
        order = np.cumsum(is_best, axis=1)
        before = order[:, starts] - is_best[:, starts]
        first = is_best & (order - before[:, column] == 1)
        second = np.maximum.reduceat(np.where(first, -np.inf, table), starts, axis=1)
        out[:, names] = np.where(np.isfinite(second), (best + second) / 2, best)
    return out


def prototypes(
    embeddings: NDArray[np.floating],
    identities: NDArray[np.integer],
    count: int,
    *,
    keep_cosine: float = 0.5,
    keep_share: float = 0.75,
    rounds: int = 2,
) -> NDArray[np.float32]:
    """One vector per identity: the trimmed mean of its pictures and views.

    Args:
        embeddings: (G, D) of length 1; views of a picture are further rows.
        identities: (G,) 0 .. count-1; below 0 a row belongs to nobody.
        count: N identities.
        keep_cosine: Rows at or below this cosine to the centre are dropped, ...
        keep_share: ... or, where that would drop more, this best share is kept.
        rounds: Of averaging and dropping.

    Returns:
        (N, D) float32 of length 1; zeros for an identity without rows.

    References:
        Whale 3rd place: twice, average, drop features of cosine <= 0.5 to the centre or keep the
        best three quarters.
    """
    out = np.zeros((count, embeddings.shape[1]), np.float32)
    owners = np.asarray(identities)
    order = np.argsort(owners, kind="stable")
    names, starts = np.unique(owners[order], return_index=True)
    for name, rows in zip(names, np.split(order, starts[1:]), strict=True):
        if name < 0:
            continue
        vectors = np.asarray(embeddings[rows], np.float64)
        for _ in range(rounds):
            centre = vectors.mean(axis=0)
            centre /= max(float(np.linalg.norm(centre)), 1e-12)
            cosine = vectors @ centre
            least = int(np.ceil(keep_share * len(vectors)))
            keep = cosine > keep_cosine
            if keep.sum() < least:
                keep = np.zeros(len(vectors), bool)
                keep[np.argsort(-cosine, kind="stable")[:least]] = True
            vectors = vectors[keep]
        centre = vectors.mean(axis=0)
        out[name] = centre / max(float(np.linalg.norm(centre)), 1e-12)
    return out


def power_mean(
    scores: Sequence[NDArray[np.floating]],
    *,
    weights: Sequence[float] | None = None,
    power: float = 0.5,
) -> NDArray[np.float64]:
    """Blend non-negative scores of models and views: sum of w * p ** power.

    Args:
        scores: Arrays of one shape, best probabilities; below 0 counts as 0; -inf stays out.
        weights: One per array, or None for equal ones; they are scaled to sum 1.
        power: 1 is the mean, towards 0 it turns into voting; 0.5 is yu4u's default.

    Returns:
        The blend. The outer root is left out, as in the original: it changes no order.

    References:
        Whale, yu4u: P = sum w P^alpha.

    Example:
        >>> power_mean([np.array([0.25]), np.array([0.81])], power=0.5).round(2).tolist()
        [0.7]
    """
    if not scores:
        raise TransectError("a power mean needs at least one array of scores. Give one per model.")
    share = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    if len(share) != len(scores) or (share < 0).any() or share.sum() <= 0:
        raise TransectError(
            f"{len(scores)} arrays of scores need as many non-negative weights; got {weights}."
        )
    share = share / share.sum()
    total = np.zeros(np.shape(scores[0]))
    for weight, item in zip(share, scores, strict=True):
        table = np.asarray(item, np.float64)
        total += weight * np.where(np.isfinite(table), np.maximum(table, 0), 0) ** power
    nowhere = np.all([~np.isfinite(np.asarray(s, np.float64)) for s in scores], axis=0)
    return np.where(nowhere, -np.inf, total)


def by_encounter(
    scores: NDArray[np.floating],
    encounters: NDArray[np.generic],
    *,
    how: str = "mean",
) -> tuple[NDArray[np.float64], NDArray[np.generic]]:
    """Score several photos of one encounter as one query.

    Args:
        scores: (Q, N) of identities.
        encounters: (Q,) name of each photo's encounter.
        how: mean, max, or sum; the order of the photos never matters.

    Returns:
        (E, N) scores, and the (E,) encounters in their sorted order.
    """
    if how not in ("mean", "max", "sum"):
        raise unknown_name("how photos of an encounter are joined", how, ("mean", "max", "sum"))
    names, where = np.unique(np.asarray(encounters), return_inverse=True)
    table = np.asarray(scores, np.float64)
    out = np.full((len(names), table.shape[1]), -np.inf)
    if how == "max":
        np.maximum.at(out, where, table)
        return out, names
    real = np.isfinite(table)
    total = np.zeros(out.shape)
    number = np.zeros(out.shape)
    np.add.at(total, where, np.where(real, table, 0.0))
    np.add.at(number, where, real)
    if how == "mean":
        total = total / np.maximum(number, 1)
    return np.where(number > 0, total, -np.inf), names
