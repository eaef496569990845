import numpy as np
import pytest

from transect.errors import TransectError
from transect.metrics import segment


def pair(both, union, size=100):
    """One image with exactly this intersection and union, in pixels."""
    truth, predicted = np.zeros(size, bool), np.zeros(size, bool)
    truth[:union], predicted[:both] = True, True
    return predicted.reshape(1, 10, -1), truth.reshape(1, 10, -1)


def slow_salt(predicted, truth):
    if not predicted.any() and not truth.any():
        return 1.0
    if not predicted.any() or not truth.any():
        return 0.0
    both, union = int((predicted & truth).sum()), int((predicted | truth).sum())
    return sum(both * 100 > t * union for t in range(50, 100, 5)) / 10


@pytest.mark.parametrize(
    ("both", "union", "score"),
    [
        (72, 100, 0.5),
        (95, 100, 0.9),
        (100, 100, 1.0),
        (50, 100, 0.0),
        (51, 100, 0.1),
        (1, 1, 1.0),
        (0, 0, 1.0),
        (0, 7, 0.0),
        (3, 5, 0.2),
        (11, 20, 0.1),
        (60, 100, 0.2),
        (61, 100, 0.3),
    ],
)
def test_salt_by_hand(both, union, score):
    assert segment.salt_map(*pair(both, union)).tolist() == [score]
    assert segment.salt_map(*pair(both, union)[::-1]).tolist() == [score]


def images(n=12, size=23, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random((n, size, size)) < rng.random((n, 1, 1))
    p = np.clip(truth * 0.5 + rng.normal(0.25, 0.3, truth.shape), 0, 1).astype(np.float32)
    truth[0], truth[1], p[2] = False, True, 0
    truth[2] = False
    return p, truth


def test_salt_equals_the_slow_loop():
    p, truth = images()
    predicted = p > 0.5
    slow = [slow_salt(a, b) for a, b in zip(predicted, truth, strict=True)]
    np.testing.assert_array_equal(segment.salt_map(predicted, truth), slow)


@pytest.mark.parametrize(
    "thresholds",
    [np.linspace(0, 1, 101), [0.5], [0.9, 0.1, 0.5], [0.5, 0.5, 0.50001], [-0.1, 0.3, 1.2]],
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_sweep_equals_threshold_by_threshold(thresholds, kind):
    p, truth = images()
    p = np.round(p.astype(kind), 2)  # many values exactly on a threshold
    swept = segment.salt_map_sweep(p, truth, thresholds)
    each = [segment.salt_map(p > kind(t), truth) for t in thresholds]
    np.testing.assert_array_equal(swept, np.stack(each, 1))


def test_the_sweep_takes_values_outside_of_unit_range():
    p, truth = images()
    logits = 4 * p - 2
    swept = segment.salt_map_sweep(logits, truth, [-1.0, 0.0])
    np.testing.assert_array_equal(swept[:, 1], segment.salt_map(logits > 0, truth))


def test_iou_and_dice_agree_with_sklearn():
    from sklearn.metrics import f1_score, jaccard_score

    p, truth = images()
    predicted = p > 0.4
    for i in range(3, 12):
        a, b = truth[i].ravel(), predicted[i].ravel()
        assert segment.iou(predicted, truth)[i] == pytest.approx(jaccard_score(a, b))
        assert segment.dice(predicted, truth)[i] == pytest.approx(f1_score(a, b))
    assert segment.iou(predicted, truth)[2] == 1


def test_class_overlap_leaves_absent_classes_out():
    truth, predicted = np.array([[1, 1, 2, 0]]), np.array([[1, 0, 2, 2]])
    iou, dice = segment.class_overlap(predicted, truth, 3)
    np.testing.assert_allclose(iou, [0.5, 0.5, np.nan])
    np.testing.assert_allclose(dice, [2 / 3, 2 / 3, np.nan])
    with pytest.raises(TransectError, match=r"0\.\.1"):
        segment.class_overlap(predicted, truth, 1)


def test_outlines_of_a_shifted_square():
    truth, shifted = np.zeros((1, 30, 30)), np.zeros((1, 30, 30))
    truth[0, 5:15, 5:15], shifted[0, 5:15, 8:18] = 1, 1
    assert segment.boundary_distance(truth, truth).tolist() == [0]
    assert 0.5 < segment.boundary_distance(shifted, truth)[0] < 3
    assert segment.boundary_score(shifted, truth, tolerance=3)[0] == 1
    assert 0.3 < segment.boundary_score(shifted, truth, tolerance=1)[0] < 0.9


def test_outlines_of_two_dots_by_hand_and_of_nothing():
    a, b = np.zeros((3, 8, 8)), np.zeros((3, 8, 8))
    a[0, 2, 2], b[0, 2, 6] = 1, 1
    a[1, 2, 2] = 1
    assert segment.boundary_distance(a, b, spacing=2.0).round(3).tolist() == [8, 22.627, 0]
    assert segment.boundary_score(a, b).tolist() == [0, 0, 1]


def test_shapes_must_agree():
    with pytest.raises(TransectError, match="one shape"):
        segment.salt_map(np.zeros((2, 4, 4)), np.zeros((4, 4)))
