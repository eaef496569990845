"""When to say "none we know": the policies of the winners, each a small frozen record.

A policy is fitted on out-of-fold evidence and kept as JSON. It ranks candidates with "none we
know" among them and says by how much the leader stands above or below it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError, unknown_name
from transect.openset.evidence import (
    FAR,
    NOBODY,
    UNKNOWN,
    Evidence,
    FitOptions,
    Policy,
    check_truth,
    clipped,
    insert_unknown,
    place_of_truth,
    rewards,
    sweep,
)
from transect.openset.novelty import fit_newness, newness, newness_features
from transect.openset.overrides import Override, ReverseCheck, best_from
from transect.openset.rates import RATES, Rates, softened

__all__ = ["PLAIN", "WRAPPERS", "Constant", "FirstDrop", "FitOptions", "Override", "PerGroup"]
__all__ += ["Policy", "Quantile", "ReverseCheck", "Stack", "Sum", "Temperature", "fit_policy"]
__all__ += ["level_for_share", "policy_from_json", "policy_to_json"]

TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0)  # whale 7th from .1 up


def level_for_share(
    scores: NDArray[np.floating],
    share: float,
    weights: NDArray[np.floating] | None = None,
) -> float:
    """The level below which the stated share of scores lies, by bisection.

    Args:
        scores: (Q,) score of each query's leader.
        share: In [0, 1].
        weights: (Q,), or None for equal ones.

    Returns:
        The level. Raising ``share`` never lowers it.

    References:
        Whale 3rd place (27.6 % of the test), Happywhale 2022 1st place (16.5 %).
    """
    values = np.asarray(scores, np.float64)
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    weight = weight / max(float(weight.sum()), 1e-12)
    low, high = float(values.min()) - 1e-6, float(values.max()) + 1e-6
    if share <= 0:
        return low
    for _ in range(60):
        middle = (low + high) / 2
        if weight[values < middle].sum() < share:
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True)
class Constant:
    """Policy 1: "none we know" has one constant score among the candidates (1st, 2nd, 7th)."""

    name: ClassVar[str] = "constant"
    level: float

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """Candidates at or above the level, "none we know", the rest."""
        before = (evidence.scores >= self.level).sum(axis=1)
        return insert_unknown(evidence.identities, before, top_k)

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """The leader's score less the level."""
        return evidence.scores[:, 0] - self.level

    @staticmethod
    def fit(evidence: Evidence, truth: NDArray[np.int64], options: FitOptions) -> Constant:
        """Try 51 levels from the lowest leading score to the highest, as the 2nd place swept."""
        lead = evidence.scores[:, : options.top_k]
        real = lead[lead > -FAR]
        if not len(real):
            return Constant(FAR)
        _, values = _sweep(evidence.scores, evidence.identities, truth, options)
        grid = np.linspace(real.min(), real.max() + 1e-9, 51)[::-1]
        edges = np.unique(real)  # a step of the sweep ends at each of these
        step = len(edges) - np.searchsorted(edges, grid, side="left")
        return Constant(clipped(grid[int(values[step].argmax())]))


@dataclass(frozen=True)
class FirstDrop:
    """Policy 2: walk down the list of pictures; at the first score below the level, "none we know".

    Identities are emitted as they are met, as in the whale kernel and the 3rd place. Where the
    candidates' scores are the maxima over their pictures, the order is that of ``constant``; they
    differ when candidates are scored by prototypes, sums or a fusion. The level is exact, not from
    a grid.
    """

    name: ClassVar[str] = "first_drop"
    level: float

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """Identities in the order in which their pictures come, "none we know" at the drop."""
        identities, scores = _walked(evidence)
        return insert_unknown(identities, (scores >= self.level).sum(axis=1), top_k)

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """The nearest picture's score less the level."""
        return _walked(evidence)[1][:, 0] - self.level

    @staticmethod
    def fit(evidence: Evidence, truth: NDArray[np.int64], options: FitOptions) -> FirstDrop:
        """The best level of all."""
        identities, scores = _walked(evidence)
        levels, values = _sweep(scores, identities, truth, options)
        return FirstDrop(clipped(levels[int(values.argmax())]))


