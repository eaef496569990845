import dataclasses

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from transect.errors import TransectError
from transect.tabular.forest import forest_of, load_forest, save_forest


def fitted(task="value", depth=None, trees=12):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 4)).astype(np.float32)
    y = x[:, 0] + rng.normal(size=150)
    make = ExtraTreesRegressor if task == "value" else ExtraTreesClassifier
    model = make(n_estimators=trees, max_depth=depth, random_state=0)
    return model.fit(x, y if task == "value" else (y > 0).astype(int)), x


@pytest.mark.parametrize("depth", [1, 5, None])
def test_values_agree_with_scikit_learn(depth):
    model, x = fitted(depth=depth)
    ours = forest_of(model, kind="a", task="value").predict(x)
    np.testing.assert_allclose(ours, model.predict(x), rtol=1e-12)


def test_probabilities_agree_with_scikit_learn():
    model, x = fitted("probability", 4)
    ours = forest_of(model, kind="a", task="probability").predict(x)
    np.testing.assert_allclose(ours, model.predict_proba(x)[:, 1], rtol=1e-12)


def test_a_forest_survives_its_file(tmp_path):
    model, x = fitted()
    forest = forest_of(model, kind="a", task="value")
    save_forest(forest, tmp_path / "a.safetensors")
    again = load_forest(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.predict(x), forest.predict(x))
    assert (again.kind, again.task) == ("a", "value")


@pytest.mark.parametrize(
    "change",
    [
        {"left": lambda f: f.left * 0},  # would walk in a circle
        {"right": lambda f: f.right + 10**6},
        {"roots": lambda f: f.roots - 1},
        {"feature": lambda f: f.feature + 4},
        {"value": lambda f: f.value * np.nan},
        {"threshold": lambda f: f.threshold[:-1]},
        {"task": lambda f: "other"},
    ],
)
def test_forests_that_no_walk_should_enter_are_refused(tmp_path, change):
    forest = forest_of(fitted()[0], kind="a", task="value")
    wrong = dataclasses.replace(forest, **{k: make(forest) for k, make in change.items()})
    save_forest(wrong, tmp_path / "a.safetensors")
    with pytest.raises(TransectError, match="no trees of ours"):
        load_forest(tmp_path / "a.safetensors")
