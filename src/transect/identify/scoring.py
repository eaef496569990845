"""The figures of a run: ranking, openness, calibration, each with its spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.metrics import calibration, identify
from transect.metrics.score import Score
from transect.metrics.spread import bootstrap, bootstrap_statistic
from transect.openset.decider import Decision, share_weights
from transect.openset.evidence import NOBODY, UNKNOWN, rewards
from transect.task import Rows

__all__ = ["Named", "labels_of", "named", "rows_of", "scores_of", "unit_values"]


def labels_of(ranked: NDArray[np.int64], people: NDArray[np.str_], unknown: str) -> list[list[str]]:
    """Answers as names; empty places are left out."""
    return [
        [unknown if n == UNKNOWN else str(people[n]) for n in row if n != NOBODY]
        for row in ranked.tolist()
    ]


@dataclass(frozen=True)
class Named:
    """Answers whose identities are names, so that other catalogues do not change their meaning.

    Attributes:
        keys: (Q,) of the photos.
        groups: (Q,) encounters: photos of one are drawn together.
        folds: (Q,) fold of each; -1 if there are none.
        ranked: (Q, K) names; "" where there are fewer.
        known: (Q, K) likewise, "none we know" left out.
        decision: The same with numbers: probabilities, margins, what cannot be told.
    """

    keys: tuple[str, ...]
    groups: tuple[str, ...]
    folds: NDArray[np.int64]
    ranked: NDArray[np.str_]
    known: NDArray[np.str_]
    decision: Decision


def named(
    keys: Sequence[str],
    groups: Sequence[str],
    folds: NDArray[np.integer],
    decision: Decision,
    people: NDArray[np.str_],
    unknown: str,
) -> Named:
    """Give the numbers of a decision their names.

    Args:
        keys: (Q,) of the photos.
        groups: (Q,) encounters.
        folds: (Q,), -1 if there are none.
        decision: Of the same photos.
        people: Names of the individuals, by number.
        unknown: The label of none we know.
    """
    names = np.append(people, [unknown, ""]).astype(np.str_)

    def told(numbers: NDArray[np.int64]) -> NDArray[np.str_]:
        place = np.where(numbers == UNKNOWN, len(people), numbers)
        return names[np.where(numbers == NOBODY, len(people) + 1, place)]

    return Named(
        tuple(keys),
        tuple(groups),
        np.asarray(folds, np.int64),
        told(decision.ranked),
        told(decision.known),
        decision,
    )


def rows_of(
    answers: Named,
    truth: Sequence[str],
    chosen: Sequence[int] | None = None,
    *,
    unknown: str,
    share: float | None,
) -> Rows:
    """What came out for every photo.

    Args:
        answers: Of Q photos.
        truth: Name of each chosen photo; one that no answer can hold counts as unknown.
        chosen: Rows of ``answers``; None takes all.
        unknown: The label of none we know.
        share: Expected share of unknown photos, to which ``weight`` brings the rows; or None.
    """
    rows = list(range(len(answers.keys))) if chosen is None else list(chosen)
    decision = answers.decision
    real = np.array(truth, np.str_)
    flag = np.where(real == unknown, UNKNOWN, 0)
    return Rows(
        tuple(answers.keys[i] for i in rows),
        answers.folds[rows],
        tuple(answers.groups[i] for i in rows),
        {
            "truth": real,
            "ranked": answers.ranked[rows],
            "known": answers.known[rows],
            "probability": decision.probability[rows],
            "new": decision.new[rows],
            "margin": decision.margin[rows],
            "cannot_tell": decision.cannot_tell[rows],
            "weight": share_weights(flag, share),
        },
    )


def unit_values(rows: Rows) -> NDArray[np.float64]:
    """(Q,) one over the place of the truth among the first five answers, else 0."""
    hit = rows["ranked"][:, :5] == rows["truth"][:, None]
    return np.where(hit.any(axis=1), 1.0 / (1 + hit.argmax(axis=1)), 0.0)


def scores_of(rows: Rows, *, unknown: str, top_k: int) -> dict[str, Score]:
    """Every metric with its interval.

    Args:
        rows: From ``rows_of``; ``map5`` uses the column ``weight``, ``map5_as_split`` does not.
        unknown: The label of none we know.
        top_k: Places that count.

    Returns:
        Metric name to score; nothing without rows.
    """
    if not len(rows):
        return {}
    answers, truth = _numbered(rows, unknown)
    folds, groups = rows.folds, np.array(rows.groups, dtype=np.str_)
    probability, weights = rows["probability"], rows["weight"]
    real = [str(name) for name in rows["truth"]]
    first = [str(row[0]) or unknown for row in rows["ranked"]]
    worth = rewards(answers, truth, top_k=top_k)
    known = truth != UNKNOWN
    familiar = {name for name, is_known in zip(real, known, strict=True) if is_known}
    found: dict[str, Score] = {}

    def put(
        name: str,
        values: NDArray[np.float64],
        chosen: NDArray[np.bool_],
        weight: NDArray[np.float64] | None = None,
    ) -> None:
        if not chosen.any():
            return
        own = values[chosen]
        share = np.ones(len(own)) if weight is None else weight[chosen]
        if weight is None:
            low, high = bootstrap(own, groups=groups[chosen])
        else:
            low, high = bootstrap_statistic(
                lambda i: float(np.average(own[i], weights=share[i])), len(own), groups[chosen]
            )
        held = folds[chosen]
        each = tuple(
            float(np.average(own[held == f], weights=share[held == f]))
            for f in np.unique(held).tolist()
            if f >= 0
        )
        value = float(np.average(own, weights=share))
        found[name] = Score(value, (float(low), float(high)), each, int(chosen.sum()))

    everything = np.ones(len(truth), bool)
    put(f"map{top_k}", worth, everything, weights)
    put(f"map{top_k}_as_split", worth, everything)
    hit = np.array([a == b for a, b in zip(first, real, strict=True)], np.float64)
    put("accuracy", hit, everything, weights)
    for k in (1, 5):
        among = (rows["known"][:, :k] == rows["truth"][:, None]).any(axis=1).astype(np.float64)
        put(f"known_top{k}", among, known)
    rates = identify.open_set_rates(first, real, familiar, unknown)
    for name in ("false_new", "false_match", "wrong_match"):
        rate = getattr(rates, name)
        if rate.total:
            found[name] = Score(rate.value, (rate.low, rate.high), (), rate.total)

    def single(name: str, value: float) -> None:
        if np.isfinite(value):
            found[name] = Score(float(value), None, (), len(truth))

    single("baks", identify.baks(first, real, familiar))
    single("baus", identify.baus(first, real, familiar, unknown))
    single("baks_baus", identify.baks_baus(first, real, familiar, unknown))
    single("auroc_new", identify.auroc(rows["new"], ~known))
    covered, level = identify.coverage_at_precision(probability[:, 0], hit > 0, 0.95)
    single("coverage_at_95", covered)
    if np.isfinite(level):
        single("confidence_for_95", level)
    single(
        "calibration_error",
        float(calibration.expected_calibration_error(probability[:, 0], hit > 0)),
    )
    single("cannot_tell", float(rows["cannot_tell"].mean()))
    return found


def _numbered(rows: Rows, unknown: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Answers (Q, K) and truth (Q,) as numbers of any individual that is named."""
    both = np.concatenate([rows["ranked"], rows["truth"][:, None]], axis=1)
    names, place = np.unique(both, return_inverse=True)
    codes = np.arange(len(names), dtype=np.int64)
    codes[names == unknown], codes[names == ""] = UNKNOWN, NOBODY
    number = codes[place.reshape(both.shape)]
    return number[:, :-1], number[:, -1]
