"""Logistic regression to labels: as scikit-learn's, kept as data, and absent labels never said."""

import numpy as np
import pytest

from transect.errors import TransectError
from transect.tabular.linear import LinearClassifier, fit_linear


def rows(n=200, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(classes, size=n)
    x = rng.normal(size=(n, 6)) + 2.5 * np.eye(classes, 6)[label]
    return x.astype(np.float32) * 7 + 3, np.eye(classes, dtype=np.int8)[label]


@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_scikit_learns(classes):
    from sklearn.linear_model import LogisticRegression

    x, truth = rows(classes=classes)
    found = fit_linear(x, truth, several=False, strengths=(0.1,))
    z = (x - x.mean(0)) / x.std(0)
    wanted = LogisticRegression(C=0.1, max_iter=1000).fit(z, truth.argmax(1)).predict_proba(z)
    np.testing.assert_allclose(found.probabilities(x), wanted, atol=5e-3)


def test_several_labels_are_told_one_by_one():
    x, truth = rows()
    truth[:50, 0] = 1
    found = fit_linear(x, truth, several=True)
    p = found.probabilities(x)
    assert ((p > 0.5) == (truth > 0)).mean() > 0.8
    assert p.sum(axis=1).max() > 1.2


def test_the_penalty_is_chosen_on_a_part_held_out():
    rng = np.random.default_rng(0)
    x, truth = rng.normal(size=(60, 200)).astype(np.float32), np.eye(2, dtype=np.int8)
    noise = truth[rng.integers(2, size=60)]
    found = fit_linear(x, noise, several=False, parts=np.arange(60) % 3)
    loose = fit_linear(x, noise, several=False, strengths=(1.0,))
    assert np.abs(found.weights).max() < 0.2 * np.abs(loose.weights).max()


def test_labels_without_rows_are_never_said():
    x, truth = rows()
    found = fit_linear(x, np.pad(truth, ((0, 0), (0, 1))), several=False)
    assert found.probabilities(x)[:, 4].max() < 1e-3
    one = np.zeros((20, 3), np.int8)
    one[:, 1] = 1
    assert fit_linear(x[:20], one, several=False).probabilities(x).argmax(1).tolist() == [1] * 200
    assert (
        fit_linear(x[:20], one, several=True).probabilities(x).round().tolist() == [[0, 1, 0]] * 200
    )


def test_it_comes_back_and_a_damaged_file_is_refused(tmp_path):
    x, truth = rows()
    found = fit_linear(x, truth, several=False)
    found.save(tmp_path / "a.safetensors")
    again = LinearClassifier.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.logits(x), found.logits(x))
    (tmp_path / "a.safetensors").write_bytes(b"rubbish")
    with pytest.raises(TransectError, match="not a readable classifier"):
        LinearClassifier.load(tmp_path / "a.safetensors")
