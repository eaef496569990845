"""Answers about individuals that need no training: always new, and the nearest frozen photo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from transect.identify.embedding import embed_with, joined_views
from transect.identify.oof import fold_queries, owners_of
from transect.identify.photos import Photos
from transect.identify.scorers import FoldModel
from transect.openset.aggregation import to_identity
from transect.openset.evidence import UNKNOWN
from transect.recipe import Embedding, Geometry, Member
from transect.task import Rows, Work

__all__ = ["ALWAYS_NEW", "FROZEN", "frozen_ranks", "nearest_values", "with_trivial"]

ALWAYS_NEW, FROZEN = "always answering new", "the cosine of a frozen network"

_PLACES = 5
_LEVELS = 60  # constants for "new" that are tried
_GEOMETRY = Geometry(fit="whole", size_hw=(160, 160))


def with_trivial(rows: Rows, work: Work[Photos], people: NDArray[np.str_]) -> Rows:
    """The rows of held-out photos with what trivial answers would have got.

    Args:
        rows: As they were decided, fold after fold as ``fold_queries`` asks.
        work: The training.
        people: Names of the individuals, sorted.
    """
    ranks, scores, above = frozen_ranks(work, people)
    unknown = np.asarray(rows["truth"] == work.dataset.unknown)
    values = nearest_values(ranks, scores, above, unknown, rows.folds, rows.weights)
    return replace(rows, trivial={ALWAYS_NEW: unknown.astype(np.float64), FROZEN: values})


def frozen_ranks(
    work: Work[Photos], people: NDArray[np.str_]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """How a network that nobody trained on the survey ranks the individuals of held-out photos.

    Args:
        work: The training; its first member's geometry is used.
        people: Names of the individuals, sorted.

    Returns:
        (Q,) place of the truth from 0, -1 if it is not among the individuals; (Q,) its cosine, nan
        likewise; (Q, 5) the highest cosines of individuals, the best first.
    """
    photos, members = work.dataset, work.recipe.members
    geometry = replace(members[0].geometry, channels=("image",)) if members else _GEOMETRY
    member = Member(
        "trivial",
        Embedding(head="none", neck="none", pooling="gem"),
        geometry,
        stages=(),
    )
    ((model, _),) = FoldModel(member, (), (), (), photos.channels).models(work.device)
    found = embed_with(
        model,
        photos,
        np.arange(len(photos)),
        geometry,
        device=work.device,
        progress=lambda done, total: work.progress.step("the frozen yardstick", done, total),
    )
    vectors, owners = joined_views(found[:, :, 0]), owners_of(photos, people)
    ranks, scores, best = [], [], []
    for ask in fold_queries(photos, work.folds, work.recipe, people):
        cosines = vectors[ask.queries] @ vectors[ask.gallery].T
        table = to_identity(cosines, owners[ask.gallery], len(people), how="max")
        known = ask.truth != UNKNOWN
        own = table[np.arange(len(table)), np.where(known, ask.truth, 0)]
        own = np.where(known, own, np.nan)
        ranks.append(np.where(known, (table > own[:, None]).sum(axis=1), -1))
        scores.append(own)
        ordered = -np.sort(-table, axis=1)[:, :_PLACES]
        missing = ((0, 0), (0, _PLACES - ordered.shape[1]))
        best.append(np.pad(ordered, missing, constant_values=-np.inf))
    return np.concatenate(ranks), np.concatenate(scores), np.concatenate(best)


def nearest_values(
    ranks: NDArray[np.int64],
    scores: NDArray[np.float64],
    best: NDArray[np.float64],
    unknown: NDArray[np.bool_],
    parts: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """One over the place of the truth, if "new" stands at the constant that suits other parts best.

    Args:
        ranks: (Q,) place of the truth among individuals, from 0.
        scores: (Q,) its score.
        best: (Q, 5) the highest scores.
        unknown: (Q,) whether "new" is the truth.
        parts: (Q,) the constant of a part is fitted on the others.
        weights: (Q,) of the photos in that fit.

    Returns:
        (Q,) in [0, 1].

    Example:
        >>> best = np.array([[0.9, 0.2, 0.1, 0, 0], [0.4, 0.3, 0.1, 0, 0]])
        >>> nearest_values(np.array([0, -1]), np.array([0.9, np.nan]), best,
        ...     np.array([False, True]), np.zeros(2, int), np.ones(2))
        array([1., 1.])
    """
    finite = best[np.isfinite(best)]
    levels = np.quantile(finite, np.linspace(0, 1, _LEVELS)) if finite.size else np.zeros(1)
    levels = np.append(levels, levels[-1] + 1)
    table = np.stack([_values(ranks, scores, best, unknown, level) for level in levels], axis=1)
    out = np.zeros(len(ranks))
    for part in np.unique(parts):
        held = parts == part
        others = ~held if (~held).any() else held
        out[held] = table[
            held, int(np.average(table[others], axis=0, weights=weights[others]).argmax())
        ]
    return out


def _values(
    ranks: NDArray[np.int64],
    scores: NDArray[np.float64],
    best: NDArray[np.float64],
    unknown: NDArray[np.bool_],
    level: float,
) -> NDArray[np.float64]:
    """(Q,) values with "new" behind all that score at least ``level``."""
    before_new = (best >= level).sum(axis=1)
    place = np.where(unknown, before_new, ranks + (scores < level))
    return np.where(place < _PLACES, 1.0 / (1 + np.maximum(place, 0)), 0.0)
