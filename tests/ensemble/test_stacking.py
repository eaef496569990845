import numpy as np
import pytest

from transect.ensemble.stacking import (
    LEARNERS,
    fit_stack,
    load_stack,
    nested_predictions,
    save_stack,
)
from transect.errors import TransectError


def table(n=240, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    value = 2 * x[:, 0] - x[:, 1] + 0.3 * rng.normal(size=n)
    return x, value


@pytest.mark.parametrize("kind", LEARNERS)
def test_probabilities_beat_chance_and_survive_the_file(kind, tmp_path):
    x, value = table()
    y = value > 0
    stack = fit_stack(x[::2], y[::2], kind)
    p = stack.predict(x[1::2])
    assert ((p > 0.5) == y[1::2]).mean() > 0.85
    assert ((p >= 0) & (p <= 1)).all()
    again = load_stack(save_stack(stack, tmp_path / "decide" / "stack"))
    np.testing.assert_array_equal(again.predict(x), stack.predict(x))
    assert (again.kind, again.task) == (kind, "probability")
    assert np.argmax(again.importance()) == 0


@pytest.mark.parametrize("kind", [kind for kind in LEARNERS if kind != "logistic"])
def test_values_beat_their_mean_and_survive_the_file(kind, tmp_path):
    x, y = table()
    stack = fit_stack(x[::2], y[::2], kind, task="value")
    assert np.mean((stack.predict(x[1::2]) - y[1::2]) ** 2) < 0.4 * y.var()
    again = load_stack(save_stack(stack, tmp_path / "stack"))
    np.testing.assert_array_equal(again.predict(x), stack.predict(x))
    assert again.task == "value"


def test_the_same_seed_gives_the_same_model():
    x, y = table(120)
    first, second = (fit_stack(x, y, "extratrees_small", task="value", seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.predict(x), second.predict(x))


def test_nested_predictions_never_see_their_own_fold():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 2)), rng.random(120) > 0.5
    folds = np.arange(120) % 3
    p = nested_predictions(x, y, folds, ["logistic", "extratrees_small"])
    assert 0.3 < ((p > 0.5) == y).mean() < 0.7  # noise cannot be learnt
    one = fit_stack(x[folds != 1], y[folds != 1], "logistic").predict(x[folds == 1])
    alone = nested_predictions(x, y, folds, ["logistic"])
    np.testing.assert_array_equal(alone[folds == 1], one)


def test_xgboost_stops_early_when_given_something_to_watch():
    x, y = table()
    stopped = fit_stack(x[:160], y[:160], "xgboost", task="value", validation=(x[160:], y[160:]))
    assert stopped.model.num_boosted_rounds() < 200


def test_truths_that_are_all_the_same_are_learnt(tmp_path):
    stack = fit_stack(np.zeros((3, 2)), np.ones(3), "xgboost")
    again = load_stack(save_stack(stack, tmp_path / "s"))
    np.testing.assert_array_equal(again.predict(np.zeros((2, 2))), [1, 1])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"kind": "logistic", "coefficients": [1e999], "offset": 0}'),
        ("a.json", '{"kind": "magic"}'),
        ("a.json", "[]"),
        ("a.safetensors", "not a zip"),
        ("a.value.xgboost.txt", "{}"),
        ("a.value.lightgbm.txt", "nothing"),
        ("a.other.lightgbm.txt", "tree"),
        ("a.bin", ""),
    ],
)
def test_damaged_files_are_explained(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(TransectError):
        load_stack(path)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x, y: fit_stack(x, y, "extratree"), "Did you mean"),
        (lambda x, y: fit_stack(x, y, "logistic", task="value"), "not values"),
        (lambda x, y: fit_stack(x, y, "logistic", task="values"), "task must be one of"),
        (lambda x, y: fit_stack(x, y, "logistic"), "must be 0 or 1"),
        (lambda x, y: fit_stack(x[:3], y, "logistic"), r"\(N, F\) features"),
        (lambda x, y: fit_stack(x * np.nan, y, "logistic"), "finite"),
        (lambda x, y: nested_predictions(x, y, np.zeros(len(x)), ["logistic"]), "two folds"),
        (lambda x, y: fit_stack(x, y > 0, "logistic").predict(x[:, :1]), "fitted on 3 features"),
    ],
)
def test_mistakes_are_explained(call, says):
    with pytest.raises(TransectError, match=says):
        call(*table(30))


def test_a_missing_file_is_explained(tmp_path):
    with pytest.raises(TransectError, match="is missing"):
        load_stack(tmp_path / "a.safetensors")
