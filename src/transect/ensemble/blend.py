"""Blending probability maps or scores of several members into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError, unknown_name

__all__ = [
    "BLENDS",
    "Kept",
    "blend",
    "drop_views",
    "equalise",
    "rank",
    "search_weights",
    "vote",
    "weights_from_scores",
]

BLENDS = ("mean", "weighted", "rank", "vote", "power:ALPHA")


def blend(
    predictions: Sequence[NDArray[np.floating]],
    how: str = "mean",
    *,
    weights: Sequence[float] | None = None,
    threshold: float | Sequence[float] = 0.5,
) -> NDArray[np.float32]:
    """Blend predictions of the same things by several members.

    Args:
        predictions: One array per member, all of one shape, in [0, 1].
        how: ``mean`` and ``weighted`` (both the weighted mean; without weights they are equal);
            ``rank``: the weighted mean of ranks, in [0, 1]; ``vote``: the weighted share of
            members above the threshold; ``power:ALPHA``: the ALPHA-th root of the weighted mean
            of ALPHA-th powers; ``power:0`` is the geometric mean.
        weights: One per member, not negative; None weighs all alike.
        threshold: Of ``vote``; one, or one per member.

    Returns:
        Of the members' shape, in [0, 1].

    Raises:
        TransectError: On an unknown blend, shapes that differ, or weights that are no weights.

    Example:
        >>> blend([np.array([0.2, 0.9]), np.array([0.4, 0.7])], "mean")
        array([0.3, 0.8], dtype=float32)
    """
    shares = _shares(predictions, weights)
    if how in ("mean", "weighted"):
        return _weighted(predictions, shares, lambda p: p)
    if how == "rank":
        return _weighted([rank(p) for p in predictions], shares, lambda p: p)
    if how == "vote":
        limits = np.broadcast_to(np.asarray(threshold, float), len(predictions))
        votes = [np.asarray(p) > t for p, t in zip(predictions, limits, strict=True)]
        return vote(votes, weights=weights)
    kind, _, text = how.partition(":")
    if kind != "power":
        raise unknown_name("blend", how, ["mean", "weighted", "rank", "vote", "power:0.5"])
    try:
        alpha = float(text)
    except ValueError as error:
        raise TransectError(
            f"the exponent of blend '{how}' must be a number. Write power:0.5."
        ) from error
    if not abs(alpha) <= 100:
        raise TransectError(f"the exponent of blend '{how}' must be within -100..100.")
    if alpha == 0:
        logs = _weighted(predictions, shares, lambda p: np.log(np.maximum(p, 1e-7)))
        return np.asarray(np.exp(logs), np.float32)
    least = 1e-7 if alpha < 0 else 0.0
    powers = _weighted(predictions, shares, lambda p: np.maximum(p, least) ** alpha)
    return np.asarray(powers ** (1 / alpha), np.float32)


def rank(scores: ArrayLike) -> NDArray[np.float32]:
    """Replace scores by their rank among all, ties sharing the mean rank.

    Returns:
        Of the same shape, in [0, 1]; a single score, or all equal ones, give 0.5.

    Example:
        >>> rank([10, 30, 20, 20])
        array([0. , 1. , 0.5, 0.5], dtype=float32)
    """
    from scipy.stats import rankdata

    values = np.asarray(scores)
    if values.size < 2:
        return np.full(values.shape, 0.5, np.float32)
    ranks = rankdata(values, axis=None).reshape(values.shape)
    return ((ranks - 1) / (values.size - 1)).astype(np.float32)


def vote(
    masks: Sequence[NDArray[np.bool_]], *, weights: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """The weighted share of members that voted for a pixel; above 0.5 is the majority.

    Args:
        masks: One bool array per member, all of one shape.
        weights: One per member; None counts heads.

    Returns:
        In [0, 1].
    """
    return _weighted(masks, _shares(masks, weights), lambda m: m)


def equalise(predictions: NDArray[np.floating]) -> NDArray[np.float32]:
    """Stretch a member's probabilities so that its least becomes 0 and its largest 1.

    Members trained with different losses spread over different parts of [0, 1]; the salt teams
    equalised them before a common threshold. Flat input is given back clipped to [0, 1].

    Example:
        >>> equalise(np.array([0.2, 0.4, 0.6]))
        array([0. , 0.5, 1. ], dtype=float32)
    """
    p = np.asarray(predictions, np.float32)
    low, high = float(p.min()), float(p.max())
    if high <= low:
        return np.clip(p, 0, 1)
    # Rounded to the scale of float32, so that [0.2, 0.4, 0.6] gives 0.5 and not a hair more.
    return np.clip((p - low) / (high - low), 0, 1).round(6)


def weights_from_scores(scores: Sequence[float], *, sharpness: float = 1.0) -> NDArray[np.float64]:
    """Weights that follow out-of-fold scores.

    Args:
        scores: Higher is better, not negative.
        sharpness: Power of the score: 0 weighs all alike, large values take the best only.

    Returns:
        Sum 1; alike if all scores are zero.

    Example:
        >>> weights_from_scores([0.6, 0.2])
        array([0.75, 0.25])
    """
    values = np.asarray(scores, float)
    if len(values) == 0 or not np.isfinite(values).all() or (values < 0).any():
        raise TransectError(f"scores must be numbers of 0 or more; got {list(scores)}.")
    top = values.max()
    if top == 0:
        return np.full(len(values), 1 / len(values))
    powers = (values / top) ** sharpness
    return powers / powers.sum()


def search_weights(
    predictions: Sequence[NDArray[np.floating]],
    score: Callable[[NDArray[np.float32]], float],
    *,
    rounds: int = 50,
    start: int = 1,
) -> tuple[NDArray[np.float64], float]:
    """Find weights of a mean by adding members greedily, the same one again if that helps.

    Score it on pictures that were not searched on: the returned score is optimistic.

    Args:
        predictions: Out of fold, one array per member.
        score: Of a blend, higher is better.
        rounds: Most members to add.
        start: Best single members to begin with.

    Returns:
        Weights with sum 1, and the score they reach.

    References:
        Ensemble selection with replacement, Caruana et al. 2004.
    """
    _shares(predictions, None)
    single = [float(score(np.asarray(p, np.float32))) for p in predictions]
    order = np.argsort([-s for s in single], kind="stable")
    counts = np.zeros(len(predictions))
    counts[order[:start]] = 1
    total: NDArray[Any] = np.sum([predictions[i] for i in order[:start]], axis=0, dtype=float)
    best = float(score((total / start).astype(np.float32))) if start > 1 else single[order[0]]
    for size in range(start, start + rounds):
        found = [float(score(((total + p) / (size + 1)).astype(np.float32))) for p in predictions]
        chosen = int(np.argmax(found))
        if found[chosen] <= best:
            break
        best = found[chosen]
        counts[chosen] += 1
        total = total + predictions[chosen]
    return counts / counts.sum(), best


@dataclass(frozen=True)
class Kept:
    """What is left after views (or any members) that do not pay were dropped.

    Attributes:
        names: Those that stay, in their order.
        dropped: Name and gain: what the score of all of them gains without it.
        before: Score of the mean of all.
        after: Score of the mean of those that stay.
    """

    names: tuple[str, ...]
    dropped: tuple[tuple[str, float], ...]
    before: float
    after: float


def drop_views(
    predictions: dict[str, NDArray[np.floating]],
    score: Callable[[NDArray[np.float32]], float],
    *,
    least_gain: float = 0.0,
    keep: Sequence[str] = ("identity",),
) -> Kept:
    """Drop, one by one, the view whose absence helps the out-of-fold score most.

    Args:
        predictions: Out of fold, one array per view.
        score: Of a mean of views, higher is better.
        least_gain: A view is dropped if the score rises by more than this. At 0, a view that
            changes nothing stays.
        keep: Never dropped, if they are there.

    Returns:
        The views that stay, and the gain of each dropped one.

    Raises:
        TransectError: If there are no views.
    """
    _shares(list(predictions.values()), None)
    names = list(predictions)

    def of(chosen: list[str]) -> float:
        return float(score(blend([predictions[name] for name in chosen])))

    before = current = of(names)
    dropped = []
    while len(names) > 1:
        gains = {
            name: of([other for other in names if other != name]) - current
            for name in names
            if name not in keep
        }
        if not gains:
            break
        worst = max(gains, key=lambda name: gains[name])
        if not gains[worst] > least_gain:
            break
        dropped.append((worst, gains[worst]))
        names.remove(worst)
        current += gains[worst]
    return Kept(tuple(names), tuple(dropped), before, current)


def _shares(
    predictions: Sequence[NDArray[np.generic]], weights: Sequence[float] | None
) -> NDArray[np.float64]:
    """Check the members and their weights; weights with sum 1."""
    if not predictions:
        raise TransectError(
            "there is nothing to blend. Give the predictions of one member or more."
        )
    shapes = {np.shape(p) for p in predictions}
    if len(shapes) > 1:
        raise TransectError(
            f"members to be blended must have one shape; got {sorted(shapes)}. "
            "Predict all of them at the picture's own size."
        )
    if weights is None:
        return np.full(len(predictions), 1 / len(predictions))
    values = np.asarray(weights, float)
    if len(values) != len(predictions) or not (values >= 0).all() or not 0 < values.sum() < np.inf:
        raise TransectError(
            f"weights must be {len(predictions)} numbers of 0 or more, not all 0; "
            f"got {list(weights)}."
        )
    return values / values.sum()


def _weighted(
    predictions: Sequence[NDArray[np.generic]],
    shares: NDArray[np.float64],
    change: Callable[[NDArray[Any]], NDArray[Any]],
) -> NDArray[np.float32]:
    """The weighted sum of changed predictions, one member in memory at a time."""
    total = np.zeros(np.shape(predictions[0]), np.float64)
    for p, share in zip(predictions, shares, strict=True):
        if share:
            total += share * change(np.asarray(p))
    return total.astype(np.float32)
