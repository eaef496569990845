"""New or known, as its own small question: a stack of classifiers on the leading candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.openset.evidence import FAR, Evidence
from transect.tabular.binary import fit_binary, predict_binary

__all__ = ["STACKED", "fit_newness", "newness", "newness_features"]

STACKED = ("logistic", "knn", "svm", "lightgbm")  # whale 10th place: LogReg, SVM, kNN, LightGBM
LEADING = 4  # whale 10th place: the top 4 candidates


def newness_features(evidence: Evidence) -> NDArray[np.float64]:
    """What the stack looks at, the same for every query.

    Args:
        evidence: Q queries.

    Returns:
        (Q, 9 + 1 + E): the four leading scores, their gaps to the first, the first above the mean
        of the rest, the spread of the rest; the proof, where there is any; and the extra columns.
        Nothing here counts pictures of the leader: an individual that a fold asks for has fewer
        left in the gallery than one that it does not, which gives the answer away out of fold, and
        only there.
    """
    scores = evidence.scores
    real = scores > -FAR
    floor = np.where(real, scores, np.inf).min(axis=1, initial=np.inf)
    floor = np.where(np.isfinite(floor), floor, 0.0)[:, None]
    filled = np.where(real, scores, floor)
    width = max(LEADING, filled.shape[1])
    padded = np.concatenate([filled, np.repeat(floor, width - filled.shape[1], axis=1)], axis=1)
    rest = padded[:, 1:]
    columns = [padded[:, :LEADING], padded[:, :1] - padded[:, 1:LEADING]]
    columns += [padded[:, :1] - rest.mean(axis=1, keepdims=True), rest.std(axis=1, keepdims=True)]
    if evidence.proof is not None:
        columns.append(np.maximum(evidence.proof, -1)[:, None])
    if evidence.extra is not None:
        columns.append(evidence.extra)
    return np.nan_to_num(np.concatenate(columns, axis=1), posinf=FAR, neginf=-FAR)


def fit_newness(
    features: NDArray[np.float64],
    unknown: NDArray[np.bool_],
    weights: NDArray[np.float64],
    *,
    models: tuple[str, ...] = STACKED,
    seed: int = 0,
) -> dict[str, Any]:
    """Train the stack: plain values for ``newness``; see ``fit_binary``."""
    return fit_binary(features, unknown, weights, models=models, seed=seed)


def newness(fitted: Mapping[str, Any], features: NDArray[np.float64]) -> NDArray[np.float64]:
    """(Q,) probability that queries are none we know: the mean of the stack's models."""
    return predict_binary(fitted, features)
