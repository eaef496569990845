"""Stacking: a second, small model that learns from out-of-fold predictions how to combine them.

Models are kept in formats that hold data only: logistic regression as JSON, forests as arrays in
safetensors, boosters in their own text formats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError, unknown_name
from transect.files import atomic_path, read_json, write_json
from transect.tabular.forest import Forest, forest_of, load_forest, save_forest

__all__ = ["LEARNERS", "Stack", "fit_stack", "load_stack", "nested_predictions", "save_stack"]

LEARNERS = ("logistic", "extratrees", "extratrees_small", "xgboost", "lightgbm")

_LIMIT_BYTES = 4 << 30  # of a model file


class Stack(Protocol):
    """A fitted second-level model."""

    @property
    def kind(self) -> str:
        """A name of ``LEARNERS``."""

    @property
    def task(self) -> str:
        """``probability`` or ``value``."""

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        """From (N, F) features to (N,) probabilities or values."""

    def importance(self) -> NDArray[np.float64]:
        """(F,) shares of the features, sum 1."""


def fit_stack(
    features: ArrayLike,
    truth: ArrayLike,
    kind: str,
    *,
    task: str = "probability",
    weights: ArrayLike | None = None,
    seed: int = 0,
    threads: int = 1,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
) -> Stack:
    """Fit a second-level model.

    Args:
        features: (N, F) out-of-fold predictions or what was computed from them; finite.
        truth: (N,) 0 or 1 for ``probability``, any numbers for ``value``.
        kind: A name of ``LEARNERS``. The sizes of the trees are those of the sea-lion 2nd place
            (``extratrees``, ``extratrees_small``, ``xgboost``).
        task: ``probability`` or ``value``; logistic gives probabilities only.
        weights: (N,) or None.
        seed: Of the trees.
        threads: More than one changes the last bits of boosters' sums.
        validation: Features and truth on which ``xgboost`` stops early; None: it never does.

    Returns:
        The model.

    Raises:
        TransectError: On unknown names, or arrays that do not fit.
    """
    if kind not in LEARNERS:
        raise unknown_name("stacking model", kind, LEARNERS)
    if task not in ("probability", "value"):
        raise unknown_name("task", task, ["probability", "value"])
    x, y = _checked(features, truth)
    w = None if weights is None else np.asarray(weights, np.float64)
    if task == "probability":
        if not np.isin(y, (0, 1)).all():
            raise TransectError("truth of probabilities must be 0 or 1. Use task='value'.")
        if y.min() == y.max():
            return _Constant(kind, task, float(y[0]), x.shape[1])
    elif kind == "logistic":
        raise TransectError("logistic gives probabilities, not values. Use extratrees.")
    if kind == "logistic":
        return _fit_logistic(x, y, w)
    if kind == "xgboost":
        held_out = None if validation is None else _checked(*validation)
        return _fit_xgboost(x, y, w, task, seed, threads, held_out)
    fit = _fit_lightgbm if kind == "lightgbm" else _fit_trees
    return fit(x, y, w, kind, task, seed, threads)


def nested_predictions(
    features: ArrayLike,
    truth: ArrayLike,
    folds: ArrayLike,
    kinds: Sequence[str],
    *,
    task: str = "probability",
    weights: ArrayLike | None = None,
    seed: int = 0,
    threads: int = 1,
) -> NDArray[np.float64]:
    """Predict every fold by stacks fitted on the others: what an honest score is made of.

    Args:
        features: (N, F).
        truth: (N,).
        folds: (N,) fold numbers; groups must not part in them.
        kinds: Models whose predictions are averaged.
        task: As in ``fit_stack``.
        weights: (N,) or None.
        seed: As in ``fit_stack``.
        threads: As in ``fit_stack``.

    Returns:
        (N,) out-of-fold predictions of the stack.

    Raises:
        TransectError: If there is one fold only, or no model.
    """
    x, y = _checked(features, truth)
    fold = np.asarray(folds)
    if len(np.unique(fold)) < 2 or not kinds:
        raise TransectError("stacking needs two folds or more, and one model or more.")
    w = None if weights is None else np.asarray(weights, np.float64)
    result = np.zeros(len(x))
    for one in np.unique(fold):
        own = fold == one
        for kind in kinds:
            fitted = fit_stack(
                x[~own],
                y[~own],
                kind,
                task=task,
                weights=None if w is None else w[~own],
                seed=seed,
                threads=threads,
            )
            result[own] += fitted.predict(x[own]) / len(kinds)
    return result


def save_stack(stack: Stack, path: Path) -> Path:
    """Write a model; the suffix is chosen by its kind.

    Args:
        stack: From ``fit_stack``.
        path: Where, without suffix.

    Returns:
        The file written.
    """
    if isinstance(stack, (_Logistic, _Constant)):
        target = path.with_name(path.name + ".json")
        write_json(target, stack.to_json())
        return target
    if isinstance(stack, _Trees):
        target = path.with_name(path.name + ".safetensors")
        save_forest(stack.forest, target)
        return target
    assert isinstance(stack, _Booster)
    target = path.with_name(f"{path.name}.{stack.task}.{stack.kind}.txt")
    with atomic_path(target) as temporary:
        temporary.write_text(stack.to_text(), encoding="utf-8")
    return target


def load_stack(path: Path) -> Stack:
    """Read a model that ``save_stack`` wrote; nothing in the file is executed.

    Args:
        path: What ``save_stack`` gave back.

    Raises:
        TransectError: If the file is missing or damaged, or holds other types than ours.
    """
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise TransectError(f"{path} is larger than any model of ours. Restore the file.")
        if path.suffix == ".json":
            return _from_json(read_json(path))
        if path.suffix == ".safetensors":
            return _Trees(load_forest(path))
        if path.name.endswith((".xgboost.txt", ".lightgbm.txt")):
            task, kind = path.name.split(".")[-3:-1]
            return _load_booster(path.read_text(encoding="utf-8"), kind, task)
    except TransectError:
        raise
    except FileNotFoundError as error:
        raise TransectError(f"{path} is missing. Restore it or train again.") from error
    except Exception as error:  # parsers of three libraries raise many types
        raise TransectError(
            f"{path} is no model of ours ({str(error)[:100]}). Restore it or train again."
        ) from error
    raise TransectError(
        f"{path} is no model of ours: .json, .safetensors, .xgboost.txt, .lightgbm.txt."
    )


@dataclass(frozen=True)
class _Constant:
    """What is left to learn when all truths are the same."""

    kind: str
    task: str
    value: float
    width: int

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        return np.full(len(np.asarray(features)), self.value)

    def importance(self) -> NDArray[np.float64]:
        return np.full(self.width, 1 / self.width)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "task": self.task, "value": self.value, "width": self.width}


@dataclass(frozen=True)
class _Logistic:
    """Logistic regression on standardised features."""

    coefficients: tuple[float, ...]
    offset: float
    kind: str = "logistic"
    task: str = "probability"

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        x = _shaped(features, len(self.coefficients))
        return 0.5 * (1 + np.tanh(0.5 * (x @ np.array(self.coefficients) + self.offset)))

    def importance(self) -> NDArray[np.float64]:
        return _normalised(np.abs(self.coefficients))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "coefficients": list(self.coefficients),
            "offset": self.offset,
        }


@dataclass(frozen=True)
class _Trees:
    """Extremely randomised trees."""

    forest: Forest

    @property
    def kind(self) -> str:
        return self.forest.kind

    @property
    def task(self) -> str:
        return self.forest.task

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        return self.forest.predict(_shaped(features, len(self.forest.importance)))

    def importance(self) -> NDArray[np.float64]:
        return self.forest.importance


@dataclass(frozen=True)
class _Booster:
    """Gradient boosting of xgboost or LightGBM."""

    model: Any
    kind: str
    task: str

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        if self.kind == "lightgbm":
            x = _shaped(features, self.model.num_feature())
            return np.asarray(self.model.predict(x, num_threads=1), np.float64)
        x = _shaped(features, self.model.num_features())
        return np.asarray(self.model.inplace_predict(x.astype(np.float32)), np.float64)

    def importance(self) -> NDArray[np.float64]:
        if self.kind == "lightgbm":
            return _normalised(self.model.feature_importance("gain"))
        gains = np.zeros(self.model.num_features())
        for name, gain in self.model.get_score(importance_type="total_gain").items():
            gains[int(name[1:])] = gain
        return _normalised(gains)

    def to_text(self) -> str:
        if self.kind == "lightgbm":
            return str(self.model.model_to_string())
        return bytes(self.model.save_raw("json")).decode("utf-8")


def _fit_logistic(
    x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64] | None
) -> _Logistic:
    from sklearn.linear_model import LogisticRegression

    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[deviation < 1e-12] = 1
    model = LogisticRegression(C=1.0, max_iter=1000).fit((x - mean) / deviation, y, w)
    # The standardising is folded into the coefficients: one product at prediction.
    coefficients = model.coef_[0] / deviation
    offset = float(model.intercept_[0] - mean @ coefficients)
    return _Logistic(tuple(float(c) for c in coefficients), offset)


def _fit_trees(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    w: NDArray[np.float64] | None,
    kind: str,
    task: str,
    seed: int,
    threads: int,
) -> _Trees:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    small = kind == "extratrees_small"
    settings: dict[str, Any] = {
        "n_estimators": 200 if small else 300,
        "max_depth": 4 if small else 5,
        "min_samples_split": 10,
        "random_state": seed,
        "n_jobs": threads,
    }  # sea lions 2nd place
    make = ExtraTreesRegressor if task == "value" else ExtraTreesClassifier
    labels = y if task == "value" else y.astype(int)
    model = make(**settings).fit(x.astype(np.float32), labels, w)
    return _Trees(forest_of(model, kind=kind, task=task))


def _fit_xgboost(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    w: NDArray[np.float64] | None,
    task: str,
    seed: int,
    threads: int,
    validation: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> _Booster:
    import xgboost

    settings = {
        "objective": "reg:squarederror" if task == "value" else "binary:logistic",
        "eta": 0.1,
        "max_depth": 4,
        "seed": seed,
        "nthread": threads,
        "tree_method": "hist",
        "verbosity": 0,
    }  # sea lions 2nd place: 200 trees, stopped when the fold's error rose three times
    data = xgboost.DMatrix(x.astype(np.float32), y, weight=w)
    if validation is None:
        return _Booster(xgboost.train(settings, data, num_boost_round=200), "xgboost", task)
    held_out = xgboost.DMatrix(validation[0].astype(np.float32), validation[1])
    model = xgboost.train(
        settings,
        data,
        num_boost_round=200,
        evals=[(held_out, "held_out")],
        early_stopping_rounds=3,
        verbose_eval=False,
    )
    return _Booster(model[: model.best_iteration + 1], "xgboost", task)


def _fit_lightgbm(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    w: NDArray[np.float64] | None,
    kind: str,
    task: str,
    seed: int,
    threads: int,
) -> _Booster:
    import lightgbm

    settings = {
        "objective": "regression" if task == "value" else "binary",
        "learning_rate": 0.05,
        "num_leaves": 8,
        "min_data_in_leaf": max(2, min(20, len(x) // 20)),
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_fraction": 0.8,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }  # our guess, for a few hundred rows
    data = lightgbm.Dataset(x, y, weight=w)
    return _Booster(lightgbm.train(settings, data, num_boost_round=150), kind, task)


def _from_json(value: Any) -> Stack:
    """A model from JSON."""
    kind = value["kind"]
    if kind not in LEARNERS:
        raise unknown_name("stacking model", str(kind), LEARNERS)
    if "value" in value:
        return _Constant(kind, str(value["task"]), float(value["value"]), int(value["width"]))
    numbers = [float(c) for c in value["coefficients"]]
    offset = float(value["offset"])
    if not numbers or not all(map(math.isfinite, [*numbers, offset])):
        raise ValueError("coefficients are not finite")
    return _Logistic(tuple(numbers), offset)


def _load_booster(text: str, kind: str, task: str) -> _Booster:
    """A booster from its own text format."""
    if task not in ("probability", "value"):
        raise unknown_name("task", task, ["probability", "value"])
    if kind == "lightgbm":
        import lightgbm

        if not text.startswith("tree"):  # LightGBM prints and aborts on some other texts
            raise ValueError("the text does not begin as LightGBM's models do")
        return _Booster(lightgbm.Booster(model_str=text), kind, task)
    import xgboost

    model = xgboost.Booster()
    model.load_model(bytearray(text, "utf-8"))
    return _Booster(model, kind, task)


def _checked(
    features: ArrayLike, truth: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Arrays of one length and finite."""
    x, y = np.asarray(features, np.float64), np.asarray(truth, np.float64)
    if x.ndim != 2 or y.shape != (len(x),) or len(x) == 0:
        raise TransectError(
            f"stacking needs (N, F) features and (N,) truth; got {x.shape} and {y.shape}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise TransectError("features of stacking must be finite numbers; got nan or infinity.")
    return x, y


def _shaped(features: ArrayLike, width: int) -> NDArray[np.float64]:
    """Features as (N, width)."""
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or x.shape[1] != width:
        raise TransectError(
            f"this stack was fitted on {width} features; got {x.shape}. Predict with its members."
        )
    return x


def _normalised(values: ArrayLike) -> NDArray[np.float64]:
    """Shares with sum 1."""
    array = np.asarray(values, np.float64)
    return array / array.sum() if array.sum() > 0 else np.full(len(array), 1 / len(array))
