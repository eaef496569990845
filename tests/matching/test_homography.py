import numpy as np
import pytest

from tests.matching.views import VIEW
from transect.errors import TransectError
from transect.matching.features import Keypoints
from transect.matching.homography import normalised_homography, verify
from transect.matching.match import match_one


def at(points, size_hw=(200, 320), working=1.0):
    points = np.asarray(points, np.float32)
    line = np.ones(len(points), np.float32)
    return Keypoints(
        points, np.zeros((len(points), 128), np.float32), line, line, line, size_hw, working
    )


def moved(points, matrix):
    ends = np.c_[points, np.ones(len(points))] @ matrix.T
    return ends[:, :2] / ends[:, 2:]


def scattered(rng, wrong, right=40):
    start = rng.uniform([0, 0], [320, 200], (right + wrong, 2))
    end = moved(start, VIEW)
    end[right:] = rng.uniform([0, 0], [320, 200], (wrong, 2))
    return at(start), at(end), np.stack([np.arange(right + wrong)] * 2, axis=1)


@pytest.mark.parametrize("first", ["rho", "magsac", "fast", "ransac"])
def test_the_true_view_is_found_among_wrong_matches(first):
    query, other, matches = scattered(np.random.default_rng(1), wrong=30)
    found = verify(query, other, matches, first=first)
    assert 40 <= found.inliers <= 44
    assert np.allclose(found.homography / found.homography[2, 2], VIEW, rtol=0.05, atol=0.05)
    assert set(range(40)) <= set(found.kept.tolist())


def test_wrong_pairs_keep_next_to_nothing():
    rng = np.random.default_rng(0)
    left = [verify(*_random(rng)).inliers for _ in range(5)]
    assert max(left) < 10


def _random(rng):
    start, end = rng.uniform(0, 300, (2, 50, 2))
    return at(start), at(end), np.stack([np.arange(50)] * 2, axis=1)


def test_many_to_one_ends_are_counted_once():
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 200, (12, 2))
    end = start.copy()
    start[10:] = start[:2] + 0.5
    end[10:] = end[:2]
    found = verify(at(start), at(end), np.stack([np.arange(12)] * 2, axis=1))
    assert (found.inliers, found.unique) == (12, 10)


def test_too_few_matches_prove_nothing(keypoints):
    query, other, matches = scattered(np.random.default_rng(0), wrong=0, right=9)
    assert verify(query, other, matches).homography is None
    assert verify(query, other, matches, min_matches=4).inliers == 9
    assert verify(query, other, matches[:0]).matches == 0


def test_degenerate_matches_do_not_crash():
    same = at(np.ones((20, 2)))
    line = at(np.c_[np.arange(20.0), np.zeros(20)])
    pairs = np.stack([np.arange(20)] * 2, axis=1)
    for query, other in ((same, same), (line, line), (line, same), (same, line)):
        found = verify(query, other, pairs)
        assert found.inliers >= 0


def test_limits_are_in_working_pixels():
    rng = np.random.default_rng(0)
    query, other, matches = scattered(rng, wrong=0)
    jitter = at(other.points + rng.normal(0, 5, other.points.shape), working=1.0)
    shrunk = at(jitter.points, working=0.2)  # 5 px of the stored picture are 1 working pixel
    assert verify(query, shrunk, matches).inliers > verify(query, jitter, matches).inliers


def test_verifying_twice_gives_the_same(keypoints):
    matches = match_one(keypoints[0], keypoints[4])
    one, two = (verify(keypoints[0], keypoints[4], matches) for _ in range(2))
    assert one.inliers == two.inliers > 25
    assert np.array_equal(one.homography, two.homography)


def test_normalised_homography_forgets_the_size():
    double = np.diag([2.0, 2.0, 1.0])
    small = normalised_homography(VIEW, (200, 320), (200, 320))
    # The same pictures stored twice as large; centres of pixels move by half a pixel.
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    grow = np.linalg.inv(shift) @ double @ shift
    large = normalised_homography(grow @ VIEW @ np.linalg.inv(grow), (400, 640), (400, 640))
    assert np.allclose(small, large)


def test_an_unknown_method_is_named():
    with pytest.raises(TransectError, match="Did you mean 'magsac'"):
        verify(at([]), at([]), np.zeros((0, 2), int), first="magsak")
