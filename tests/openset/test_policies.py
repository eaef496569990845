import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identify.worlds import world
from transect.errors import TransectError
from transect.openset.evidence import FAR, NOBODY, UNKNOWN, Evidence, FitOptions, rewards
from transect.openset.policies import (
    PLAIN,
    Constant,
    FirstDrop,
    PerGroup,
    Quantile,
    Sum,
    Temperature,
    fit_policy,
    level_for_share,
    policy_from_json,
    policy_to_json,
)


def proven(evidence, truth, seed=0):
    """Add geometric proofs: mostly right where strong."""
    rng = np.random.default_rng(seed)
    proof = rng.random(len(truth))
    right = (proof > 0.6) & (truth >= 0)
    names = np.where(right, truth, rng.integers(0, 20, len(truth)))
    proof = np.where(right, proof, proof * 0.6)
    return dataclasses.replace(evidence, proof=proof, proof_identity=names)


@pytest.mark.parametrize("name", PLAIN)
def test_every_policy_beats_never_and_always_saying_new(name):
    evidence, truth = world(0)
    fresh, fresh_truth = world(1)
    policy = fit_policy(name, evidence, truth)
    value = rewards(policy.rank(fresh), fresh_truth).mean()
    never = rewards(Constant(-FAR).rank(fresh), fresh_truth).mean()
    always = rewards(Constant(FAR).rank(fresh), fresh_truth).mean()
    assert value > max(never, always) + 0.02


@pytest.mark.parametrize("name", [*PLAIN, "constant+override", "stack+reverse+override"])
def test_json_gives_the_same_answers(name):
    evidence, truth = world(0, queries=500)
    evidence = proven(evidence, truth)
    policy = fit_policy(name, evidence, truth)
    back = policy_from_json(json.loads(json.dumps(policy_to_json(policy), allow_nan=False)))
    fresh, fresh_truth = world(1)
    fresh = proven(fresh, fresh_truth)
    assert np.array_equal(back.rank(fresh), policy.rank(fresh))
    assert np.allclose(back.margin(fresh), policy.margin(fresh))


@pytest.mark.parametrize("name", [*PLAIN, "sum+override+reverse"])
def test_answers_never_repeat(name):
    evidence, truth = world(2, names=3)
    evidence = proven(evidence, truth % 3)
    for row in fit_policy(name, evidence, truth).rank(evidence):
        real = row[row != NOBODY]
        assert len(set(real.tolist())) == len(real)
        assert UNKNOWN in row  # three individuals leave room for it


@given(st.integers(0, 1000), st.floats(-3, 6), st.floats(0, 3))
@settings(max_examples=30, deadline=None)
def test_raising_the_level_never_lowers_the_count_of_new(seed, level, more):
    evidence, _ = world(seed % 7, queries=40)
    for kind in (Constant, FirstDrop, Sum):
        low = (kind(level).rank(evidence)[:, 0] == UNKNOWN).sum()
        high = (kind(level + more).rank(evidence)[:, 0] == UNKNOWN).sum()
        assert high >= low
    chance = [1 / (1 + np.exp(-x)) for x in (level, level + more)]
    low, high = ((Temperature(0.5, c).rank(evidence)[:, 0] == UNKNOWN).sum() for c in chance)
    assert high >= low


@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_larger_share_never_lowers_the_level(seed, a, b):
    scores = np.random.default_rng(seed).normal(size=31)
    low, high = (level_for_share(scores, s) for s in sorted((a, b)))
    assert low <= high
    assert abs((scores < low).mean() - min(a, b)) <= 1 / 31 + 1e-9


def test_margin_says_what_the_ranking_says():
    evidence, truth = world(3)
    for name in PLAIN:
        policy = fit_policy(name, evidence, truth)
        new = policy.rank(evidence)[:, 0] == UNKNOWN
        margin = policy.margin(evidence)
        assert (margin[new] <= 1e-9).all(), name
        assert (margin[~new] >= -1e-9).all(), name


