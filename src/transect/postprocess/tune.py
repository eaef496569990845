"""Tuning the numbers of a decision out of fold, so that no reported score saw its own tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.postprocess.components import clean
from transect.postprocess.watershed import split_instances
from transect.recipe import SegmentDecide

__all__ = ["GRIDS", "INSTANCE_GRIDS", "Tuned", "answer", "nested_search", "tune_segment"]

Values = Mapping[str, float]
Interval = Callable[[NDArray[np.float64]], tuple[float, float]]

# The first of each list is where the search starts, and what stays if nothing gains.
# Sizes: the salt notes' A in {0, 10, 20, 40, 80}; thresholds: our choice.
GRIDS: dict[str, tuple[float, ...]] = {
    "threshold": (0.5, 0.3, 0.35, 0.4, 0.45, 0.55, 0.6, 0.65),
    "min_total": (0, 10, 20, 40, 80),
    "min_area": (0, 10, 20, 40, 80),
    "fill_holes": (0, 20, 80, 10**9),
    "empty_threshold": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
}
INSTANCE_GRIDS: dict[str, tuple[float, ...]] = {
    "seed_threshold": (0.5, 0.35, 0.4, 0.45, 0.55, 0.6, 0.65, 0.7),
    "threshold": (0.5, 0.3, 0.4, 0.45, 0.55, 0.6, 0.7),
    "min_area": (0, 10, 20, 40, 80),
    "seed_distance": (3, 1, 5, 8),
    "empty_threshold": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
}


@dataclass(frozen=True)
class Tuned:
    """What a nested search found.

    Attributes:
        values: Tuned on all pictures; for new pictures.
        nested: Per fold, tuned on the other folds.
        scores: (N,) of every picture by its fold's nested values.
        score: Their mean: the honest score.
        start: The mean with the starting values, untuned.
        gain: (mean, low, high) of what tuning brought, nested, with its bootstrap interval.
        gains: Per number, the (optimistic) gain when it was tuned on everything.
        own: Per fold, values whose threshold was tuned on the fold itself, for predictions of
            that fold's models; the salt 4th place's way. Never used for ``score``.
    """

    values: dict[str, float]
    nested: dict[int, dict[str, float]]
    scores: NDArray[np.float64]
    score: float
    start: float
    gain: tuple[float, float, float]
    gains: dict[str, float]
    own: dict[int, dict[str, float]] = field(default_factory=dict)


def nested_search(
    score: Callable[[Values, int], float],
    grids: Mapping[str, Sequence[float]],
    folds: NDArray[np.integer],
    *,
    fixed: Values | None = None,
    rounds: int = 2,
    min_gain: float = 1e-4,
    per_fold: str | None = None,
    interval: Interval | None = None,
) -> Tuned:
    """Search one number after another, on all pictures and again without each fold.

    Args:
        score: Values and the row of a picture to its score; higher is better. It is asked once
            for every pair.
        grids: Name to the values tried; the first is the start. Order is the order of tuning.
        folds: (N,) the fold of every picture. With one fold only, the pictures are halved.
        fixed: Numbers that are not tuned.
        rounds: Times round all numbers at most.
        min_gain: Smaller gains are noise: the earlier, simpler value stays.
        per_fold: A number that is also tuned on every fold itself (``Tuned.own``), or None.
        interval: From (N,) per-picture gains to (low, high); None: normal, two standard errors.

    Returns:
        The values and what they are honestly worth.

    Raises:
        TransectError: If there are no pictures.
    """
    fold_of = np.asarray(folds)
    if fold_of.size == 0:
        raise TransectError("nothing can be tuned without out-of-fold predictions.")
    if len(np.unique(fold_of)) == 1:
        fold_of = np.arange(fold_of.size) % 2
    memory: dict[tuple[tuple[str, float], ...], dict[int, float]] = {}

    def one(values: Values, i: int) -> float:
        known = memory.setdefault(tuple(sorted(values.items())), {})
        if i not in known:
            known[i] = float(score(values, i))
        return known[i]

    def mean(values: Values, rows: NDArray[np.intp]) -> float:
        return float(np.mean([one(values, int(i)) for i in rows]))

    first = {name: float(grid[0]) for name, grid in grids.items()} | dict(fixed or {})
    everyone = np.arange(fold_of.size)

    def search(
        start: dict[str, float], rows: NDArray[np.intp], names: Sequence[str]
    ) -> tuple[dict[str, float], dict[str, float]]:
        best, gains = dict(start), dict.fromkeys(names, 0.0)
        if not rows.size:
            return best, gains
        top = mean(best, rows)
        for _ in range(rounds):
            before = dict(best)
            for name in names:
                for value in grids[name]:
                    trial = best | {name: float(value)}
                    if trial != best and (found := mean(trial, rows)) > top + min_gain:
                        gains[name] += found - top
                        best, top = trial, found
            if best == before:
                break
        return best, gains

    names = [name for name in grids if name not in (fixed or {})]
    values, gains = search(first, everyone, names)
    nested, own = {}, {}
    scores = np.empty(fold_of.size)
    for fold in np.unique(fold_of).tolist():
        inside = np.flatnonzero(fold_of == fold)
        nested[fold] = search(first, np.flatnonzero(fold_of != fold), names)[0]
        scores[inside] = [one(nested[fold], int(i)) for i in inside]
        if per_fold is not None and per_fold in names:
            own[fold] = search(values, inside, [per_fold])[0]
    untuned = np.array([one(first, int(i)) for i in everyone])
    gained = scores - untuned
    if interval is not None:
        low, high = interval(gained)
    else:
        half = 2 * float(gained.std(ddof=1)) / gained.size**0.5 if gained.size > 1 else 0.0
        low, high = float(gained.mean()) - half, float(gained.mean()) + half
    return Tuned(
        values=values,
        nested=nested,
        scores=scores,
        score=float(scores.mean()),
        start=float(untuned.mean()),
        gain=(float(gained.mean()), low, high),
        gains=gains,
        own=own,
    )


def answer(maps: NDArray[np.floating], values: Values, *, filled: float = 1.0) -> NDArray[np.int32]:
    """Labels of one picture by a decision.

    Args:
        maps: (H, W) foreground, or (2, H, W) foreground and centres, which gives instances.
        values: Numbers named as in ``recipe.SegmentDecide``; absent ones do nothing.
        filled: Probability of the image-level head that there is anything.

    Returns:
        (H, W) int32: 0 and 1, or 0 and instance labels.
    """
    shape = maps.shape[-2:]
    if filled < values.get("empty_threshold", 0.0):
        return np.zeros(shape, np.int32)
    threshold, min_area = values.get("threshold", 0.5), int(values.get("min_area", 0))
    if maps.ndim == 3 and len(maps) > 1:
        labels = split_instances(
            maps[0],
            maps[1],
            threshold=threshold,
            seed_threshold=values.get("seed_threshold", 0.5),
            seed_distance=int(values.get("seed_distance", 3)),
            min_area=min_area,
        )
    else:
        mask = maps.reshape(shape) > threshold
        fill = int(values.get("fill_holes", 0))
        labels = clean(mask, min_area=min_area, fill=fill).astype(np.int32)
    if np.count_nonzero(labels) < values.get("min_total", 0):
        labels = np.zeros_like(labels)
    return labels


def tune_segment(
    probabilities: Sequence[NDArray[np.floating]],
    truths: Sequence[NDArray[np.integer]],
    folds: NDArray[np.integer],
    spec: SegmentDecide,
    *,
    metric: Callable[[NDArray[np.integer], NDArray[np.integer]], float],
    filled: Sequence[float] | None = None,
    grids: Mapping[str, Sequence[float]] | None = None,
    interval: Interval | None = None,
) -> Tuned:
    """Tune what the recipe leaves open (None) and score it nested.

    Args:
        probabilities: Out-of-fold maps, (H, W) or (2, H, W) each; sizes may differ.
        truths: (H, W) label images.
        folds: (N,) folds.
        spec: Numbers that are given stay; ``per_fold`` also tunes a threshold on every fold.
        metric: (H, W) labels and truth to a score; higher is better.
        filled: (N,) probability of the image-level head; None: there is no such head.
        grids: Values tried; None takes ours.
        interval: As in ``nested_search``.

    Returns:
        The numbers, their nested score and gain.

    Raises:
        TransectError: If the lists differ in length or are empty.
    """
    if not len(probabilities) == len(truths) == len(folds):
        raise TransectError(
            f"tuning needs a truth and a fold for every map; got {len(probabilities)} maps, "
            f"{len(truths)} truths, {len(folds)} folds."
        )
    instances = bool(len(probabilities)) and probabilities[0].ndim == 3
    instances = instances and len(probabilities[0]) > 1
    tried = dict(grids if grids is not None else INSTANCE_GRIDS if instances else GRIDS)
    if filled is None:
        tried.pop("empty_threshold", None)
    given = {name: getattr(spec, name, None) for name in {*GRIDS, *INSTANCE_GRIDS}}
    fixed = {name: float(value) for name, value in given.items() if value is not None}

    def score(values: Values, i: int) -> float:
        sure = 1.0 if filled is None else float(filled[i])
        return metric(answer(probabilities[i], values, filled=sure), truths[i])

    return nested_search(
        score,
        {name: grid for name, grid in tried.items() if name not in fixed},
        folds,
        fixed=fixed,
        per_fold="threshold" if spec.per_fold else None,
        interval=interval,
    )
