import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identify.worlds import world
from transect.openset.evidence import (
    FAR,
    NOBODY,
    UNKNOWN,
    evidence_from_scores,
    insert_unknown,
    place_of_truth,
    rewards,
    sweep,
)


def test_candidates_are_sorted_and_ties_keep_their_order():
    found = evidence_from_scores(np.array([[0.1, 0.9, 0.9, -np.inf], [np.nan, 0.2, 0.3, 0.1]]))
    assert found.identities.tolist() == [[1, 2, 0, NOBODY], [2, 1, 3, NOBODY]]
    assert found.scores[0].tolist() == [0.9, 0.9, 0.1, -FAR]


def test_keeping_fewer_keeps_the_best():
    scores = np.random.default_rng(0).random((5, 40))
    few, all_of_them = evidence_from_scores(scores, keep=7), evidence_from_scores(scores)
    assert np.array_equal(few.identities, all_of_them.identities[:, :7])


def test_pictures_come_with_their_owners():
    found = evidence_from_scores(
        np.ones((1, 2)), image_scores=np.array([[0.1, 0.5, 0.3]]), gallery_identities=[1, 0, 1]
    )
    assert found.image_identities.tolist() == [[0, 1, 1]]


@pytest.mark.parametrize(
    ("before", "expected"),
    [(0, [UNKNOWN, 4, 2]), (1, [4, UNKNOWN, 2]), (2, [4, 2, UNKNOWN]), (3, [4, 2, UNKNOWN])],
)
def test_unknown_is_put_where_it_belongs(before, expected):
    found = insert_unknown(np.array([[4, 2, NOBODY]]), np.array([before]), 3)
    assert found.tolist() == [expected]


def test_a_full_list_has_no_place_for_the_unknown():
    found = insert_unknown(np.array([[4, 2, 3, 9]]), np.array([3]), 3)
    assert found.tolist() == [[4, 2, 3]]


def test_map_by_hand():
    ranked = np.array([[3, UNKNOWN, 1], [UNKNOWN, 2, 3], [1, 2, 3]])
    assert rewards(ranked, np.array([UNKNOWN, UNKNOWN, 9])).tolist() == [0.5, 1.0, 0.0]
    assert rewards(ranked, np.array([1, 3, 1])).tolist() == pytest.approx([1 / 3, 1 / 3, 1])


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_sweep_equals_answering_at_every_level(seed):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random((12, 6)), 1)
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    evidence = evidence_from_scores(scores)
    truth = rng.integers(-1, 7, 12)
    weights = rng.random(12)
    place = place_of_truth(evidence.identities, truth)
    levels, values = sweep(evidence.scores, place, weights, top_k=4)
    assert (np.diff(levels) < 0).all()
    for level, value in zip(levels, values, strict=True):
        ranked = insert_unknown(evidence.identities, (evidence.scores >= level).sum(1), 4)
        expected = np.average(rewards(ranked, truth, top_k=4), weights=weights)
        assert value == pytest.approx(expected)


def test_taking_some_queries_takes_everything():
    evidence, _ = world(queries=10)
    some = evidence.take(np.array([3, 1]))
    assert len(some) == 2
    assert np.array_equal(some.image_scores, evidence.image_scores[[3, 1]])
    assert some.proof is None
