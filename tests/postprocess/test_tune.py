import numpy as np
import pytest

from transect.errors import TransectError
from transect.metrics.segment import iou, salt_map
from transect.metrics.spread import bootstrap
from transect.postprocess.tune import answer, nested_search, tune_segment
from transect.recipe import SegmentDecide


def mean_salt(labels, truth):
    return float(salt_map(labels[None], truth[None])[0])


def survey(n=24, seed=0):
    """Maps that are right above .35 and carry specks; a third of the truths is empty."""
    rng = np.random.default_rng(seed)
    truths = np.zeros((n, 32, 32), np.int32)
    for i in range(n):
        if i % 3:
            truths[i, 4 : 10 + i % 7, 5:25] = 1
    maps = np.where(truths == 1, 0.45, 0.25) + rng.normal(0, 0.02, truths.shape)
    for m in maps:
        y, x = rng.integers(0, 31, 2)
        m[y : y + 2, x : x + 2] = 0.9
    return list(maps.astype(np.float32)), list(truths), np.arange(n) % 4


def test_it_finds_the_threshold_and_the_specks():
    maps, truths, folds = survey()
    tuned = tune_segment(
        maps,
        truths,
        folds,
        SegmentDecide(per_fold=True),
        metric=mean_salt,
        interval=lambda gained: bootstrap(gained, n=200),
    )
    assert 0.3 <= tuned.values["threshold"] <= 0.4
    assert max(tuned.values["min_area"], tuned.values["min_total"]) >= 10
    assert tuned.score > 0.9 > tuned.start
    mean, low, high = tuned.gain
    assert mean == pytest.approx(tuned.score - tuned.start)
    assert 0 < low <= mean <= high
    assert set(tuned.nested) == set(tuned.own) == {0, 1, 2, 3}
    assert tuned.gains["threshold"] > 0


def test_given_numbers_stay():
    maps, truths, folds = survey()
    tuned = tune_segment(
        maps, truths, folds, SegmentDecide(threshold=0.35, min_area=0), metric=mean_salt
    )
    assert tuned.values["threshold"] == 0.35
    assert tuned.values["min_area"] == 0
    assert tuned.values["min_total"] >= 10


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


def test_the_image_head_gates_masks():
    maps, truths, folds = survey()
    noisy = [np.where(np.ones_like(m), 0.9, m) for m in maps]
    filled = [0.9 if t.any() else 0.05 for t in truths]
    tuned = tune_segment(noisy, truths, folds, SegmentDecide(), metric=mean_salt, filled=filled)
    assert tuned.values["empty_threshold"] > 0
    assert answer(noisy[0], tuned.values, filled=0.0).max() == 0


def test_two_maps_give_instances():
    y, x = np.mgrid[:24, :40]
    d = np.minimum(np.hypot(y - 12, x - 12), np.hypot(y - 12, x - 26))
    maps = np.stack([d < 8, np.exp(-((d / 5) ** 2))]).astype(np.float32)
    labels = answer(maps, {"threshold": 0.5, "seed_threshold": 0.5})
    assert labels.max() == 2
    tuned = tune_segment(
        [maps] * 4,
        [labels] * 4,
        np.arange(4),
        SegmentDecide(),
        metric=lambda a, b: float(iou((a == 1)[None], (b == 1)[None])[0]),
    )
    assert tuned.score == 1


def test_lengths_must_agree():
    with pytest.raises(TransectError, match="every map"):
        tune_segment([], [np.zeros((2, 2), int)], np.zeros(1), SegmentDecide(), metric=mean_salt)
    with pytest.raises(TransectError, match="out-of-fold"):
        tune_segment([], [], np.zeros(0), SegmentDecide(), metric=mean_salt)