@dataclass(frozen=True)
class Quantile:
    """Policy 3: as many "none we know" in first place as there should be.

    With at least ``least`` queries in one call the level is set for them together (this looks at
    all queries at once); with fewer, the level of the fit holds.
    """

    name: ClassVar[str] = "quantile"
    level: float
    share: float
    least: int = 100

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """As ``constant``, at the level of these queries."""
        return Constant(self._level(evidence)).rank(evidence, top_k=top_k)

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """The leader's score less the level of these queries."""
        return evidence.scores[:, 0] - self._level(evidence)

    def _level(self, evidence: Evidence) -> float:
        lead = evidence.scores[:, 0]
        real = lead[lead > -FAR]
        if len(real) < max(self.least, 1):
            return self.level
        return level_for_share(real, self.share)

    @staticmethod
    def fit(evidence: Evidence, truth: NDArray[np.int64], options: FitOptions) -> Quantile:
        """The level that gives the prior share on the queries of the fit."""
        share = _share(truth, options)
        level = level_for_share(evidence.scores[:, 0], share, options.weights)
        return Quantile(clipped(level), share)


@dataclass(frozen=True)
class Temperature:
    """Policy 4: a softmax over the candidates at a fitted temperature, then a constant (7th)."""

    name: ClassVar[str] = "temperature"
    temperature: float
    level: float

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """Candidates whose probability is at or above the level, "none we know", the rest."""
        chance = softened(evidence.scores, self.temperature)
        return insert_unknown(evidence.identities, (chance >= self.level).sum(axis=1), top_k)

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """The leader's probability less the level."""
        return softened(evidence.scores, self.temperature)[:, 0] - self.level

    @staticmethod
    def fit(evidence: Evidence, truth: NDArray[np.int64], options: FitOptions) -> Temperature:
        """Every temperature with its best level; the scores' spread is the unit."""
        real = evidence.scores[evidence.scores > -FAR]
        unit = float(np.std(real)) if len(real) > 1 else 1.0
        best: tuple[float, float, float] | None = None
        for factor in TEMPERATURES:
            chance = softened(evidence.scores, factor * max(unit, 1e-9))
            levels, values = _sweep(chance, evidence.identities, truth, options)
            at = int(values.argmax())
            if best is None or values[at] > best[0] + 1e-12:
                best = (float(values[at]), factor * max(unit, 1e-9), clipped(levels[at]))
        assert best is not None
        return Temperature(best[1], best[2])


@dataclass(frozen=True)
class Stack:
    """Policy 5: a separate new-or-known classifier on the leading candidates (10th).

    Attributes:
        model: Plain values of ``newness``.
        first: From this probability on, "none we know" stands first.
        second: From this one on, second; below it, last of the places.
    """

    name: ClassVar[str] = "stack"
    model: Mapping[str, Any]
    first: float
    second: float

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """Put "none we know" first, second or last, by its probability."""
        chance = newness(self.model, newness_features(evidence))
        before = np.where(chance >= self.first, 0, np.where(chance >= self.second, 1, top_k - 1))
        before = np.where(evidence.scores[:, 0] <= -FAR, 0, before)
        return insert_unknown(evidence.identities, before, top_k)

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """How far the probability of new stays below the first place's, as log-odds."""
        chance = newness(self.model, newness_features(evidence))
        return _logit(self.first) - _logit(chance)

    @staticmethod
    def fit(evidence: Evidence, truth: NDArray[np.int64], options: FitOptions) -> Stack:
        """Train the classifiers, then place by probabilities of models that had not seen them."""
        features = newness_features(evidence)
        unknown = truth == UNKNOWN
        seen_by_none = np.zeros(len(truth))
        rng = np.random.default_rng(options.seed)
        part = rng.permutation(len(truth)) % 5
        for fold in range(5):
            train, test = part != fold, part == fold
            if train.any() and test.any():
                model = fit_newness(
                    features[train], unknown[train], options.weights[train], seed=options.seed
                )
                seen_by_none[test] = newness(model, features[test])
        model = fit_newness(features, unknown, options.weights, seed=options.seed)
        first, second = _places(seen_by_none, evidence.identities, truth, options)
        return Stack(model, first, second)


