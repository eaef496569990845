import itertools

import numpy as np
import pytest

from transect.errors import TransectError
from transect.metrics import count


def test_errors_by_hand():
    predicted, truth = [[1, 10], [3, 20]], [[0, 10], [0, 10]]
    np.testing.assert_allclose(count.rmse_per_class(predicted, truth), [5**0.5, 50**0.5])
    assert count.rmse(predicted, truth) == pytest.approx((5**0.5 + 50**0.5) / 2)
    assert count.rmse([1, 3], [0, 0]) == pytest.approx(5**0.5)
    assert count.mae(predicted, truth) == pytest.approx(14 / 4)
    assert count.relative_error(predicted, truth).tolist() == [np.inf, 0.5]
    assert count.relative_error([[0.0]], [[0.0]]).tolist() == [0]
    assert count.interval_coverage([0, 0, 5], [1, 2, 9], [1, 3, 5]) == pytest.approx(2 / 3)
    assert count.interval_width([0, 0], [1, 3]) == 2
    with pytest.raises(TransectError, match="one row per image"):
        count.rmse([1, 2], [1])


def best(a, b, radius):
    """Most pairs within the radius, then least distance, by trying everything."""
    small, large, turned = (a, b, False) if len(a) <= len(b) else (b, a, True)
    result = (0, 0.0)
    for order in itertools.permutations(range(len(large)), len(small)):
        d = [np.hypot(*(small[i] - large[j])) for i, j in enumerate(order)]
        d = [v for v in d if v <= radius]
        result = max(result, (len(d), -sum(d)))
    assert turned in (True, False)
    return result


def test_points_are_matched_as_by_trying_everything():
    rng = np.random.default_rng(0)
    for _ in range(30):
        a, b = rng.random((rng.integers(0, 6), 2)), rng.random((rng.integers(0, 6), 2))
        found = count.match_points(a, b, 0.4)
        pairs, cost = best(a, b, 0.4)
        assert len(found.pairs) == pairs
        assert found.distance.sum() == pytest.approx(-cost)
        assert len(set(found.pairs[:, 0])) == len(set(found.pairs[:, 1])) == pairs


def test_precision_recall_and_confusion_by_hand():
    predicted, truth = [[0, 0], [10, 0], [50, 50]], [[1, 0], [11, 0], [12, 0], [90, 90]]
    found = count.match_points(
        predicted, truth, 3, predicted_class=[0, 1, 1], true_class=[0, 0, 1, 0]
    )
    assert (found.precision, found.recall) == pytest.approx((2 / 3, 0.5))
    assert found.f1 == pytest.approx(4 / 7)
    assert found.confusion.tolist() == [[1, 1, 1], [0, 0, 1], [0, 1, 0]]


def test_no_points_at_all():
    nothing = count.match_points([], [], 3)
    assert (nothing.precision, nothing.recall, nothing.f1) == (1, 1, 1)
    one = count.match_points([[1, 1]], [], 3)
    assert (one.precision, one.recall, one.f1) == (0, 0, 0)


def test_many_points_are_fast():
    rng = np.random.default_rng(0)
    truth = rng.random((20_000, 2)) * 3000
    found = count.match_points(truth + rng.normal(0, 1, truth.shape), truth, 5)
    assert found.recall > 0.99
