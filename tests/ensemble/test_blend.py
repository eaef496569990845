import numpy as np
import pytest

from transect.ensemble.blend import (
    blend,
    drop_views,
    equalise,
    rank,
    search_weights,
    vote,
    weights_from_scores,
)
from transect.errors import TransectError

A, B = np.array([[0.1, 0.9]]), np.array([[0.4, 0.4]])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", [0.25, 0.65]),
        ("rank", [0.25, 0.75]),
        ("vote", [0.0, 0.5]),
        ("power:1", [0.25, 0.65]),
        ("power:2", [(0.17 / 2) ** 0.5, (0.97 / 2) ** 0.5]),
        ("power:0", [0.2, 0.6]),
        ("power:-1", [0.16, 0.72 / 1.3]),
    ],
)
def test_blends_of_two_members_by_hand(how, expected):
    np.testing.assert_allclose(blend([A, B], how)[0], expected, atol=1e-6)


def test_weights_count_and_zero_weights_do_not():
    np.testing.assert_allclose(blend([A, B], "weighted", weights=[3, 1])[0], [0.175, 0.775])
    np.testing.assert_allclose(blend([A, np.full((1, 2), np.nan)], weights=[1, 0]), A, atol=1e-7)


def test_votes_use_each_members_threshold():
    np.testing.assert_allclose(blend([A, B], "vote", threshold=[0.95, 0.3])[0], [0.5, 0.5])
    np.testing.assert_allclose(vote([A > 0.5, B > 0.5, B < 1])[0], [1 / 3, 2 / 3])


def test_ranks_share_ties_and_do_not_change_under_monotone_maps():
    scores = np.random.default_rng(0).normal(size=(4, 5))
    np.testing.assert_array_equal(rank(scores), rank(np.exp(scores)))
    np.testing.assert_array_equal(rank([7.0]), [0.5])


def test_equalising_flat_predictions_changes_nothing():
    np.testing.assert_array_equal(equalise(np.full(3, 0.25)), np.full(3, 0.25, np.float32))


def test_weights_follow_scores():
    np.testing.assert_allclose(weights_from_scores([0, 0]), [0.5, 0.5])
    np.testing.assert_allclose(weights_from_scores([2, 1], sharpness=2), [0.8, 0.2])


def test_search_prefers_members_that_help():
    rng = np.random.default_rng(0)
    truth = rng.random(500)
    good, noise = truth + rng.normal(0, 0.1, 500), rng.random(500)
    twin = truth + rng.normal(0, 0.1, 500)

    def score(p):
        return -float(np.mean((p - truth) ** 2))

    weights, best = search_weights([good, noise, twin], score)
    assert weights[1] < 0.05
    assert min(weights[0], weights[2]) > 0.3
    assert best > max(score(good), score(twin))


def test_a_view_that_harms_is_dropped_and_named():
    rng = np.random.default_rng(0)
    truth = rng.random(300)
    views = {
        "identity": truth + rng.normal(0, 0.1, 300),
        "hflip": truth + rng.normal(0, 0.1, 300),
        "vflip": rng.random(300),
    }
    kept = drop_views(views, lambda p: -float(np.mean((p - truth) ** 2)))
    assert kept.names == ("identity", "hflip")
    assert [name for name, _ in kept.dropped] == ["vflip"]
    assert kept.after == pytest.approx(kept.before + kept.dropped[0][1])


def test_views_that_change_nothing_stay():
    views = {"identity": A, "hflip": A}
    assert drop_views(views, lambda p: 0.0).names == ("identity", "hflip")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: blend([A], "meen"), "Did you mean 'mean'"),
        (lambda: blend([A], "power:x"), "must be a number"),
        (lambda: blend([A], "power:nan"), "must be within"),
        (lambda: blend([]), "nothing to blend"),
        (lambda: blend([A, B[:, :1]]), "one shape"),
        (lambda: blend([A, B], weights=[1, -1]), "weights must be"),
        (lambda: blend([A, B], weights=[1]), "weights must be"),
        (lambda: weights_from_scores([-1]), "scores must be"),
    ],
)
def test_mistakes_are_explained(call, says):
    with pytest.raises(TransectError, match=says):
        call()
