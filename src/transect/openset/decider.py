"""The decision as an object: the policy that wins out of fold, with calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.openset.evidence import (
    FAR,
    NOBODY,
    UNKNOWN,
    Evidence,
    FitOptions,
    Policy,
    check_truth,
    clearly_better,
    place_of_truth,
    rewards,
)
from transect.openset.policies import (
    fit_policy,
    policy_from_json,
    policy_to_json,
)
from transect.openset.rates import RATES, check_rates, holds_rates, softened
from transect.recipe import IdentifyDecide
from transect.tabular.binary import platt, sigmoid

__all__ = ["Decider", "Decision", "choose_decider", "share_weights"]

VERSION = 2  # of the JSON form; 2: the stack no longer counts pictures


@dataclass(frozen=True)
class Decision:
    """What is answered for Q queries.

    Attributes:
        ranked: (Q, top_k) identity, ``UNKNOWN`` or ``NOBODY``.
        probability: (Q, top_k) calibrated probability of each answer, never rising down the list.
        known: (Q, top_k) the known individuals in order, whatever is decided about new;
            ``NOBODY`` where there are fewer.
        known_probability: (Q, top_k) calibrated probability of each of them, never rising.
        new: (Q,) probability that the query is none we know.
        margin: (Q,) how far the leader stands above "none we know".
        cannot_tell: (Q,) photos too poor for an answer; they are ranked all the same, and counted
            apart.
    """

    ranked: NDArray[np.int64]
    probability: NDArray[np.float64]
    known: NDArray[np.int64]
    known_probability: NDArray[np.float64]
    new: NDArray[np.float64]
    margin: NDArray[np.float64]
    cannot_tell: NDArray[np.bool_]


@dataclass(frozen=True)
class Decider:
    """A fitted decision.

    Attributes:
        policy: Where "none we know" stands.
        slope: Of the logistic curve from the margin to the probability of new.
        offset: Of that curve.
        temperature: Of the softmax that shares the rest among the candidates.
        cover: How often the truth of a known query is among the candidates.
        top_k: Places that are given.
        abstain: Least quality for an answer, or None.
        compared: Name of each policy that was tried, and its MAP@k on queries that its fit had not
            seen.
        chosen: The name of the one that was taken.
    """

    policy: Policy
    slope: float = 0.0
    offset: float = 0.0
    temperature: float = 1.0
    cover: float = 1.0
    top_k: int = 5
    abstain: float | None = None
    compared: Mapping[str, float] = field(default_factory=dict)
    chosen: str = ""

    def decide(self, evidence: Evidence) -> Decision:
        """Answer."""
        ranked = self.policy.rank(evidence, top_k=self.top_k)
        margin = np.clip(self.policy.margin(evidence), -FAR, FAR)
        new = sigmoid(np.clip(self.slope * margin + self.offset, -50, 50))
        chance = softened(evidence.scores, self.temperature) * self.cover * (1 - new)[:, None]

        def probabilities(answers: NDArray[np.int64]) -> NDArray[np.float64]:
            found = np.zeros(answers.shape)
            for place in range(answers.shape[1]):
                answer = answers[:, place]
                of_candidate = (chance * (evidence.identities == answer[:, None])).sum(axis=1)
                found[:, place] = np.where(answer == UNKNOWN, new, of_candidate)
            # Places follow MAP@k, probabilities follow calibration: where they disagree, the
            # lower place gets no more than the higher one.
            return np.minimum.accumulate(np.where(answers == NOBODY, 0.0, found), axis=1)

        known = _without_unknown(self.policy.rank(evidence, top_k=self.top_k + 1))
        poor = np.zeros(len(evidence), bool)
        if self.abstain is not None and evidence.quality is not None:
            poor = evidence.quality < self.abstain
        return Decision(
            ranked, probabilities(ranked), known, probabilities(known), new, margin, poor
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "version": VERSION,
            "policy": policy_to_json(self.policy),
            "slope": self.slope,
            "offset": self.offset,
            "temperature": self.temperature,
            "cover": self.cover,
            "top_k": self.top_k,
            "abstain": self.abstain,
            "compared": dict(self.compared),
            "chosen": self.chosen,
        }

    @staticmethod
    def from_json(values: Any) -> Decider:
        """Read back what ``to_json`` gave; nothing is executed.

        Raises:
            TransectError: If it is not a decision of this version.
        """
        if not isinstance(values, dict) or values.get("version") != VERSION:
            raise TransectError(
                "this is not a stored decision of this version of transect. Train again to make it "
                "anew."
            )
        try:
            return Decider(
                policy=policy_from_json(values["policy"]),
                slope=float(values["slope"]),
                offset=float(values["offset"]),
                temperature=float(values["temperature"]),
                cover=float(values["cover"]),
                top_k=int(values["top_k"]),
                abstain=None if values["abstain"] is None else float(values["abstain"]),
                compared={str(k): float(v) for k, v in values["compared"].items()},
                chosen=str(values["chosen"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TransectError(
                f"a stored decision is incomplete ({error}). Train again to make it anew."
            ) from error


def share_weights(truth: NDArray[np.integer], share_new: float | None) -> NDArray[np.float64]:
    """Weights under which the stated share of queries is none we know.

    Where most individuals were seen once, most out-of-fold queries are unknown, far more than
    among new photos: the decision must be fitted for the share that is expected there.

    Args:
        truth: (Q,) identity or ``UNKNOWN``.
        share_new: In [0, 1], or None for equal weights.

    Returns:
        (Q,) with mean 1; equal if one of the two kinds is absent.

    Example:
        >>> share_weights(np.array([-1, -1, -1, 7]), 0.5).round(2).tolist()
        [0.67, 0.67, 0.67, 2.0]
    """
    unknown = np.asarray(truth) == UNKNOWN
    if share_new is None or unknown.all() or not unknown.any():
        return np.ones(len(unknown))
    have = unknown.mean()
    share = float(np.clip(share_new, 1e-3, 1 - 1e-3))
    return np.where(unknown, share / have, (1 - share) / (1 - have))


def choose_decider(
    evidence: Evidence,
    truth: NDArray[np.integer],
    decide: IdentifyDecide,
    *,
    groups: NDArray[np.generic] | None = None,
    share_new: float | None = None,
    per_group: int = 0,
    folds: int = 5,
    seed: int = 0,
) -> tuple[Decider, Decision]:
    """Compare policies on queries that their fit had not seen, take the best, fit it on all.

    Args:
        evidence: Q out-of-fold queries.
        truth: (Q,) identity, or ``UNKNOWN`` if it has no gallery picture.
        decide: ``policies`` are compared; ``override`` and ``reverse`` among them mean: on top of
            the best plain one. With ``false_new`` or ``false_match`` the policy ``rates`` decides,
            whatever else is named. ``top_k`` and ``abstain`` are of the answers.
        groups: (Q,) encounter or identity; queries of one group are never on both sides.
        share_new: Share of unknown among new photos; None takes that of the queries.
        per_group: As in ``fit_policy``.
        folds: Of the comparison.
        seed: Of the division and of the stack.

    Returns:
        The decision, fitted on all queries; and the answers to these queries by the same kind of
        decision, each fitted without the query's part. Another policy than the one named first
        must better it by more than a standard error: with few queries, the best of many is often
        only the luckiest.

    Raises:
        TransectError: If no query is left, on an unknown name, or on a rate that is none.
    """
    truths = np.asarray(truth, np.int64)
    check_truth(evidence, truths)
    weights = share_weights(truths, share_new)
    part = _parts(len(truths), groups, folds, seed)
    options = FitOptions(
        weights, decide.top_k, share_new, seed, decide.false_new, decide.false_match
    )
    policies = decide.policies
    if holds_rates(decide):
        check_rates(decide.false_new, decide.false_match)
        policies = (RATES,)

    def seen_by_none(name: str) -> NDArray[np.float64]:
        worth = np.zeros(len(truths))
        for fold in np.unique(part):
            train, test = part != fold, part == fold
            if not train.any():
                train = test  # one group only: nothing better can be had
            own = evidence.take(train)
            policy = fit_policy(name, own, truths[train], options.take(train), per_group=per_group)
            ranked = policy.rank(evidence.take(test), top_k=decide.top_k)
            worth[test] = rewards(ranked, truths[test], top_k=decide.top_k)
        return worth

    plain = [name for name in policies if name not in ("override", "reverse")] or ["constant"]
    worths = {name: seen_by_none(name) for name in plain}
    keys = np.arange(len(truths)) if groups is None else np.asarray(groups).astype(str)
    best = plain[0]
    for name in plain[1:]:
        if clearly_better(worths[name], worths[plain[0]], weights, keys) and (
            weights @ worths[name] > weights @ worths[best]
        ):
            best = name
    for top in [name for name in policies if name in ("override", "reverse")]:
        if top == "override" and evidence.proof is None:
            continue
        together = f"{best}+{top}"
        worths[together] = seen_by_none(together)
        if clearly_better(worths[together], worths[best], weights, keys):
            best = together
    compared = {name: float(np.average(w, weights=weights)) for name, w in worths.items()}

    def fitted(rows: NDArray[np.bool_]) -> Decider:
        own, real, weight = evidence.take(rows), truths[rows], weights[rows]
        policy = fit_policy(best, own, real, options.take(rows), per_group=per_group)
        slope, offset = _calibrated_new(policy, own, real, weight)
        temperature, cover = _calibrated_candidates(own, real, weight)
        return Decider(
            policy, slope, offset, temperature, cover, decide.top_k, decide.abstain, compared, best
        )

    everything = np.ones(len(truths), bool)
    found: list[tuple[NDArray[np.int64], Decision]] = []
    for fold in np.unique(part):
        train, test = part != fold, part == fold
        answer = fitted(train if train.any() else everything).decide(evidence.take(test))
        found.append((np.flatnonzero(test), answer))
    order = np.argsort(np.concatenate([rows for rows, _ in found]))
    honest = Decision(
        *(
            np.concatenate([getattr(d, item.name) for _, d in found])[order]
            for item in fields(Decision)
        )
    )
    return fitted(everything), honest


def _without_unknown(ranked: NDArray[np.int64]) -> NDArray[np.int64]:
    """(Q, K + 1) answers to the first K of them that are individuals, in order."""
    order = np.argsort(ranked == UNKNOWN, axis=1, kind="stable")
    return np.take_along_axis(ranked, order, axis=1)[:, :-1]


def _parts(
    count: int, groups: NDArray[np.generic] | None, folds: int, seed: int
) -> NDArray[np.int64]:
    """A fold for every query; those of one group share it."""
    keys = np.arange(count)
    if groups is not None:
        keys = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    fold_of = np.random.default_rng(seed).permutation(int(keys.max()) + 1) % max(folds, 2)
    return fold_of[keys]


def _calibrated_new(
    policy: Policy, evidence: Evidence, truth: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """The logistic curve from the margin to the probability of new."""
    unknown = truth == UNKNOWN
    margin = np.clip(policy.margin(evidence), -1e6, 1e6)
    usable = np.abs(margin) < 1e6
    if unknown[usable].all() or not unknown[usable].any():
        share = float(np.clip(np.average(unknown, weights=weights), 0.01, 0.99))
        return 0.0, float(np.log(share / (1 - share)))
    slope, offset = platt(margin[usable], unknown[usable], weights[usable])
    return min(slope, 0.0), offset  # a larger margin never makes "new" likelier


def _calibrated_candidates(
    evidence: Evidence, truth: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """The temperature that makes the softmax over the candidates likeliest, and their cover."""
    from scipy.optimize import minimize_scalar

    place = place_of_truth(evidence.identities, truth)
    known = place >= 0
    listed = known & (place < evidence.identities.shape[1])
    if not listed.any():
        return 1.0, 0.5
    cover = float(np.average(listed[known], weights=weights[known]))
    rows = np.flatnonzero(listed)
    scores = evidence.scores[rows]
    real = scores[scores > -FAR]
    unit = max(float(np.std(real)), 1e-9) if len(real) > 1 else 1.0

    def loss(log_factor: float) -> float:
        chance = softened(scores, unit * float(np.exp(log_factor)))
        right = chance[np.arange(len(rows)), place[rows]]
        # One imagined coin toss among the candidates keeps the temperature above zero.
        return float(
            -np.average(np.log(np.maximum(right, 1e-12)), weights=weights[rows])
            - np.log(np.maximum(chance, 1e-12)).mean() / len(rows)
        )

    found = minimize_scalar(loss, bounds=(-6.0, 4.0), method="bounded")
    return unit * float(np.exp(found.x)), float(np.clip(cover, 0.0, 0.999))
