"""How new pictures differ from those of a survey: adversarial validation with reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.audit.fingerprints import FEATURES, Prints

__all__ = ["Shift", "adversarial_validation"]

_FOLDS = 5
_MOST = 4000


@dataclass(frozen=True)
class Shift:
    """How well the pictures of two surveys can be told apart by cheap features.

    Attributes:
        auroc: 0.5: not at all; 1: always. Out of fold.
        interval: Its 95 % interval (DeLong's variance by Hanley and McNeil 1982).
        reasons: (feature, its own AUROC in [0.5, 1], median in DATA, median in NEW), those that
            give most away first.
        scale: Grain of NEW divided by grain of DATA: 2 means that things appear twice as large.
        scale_interval: Its 95 % bootstrap interval.
        weights: (N,) importance of DATA's pictures for NEW, mean 1.
        effective: Share of DATA that is left in effect if it is so weighted (Kish), in (0, 1].
    """

    auroc: float
    interval: tuple[float, float]
    reasons: tuple[tuple[str, float, float, float], ...]
    scale: float
    scale_interval: tuple[float, float]
    weights: NDArray[np.float64]
    effective: float


def adversarial_validation(data: Prints, new: Prints, *, seed: int = 0) -> Shift:
    """Train a classifier to tell two sets of pictures apart, and see by what it does.

    Args:
        data: Prints of the survey.
        new: Prints of the new pictures.
        seed: Of the folds and the bootstrap.

    Returns:
        The shift. Of very large sets a random part is used for training; all get weights.

    References:
        Digest of 39 competitions: adversarial validation, and weights from it. Weights p / (1 - p)
        times the ratio of set sizes: Bickel, Brueckner and Scheffer 2007, cut at 10.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold

    rng = np.random.default_rng(seed)
    x = np.concatenate([data.features, new.features]).astype(np.float64)
    y = np.repeat([0, 1], [len(data), len(new)])
    chance = np.full(len(y), np.nan)
    folds = min(_FOLDS, len(data), len(new))
    if folds >= 2:
        for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y):
            part = rng.permutation(train)[:_MOST] if len(train) > _MOST else train
            if len(np.unique(y[part])) < 2:
                part = train
            model = HistGradientBoostingClassifier(
                max_iter=60,
                max_leaf_nodes=8,
                min_samples_leaf=max(3, min(20, len(part) // 10)),
                learning_rate=0.1,
                early_stopping=False,
                class_weight="balanced",
                random_state=seed,
            )
            chance[test] = model.fit(x[part], y[part]).predict_proba(x[test])[:, 1]
    else:
        chance[:] = 0.5
    auroc = area(chance[y == 1], chance[y == 0])
    weights = np.clip(chance[y == 0] / np.maximum(1 - chance[y == 0], 1e-3), 0.0, 10.0)
    weights /= max(float(weights.mean()), 1e-9)
    effective = float(weights.sum() ** 2 / (len(weights) * (weights**2).sum()))
    scale, interval = _scale(data, new, rng)
    return Shift(
        auroc,
        _interval(auroc, len(new), len(data)),
        _reasons(data.features, new.features),
        scale,
        interval,
        weights,
        effective,
    )


def area(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Area under the ROC curve: the chance that a positive ranks above a negative.

    Example:
        >>> area(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
        0.875
    """
    from scipy.stats import rankdata

    if not len(positive) or not len(negative):
        return 0.5
    ranks = rankdata(np.concatenate([positive, negative]))
    n = len(positive)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(negative)))


def _interval(auroc: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % interval of an AUROC."""
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc) + (positives - 1) * (q1 - auroc**2)
    variance = (variance + (negatives - 1) * (q2 - auroc**2)) / (positives * negatives)
    half = 1.96 * float(np.sqrt(max(variance, 0.0)))
    return max(0.0, auroc - half), min(1.0, auroc + half)


def _reasons(
    data: NDArray[np.float32], new: NDArray[np.float32]
) -> tuple[tuple[str, float, float, float], ...]:
    """Features by how well each alone tells the sets apart."""
    out = []
    for i, name in enumerate(FEATURES):
        alone = area(new[:, i], data[:, i])
        middle = float(np.median(data[:, i])), float(np.median(new[:, i]))
        out.append((name, round(max(alone, 1 - alone), 4), *middle))
    return tuple(sorted(out, key=lambda r: -r[1]))


def _scale(
    data: Prints, new: Prints, rng: np.random.Generator
) -> tuple[float, tuple[float, float]]:
    """Ratio of the grain sizes with its bootstrap interval."""
    at = FEATURES.index("grain_px")
    old = np.log(np.maximum(data.features[~data.flat, at], 1e-6))
    fresh = np.log(np.maximum(new.features[~new.flat, at], 1e-6))
    if not len(old) or not len(fresh):
        return 1.0, (1.0, 1.0)
    draws = []
    for _ in range(200):
        a = rng.choice(old, min(len(old), 2000))
        b = rng.choice(fresh, min(len(fresh), 2000))
        draws.append(float(np.median(b) - np.median(a)))
    low, high = np.exp(np.percentile(draws, (2.5, 97.5)))
    return float(np.exp(np.median(fresh) - np.median(old))), (float(low), float(high))
