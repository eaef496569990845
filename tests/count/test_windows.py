import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transect.count.windows import window_counts, window_features, windows_for


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 10**6), st.sampled_from([1, 2, 3]))
def test_windows_hold_every_dot_equally_often(height, width, seed, ratio):
    rng = np.random.default_rng(seed)
    points = rng.uniform((-0.5, -0.5), (width - 0.5, height - 0.5), (20, 2))
    windows = windows_for((height, width), size=6 * ratio, stride=6)
    assert window_counts(points, windows).sum() == windows.coverage * 20


def test_features_agree_with_a_loop_over_windows():
    rng = np.random.default_rng(0)
    plane = rng.random((33, 21)).astype(np.float32)
    windows = windows_for(plane.shape, size=12, stride=6)
    blobs = np.array([[0, 0, 1.0], [32, 20, 1.0], [5, 6, 2.0]])
    found = window_features(plane, windows, pixel_thresholds=(0.5,), blobs={0.1: blobs})
    slow = []
    for top in windows.tops:
        for left in windows.lefts:
            rows = slice(max(top, 0), max(top + 12, 0))
            columns = slice(max(left, 0), max(left + 12, 0))
            part = plane[rows, columns]
            inside = [b for b in blobs if top <= b[0] < top + 12 and left <= b[1] < left + 12]
            at = sum(plane[int(b[0]), int(b[1])] for b in inside)
            slow.append([part.sum(), (part > 0.5).sum(), len(inside), at])
    np.testing.assert_allclose(found, np.array(slow), rtol=1e-5)
    assert np.isclose(found[:, 0].sum(), windows.coverage * plane.sum(), rtol=1e-5)
