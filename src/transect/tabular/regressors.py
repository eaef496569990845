"""Tree regressors from window features to counts, one set per class, without pickle on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError, unknown_name
from transect.files import atomic_path
from transect.tabular.forest import Forest, forest_of, load_forest, save_forest

__all__ = ["REGRESSORS", "fit_regressor", "load_regressor", "predict_mean", "save_regressor"]

REGRESSORS = ("extratrees", "extratrees_small", "xgboost", "lightgbm")

_MANY_WINDOWS = 100_000


def fit_regressor(
    name: str, features: NDArray[np.float32], counts: NDArray[np.float64], *, seed: int
) -> Any:
    """Fit one regressor on windows.

    Args:
        name: One of ``REGRESSORS``.
        features: (windows, F).
        counts: (windows,) dots of one class.
        seed: Of the trees.

    Returns:
        A fitted model with ``predict``.

    References:
        Sea lion 2nd place: extra trees of 300 (depth 5) and 200 (depth 4) with at least 10
        windows to split, and 200 boosted trees of depth 4.
    """
    # Threads cost more than they bring on few windows, above all on a busy machine.
    jobs = 1 if len(features) < _MANY_WINDOWS else -1
    if name.startswith("extratrees"):
        from sklearn.ensemble import ExtraTreesRegressor

        large = name == "extratrees"
        model = ExtraTreesRegressor(
            n_estimators=300 if large else 200,  # sea lion 2nd place
            max_depth=5 if large else 4,
            min_samples_split=10,
            random_state=seed,
            n_jobs=jobs,
        )
        return forest_of(model.fit(features, counts), kind=name, task="value")
    if name == "xgboost":
        import xgboost

        return xgboost.XGBRegressor(
            n_estimators=200, max_depth=4, learning_rate=0.1, random_state=seed, n_jobs=jobs
        ).fit(features, counts)
    if name == "lightgbm":
        import lightgbm

        return lightgbm.LGBMRegressor(
            n_estimators=200,
            num_leaves=15,
            learning_rate=0.05,
            min_child_samples=10,
            random_state=seed,
            n_jobs=jobs,
            deterministic=True,
            force_row_wise=True,
            verbose=-1,
        ).fit(features, counts)
    raise unknown_name("a regressor", name, REGRESSORS)


def predict_mean(models: Sequence[Any], features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean answer of several regressors, never negative: (windows,)."""
    answers = [np.asarray(_raw(model, features), np.float64) for model in models]
    return np.clip(np.mean(answers, axis=0), 0, None)


def save_regressor(model: Any, path: Path) -> Path:
    """Write a regressor in a form that can be read without running code.

    Args:
        model: What ``fit_regressor`` gave.
        path: Without suffix; ``.safetensors``, ``.ubj`` or ``.txt`` is added.

    Returns:
        The file.
    """
    if isinstance(model, Forest):
        target = path.with_name(path.name + ".safetensors")
        save_forest(model, target)
        return target
    boosted = type(model).__module__.startswith("xgboost")
    target = path.with_name(path.name + (".ubj" if boosted else ".txt"))
    with atomic_path(target) as temporary:
        (model.get_booster() if boosted else model.booster_).save_model(temporary)
    return target


def load_regressor(path: Path) -> Any:
    """Read what ``save_regressor`` wrote; nothing in these files is run.

    Raises:
        TransectError: If the file is missing or damaged.
    """
    try:
        if path.suffix == ".safetensors":
            return load_forest(path)
        if path.suffix == ".ubj":
            import xgboost

            booster = xgboost.Booster()
            booster.load_model(path)
            return booster
        import lightgbm

        return lightgbm.Booster(model_file=str(path))
    except TransectError:
        raise
    except Exception as error:
        first = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise TransectError(
            f"{path} is not a readable regressor ({first}). Train again."
        ) from error


def _raw(model: Any, features: NDArray[np.float32]) -> Any:
    """Ask a fitted model, or a booster that was read from disk."""
    if type(model).__module__.startswith("xgboost") and type(model).__name__ == "Booster":
        import xgboost

        return model.predict(xgboost.DMatrix(features))
    return model.predict(features)
