import json
from dataclasses import replace

import numpy as np
import pytest

from tests.identify.worlds import world
from transect.openset.evidence import NOBODY, UNKNOWN
from transect.openset.novelty import fit_newness, newness, newness_features
from transect.tabular.binary import MODELS, platt


def data(seed, queries=600):
    evidence, truth = world(seed, queries=queries)
    return newness_features(evidence), truth == UNKNOWN


@pytest.mark.parametrize("name", MODELS)
def test_every_model_tells_new_from_known_and_survives_json(name):
    features, unknown = data(0)
    fitted = fit_newness(features, unknown, np.ones(600), models=(name,))
    assert name in fitted
    fresh, truth = data(1)
    chance = newness(json.loads(json.dumps(fitted)), fresh)
    assert np.allclose(chance, newness(fitted, fresh))
    assert ((chance >= 0) & (chance <= 1)).all()
    assert ((chance > 0.5) == truth).mean() > 0.8
    assert chance.mean() == pytest.approx(truth.mean(), abs=0.1)


def test_the_plain_numbers_are_the_models_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    features, unknown = data(0, 200)
    x = (features - features.mean(0)) / features.std(0)
    fitted = fit_newness(features, unknown, np.ones(200), models=("logistic",))
    expected = LogisticRegression(C=1.0, max_iter=1000).fit(x, unknown).predict_proba(x)[:, 1]
    assert np.allclose(newness(fitted, features), expected, atol=1e-6)
    fitted = fit_newness(features, unknown, np.ones(200), models=("svm",))
    height = SVC(gamma=1 / x.shape[1]).fit(x, unknown).decision_function(x)
    slope, offset = fitted["svm"]["platt"]
    expected = 1 / (1 + np.exp(-(slope * height + offset)))
    assert np.allclose(newness(fitted, features), expected, atol=1e-4)


def test_how_many_pictures_the_gallery_holds_of_the_leader_tells_nothing():
    """Folds take pictures of those they ask for out of the gallery; new photos do not."""
    evidence, _ = world(0, queries=40)
    owners = np.repeat(evidence.identities[:, :1], 10, axis=1)
    few = owners.copy()
    few[:, 8:] = NOBODY
    values = [
        newness_features(replace(evidence, image_identities=rows, image_scores=np.ones((40, 10))))
        for rows in (owners, few)
    ]
    np.testing.assert_array_equal(*values)


def test_few_queries_leave_the_simple_model_alone():
    features, unknown = data(0, 60)
    assert set(fit_newness(features, unknown, np.ones(60))) & set(MODELS) == {"logistic"}


def test_one_kind_only_gives_the_prior():
    features, _ = data(0, 10)
    fitted = fit_newness(features, np.ones(10, bool), np.ones(10))
    assert (newness(fitted, features) > 0.99).all()


def test_platt_is_calibrated():
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    truth = rng.random(4000) < 1 / (1 + np.exp(-(2 * x - 1)))
    assert platt(x, truth, np.ones(4000)) == pytest.approx((2, -1), abs=0.15)