def test_constant_finds_the_gap_between_known_and_unknown():
    scores = np.r_[np.full(10, 0.8), np.full(10, 0.2)][:, None] * [1.0, 0.1]
    evidence = Evidence(np.tile([0, 1], (20, 1)), scores)
    truth = np.r_[np.zeros(10, int), np.full(10, UNKNOWN)]
    for name in ("constant", "first_drop", "quantile", "temperature", "sum"):
        ranked = fit_policy(name, evidence, truth).rank(evidence)
        assert rewards(ranked, truth).tolist() == [1.0] * 20, name


def test_first_drop_walks_down_the_pictures():
    evidence = Evidence(
        np.array([[7, 5, 3]]),
        np.array([[3.0, 2.0, 1.0]]),  # fused scores put 7 first
        np.array([[5, 5, 7, 3]]),
        np.array([[0.9, 0.8, 0.6, 0.1]]),  # the nearest picture is of 5
    )
    assert FirstDrop(0.5).rank(evidence).tolist() == [[5, 7, UNKNOWN, 3, NOBODY]]
    assert FirstDrop(0.95).rank(evidence, top_k=2).tolist() == [[UNKNOWN, 5]]


def test_sum_counts_pictures_above_the_level():
    evidence = Evidence(
        np.array([[1, 2, 3]]),
        np.array([[0.9, 0.8, 0.2]]),
        np.array([[1, 2, 2, 2, 3]]),
        np.array([[0.9, 0.8, 0.8, 0.7, 0.2]]),
    )
    assert Sum(0.5).rank(evidence).tolist() == [[2, 1, UNKNOWN, 3, NOBODY]]
    assert Sum(0.95).rank(evidence).tolist() == [[UNKNOWN, 1, 2, 3, NOBODY]]


def test_quantile_meets_its_share_on_many_queries_and_keeps_its_level_on_few():
    evidence, truth = world(0, queries=400)
    policy = fit_policy(
        "quantile", evidence, truth, FitOptions(np.ones(len(truth)), share_new=0.276)
    )
    assert policy.share == 0.276
    fresh, _ = world(5, queries=1000, share=0.6)
    new = (policy.rank(fresh)[:, 0] == UNKNOWN).mean()
    assert new == pytest.approx(0.276, abs=0.002)
    few = fresh.take(np.arange(10))
    assert np.array_equal(policy.rank(few), Constant(policy.level).rank(few))


def test_override_puts_the_proven_identity_first():
    evidence, truth = world(0, lift=0.8)
    evidence = proven(evidence, truth)
    plain = fit_policy("constant", evidence, truth)
    policy = fit_policy("constant+override", evidence, truth)
    assert rewards(policy.rank(evidence), truth).mean() > (
        rewards(plain.rank(evidence), truth).mean() + 0.1
    )
    strong = evidence.proof >= policy.level
    assert np.array_equal(policy.rank(evidence)[strong, 0], evidence.proof_identity[strong])
    assert (policy.margin(evidence)[strong] >= plain.margin(evidence).max() - 1e-9).all()


def test_override_that_never_gains_stays_out_of_reach():
    evidence, truth = world(0)
    wrong = dataclasses.replace(
        evidence, proof=np.ones(len(truth)), proof_identity=np.where(truth == 0, 1, 0)
    )
    policy = fit_policy("constant+override", wrong, truth)
    assert policy.level == FAR
    none = fit_policy("constant+override", evidence, truth)
    assert np.array_equal(none.rank(evidence), none.base.rank(evidence))


