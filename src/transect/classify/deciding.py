"""The decision: which source answers, and by which rule; nested, so that none scores itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.classify.rules import Rule, best_calibration, fit_rule, measure, metric_of
from transect.ensemble.stacking import Stack, fit_stack, load_stack, save_stack
from transect.metrics.classify import f_beta_each
from transect.recipe import ClassifyDecide
from transect.types import LabelKind

__all__ = [
    "TRIVIAL",
    "Decision",
    "Evidence",
    "fit_decision",
    "nested_answers",
    "parts_of",
    "trivial_answers",
]

TRIVIAL = "trivial"
"""The source that gives every image the shares of the labels."""

_STACKS = {"logistic": 100, "lightgbm": 300}
"""Stacks, and the images that they need: with fewer they learn chance; our choice."""
_STACKED = 40_000  # pairs of image and label that a stack is fitted on; our choice
_EDGE = 1e-4  # of a probability, before its logit is a feature

Array = NDArray[np.float64]
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Evidence:
    """Out-of-fold probabilities of the members, beside the truth.

    Attributes:
        members: Name to (N, C).
        truth: (N, C).
        parts: (N,) folds, or halves where there is one fold.
        kind: Of the labels.
        groups: (N,) numbers of what belongs together and is in one part.
    """

    members: Mapping[str, NDArray[np.float32]]
    truth: Marks
    parts: NDArray[np.int64]
    kind: LabelKind
    groups: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> Evidence:
        """Some of the rows; one fold alone is halved, so that choices can still be compared."""
        members = {name: p[rows] for name, p in self.members.items()}
        groups = self.groups[rows]
        parts = parts_of(self.parts[rows], groups)
        return Evidence(members, self.truth[rows], parts, self.kind, groups)


@dataclass(frozen=True)
class Decision:
    """What was settled out of fold.

    Attributes:
        source: What answers: a member's name, mean, logistic, lightgbm or trivial.
        prior: (C,) shares of the labels.
        rule: From its probabilities to labels.
        scores: Source to its score out of fold, by a rule fitted on other rows.
        stack: The model of a stack.
    """

    source: str
    prior: tuple[float, ...]
    rule: Rule
    scores: Mapping[str, float]
    stack: Stack | None = None

    def raw(self, members: Mapping[str, NDArray[np.float32]]) -> Array:
        """(N, C) probabilities of the source, not yet calibrated."""
        return source_of(self.source, members, self.prior, self.stack)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the stack, and give the rest as plain values."""
        file = None if self.stack is None else save_stack(self.stack, folder / "stack").name
        return {
            "source": self.source,
            "prior": list(self.prior),
            "rule": self.rule.to_json(),
            "scores": dict(self.scores),
            "stack": file,
        }

    @staticmethod
    def load(value: Mapping[str, Any], folder: Path) -> Decision:
        """Read back what ``save`` gave."""
        file = value["stack"]
        return Decision(
            str(value["source"]),
            tuple(float(v) for v in value["prior"]),
            Rule.from_json(value["rule"]),
            {str(k): float(v) for k, v in value["scores"].items()},
            None if file is None else load_stack(folder / Path(str(file)).name),
        )


