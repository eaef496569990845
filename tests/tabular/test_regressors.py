import numpy as np
import pytest
from benchmarks.hot_paths import regressors as bench

from transect.errors import TransectError
from transect.tabular.regressors import (
    REGRESSORS,
    fit_regressor,
    load_regressor,
    predict_mean,
    save_regressor,
)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_comes_back_from_its_file(name, tmp_path):
    rng = np.random.default_rng(0)
    features = rng.uniform(0, 5, (80, 4)).astype(np.float32)
    counts = np.floor(features[:, 0] + features[:, 1])
    model = fit_regressor(name, features, counts, seed=0)
    said = predict_mean([model], features)
    assert np.abs(said - counts).mean() < 0.5 * np.abs(counts - counts.mean()).mean()
    path = save_regressor(model, tmp_path / "a")
    np.testing.assert_allclose(predict_mean([load_regressor(path)], features), said, rtol=1e-6)
    path.write_bytes(b"something else")
    with pytest.raises(TransectError, match=path.name):
        load_regressor(path)


def test_an_unknown_regressor_is_named():
    with pytest.raises(TransectError, match="lightgbm"):
        fit_regressor("lightgmb", np.zeros((4, 2), np.float32), np.zeros(4), seed=0)


@pytest.mark.slow
def test_forests_as_arrays_are_faster_than_as_objects():
    rows = {row.contender: row for row in bench.run(quick=True)}
    assert rows["ours"].note == "equal answers"
    assert rows["scikit-learn kept by skops"].ratio > 2
