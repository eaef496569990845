import numpy as np
import pytest

from transect.errors import TransectError
from transect.metrics import identify


def test_map_by_hand_with_repeated_guesses_and_the_new_label():
    ranked = [["a", "b"], ["b", "b", "a"], ["unknown", "a"], ["c", "d", "e", "f", "g", "a"], []]
    truth = ["a", "a", "unknown", "a", "a"]
    assert identify.map_at_k(ranked, truth) == pytest.approx((1 + 0.5 + 1 + 0 + 0) / 5)
    assert identify.map_at_k(ranked, truth, k=6) == pytest.approx((1 + 0.5 + 1 + 1 / 6) / 5)
    assert identify.top_k(ranked, truth) == pytest.approx(2 / 5)
    assert identify.top_k(ranked, truth, k=2) == pytest.approx(3 / 5)
    with pytest.raises(TransectError, match="one list of guesses"):
        identify.map_at_k(ranked, truth[:2])


def test_open_set_scores_by_hand():
    truth = ["a", "a", "a", "b", "x", "x", "y", "unknown"]
    said = ["a", "a", "unknown", "a", "unknown", "b", "unknown", "a"]
    known = {"a", "b"}
    assert identify.baks(said, truth, known) == pytest.approx((2 / 3 + 0) / 2)
    assert identify.baus(said, truth, known) == pytest.approx((0.5 + 1 + 0) / 3)
    assert identify.baks_baus(said, truth, known) == pytest.approx((1 / 3 * 0.5) ** 0.5)
    rates = identify.open_set_rates(said, truth, known)
    assert (rates.false_new.hits, rates.false_new.total) == (1, 4)
    assert (rates.false_match.hits, rates.false_match.total) == (2, 4)
    assert (rates.wrong_match.hits, rates.wrong_match.total) == (1, 4)
    assert rates.false_new.low < 0.25 < rates.false_new.high
    assert identify.baks_baus(said[:4], truth[:4], known) == pytest.approx(1 / 3)
    assert np.isnan(identify.baus(said[:4], truth[:4], known))


def test_auroc_agrees_with_sklearn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    scores, kind = rng.integers(0, 9, 80), rng.random(80) < 0.3
    assert identify.auroc(scores, kind) == pytest.approx(roc_auc_score(kind, scores))
    assert np.isnan(identify.auroc([1.0], [True]))


def test_coverage_at_precision_by_hand():
    right = [True, True, False, True, True, False]
    score = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert identify.coverage_at_precision(score, right, 0.8) == (5 / 6, 0.5)
    assert identify.coverage_at_precision(score, right, 1.0) == (2 / 6, 0.8)
    assert identify.coverage_at_precision([0.5] * 2, [True, False], 0.9) == (0.0, float("inf"))


def test_wilson_agrees_with_scipy():
    from scipy.stats import binomtest

    for hits, total in ((0, 20), (3, 11), (50, 50)):
        theirs = binomtest(hits, total).proportion_ci(method="wilson")
        assert identify.wilson(hits, total) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert identify.wilson(0, 0) == (0, 1)
