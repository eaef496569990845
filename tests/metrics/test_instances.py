import numpy as np
import pytest

from transect.errors import TransectError
from transect.metrics import instances


def scene():
    """Four true objects: one exact, one at IoU .6, one split, one missed; one false."""
    truth, predicted = np.zeros((20, 40), np.int32), np.zeros((20, 40), np.int32)
    truth[0:5, 0:5], predicted[0:5, 0:5] = 1, 9
    truth[0:5, 10:20], predicted[0:5, 10:16] = 2, 3
    truth[10:14, 0:10], predicted[10:14, 0:5], predicted[10:14, 5:10] = 7, 4, 5
    truth[10:15, 20:25] = 40
    predicted[16:19, 30:33] = 77
    return predicted, truth


def test_scores_by_hand():
    predicted, truth = scene()
    # 5 predicted, 4 true; matched at .5: 2 (the halves reach exactly .5 and do not count)
    assert instances.ap(predicted, truth, [0.5, 0.59, 0.6, 0.95]).tolist() == pytest.approx(
        [2 / 7, 2 / 7, 1 / 8, 1 / 8]
    )
    assert instances.f1(predicted, truth) == pytest.approx(4 / 9)
    quality, segmentation, recognition = instances.panoptic_quality(predicted, truth)
    assert (segmentation, recognition) == pytest.approx((0.8, 4 / 9))
    assert quality == pytest.approx(0.8 * 4 / 9)
    scores = instances.instance_scores(predicted, truth)
    assert scores["ap50"] == pytest.approx(2 / 7)
    assert scores["ap75"] == pytest.approx(1 / 8)


def test_below_one_half_objects_are_assigned_one_to_one():
    predicted, truth = scene()
    found = instances.matching(predicted, truth)
    rows = found.at(0.3)
    assert len(rows) == 3
    assert len(set(found.pairs[rows, 0])) == len(set(found.pairs[rows, 1])) == 3


def test_the_overlap_equals_the_slow_loop():
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 9, (30, 30)) * 1000
    truth = np.kron(rng.integers(0, 12, (6, 6)), np.ones((5, 5), int))
    found = instances.matching(predicted, truth)
    table = dict(zip(map(tuple, found.pairs.tolist()), found.iou, strict=True))
    for p in np.unique(predicted[predicted > 0]):
        for t in np.unique(truth[truth > 0]):
            a, b = predicted == p, truth == t
            both = (a & b).sum()
            assert table.get((p, t), 0.0) == pytest.approx(both / (a | b).sum())


def test_huge_label_values_cost_no_memory():
    predicted, truth = scene()
    big = np.where(predicted > 0, predicted.astype(np.int64) + 2**30, 0)
    np.testing.assert_array_equal(instances.ap(big, truth), instances.ap(predicted, truth))


def test_nothing_against_nothing_is_perfect_and_against_something_zero():
    nothing, predicted = np.zeros((20, 40), int), scene()[0]
    assert instances.ap(nothing, nothing).tolist() == [1] * 10
    assert instances.panoptic_quality(nothing, nothing)[0] == instances.f1(nothing, nothing) == 1
    assert instances.ap(predicted, nothing).max() == instances.f1(nothing, predicted) == 0
    assert instances.panoptic_quality(nothing, predicted)[0] == 0


def test_classes_part_objects():
    predicted, truth = scene()
    kind = np.where(np.arange(40) < 20, 1, 2) * np.ones((20, 1), int)
    same = instances.instance_scores(
        predicted, truth, predicted_class=kind * (predicted > 0), true_class=kind * (truth > 0)
    )
    # class 1: 4 predicted, 3 true, 2 matched; class 2: 1 and 1, none
    assert same["ap50"] == pytest.approx((2 / 5 + 0) / 2)
    other = instances.instance_scores(predicted, truth, predicted_class=3 - kind, true_class=kind)
    assert other["f1"] == 0


def test_shapes_must_agree():
    with pytest.raises(TransectError, match="one shape"):
        instances.matching(np.zeros((2, 2), int), np.zeros((2, 3), int))
