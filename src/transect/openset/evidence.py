"""What is known of a query when the decision is made, and what a ranking is worth."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = ["FAR", "NOBODY", "UNKNOWN", "Evidence", "evidence_from_scores", "insert_unknown"]
__all__ += ["FitOptions", "Policy", "check_truth", "clearly_better", "clipped", "place_of_truth"]
__all__ += ["largest_columns", "rewards", "sweep"]

UNKNOWN = -1  # none of the known individuals: an answer like any other
NOBODY = -2  # an empty place: fewer candidates than places
FAR = 1e30  # stands for infinity, which JSON does not know


@dataclass(frozen=True)
class Evidence:
    """The candidates of Q queries and what speaks for them.

    Attributes:
        identities: (Q, K) int, best candidate first, no repeats; ``NOBODY`` where there are fewer.
        scores: (Q, K) float64, descending; -FAR where there is nobody.
        image_identities: (Q, M) int, identity of the nearest gallery pictures, or None.
        image_scores: (Q, M) float64 of these pictures, descending; -FAR where there are fewer.
        proof: (Q,) float64, strength of the best geometric proof, higher is surer, or None.
        proof_identity: (Q,) int, whose proof it is; ``NOBODY`` if there is none.
        quality: (Q,) float64 how much the photo shows (keypoints, sharpness), or None.
        extra: (Q, E) float64 further columns for the binary stack, or None.
        groups: (Q,) str, the kind of query for thresholds of its own (side, species), or None.
    """

    identities: NDArray[np.int64]
    scores: NDArray[np.float64]
    image_identities: NDArray[np.int64] | None = None
    image_scores: NDArray[np.float64] | None = None
    proof: NDArray[np.float64] | None = None
    proof_identity: NDArray[np.int64] | None = None
    quality: NDArray[np.float64] | None = None
    extra: NDArray[np.float64] | None = None
    groups: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.identities)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Evidence:
        """The same for some of the queries."""
        cut: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            cut[item.name] = None if value is None else value[rows]
        return Evidence(**cut)


def evidence_from_scores(
    scores: NDArray[np.floating],
    *,
    keep: int = 50,
    image_scores: NDArray[np.floating] | None = None,
    gallery_identities: NDArray[np.integer] | None = None,
    images: int = 100,
) -> Evidence:
    """Sort scores into candidates.

    Args:
        scores: (Q, N) score of every identity; NaN or -inf where it is no candidate.
        keep: Candidates kept per query.
        image_scores: (Q, G) score of every gallery picture, with ``gallery_identities`` (G,).
        gallery_identities: (G,) 0 .. N-1.
        images: Gallery pictures kept per query.

    Returns:
        The evidence; equal scores stand in the order of their numbers.
    """
    order, values = _largest(scores, keep)
    identities = np.where(values > -FAR, order, NOBODY)
    if image_scores is None or gallery_identities is None:
        return Evidence(identities, values)
    near, near_scores = _largest(image_scores, images)
    owners = np.where(near_scores > -FAR, np.asarray(gallery_identities)[near], NOBODY)
    return Evidence(identities, values, owners.astype(np.int64), near_scores)


def largest_columns(table: NDArray[np.floating], keep: int) -> NDArray[np.int64]:
    """(Q, min(keep, N)) columns of the largest of each row, descending, equal ones by number.

    The same as sorting whole rows, without sorting what is not kept.

    Args:
        table: (Q, N).
        keep: Columns given per row.
    """
    count, width = table.shape
    if keep < width:
        least = np.partition(table, width - keep, axis=1)[:, width - keep]
        rows, columns = np.nonzero(table >= least[:, None])
        if (np.bincount(rows, minlength=count) >= keep).all():  # not so where there is NaN
            order = np.lexsort((columns, -table[rows, columns], rows))
            starts = np.searchsorted(rows, np.arange(count))
            return columns[order][starts[:, None] + np.arange(keep)].astype(np.int64)
    return np.argsort(-table, axis=1, kind="stable")[:, :keep].astype(np.int64)


def _largest(
    scores: NDArray[np.floating], keep: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Columns of the ``keep`` largest of each row, descending, and their values."""
    table = np.asarray(scores, np.float64)
    table = np.where(np.isfinite(table), table, -FAR)
    keep = min(keep, table.shape[1])
    if keep < table.shape[1]:
        part = np.sort(np.argpartition(-table, keep - 1, axis=1)[:, :keep], axis=1)
    else:
        part = np.broadcast_to(np.arange(keep), (len(table), keep))
    values = np.take_along_axis(table, part, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return (
        np.take_along_axis(part, order, axis=1).astype(np.int64),
        np.take_along_axis(values, order, axis=1),
    )


def insert_unknown(
    identities: NDArray[np.int64], before: NDArray[np.integer], top_k: int
) -> NDArray[np.int64]:
    """Put "none we know" into ranked candidates.

    Args:
        identities: (Q, K) candidates.
        before: (Q,) number of candidates that stand before it.
        top_k: Places that are given.

    Returns:
        (Q, top_k) identities, ``UNKNOWN`` once where ``before`` is less than top_k; ``NOBODY``
        where candidates run out.

    Example:
        >>> insert_unknown(np.array([[4, 2, 7]]), np.array([1]), 3).tolist()
        [[4, -1, 2]]
    """
    count, width = identities.shape
    padded = np.full((count, max(width, top_k) + 1), NOBODY, np.int64)
    padded[:, :width] = identities
    filled = (identities != NOBODY).sum(axis=1)
    place = np.minimum(np.asarray(before, np.int64), filled)[:, None]
    column = np.arange(top_k)[None]
    source = np.where(column > place, column - 1, column)
    ranked = np.take_along_axis(padded, source, axis=1)
    return np.where(column == place, UNKNOWN, ranked)


def place_of_truth(identities: NDArray[np.int64], truth: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where the true identity stands among the candidates, from 0.

    Args:
        identities: (Q, K) candidates.
        truth: (Q,) identity, or ``UNKNOWN``.

    Returns:
        (Q,) place; K if it is not among them; -1 for queries that are none we know.
    """
    hit = identities == np.asarray(truth)[:, None]
    place = np.where(hit.any(axis=1), hit.argmax(axis=1), identities.shape[1])
    return np.where(np.asarray(truth) == UNKNOWN, -1, place).astype(np.int64)


def rewards(
    ranked: NDArray[np.int64], truth: NDArray[np.integer], *, top_k: int = 5
) -> NDArray[np.float64]:
    """What MAP@k gives each query: 1 / place of the truth, 0 if it is not in the list.

    Args:
        ranked: (Q, >= top_k) answers without repeats, ``UNKNOWN`` among them.
        truth: (Q,) identity or ``UNKNOWN``.
        top_k: Places that count.
    """
    hit = ranked[:, :top_k] == np.asarray(truth)[:, None]
    worth = 1.0 / np.arange(1, hit.shape[1] + 1)
    return (hit * worth).max(axis=1, initial=0.0)


def clearly_better(
    new: NDArray[np.float64],
    old: NDArray[np.float64],
    weights: NDArray[np.float64],
    groups: NDArray[np.generic],
) -> bool:
    """Whether the gain per query is above its standard error, queries of a group counting once.

    With few queries the best of many is often only the luckiest: the simpler choice stays unless
    another one is clearly better.

    Args:
        new: (Q,) reward of each query by the challenger.
        old: (Q,) by what stands.
        weights: (Q,) of the queries.
        groups: (Q,) encounter or identity of each.
    """
    gain = weights * (new - old)
    where = np.unique(groups, return_inverse=True)[1]
    error = float(np.sqrt((np.bincount(where, gain) ** 2).sum()))
    return float(gain.sum()) > error + 1e-9


def sweep(
    scores: NDArray[np.floating],
    place: NDArray[np.integer],
    weights: NDArray[np.floating],
    *,
    top_k: int = 5,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """MAP@k for every level at which "none we know" could stand, in one pass.

    A query's answer is its candidates with a score at or above the level, then "none we know",
    then the rest. The mean over queries is a step function of the level that changes only at
    scores, so sorting them gives it everywhere.

    Args:
        scores: (Q, K) descending.
        place: (Q,) of ``place_of_truth``.
        weights: (Q,) non-negative weight of each query.
        top_k: Places that count.

    Returns:
        Levels, descending, one per step (between two neighbouring scores), and the weighted mean
        reward at each. The first level is above all scores, the last below all.
    """
    used = np.asarray(scores, np.float64)[:, :top_k]
    place = np.asarray(place)
    total = max(float(np.sum(weights)), 1e-12)
    share = np.asarray(weights, np.float64) / total
    before = np.arange(used.shape[1] + 1)[None]  # (1, K + 1) candidates before the unknown
    unknown = np.where(before < top_k, 1.0 / (before + 1), 0.0)
    late = place[:, None] + 2  # the truth's place, from 1, if the unknown stands before it
    found = np.where(
        place[:, None] < before,
        1.0 / np.maximum(place[:, None] + 1, 1),
        np.where(late <= top_k, 1.0 / np.maximum(late, 1), 0.0),
    )
    found = np.where(place[:, None] < top_k, found, 0.0)
    worth = np.where(place[:, None] < 0, unknown, found) * share[:, None]  # (Q, K + 1)
    real = used > -FAR
    steps = np.where(real, np.diff(worth, axis=1), 0.0)[real]
    at = used[real]
    order = np.argsort(-at, kind="stable")
    at, steps = at[order], steps[order]
    last = np.flatnonzero(np.diff(at, append=-np.inf) != 0)  # the last event of equal scores
    values = worth[:, 0].sum() + np.concatenate([[0.0], np.cumsum(steps)[last]])
    edges = at[last]
    if not len(edges):
        return np.array([0.0]), values
    levels = np.concatenate([[edges[0] + 1.0], (edges + np.append(edges[1:], edges[-1] - 2)) / 2])
    return levels, values


class Policy(Protocol):
    """What every policy can do."""

    name: ClassVar[str]

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """(Q, top_k) answers, ``UNKNOWN`` among them, ``NOBODY`` where there are no more."""

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """(Q,) how far the leader stands above "none we know"; below 0 it stands behind."""


@dataclass(frozen=True)
class FitOptions:
    """What fitting may use.

    Attributes:
        weights: (Q,) weight of each query, e.g. to bring the share of unknown to a stated one.
        top_k: Places that count.
        share_new: Prior share of unknown queries; None takes the weighted share of the truth.
        seed: Of what is random in the stack.
        false_new: Largest share of known queries that may be called new; of the policy ``rates``.
        false_match: Largest share of unknown queries that may be given a name; likewise.
    """

    weights: NDArray[np.float64]
    top_k: int = 5
    share_new: float | None = None
    seed: int = 0
    false_new: float | None = None
    false_match: float | None = None

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> FitOptions:
        """The same for some of the queries."""
        return replace(self, weights=self.weights[rows])


def check_truth(evidence: Evidence, truth: NDArray[np.integer]) -> None:
    """Refuse truths that do not belong to the evidence."""
    if len(truth) != len(evidence):
        raise TransectError(
            f"{len(evidence)} queries have {len(truth)} truths. Give one per query, in order."
        )
    if not len(evidence):
        raise TransectError(
            "no query is left to fit a decision on. Give individuals with photos of two encounters."
        )


def clipped(x: Any) -> float:
    """A level that JSON can hold."""
    return float(np.clip(x, -FAR, FAR))
