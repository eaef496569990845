"""Hard pairs by linear assignment: lapx, scipy, and ours in blocks, with what the score loses."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.hot_paths import Row, absent, interleaved
from transect.train.mining import mine_negatives

__all__ = ["run"]


def run(quick: bool = True) -> list[Row]:
    """Measure one assignment of N items, four of each individual.

    Args:
        quick: 1,000 items; else 8,000.

    Returns:
        Rows; ratios to lapx, or to scipy where lapx is not installed. Notes give the mean score of
        the mined pairs beside that of the best assignment.
    """
    count = 1000 if quick else 8000
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, 16)).astype(np.float32)
    scores = vectors @ vectors.T
    scores += rng.normal(0, 0.01, scores.shape).astype(np.float32)  # no ties
    identities = np.arange(count) // 4
    allowed = np.where(identities[:, None] == identities, np.float32(1e6), -scores)
    contenders: dict[str, Callable[[], NDArray[np.integer]]] = {
        "scipy": functools.partial(_scipy, allowed),
        "ours": functools.partial(_ours, scores, identities, 1),
        "ours, 4 blocks": functools.partial(_ours, scores, identities, 4),
        "ours, 8 blocks": functools.partial(_ours, scores, identities, 8),
    }
    if importlib.util.find_spec("lap") is not None:
        contenders = {"lapx": functools.partial(_lapx, allowed), **contenders}
    seconds = interleaved(dict(contenders), 1 if not quick else 3)
    reference = next(iter(contenders))
    best = _mined(scores, contenders[reference]())
    path = f"assignment, {count} items"
    return [
        Row(
            path,
            name,
            seconds[name],
            seconds[name] / seconds[reference],
            f"mined score {_mined(scores, work()) / best - 1:+.2%}",
        )
        for name, work in contenders.items()
    ] + absent(path, "lapx", "lap", "pip install lapx")


def _scipy(cost: NDArray[np.float32]) -> NDArray[np.integer]:
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(cost)[1]


def _lapx(cost: NDArray[np.float32]) -> NDArray[np.integer]:
    return importlib.import_module("lap").lapjv(cost)[2]


def _ours(
    scores: NDArray[np.float32], identities: NDArray[np.int64], blocks: int
) -> NDArray[np.integer]:
    rng = np.random.default_rng(0)
    return mine_negatives(scores, identities, noise=0.0, epochs=1, rng=rng, blocks=blocks)[0]


def _mined(scores: NDArray[np.float32], partners: NDArray[np.integer]) -> float:
    """Mean score of the pairs found."""
    rows = np.flatnonzero(partners >= 0)
    return float(scores[rows, partners[rows]].mean())
