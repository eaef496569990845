import numpy as np
import pytest

from transect.errors import TransectError
from transect.matching.validity import (
    FEATURES,
    fit_validity,
    load_validity,
    save_validity,
    validity_features,
)


def made(seed, count=120):
    """Homographies near the identity for the same animal, wild ones for others; equal counts."""
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.5
    spread = np.where(same, 0.1, 1.0)[:, None, None]
    matrices = np.eye(3) + rng.normal(size=(count, 3, 3)) * spread
    matrices[:, 2, 2] = 1
    inliers = rng.integers(5, 15, count)
    return validity_features(matrices, inliers + 10, inliers, inliers - 1), same


def test_features_are_named_and_finite():
    features, _ = made(0)
    assert features.shape == (120, len(FEATURES))
    wild = validity_features(
        np.full((1, 3, 3), 1e12), np.ones(1, int), np.ones(1, int), np.zeros(1, int)
    )
    assert np.isfinite(wild).all()


def test_possible_views_are_told_from_impossible_ones(tmp_path):
    features, same = made(0)
    fitted = fit_validity(features, same, np.arange(120) // 4)
    assert fitted.auc > 0.9
    fresh, truth = made(1)
    chance = fitted.probability(fresh)
    assert chance[truth].mean() > chance[~truth].mean() + 0.5
    save_validity(tmp_path / "validity.skops", fitted)
    back = load_validity(tmp_path / "validity.skops")
    assert np.array_equal(back.probability(fresh), chance)


def test_too_few_examples_leave_the_inliers_to_speak(tmp_path):
    features, same = made(0, 30)
    fitted = fit_validity(features, same, np.arange(30))
    assert fitted.model is None
    assert np.isnan(fitted.auc)
    column = features[:, FEATURES.index("unique")]
    assert np.allclose(fitted.probability(features), np.clip(column / 20, 0, 1))
    save_validity(tmp_path / "v.skops", fitted)
    assert load_validity(tmp_path / "v.skops").model is None


def test_other_files_are_refused(tmp_path):
    import skops.io
    from sklearn.dummy import DummyClassifier

    skops.io.dump(DummyClassifier(), tmp_path / "d.skops")
    with pytest.raises(TransectError, match="DummyClassifier"):
        load_validity(tmp_path / "d.skops")
    (tmp_path / "e.skops").write_bytes(b"\x80\x04.")
    with pytest.raises(TransectError, match="not a classifier"):
        load_validity(tmp_path / "e.skops")