def parts_of(folds: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The folds; where there is one alone, halves of it, at random, that part no group.

    Args:
        folds: (N,).
        groups: (N,) numbers of what belongs together.
    """
    if len(np.unique(folds)) > 1:
        return folds
    number = np.unique(groups, return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(int(number.max(initial=0)) + 1)
    return np.asarray(order[number] % 2, np.int64)


def fit_decision(evidence: Evidence, decide: ClassifyDecide) -> Decision:
    """Compare all sources out of fold, and tune the rule of the best.

    Args:
        evidence: The rows to fit on.
        decide: What is compared and what is fixed.

    Returns:
        The decision: of sources that are about equal the simplest, the trivial one first of all.
    """
    metric, kind, truth = metric_of(decide, evidence.kind), evidence.kind, evidence.truth
    prior = tuple((truth.mean(axis=0)).tolist())
    names = (TRIVIAL, *sources_of(decide, evidence.members, len(truth)))
    honest = {name: _held_out(name, evidence, prior) for name in names}
    found: dict[str, float] = {}
    each: dict[str, Array] = {}
    for name in names:
        p = honest[name]
        chosen = best_calibration(p, truth, evidence.parts, kind, decide)
        calibrated, answers = np.zeros_like(p), np.zeros(truth.shape, bool)
        for part in np.unique(evidence.parts):
            own = evidence.parts == part
            rest = evidence.take(~own)
            rule = fit_rule(p[~own], rest.truth, rest.parts, kind, decide, calibration=chosen)
            calibrated[own] = rule.probabilities(p[own])
            answers[own] = rule.answers(calibrated[own])
        found[name] = round(measure(metric, calibrated, answers, truth, kind), 9)
        each[name] = _each(metric, calibrated, answers, truth)
    best = _chosen(found, each)
    rule = fit_rule(honest[best], truth, evidence.parts, kind, decide)
    stack = _fitted(best, evidence.members, truth) if best in _STACKS else None
    return Decision(best, prior, rule, found, stack)


def nested_answers(
    evidence: Evidence, decide: ClassifyDecide
) -> tuple[Array, Marks, dict[str, float]]:
    """What every row gets by a decision that was fitted without its part.

    Returns:
        (N, C) calibrated probabilities, (N, C) labels, and how often each source answered.
    """
    p, answers = np.zeros(evidence.truth.shape), np.zeros(evidence.truth.shape, bool)
    share: dict[str, float] = {}
    for part in np.unique(evidence.parts):
        own = evidence.parts == part
        decision = fit_decision(evidence.take(~own), decide)
        p[own] = decision.rule.probabilities(
            decision.raw({name: q[own] for name, q in evidence.members.items()})
        )
        answers[own] = decision.rule.answers(p[own])
        share[decision.source] = share.get(decision.source, 0.0) + float(own.mean())
    return p, answers, share


def trivial_answers(evidence: Evidence, decide: ClassifyDecide) -> Marks:
    """(N, C) labels without looking: those that the other parts make likeliest."""
    answers = np.zeros(evidence.truth.shape, bool)
    for part in np.unique(evidence.parts):
        own = evidence.parts == part
        rest = evidence.take(~own)
        prior = rest.truth.mean(axis=0)
        p = np.tile(prior, (len(rest.truth), 1))
        rule = fit_rule(p, rest.truth, rest.parts, evidence.kind, decide, calibration="none")
        answers[own] = rule.answers(rule.probabilities(np.tile(prior, (int(own.sum()), 1))))
    return answers


def sources_of(decide: ClassifyDecide, members: Mapping[str, Any], rows: int) -> tuple[str, ...]:
    """Names of the sources that are compared on so many rows, the simplest first."""
    found: list[str] = list(members) if "members" in decide.sources else []
    if len(members) > 1:
        wanted = ("mean", *(name for name, least in _STACKS.items() if rows >= least))
        found += [name for name in wanted if name in decide.sources]
    return tuple(found) or tuple(members)


def _chosen(scores: Mapping[str, float], each: Mapping[str, Array]) -> str:
    """The best source; a later one only if it leads by a standard error of the difference.

    Args:
        scores: Source to its metric, the simplest source first.
        each: Source to (N,) values of the rows, of which the error of a difference is taken.

    References:
        Breiman et al. 1984, section 3.4.3: of models within one standard error the simplest; here
        of the paired difference, since all answer the same images.
    """
    best = next(iter(scores))
    for name, score in scores.items():
        apart = each[name] - each[best]
        error = float(apart.std()) / np.sqrt(len(apart))
        if score > scores[best] + error:
            best = name
    return best


def source_of(
    name: str,
    members: Mapping[str, NDArray[np.float32]],
    prior: Sequence[float],
    stack: Stack | None,
) -> Array:
    """(N, C) probabilities of a source."""
    first = next(iter(members.values()))
    if name == TRIVIAL:
        return np.tile(np.asarray(prior, np.float64), (len(first), 1))
    if name in members:
        return np.asarray(members[name], np.float64)
    if name == "mean":
        return np.asarray(np.mean([np.asarray(p, np.float64) for p in members.values()], axis=0))
    assert stack is not None
    return stack.predict(_features(members)).reshape(first.shape)


def _each(metric: str, p: Array, answers: Marks, truth: Marks) -> Array:
    """(N,) what a row adds to a metric, or to one like it that is a mean over rows."""
    if metric == "log_loss":
        return np.asarray(np.log(np.where(truth, p, 1 - p)).mean(axis=1))
    return f_beta_each(answers, truth)


def _held_out(name: str, evidence: Evidence, prior: Sequence[float]) -> Array:
    """Probabilities of a source; a stack answers rows that it was not fitted on."""
    if name not in _STACKS:
        return source_of(name, evidence.members, prior, None)
    found = np.zeros(evidence.truth.shape)
    for part in np.unique(evidence.parts):
        own = evidence.parts == part
        rest = {n: p[~own] for n, p in evidence.members.items()}
        stack = _fitted(name, rest, evidence.truth[~own])
        mine = {n: p[own] for n, p in evidence.members.items()}
        found[own] = source_of(name, mine, prior, stack)
    return found


def _fitted(name: str, members: Mapping[str, NDArray[np.float32]], truth: Marks) -> Stack:
    """One small model for all labels: from what members say of a label to whether it is true."""
    features, target = _features(members), truth.reshape(-1).astype(np.float64)
    weights = np.ones(len(target))
    if len(target) > _STACKED:  # all that is true, and some of what is not
        rng = np.random.default_rng(0)
        wrong = np.flatnonzero(target == 0)
        kept = max(_STACKED - int(target.sum()), _STACKED // 2)
        some = np.sort(rng.choice(wrong, min(kept, len(wrong)), replace=False))
        weights[some] = len(wrong) / len(some)
        chosen = np.sort(np.concatenate([np.flatnonzero(target), some]))
        features, target, weights = features[chosen], target[chosen], weights[chosen]
    return fit_stack(features, target, name, weights=weights)


def _features(members: Mapping[str, NDArray[np.float32]]) -> Array:
    """(N * C, 2 M): of every member the logit of the label, and its lead over the best other."""
    columns = []
    for p in members.values():
        q = np.clip(np.asarray(p, np.float64), _EDGE, 1 - _EDGE)
        z = np.log(q / (1 - q))
        top = np.sort(z, axis=1)
        best = top[:, -1:]
        second = top[:, -2:-1] if z.shape[1] > 1 else best
        columns += [z.reshape(-1), (z - np.where(z == best, second, best)).reshape(-1)]
    return np.stack(columns, axis=1)
