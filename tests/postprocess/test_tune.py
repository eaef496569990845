import numpy as np
import pytest

from transect.errors import TransectError
from transect.metrics.segment import salt_map
from transect.metrics.spread import bootstrap
from transect.postprocess.components import clean
from transect.postprocess.tune import nested_search

GRIDS = {"threshold": (0.5, 0.3, 0.35, 0.4, 0.45), "min_area": (0, 10, 20)}


def survey(n=24, seed=0):
    """A score over maps that are right above .35 and carry specks; a third is empty."""
    rng = np.random.default_rng(seed)
    truths = np.zeros((n, 32, 32), np.int32)
    for i in range(n):
        if i % 3:
            truths[i, 4 : 10 + i % 7, 5:25] = 1
    maps = np.where(truths == 1, 0.45, 0.25) + rng.normal(0, 0.02, truths.shape)
    for m in maps:
        y, x = rng.integers(0, 31, 2)
        m[y : y + 2, x : x + 2] = 0.9

    def score(values, i):
        mask = clean(maps[i] > values["threshold"], min_area=int(values["min_area"]))
        return float(salt_map(mask[None], truths[i][None])[0])

    return score, np.arange(n) % 4


def test_it_finds_the_threshold_and_the_specks():
    score, folds = survey()
    tuned = nested_search(
        score,
        GRIDS,
        folds,
        per_fold="threshold",
        interval=lambda gained: bootstrap(gained, n=200),
    )
    assert 0.3 <= tuned.values["threshold"] <= 0.4
    assert tuned.values["min_area"] >= 10
    assert tuned.score > 0.9 > tuned.start
    mean, low, high = tuned.gain
    assert mean == pytest.approx(tuned.score - tuned.start)
    assert 0 < low <= mean <= high
    assert set(tuned.nested) == set(tuned.own) == {0, 1, 2, 3}
    assert tuned.gains["threshold"] > 0


def test_given_numbers_stay():
    score, folds = survey()
    tuned = nested_search(score, {"min_area": (0, 10)}, folds, fixed={"threshold": 0.35})
    assert tuned.values["threshold"] == 0.35
    assert tuned.values["min_area"] == 10


def test_a_folds_score_does_not_see_its_own_tuning():
    # Each fold likes its own value only: tuned on itself 1, nested 0.
    folds = np.repeat([0, 1], 5)

    def score(values, i):
        return float(values["x"] == folds[i] + 1)

    tuned = nested_search(score, {"x": (0, 1, 2)}, folds)
    assert tuned.score == 0
    assert tuned.nested == {0: {"x": 2.0}, 1: {"x": 1.0}}


def test_ties_keep_the_first_value_and_one_fold_is_halved():
    tuned = nested_search(lambda values, i: 0.5, {"x": (3, 1, 2)}, np.zeros(6))
    assert tuned.values == {"x": 3.0}
    assert set(tuned.nested) == {0, 1}
    assert tuned.gain == (0, 0, 0)


def test_nothing_to_tune_on_is_an_error():
    with pytest.raises(TransectError, match="out-of-fold"):
        nested_search(lambda values, i: 0.0, GRIDS, np.zeros(0))


def test_noise_is_not_followed_where_a_gain_must_exceed_its_error():
    """40 pictures, 30 values that differ by noise alone, and one that is truly better."""
    noise = np.random.default_rng(0).normal(0.7, 0.3, (31, 40))
    folds = np.arange(40) % 2

    def score(values, i):
        return float(noise[int(values["x"]), i])

    grid = {"x": tuple(range(31))}
    free = nested_search(score, grid, folds)
    held = nested_search(score, grid, folds, errors=2.5)
    assert free.values["x"] != 0
    assert held.values["x"] == 0

    def better(values, i):
        return score(values, i) + 0.5 * (values["x"] == 7)

    assert nested_search(better, grid, folds, errors=2.5).values["x"] == 7


def test_the_threshold_of_a_fold_itself_is_not_held_back():
    noise = np.random.default_rng(0).normal(0.7, 0.3, (9, 40))
    folds = np.arange(40) % 2
    tuned = nested_search(
        lambda values, i: float(noise[int(values["x"]), i]),
        {"x": tuple(range(9))}, folds, errors=2.5, per_fold="x",
    )  # fmt: skip
    best = [int(np.argmax(noise[:, folds == fold].mean(1))) for fold in (0, 1)]
    assert [tuned.own[fold]["x"] for fold in (0, 1)] == best
