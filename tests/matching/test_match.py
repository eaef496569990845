import cv2
import numpy as np
import pytest

from transect.matching.features import Keypoints
from transect.matching.match import Stacked, best_two, match_many, match_one, stack


def slow_match(query, other, ratio):
    """The obvious loop: distances, the two nearest, the ratio test."""
    found = []
    for row, vector in enumerate(query):
        distance = np.linalg.norm(other - vector, axis=1)
        order = np.argsort(distance)
        if distance[order[0]] < ratio * distance[order[1]]:
            found.append((row, order[0]))
    return np.array(found).reshape(-1, 2)


def test_matches_equal_the_slow_loop(keypoints):
    block = stack(keypoints[1:])
    found = match_many(keypoints[0].descriptors, block, unique=False)
    for other, matches in zip(keypoints[1:], found, strict=True):
        expected = slow_match(keypoints[0].descriptors, other.descriptors, 0.8)
        assert np.array_equal(matches, expected)
    assert len(found[3]) > 30  # the other view of the same individual
    assert max(len(found[i]) for i in (0, 1, 2)) < 10


def test_matches_equal_opencv(keypoints):
    query, other = keypoints[0], keypoints[4]
    pairs = cv2.BFMatcher().knnMatch(query.descriptors, other.descriptors, k=2)
    expected = [(a.queryIdx, a.trainIdx) for a, b in pairs if a.distance < 0.8 * b.distance]
    assert match_one(query, other, unique=False).tolist() == [list(p) for p in expected]


def test_many_to_one_guard_keeps_the_nearest():
    gallery = np.eye(4, dtype=np.float32)[:3]
    queries = np.array([[1, 0, 0, 0.3], [1, 0, 0, 0.1], [0, 1, 0, 0.0]], np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    block = Stacked(gallery[None], np.array([3]))
    assert match_many(queries, block, unique=False)[0].tolist() == [[0, 0], [1, 0], [2, 1]]
    assert match_many(queries, block)[0].tolist() == [[1, 0], [2, 1]]


@pytest.mark.parametrize("count", [0, 1])
def test_pictures_with_fewer_than_two_keypoints_match_nothing(count, keypoints):
    line = np.ones(count, np.float32)
    poor = Keypoints(
        np.ones((count, 2), np.float32), keypoints[0].descriptors[:count], line, line, line, (9, 9)
    )
    assert len(match_one(keypoints[0], poor)) == 0
    assert match_one(poor, keypoints[0]).shape == (count, 2)  # one keypoint may find its twin
    found = match_many(keypoints[0].descriptors, stack([poor, keypoints[0]]))
    assert [len(m) for m in found] == [0, len(keypoints[0])]


def test_blocks_do_not_change_the_answer(keypoints):
    whole = best_two(keypoints[0].descriptors, stack(keypoints))
    for row, other in enumerate(keypoints):
        alone = best_two(keypoints[0].descriptors, stack([other]))
        assert np.array_equal(whole[0][row], alone[0][0])
        assert np.allclose(whole[1][row], alone[1][0], atol=1e-6)


def test_another_product_may_be_passed(keypoints):
    block = stack(keypoints)
    calls = []

    def product(a, b):
        calls.append(b.shape)
        return a @ b

    passed = match_many(keypoints[0].descriptors, block, product=product)
    assert calls
    own = match_many(keypoints[0].descriptors, block)
    assert all(np.array_equal(a, b) for a, b in zip(passed, own, strict=True))