def test_reverse_check_swaps_new_for_an_individual_seen_nowhere_else():
    # Query 0 is surely 0; query 1 is said to be new, its runner-up 1 fits nobody better.
    evidence = Evidence(
        np.array([[0, 1], [1, 0], [0, 1]]),
        np.array([[0.9, 0.1], [0.45, 0.3], [0.4, 0.2]]),
    )
    truth = np.array([0, 1, UNKNOWN])
    base = Constant(0.5)
    assert base.rank(evidence, top_k=2).tolist() == [[0, UNKNOWN], [UNKNOWN, 1], [UNKNOWN, 0]]
    from transect.openset.overrides import ReverseCheck

    policy = ReverseCheck.fit(base, evidence, truth, FitOptions(np.ones(3)))
    assert policy.rank(evidence, top_k=2).tolist() == [[0, UNKNOWN], [1, UNKNOWN], [UNKNOWN, 0]]
    assert ReverseCheck(base, 0.46).rank(evidence, top_k=2)[1].tolist() == [UNKNOWN, 1]


def test_groups_get_levels_of_their_own_where_data_allow():
    evidence, truth = world(0, queries=400)
    side = np.array(["left", "right"])[np.arange(400) % 2]
    shifted = evidence.scores + (side == "right")[:, None] * 5
    evidence = Evidence(evidence.identities, shifted, groups=side)
    policy = fit_policy("constant", evidence, truth, per_group=20)
    assert isinstance(policy, PerGroup)
    assert policy.groups["right"].level == pytest.approx(policy.groups["left"].level + 5, abs=1.5)
    one = fit_policy("constant", evidence, truth)
    assert rewards(policy.rank(evidence), truth).mean() > (
        rewards(one.rank(evidence), truth).mean() + 0.05
    )
    back = policy_from_json(json.loads(json.dumps(policy_to_json(policy))))
    assert np.array_equal(back.rank(evidence), policy.rank(evidence))
    assert isinstance(fit_policy("constant", evidence, truth, per_group=190), Constant)


def test_weights_shift_the_level():
    evidence, truth = world(0, lift=1.2)
    heavy = fit_policy("first_drop", evidence, truth, FitOptions(np.where(truth < 0, 10.0, 1.0)))
    light = fit_policy("first_drop", evidence, truth, FitOptions(np.where(truth < 0, 0.1, 1.0)))
    assert heavy.level > light.level


@pytest.mark.parametrize("kind", ["all_known", "all_unknown", "one_query", "no_candidates"])
@pytest.mark.parametrize("name", PLAIN)
def test_odd_data_are_fitted(name, kind):
    evidence, truth = world(0, queries=30)
    if kind == "all_known":
        truth = np.abs(truth)
    elif kind == "all_unknown":
        truth = np.full(30, UNKNOWN)
    elif kind == "one_query":
        evidence, truth = evidence.take(np.arange(1)), truth[:1]
    else:
        none = np.full((4, 3), NOBODY)
        evidence, truth = Evidence(none, np.full((4, 3), -FAR)), np.array([1, UNKNOWN, 2, 3])
    ranked = fit_policy(name, evidence, truth).rank(evidence)
    assert ranked.shape == (len(truth), 5)
    if kind in ("all_unknown", "no_candidates"):
        assert (ranked[:, 0] == UNKNOWN).all()


@pytest.mark.parametrize(
    "broken",
    [
        None,
        {"policy": "constnat", "level": 1},
        {"policy": "constant"},
        {"policy": "constant", "level": "1"},
        {"policy": "override", "base": 3, "level": 1},
        {"policy": "stack", "model": 3, "first": 1, "second": 0},
    ],
)
def test_broken_json_is_refused(broken):
    with pytest.raises(TransectError):
        policy_from_json(broken)


def test_unknown_names_are_refused():
    evidence, truth = world(0, queries=20)
    with pytest.raises(TransectError, match="Did you mean 'constant'"):
        fit_policy("constnat", evidence, truth)
    with pytest.raises(TransectError, match="what stands on a policy"):
        fit_policy("constant+quantile", evidence, truth)
    with pytest.raises(TransectError, match="one per query"):
        fit_policy("constant", evidence, truth[:-1])


def test_quantile_level_of_no_share_is_below_all():
    assert isinstance(fit_policy("quantile", *world(0)), Quantile)
    assert level_for_share(np.array([1.0, 2.0]), 0.0) < 1
