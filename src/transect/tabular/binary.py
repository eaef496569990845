"""Small yes-or-no classifiers kept as plain numbers: JSON in, JSON out, predictions in numpy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_FOR", "MODELS", "fit_binary", "platt", "predict_binary", "sigmoid"]

MODELS = ("logistic", "knn", "svm", "lightgbm", "xgboost")
NEIGHBOURS = 15  # our guess
MOST_REMEMBERED = 2000  # training rows that kNN and SVM see, so that the file stays small
LEAST_FOR = {"logistic": 0, "knn": 100, "svm": 100, "lightgbm": 400, "xgboost": 400}  # our guess


def fit_binary(
    features: NDArray[np.float64],
    truth: NDArray[np.bool_],
    weights: NDArray[np.float64],
    *,
    models: tuple[str, ...] = MODELS,
    seed: int = 0,
) -> dict[str, Any]:
    """Train classifiers side by side.

    Args:
        features: (P, F) finite.
        truth: (P,).
        weights: (P,) non-negative.
        models: Of ``MODELS``; those that need more rows than there are sit out.
        seed: Of the boosters and of what kNN and SVM remember.

    Returns:
        Plain values for ``predict_binary``. If only one answer occurs, its share is all there is.
    """
    centre = np.average(features, axis=0, weights=weights)
    spread = np.sqrt(np.average((features - centre) ** 2, axis=0, weights=weights))
    spread = np.where(spread > 1e-12, spread, 1.0)
    right = np.asarray(truth, bool)
    prior = float(np.clip(np.average(right, weights=weights), 1e-3, 1 - 1e-3))
    fitted: dict[str, Any] = {"prior": prior, "centre": centre.tolist(), "spread": spread.tolist()}
    if right.all() or not right.any():
        return fitted
    x = (features - centre) / spread
    fits: dict[str, Any] = {
        "logistic": _logistic,
        "knn": _knn,
        "svm": _svm,
        "lightgbm": _lightgbm,
        "xgboost": _xgboost,
    }
    for name in models:
        if len(right) >= LEAST_FOR[name]:
            fitted[name] = fits[name](x, right, weights, seed)
    return fitted


def predict_binary(fitted: Mapping[str, Any], features: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P,) probability of yes: the mean of the classifiers."""
    x = (features - np.array(fitted["centre"])) / np.array(fitted["spread"])
    predict: dict[str, Any] = {
        "logistic": _by_logistic,
        "knn": _by_knn,
        "svm": _by_svm,
        "lightgbm": _by_lightgbm,
        "xgboost": _by_xgboost,
    }
    votes = [how(fitted[name], x) for name, how in predict.items() if name in fitted]
    if not votes:
        return np.full(len(features), float(fitted["prior"]))
    return np.mean(votes, axis=0)


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) without overflow.

    Example:
        >>> sigmoid(np.array([-1e4, 0.0, 1e4])).tolist()
        [0.0, 0.5, 1.0]
    """
    value = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, value) / (1 + value)


def platt(
    x: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Slope and offset of a logistic curve through a score, with Platt's smoothed targets."""
    from scipy.optimize import minimize

    scale = float(np.std(x)) or 1.0
    z = x / scale
    positive = float(weights[truth].sum())
    negative = float(weights[~truth].sum())
    target = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    share = weights / max(float(weights.sum()), 1e-12)

    def loss(p: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = p[0] * z + p[1]
        value = share @ (np.logaddexp(0, logit) - target * logit)
        error = share * (sigmoid(logit) - target)
        return float(value), np.array([error @ z, error.sum()])

    start = np.array([0.0, np.log((positive + 1) / (negative + 1))])
    found = minimize(loss, start, jac=True, method="BFGS")
    return float(found.x[0]) / scale, float(found.x[1])


def _logistic(
    x: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.float64], seed: int
) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, max_iter=1000).fit(x, truth, sample_weight=weights)
    return {"slopes": model.coef_[0].tolist(), "offset": float(model.intercept_[0])}


def _by_logistic(fitted: Mapping[str, Any], x: NDArray[np.float64]) -> NDArray[np.float64]:
    return sigmoid(x @ np.array(fitted["slopes"]) + float(fitted["offset"]))


