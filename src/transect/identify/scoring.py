"""The figures of a run: ranking, openness, calibration, each with its spread."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.metrics import calibration, identify
from transect.metrics.spread import bootstrap, bootstrap_statistic
from transect.openset.decider import Decision
from transect.openset.evidence import NOBODY, UNKNOWN, rewards

__all__ = ["labels_of", "score_answers"]


def labels_of(ranked: NDArray[np.int64], people: NDArray[np.str_], unknown: str) -> list[list[str]]:
    """Answers as names; empty places are left out."""
    return [
        [unknown if n == UNKNOWN else str(people[n]) for n in row if n != NOBODY]
        for row in ranked.tolist()
    ]


def score_answers(
    answer: Decision,
    truth: NDArray[np.int64],
    *,
    people: NDArray[np.str_],
    unknown: str,
    groups: NDArray[np.str_],
    folds: NDArray[np.int64],
    weights: NDArray[np.float64],
    top_k: int,
) -> dict[str, dict[str, Any]]:
    """Every metric with its interval.

    Args:
        answer: Of Q queries.
        truth: (Q,) number of the identity, or ``UNKNOWN``.
        people: Names of the identities.
        unknown: The label of none we know.
        groups: (Q,) encounters: photos of one are drawn together.
        folds: (Q,) fold of each; -1 if there are none.
        weights: (Q,) that bring the share of unknown to the expected one; ``map5`` uses them,
            ``map5_as_split`` does not.
        top_k: Places that count.

    Returns:
        Metric name to value, interval (95 %), folds, pictures.
    """
    ranked = labels_of(answer.ranked, people, unknown)
    real = [unknown if t == UNKNOWN else str(people[t]) for t in truth.tolist()]
    first = [row[0] if row else unknown for row in ranked]
    worth = rewards(answer.ranked, truth, top_k=top_k)
    known = truth != UNKNOWN
    familiar = {name for name, is_known in zip(real, known, strict=True) if is_known}
    record: dict[str, dict[str, Any]] = {}

    def put(
        name: str, values: NDArray[np.float64], rows: NDArray[np.bool_], weight: Any = None
    ) -> None:
        if not rows.any():
            return
        own = values[rows]
        share = np.ones(len(own)) if weight is None else weight[rows]
        if weight is None:
            low, high = bootstrap(own, groups=groups[rows])
        else:
            low, high = bootstrap_statistic(
                lambda i: float(np.average(own[i], weights=share[i])), len(own), groups[rows]
            )
        record[name] = {
            "value": float(np.average(own, weights=share)),
            "interval": [float(low), float(high)],
            "folds": [
                float(np.average(own[folds[rows] == f], weights=share[folds[rows] == f]))
                for f in np.unique(folds[rows]).tolist()
                if f >= 0
            ],
            "pictures": int(rows.sum()),
        }

    everything = np.ones(len(truth), bool)
    put(f"map{top_k}", worth, everything, weights)
    put(f"map{top_k}_as_split", worth, everything)
    hit = np.array([a == b for a, b in zip(first, real, strict=True)], np.float64)
    put("accuracy", hit, everything, weights)
    closed = _closed(answer.ranked)
    for k in (1, 5):
        among = (closed[:, :k] == truth[:, None]).any(axis=1).astype(np.float64)
        put(f"known_top{k}", among, known)
    rates = identify.open_set_rates(first, real, familiar, unknown)
    for name in ("false_new", "false_match", "wrong_match"):
        rate = getattr(rates, name)
        if rate.total:
            record[name] = {
                "value": rate.value,
                "interval": [rate.low, rate.high],
                "folds": [],
                "pictures": rate.total,
            }

    def single(name: str, value: float) -> None:
        if np.isfinite(value):
            record[name] = {
                "value": float(value),
                "interval": [float(value)] * 2,
                "folds": [],
                "pictures": len(truth),
            }

    single("baks", identify.baks(first, real, familiar))
    single("baus", identify.baus(first, real, familiar, unknown))
    single("baks_baus", identify.baks_baus(first, real, familiar, unknown))
    single("auroc_new", identify.auroc(answer.new, ~known))
    covered, level = identify.coverage_at_precision(answer.probability[:, 0], hit > 0, 0.95)
    single("coverage_at_95", covered)
    if np.isfinite(level):
        single("confidence_for_95", level)
    single(
        "calibration_error",
        float(calibration.expected_calibration_error(answer.probability[:, 0], hit > 0)),
    )
    single("cannot_tell", float(answer.cannot_tell.mean()))
    return record


def _closed(ranked: NDArray[np.int64]) -> NDArray[np.int64]:
    """Answers without "none we know", the others moved up."""
    out = np.full(ranked.shape, NOBODY, np.int64)
    for row, answer in enumerate(ranked):
        kept = answer[answer != UNKNOWN]
        out[row, : len(kept)] = kept
    return out
