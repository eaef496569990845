import numpy as np
import pytest

from transect.count.gallery import _corner
from transect.count.scalecheck import SCALES, ScaleLook, _curve, _lowest, _Seen


def series(size, rng):
    """What would be seen of photos whose objects are ``size`` times the training's."""
    middles = np.log2(np.array(SCALES) * size)[:, None, None]
    bands = np.arange(7)[None, None]
    noise = rng.normal(0, 0.05, (len(SCALES), 12, 7))
    texture = -0.4 * np.abs(bands - 3 - 2 * middles) + noise
    texture -= np.log(np.exp(texture).sum(axis=2, keepdims=True))
    profile = np.exp(-((bands - 2 - 2 * middles) ** 2) / 4) + 0.05 * rng.random((7, 12, 7))
    profile /= profile.sum(axis=2, keepdims=True)
    # Networks prefer small objects here, whatever the size of the training's.
    sure = np.exp(-2 * (middles[..., 0] + 0.7) ** 2) * rng.uniform(0.8, 1.2, (7, 12))
    return _Seen(texture, profile, sure)


@pytest.mark.parametrize("size", [0.5, 1.0, 2.0])
def test_the_shift_between_two_series_is_the_scale(size):
    rng = np.random.default_rng(0)
    curve = _curve(series(size, rng), series(1.0, rng))
    best = _lowest(curve)
    assert best == pytest.approx(1 / size, rel=0.15)
    look = ScaleLook(curve, best, 0.05, 0.5, {})
    assert look.strange == (size != 1)
    words = " ".join(look.lines(repair=False))
    assert ("--scale auto" in words) == (size != 1)


def test_what_was_seen_comes_back_from_json():
    seen = series(1.0, np.random.default_rng(0))
    seen.profile[2, 3] = np.nan  # no object was found there
    again = _Seen.from_json(seen.to_json())
    np.testing.assert_allclose(again.profile, seen.profile, atol=1e-4)
    np.testing.assert_allclose(again.texture, seen.texture, atol=1e-3)


def test_the_crop_that_is_shown_holds_most_that_went_wrong():
    wrong = np.array([[50.0, 50], [2500, 1500], [2600, 1600], [2700, 1400]])
    top, left = _corner(wrong, (2000, 3000))
    assert 0 <= top <= 1100
    assert 0 <= left <= 2100
    inside = (wrong >= (left, top)) & (wrong < (left + 900, top + 900))
    assert inside.all(axis=1).sum() == 3
    assert _corner(wrong[:0], (2000, 3000)) == (0, 0)