def _knn(
    x: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.float64], seed: int
) -> dict[str, Any]:
    rows = np.arange(len(x))
    if len(x) > MOST_REMEMBERED:
        rows = np.sort(np.random.default_rng(seed).permutation(len(x))[:MOST_REMEMBERED])
    return {
        "points": np.round(x[rows], 6).tolist(),
        "truth": truth[rows].astype(int).tolist(),
        "weights": np.round(weights[rows], 6).tolist(),
    }


def _by_knn(fitted: Mapping[str, Any], x: NDArray[np.float64]) -> NDArray[np.float64]:
    points = np.array(fitted["points"])
    right = np.array(fitted["truth"], float)
    weights = np.array(fitted["weights"], float)
    out = np.zeros(len(x))
    for start in range(0, len(x), 1024):
        block = x[start : start + 1024]
        square = (block**2).sum(1)[:, None] - 2 * block @ points.T + (points**2).sum(1)
        near = np.argsort(square, axis=1, kind="stable")[:, :NEIGHBOURS]
        # Two imagined neighbours, one of each kind, keep the answer off 0 and 1.
        out[start : start + 1024] = ((right * weights)[near].sum(1) + 1) / (
            weights[near].sum(1) + 2
        )
    return out


def _svm(
    x: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.float64], seed: int
) -> dict[str, Any]:
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import SVC

    if len(x) > MOST_REMEMBERED:
        rows = np.sort(np.random.default_rng(seed).permutation(len(x))[:MOST_REMEMBERED])
        x, truth, weights = x[rows], truth[rows], weights[rows]
    gamma = 1.0 / x.shape[1]

    def build(rows: NDArray[np.integer]) -> Any:
        return SVC(gamma=gamma).fit(x[rows], truth[rows], sample_weight=weights[rows])

    height = np.zeros(len(x))
    parts = max(2, min(3, int(truth.sum()), int((~truth).sum())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer members than parts: then that part is small
        splits = list(StratifiedKFold(parts, shuffle=True, random_state=seed).split(x, truth))
    for train, test in splits:
        if len(np.unique(truth[train])) == 2:
            height[test] = build(train).decision_function(x[test])
    slope, offset = platt(height, truth, weights)
    model = build(np.arange(len(x)))
    return {
        "points": np.round(model.support_vectors_, 6).tolist(),
        "duals": np.round(model.dual_coef_[0], 8).tolist(),
        "offset": float(model.intercept_[0]),
        "gamma": gamma,
        "platt": [slope, offset],
    }


def _by_svm(fitted: Mapping[str, Any], x: NDArray[np.float64]) -> NDArray[np.float64]:
    points = np.array(fitted["points"])
    duals = np.array(fitted["duals"])
    height = np.zeros(len(x))
    for start in range(0, len(x), 1024):
        block = x[start : start + 1024]
        square = (block**2).sum(1)[:, None] - 2 * block @ points.T + (points**2).sum(1)
        height[start : start + 1024] = np.exp(-fitted["gamma"] * np.maximum(square, 0)) @ duals
    slope, offset = fitted["platt"]
    return sigmoid(slope * (height + float(fitted["offset"])) + offset)


def _lightgbm(
    x: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.float64], seed: int
) -> str:
    import lightgbm

    settings = {
        "objective": "binary",
        "num_leaves": 7,  # our guess: few queries, few features
        "learning_rate": 0.05,
        "min_data_in_leaf": 20,
        "lambda_l2": 1.0,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(x, label=truth.astype(float), weight=weights)
    return str(lightgbm.train(settings, data, num_boost_round=60).model_to_string())


def _by_lightgbm(fitted: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    import lightgbm

    model = lightgbm.Booster(model_str=fitted)
    return np.asarray(model.predict(x, num_threads=1), np.float64)


def _xgboost(
    x: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.float64], seed: int
) -> str:
    import xgboost

    settings = {
        "objective": "binary:logistic",
        "max_depth": 3,  # our guess: few rows, few features
        "eta": 0.1,
        "lambda": 1.0,
        "nthread": 1,
        "seed": seed,
        "verbosity": 0,
    }
    data = xgboost.DMatrix(x.astype(np.float32), truth.astype(float), weight=weights)
    model = xgboost.train(settings, data, num_boost_round=60)
    return bytes(model.save_raw("json")).decode("utf-8")


def _by_xgboost(fitted: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    import xgboost

    model = xgboost.Booster(params={"nthread": 1})
    model.load_model(bytearray(fitted, "utf-8"))
    return np.asarray(model.inplace_predict(x.astype(np.float32)), np.float64)
