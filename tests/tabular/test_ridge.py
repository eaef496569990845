import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference

from transect.tabular.ridge import constant, fit_ridge


def test_it_is_the_librarys_ridge_on_standardised_features():
    rng = np.random.default_rng(0)
    x = rng.normal(3, [1.0, 20.0, 0.1], (30, 3))
    y = x @ [2.0, -0.1, 5.0] + rng.normal(0, 1, 30)
    ours = fit_ridge(x, y, alphas=(3.0,)).predict(x)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(ours, Reference(alpha=3.0).fit(z, y).predict(z), rtol=1e-6)


def test_noise_asks_for_a_larger_penalty():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 15))
    noise = fit_ridge(x, rng.normal(size=20))
    true = fit_ridge(x, x @ np.ones(15))
    assert np.abs(noise.weights).sum() < 1
    assert np.mean(true.weights) == pytest.approx(1, abs=0.1)


def test_a_constant_looks_at_nothing():
    assert constant(2.5).predict(np.zeros((3, 7))).tolist() == [2.5, 2.5, 2.5]
