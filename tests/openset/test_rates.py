import dataclasses
import json

import numpy as np
import pytest

from tests.identify.worlds import world
from transect.errors import TransectError
from transect.openset.decider import choose_decider
from transect.openset.evidence import FAR, UNKNOWN, Evidence, FitOptions
from transect.openset.policies import fit_policy, policy_from_json, policy_to_json
from transect.openset.rates import Rates, rates_sentence
from transect.recipe import IdentifyDecide


def asked(false_new=None, false_match=None, queries=300):
    return FitOptions(np.ones(queries), false_new=false_new, false_match=false_match)


def came(policy, evidence, truth):
    """False-new and false-match rates."""
    new = policy.rank(evidence)[:, 0] == UNKNOWN
    return new[truth != UNKNOWN].mean(), (~new)[truth == UNKNOWN].mean()


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("lift", [0.3, 2.0])  # a weak ranking, and a good one
def test_each_rate_holds_on_new_queries(rate, lift):
    evidence, truth = world(0, queries=1500, lift=lift)
    fresh, fresh_truth = world(1, queries=3000, lift=lift)
    policy = fit_policy("rates", evidence, truth, asked(false_new=rate, queries=1500))
    assert policy.held
    assert came(policy, fresh, fresh_truth)[0] == pytest.approx(rate, abs=0.03)
    policy = fit_policy("rates", evidence, truth, asked(false_match=rate, queries=1500))
    assert policy.held
    assert came(policy, fresh, fresh_truth)[1] == pytest.approx(rate, abs=0.03)


def test_the_share_of_unknown_does_not_move_the_level():
    evidence, truth = world(0, queries=2000, lift=0.3, share=0.8)
    fresh, fresh_truth = world(1, queries=2000, lift=0.3, share=0.1)
    decide = IdentifyDecide(policies=("constant",), false_new=0.1)
    # The policy that earns most MAP@5 here calls all but everybody new.
    greedy, _ = choose_decider(evidence, truth, dataclasses.replace(decide, false_new=None))
    assert came(greedy.policy, evidence, truth)[0] > 0.9
    for share in (None, 0.05, 0.8):
        decider, honest = choose_decider(evidence, truth, decide, share_new=share)
        assert decider.chosen == "rates"
        assert came(decider.policy, fresh, fresh_truth)[0] == pytest.approx(0.1, abs=0.04)
        new = honest.ranked[:, 0] == UNKNOWN
        assert new[truth != UNKNOWN].mean() == pytest.approx(0.1, abs=0.04)


def test_both_rates_hold_where_they_can():
    evidence, truth = world(0, queries=1500, lift=6.0)
    policy = fit_policy("rates", evidence, truth, asked(0.1, 0.1, queries=1500))
    assert policy.held
    false_new, false_match = came(policy, *world(1, queries=3000, lift=6.0))
    assert false_new < 0.13
    assert false_match < 0.13


def test_where_both_cannot_be_held_the_ranking_is_given():
    evidence, truth = world(0, queries=600, lift=0.3)
    decider, _ = choose_decider(evidence, truth, IdentifyDecide(false_new=0.05, false_match=0.05))
    assert not decider.policy.held
    fresh, _ = world(1, lift=0.3)
    answer = decider.decide(fresh)
    assert np.array_equal(answer.ranked, fresh.identities[:, :5])  # nobody is called new
    assert np.ptp(answer.new) > 0.05  # how likely it is remains an output of its own
    text = rates_sentence(decider.policy, (0.05, 0.05), {"false_new": {"value": 0.0}})
    assert "No level holds what was asked" in text


def test_scores_that_do_not_tell_the_new_from_the_known_are_called_so():
    found = {"false_new": {"value": 0.1}, "auroc_new": {"value": 0.52}}
    text = rates_sentence(Rates(1.0), (0.1, None), found)
    assert "hardly tell new ones from known ones" in text
    found["auroc_new"]["value"] = 0.9
    assert "hardly" not in rates_sentence(Rates(1.0), (0.1, None), found)


def test_candidates_behind_the_leader_do_not_move_a_rate():
    """The whole gallery has more of them than the gallery of a fold."""
    rng = np.random.default_rng(0)
    truth = np.where(np.arange(600) < 400, 0, UNKNOWN)
    lead = rng.normal(size=600)
    behind = lead - np.where(truth == 0, 2.0, 0.1)  # a softmax would part the two kinds
    few = Evidence(np.tile([0, 1], (600, 1)), np.stack([lead, behind], axis=1))
    policy = fit_policy("rates", few, truth, asked(false_new=0.2, queries=600))
    more = np.stack([lead, lead - 0.05, lead - 0.1, lead - 0.15], axis=1)
    many = Evidence(np.tile([0, 1, 2, 3], (600, 1)), more)
    assert came(policy, few, truth)[0] == pytest.approx(0.2, abs=0.01)
    assert came(policy, many, truth) == came(policy, few, truth)


def test_too_few_photos_for_a_rate_are_not_called_enough():
    evidence, truth = world(0, queries=12)
    policy = fit_policy("rates", evidence, truth, asked(false_new=0.01, queries=12))
    assert not policy.held
    assert (policy.rank(evidence)[:, 0] != UNKNOWN).all()
    assert abs(policy.level) < FAR


def test_a_level_by_hand():
    # Nine known leads 1 to 9: of ten such places a new one lies below the first with chance .1.
    scores = np.arange(1.0, 10.0)[:, None]
    evidence = Evidence(np.zeros((9, 1), np.int64), scores)
    policy = Rates.fit(evidence, np.zeros(9, np.int64), asked(false_new=0.2, queries=9))
    assert policy == Rates(2.0)
    unknown = np.full(9, UNKNOWN)
    policy = Rates.fit(evidence, unknown, asked(false_match=0.2, queries=9))
    assert 8 < policy.level < 8.001


def test_a_query_without_candidates_is_new():
    evidence = Evidence(np.full((1, 1), -2), np.full((1, 1), -FAR))
    for held in (0, 1):
        assert Rates(0.5, held).rank(evidence, top_k=1)[0, 0] == UNKNOWN


def test_json_round_trip():
    policy = Rates(0.5, 0)
    assert policy_from_json(json.loads(json.dumps(policy_to_json(policy)))) == policy


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 10])
def test_rates_that_are_none_are_refused(rate):
    evidence, truth = world(0, queries=20)
    with pytest.raises(TransectError, match=r"decide\.false_match is a share between 0 and 1"):
        choose_decider(evidence, truth, IdentifyDecide(false_match=rate))
    with pytest.raises(TransectError, match="needs a rate to hold"):
        fit_policy("rates", evidence, truth)