@dataclass(frozen=True)
class Sum:
    """Policy 6: sum of an identity's picture scores above a level (5th).

    Identities with a sum come first, by it; then "none we know"; then the rest, by best picture.
    """

    name: ClassVar[str] = "sum"
    level: float

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """Order by sums."""
        identities, sums = self._summed(evidence)
        return insert_unknown(identities, (sums > 0).sum(axis=1), top_k)

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """The nearest picture's score less the level."""
        return _images(evidence)[1][:, 0] - self.level

    def _summed(self, evidence: Evidence) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        owners, scores = _images(evidence)
        identities, _ = _walked(evidence)
        # Above the level by how little ever, a picture counts: the sum is of shares above it.
        worth = np.where(scores >= self.level, np.maximum(scores - self.level, 0) + 1e-9, 0.0)
        sums = np.zeros(identities.shape)
        for column in range(owners.shape[1]):
            sums += (identities == owners[:, column : column + 1]) * worth[:, column : column + 1]
        sums[identities == NOBODY] = -1.0
        order = np.argsort(-sums, axis=1, kind="stable")
        return (
            np.take_along_axis(identities, order, axis=1),
            np.take_along_axis(sums, order, axis=1),
        )

    @staticmethod
    def fit(evidence: Evidence, truth: NDArray[np.int64], options: FitOptions) -> Sum:
        """Try 40 levels at quantiles of the pictures' scores."""
        scores = _images(evidence)[1][:, :10]
        real = scores[scores > -FAR]
        if not len(real):
            return Sum(FAR)
        best = (-1.0, FAR)
        levels = np.append(np.quantile(real, np.linspace(0, 1, 40)), real.max() + 1e-9)
        for level in np.unique(levels):
            ranked = Sum(float(level)).rank(evidence, top_k=options.top_k)
            value = float(options.weights @ rewards(ranked, truth, top_k=options.top_k))
            if value > best[0]:
                best = (value, float(level))
        return Sum(best[1])


@dataclass(frozen=True)
class PerGroup:
    """A policy for every kind of query that had data enough, and one for all others."""

    name: ClassVar[str] = "per_group"
    base: Policy
    groups: Mapping[str, Policy] = field(default_factory=dict)

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """Each query by the policy of its kind."""
        ranked = self.base.rank(evidence, top_k=top_k)
        for rows, policy in self._parts(evidence):
            ranked[rows] = policy.rank(evidence.take(rows), top_k=top_k)
        return ranked

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """Each query by the policy of its kind."""
        margin = self.base.margin(evidence).copy()
        for rows, policy in self._parts(evidence):
            margin[rows] = policy.margin(evidence.take(rows))
        return margin

    def _parts(self, evidence: Evidence) -> list[tuple[NDArray[np.int64], Policy]]:
        if evidence.groups is None:
            return []
        found = [(np.flatnonzero(evidence.groups == k), p) for k, p in self.groups.items()]
        return [(rows, policy) for rows, policy in found if len(rows)]


_FITS: dict[str, Callable[[Evidence, NDArray[np.int64], FitOptions], Policy]] = {
    "constant": Constant.fit,
    "first_drop": FirstDrop.fit,
    "quantile": Quantile.fit,
    "temperature": Temperature.fit,
    "stack": Stack.fit,
    "sum": Sum.fit,
    RATES: Rates.fit,
}
PLAIN = tuple(name for name in _FITS if name != RATES)  # those that need no rate to hold
WRAPPERS = ("override", "reverse")
_CLASSES: dict[str, type[Any]] = {
    c.name: c
    for c in (
        Constant, FirstDrop, Quantile, Temperature, Stack, Sum, Rates, Override, ReverseCheck,
        PerGroup,
    )
}  # fmt: skip


def fit_policy(
    name: str,
    evidence: Evidence,
    truth: NDArray[np.integer],
    options: FitOptions | None = None,
    *,
    per_group: int = 0,
) -> Policy:
    """Fit a policy by name on out-of-fold evidence.

    Args:
        name: constant, first_drop, quantile, temperature, stack, sum or rates; with ``+override``
            or ``+reverse`` behind it, that policy on top, e.g. ``constant+override``.
        evidence: Q queries that no part of the scores was trained on.
        truth: (Q,) identity, or ``UNKNOWN``; a query whose identity has no gallery picture is
            unknown.
        options: What the fit may use; None counts each query alike.
        per_group: Least number of known, and of unknown, queries of a kind for a policy of its
            own; 0 is off.

    Returns:
        The policy.

    Raises:
        TransectError: On an unknown name or truths that do not fit.
    """
    truths = np.asarray(truth, np.int64)
    check_truth(evidence, truths)
    base, *tops = name.split("+")
    if base not in _FITS:
        raise unknown_name("a policy", base, _FITS)
    options = options or FitOptions(np.ones(len(truths)))
    policy = _FITS[base](evidence, truths, options)
    if per_group and evidence.groups is not None and base != RATES:
        parts: dict[str, Policy] = {}
        for kind in np.unique(evidence.groups):
            rows = np.flatnonzero(evidence.groups == kind)
            unknown = int((truths[rows] == UNKNOWN).sum())
            if min(unknown, len(rows) - unknown) >= per_group:
                part = options.take(rows)
                parts[str(kind)] = _FITS[base](evidence.take(rows), truths[rows], part)
        if parts:
            policy = PerGroup(policy, parts)
    for top in tops:
        if top not in WRAPPERS:
            raise unknown_name("what stands on a policy", top, WRAPPERS)
        wrap: Any = Override if top == "override" else ReverseCheck
        policy = wrap.fit(policy, evidence, truths, options)
    return policy


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """Turn a policy into JSON values."""
    values: dict[str, Any] = {"policy": policy.name}
    for item in dataclasses.fields(policy):  # type: ignore[arg-type]
        value = getattr(policy, item.name)
        if item.name == "base":
            value = policy_to_json(value)
        elif item.name == "groups":
            value = {kind: policy_to_json(part) for kind, part in value.items()}
        values[item.name] = dict(value) if isinstance(value, Mapping) else value
    return values


