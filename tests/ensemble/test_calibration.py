import json

import numpy as np
import pytest

from transect.ensemble.calibration import (
    CALIBRATIONS,
    Calibration,
    calibrate,
    calibration_from_json,
    cross_calibrated,
    reliability,
)
from transect.errors import TransectError


def overconfident(n=20_000, factor=3.0, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    truth = rng.random(n) < 1 / (1 + np.exp(-z))
    return 1 / (1 + np.exp(-factor * z)), truth


@pytest.mark.parametrize("kind", CALIBRATIONS)
def test_overconfidence_is_mended(kind):
    p, truth = overconfident()
    fitted = calibrate(p[::2], truth[::2], kind)
    after = reliability(fitted(p[1::2]), truth[1::2])
    assert reliability(p, truth).ece > 0.1
    assert after.ece < 0.025
    assert after.brier < reliability(p, truth).brier


def test_the_temperature_is_found():
    p, truth = overconfident()
    assert calibrate(p, truth).values[0] == pytest.approx(3, rel=0.05)


def test_logistic_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    p, truth = overconfident(2000)
    z = np.log(p / (1 - p))
    model = LogisticRegression(C=1e9).fit(z[:, None], truth)
    slope, offset = calibrate(p, truth, "logistic").values
    assert slope == pytest.approx(model.coef_[0, 0], rel=0.01)
    assert offset == pytest.approx(model.intercept_[0], abs=0.01)


@pytest.mark.parametrize("kind", CALIBRATIONS)
def test_calibrations_rise_and_survive_json(kind):
    p, truth = overconfident(2000)
    fitted = calibrate(p, truth, kind)
    line = np.linspace(0, 1, 101)
    assert (np.diff(fitted(line)) >= 0).all()
    again = calibration_from_json(json.loads(json.dumps(fitted.to_json())))
    np.testing.assert_array_equal(again(line), fitted(line))


def test_separable_and_one_sided_truths_have_finite_answers():
    p = np.array([0.1, 0.2, 0.8, 0.9])
    for kind in CALIBRATIONS:
        assert np.isfinite(calibrate(p, p > 0.5, kind)(p)).all()
    np.testing.assert_allclose(calibrate(p, np.ones(4))(p), p, atol=1e-6)


def test_folds_are_calibrated_by_the_others():
    p, truth = overconfident(4000)
    folds = np.arange(4000) % 4
    crossed = cross_calibrated(p, truth, folds)
    expected = calibrate(p[folds != 2], truth[folds != 2])(p[folds == 2])
    np.testing.assert_array_equal(crossed[folds == 2], expected)


def test_reliability_by_hand():
    found = reliability([0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1], bins=2)
    np.testing.assert_allclose(found.said, [0.1, 0.9])
    np.testing.assert_allclose(found.seen, [0.5, 1.0])
    assert found.ece == pytest.approx(0.25)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"kind": "temperature", "values": [0]},
        {"kind": "temperature", "values": ["x"]},
        {"kind": "isotonic", "values": [0, 1], "knots": [1, 0]},
        {"kind": "logistic", "values": [float("nan"), 0]},
        {"kind": "other", "values": [1]},
    ],
)
def test_damaged_json_is_explained(value):
    with pytest.raises(TransectError, match="a calibration must have"):
        calibration_from_json(value)


def test_mistakes_are_explained():
    with pytest.raises(TransectError, match="calibration must be one of"):
        calibrate([0.5], [1], "temprature")
    with pytest.raises(TransectError, match="one shape"):
        calibrate([0.5], [1, 0])
    assert Calibration("temperature", (1.0,))([0.25])[0] == pytest.approx(0.25)
