import dataclasses
import json

import numpy as np
import pytest

from tests.identify.worlds import world
from transect.errors import TransectError
from transect.openset.decider import Decider, choose_decider, share_weights
from transect.openset.evidence import NOBODY, UNKNOWN, rewards
from transect.recipe import IdentifyDecide


def test_the_chosen_policy_is_the_best_out_of_fold():
    evidence, truth = world(0, queries=400)
    names = ("constant", "first_drop", "quantile")
    decider, _ = choose_decider(evidence, truth, IdentifyDecide(policies=names))
    assert set(decider.compared) == set(names)
    assert decider.compared[decider.chosen] >= max(decider.compared.values()) - 0.01
    fresh, fresh_truth = world(9, queries=400)
    value = rewards(decider.decide(fresh).ranked, fresh_truth).mean()
    assert value == pytest.approx(decider.compared[decider.chosen], abs=0.06)


def test_probabilities_are_calibrated_and_never_rise_down_the_list():
    evidence, truth = world(0, queries=1500, lift=1.5)
    decider, _ = choose_decider(evidence, truth, IdentifyDecide(policies=("constant",)))
    fresh, fresh_truth = world(4, queries=3000, lift=1.5)
    answer = decider.decide(fresh)
    assert (np.diff(answer.probability, axis=1) <= 1e-12).all()
    assert (answer.probability.sum(axis=1) <= 1 + 1e-9).all()
    right = answer.ranked[:, 0] == fresh_truth
    for low, high in ((0.3, 0.6), (0.6, 0.9), (0.9, 1.0)):
        rows = (answer.probability[:, 0] >= low) & (answer.probability[:, 0] < high)
        if rows.sum() > 100:
            assert right[rows].mean() == pytest.approx(answer.probability[rows, 0].mean(), abs=0.1)
    assert answer.new.mean() == pytest.approx((fresh_truth == UNKNOWN).mean(), abs=0.05)


@pytest.mark.parametrize("names", [("constant",), ("stack",), ("first_drop", "override")])
def test_the_known_are_ranked_apart_from_the_decision_about_new(names):
    evidence, truth = world(0, queries=400)
    evidence = dataclasses.replace(
        evidence, proof=np.random.default_rng(0).random(400), proof_identity=truth
    )
    decider, _ = choose_decider(evidence, truth, IdentifyDecide(policies=names))
    answer = decider.decide(evidence)
    assert (answer.ranked == UNKNOWN).any()
    assert answer.known.shape == answer.ranked.shape
    assert (answer.known >= 0).all()  # more candidates than places
    for ranked, known in zip(answer.ranked, answer.known, strict=True):
        left = ranked[ranked != UNKNOWN]
        assert known[: len(left)].tolist() == left.tolist()
        assert len(set(known.tolist())) == len(known)
    assert (np.diff(answer.known_probability, axis=1) <= 1e-12).all()
    assert (answer.known_probability.sum(axis=1) <= 1 - answer.new + 1e-9).all()


def test_json_round_trip():
    evidence, truth = world(0)
    evidence = dataclasses.replace(
        evidence, proof=np.random.default_rng(0).random(300), proof_identity=truth
    )
    decider, _ = choose_decider(
        evidence, truth, IdentifyDecide(policies=("constant", "override", "reverse"), abstain=0.5)
    )
    back = Decider.from_json(json.loads(json.dumps(decider.to_json(), allow_nan=False)))
    assert back == decider
    assert decider.chosen.startswith("constant+override")
    for broken in (None, {}, {"version": 2}, {**decider.to_json(), "slope": "x"}):
        with pytest.raises(TransectError):
            Decider.from_json(broken)


def test_poor_photos_are_told_apart():
    evidence, truth = world(0, queries=50)
    quality = np.linspace(0, 1, 50)
    decider, _ = choose_decider(
        evidence, truth, IdentifyDecide(policies=("constant",), abstain=0.5)
    )
    assert not decider.decide(evidence).cannot_tell.any()
    answer = decider.decide(dataclasses.replace(evidence, quality=quality))
    assert np.array_equal(answer.cannot_tell, quality < 0.5)


def test_groups_never_part():
    evidence, truth = world(0, queries=60)
    decider, _ = choose_decider(
        evidence, truth, IdentifyDecide(policies=("constant",)), groups=np.zeros(60)
    )
    assert np.isfinite(decider.compared["constant"])


def test_override_is_not_tried_without_proofs():
    evidence, truth = world(0)
    decider, _ = choose_decider(evidence, truth, IdentifyDecide(policies=("constant", "override")))
    assert set(decider.compared) == {"constant"}


def test_weights_give_the_stated_share():
    truth = np.array([UNKNOWN] * 8 + [1, 2])
    weights = share_weights(truth, 0.276)
    assert weights[:8].sum() / weights.sum() == pytest.approx(0.276)
    assert weights.mean() == pytest.approx(1)
    assert (share_weights(truth[:8], 0.5) == 1).all()


def test_without_unknown_queries_the_stated_share_is_believed():
    evidence, truth = world(0, share=0.0)
    decider, _ = choose_decider(evidence, truth, IdentifyDecide(policies=("constant",)))
    assert decider.decide(evidence).new.max() <= 0.011
    assert (decider.decide(evidence).ranked != NOBODY).all()


def test_the_honest_answers_score_what_the_comparison_said():
    evidence, truth = world(0, queries=300)
    decider, honest = choose_decider(
        evidence, truth, IdentifyDecide(policies=("constant", "temperature"))
    )
    assert honest.ranked.shape == (300, 5)
    value = rewards(honest.ranked, truth).mean()
    assert value == pytest.approx(decider.compared[decider.chosen])