def policy_from_json(values: Any) -> Policy:
    """Read back what ``policy_to_json`` gave; nothing is executed.

    Raises:
        TransectError: If it is not a policy.
    """
    if not isinstance(values, dict) or values.get("policy") not in _CLASSES:
        got = values.get("policy") if isinstance(values, dict) else values
        raise unknown_name("the policy of a decision", str(got), _CLASSES)
    kind = _CLASSES[values["policy"]]
    given = {k: v for k, v in values.items() if k != "policy"}
    wanted = {f.name for f in dataclasses.fields(kind)}
    if set(given) != wanted:
        raise TransectError(
            f"a stored {values['policy']} policy must have {', '.join(sorted(wanted))}; got "
            f"{', '.join(sorted(given))}. Train again to make it anew."
        )
    for name, value in given.items():
        if name == "base":
            given[name] = policy_from_json(value)
        elif name == "groups":
            given[name] = {str(k): policy_from_json(v) for k, v in dict(value).items()}
        elif name == "model" and not isinstance(value, dict):
            raise TransectError("a stored stack has no model. Train again to make it anew.")
        elif name not in ("base", "groups", "model") and not isinstance(value, (int, float)):
            raise TransectError(
                f"{name} of a stored {values['policy']} policy must be a number; got {value!r}. "
                "Train again to make it anew."
            )
    policy: Policy = kind(**given)
    return policy


def _walked(evidence: Evidence) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Identities as they are met walking down the pictures, with the score where each was met.

    Candidates of which no picture was kept follow, in their own order, far down.
    """
    if evidence.image_identities is None or evidence.image_scores is None:
        return evidence.identities, evidence.scores
    count, width = evidence.identities.shape
    identities = np.full((count, width), NOBODY, np.int64)
    scores = np.full((count, width), -FAR)
    for row in range(count):
        owners = evidence.image_identities[row]
        names, at = np.unique(owners, return_index=True)
        met = np.sort(at[names >= 0])
        listed = set(owners[met].tolist())
        late = [x for x in evidence.identities[row].tolist() if x >= 0 and x not in listed]
        order = np.concatenate([owners[met], np.array(late, np.int64)])[:width]
        identities[row, : len(order)] = order
        shown = evidence.image_scores[row, met][:width]
        scores[row, : len(shown)] = shown
        scores[row, len(shown) : len(order)] = -FAR / 2
    return identities, scores


def _images(evidence: Evidence) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest pictures; the candidates themselves where pictures were not kept."""
    if evidence.image_identities is None or evidence.image_scores is None:
        return evidence.identities, evidence.scores
    return evidence.image_identities, evidence.image_scores


def _places(
    chance: NDArray[np.float64],
    identities: NDArray[np.int64],
    truth: NDArray[np.int64],
    options: FitOptions,
) -> tuple[float, float]:
    """The probabilities of new from which on the first, and the second, place gain most."""
    worth = [
        rewards(
            insert_unknown(identities, np.full(len(truth), before), options.top_k),
            truth,
            top_k=options.top_k,
        )
        for before in (0, 1, options.top_k - 1)
    ]
    everywhere = np.ones(len(truth), bool)
    second = best_from(chance, (worth[1] - worth[2]) * options.weights, everywhere)
    other = np.where(chance >= second, worth[1], worth[2])
    first = best_from(chance, (worth[0] - other) * options.weights, everywhere)
    return min(first, 2.0), min(second, first, 2.0)


def _sweep(
    scores: NDArray[np.float64],
    identities: NDArray[np.int64],
    truth: NDArray[np.int64],
    options: FitOptions,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``sweep`` for candidates and truths."""
    place = place_of_truth(identities, truth)
    return sweep(scores, place, options.weights, top_k=options.top_k)


def _share(truth: NDArray[np.int64], options: FitOptions) -> float:
    """The prior share of unknown queries."""
    if options.share_new is not None:
        return float(options.share_new)
    return float(np.average(truth == UNKNOWN, weights=options.weights))


def _logit(x: Any) -> Any:
    """Log-odds of a probability, kept finite."""
    clipped = np.clip(x, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))
