"""Is this homography one that a camera could make of the same animal? Learned on the survey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import atomic_path

__all__ = ["FEATURES", "Validity", "fit_validity", "load_validity", "save_validity"]
__all__ += ["validity_features"]

FEATURES: tuple[str, ...] = ("h11", "h12", "h13", "h21", "h22", "h23", "h31", "h32")
FEATURES += ("inliers", "unique", "matches", "inlier_share", "area", "skew")

# What a file of a fitted classifier may contain; anything else is refused unread.
_TRUSTED = [
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn.ensemble._gb._BinomialDeviance",
]
LEAST = 20  # examples of each kind that a classifier needs


@dataclass(frozen=True)
class Validity:
    """A fitted classifier of homographies.

    Attributes:
        model: A scikit-learn classifier, or None: too few examples, the inliers speak alone.
        out_of_fold: (P,) probability for each training pair from a model that had not seen its
            identities; NaN where there was none.
        auc: Area under the curve of these against the truth, or NaN.
    """

    model: Any
    out_of_fold: NDArray[np.float64]
    auc: float

    def probability(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(P,) probability that pairs are the same individual, from ``validity_features``.

        Without a model: the share of unique inliers among 20, at most 1.
        """
        if not len(features):
            return np.zeros(0)
        if self.model is None:
            return np.clip(features[:, FEATURES.index("unique")] / 20, 0, 1)
        chance: NDArray[np.float64] = self.model.predict_proba(features)[:, 1]
        return chance


def validity_features(
    homographies: NDArray[np.float64],
    matches: NDArray[np.integer],
    inliers: NDArray[np.integer],
    unique: NDArray[np.integer],
) -> NDArray[np.float64]:
    """What the classifier looks at.

    Args:
        homographies: (P, 3, 3) with lower right entry 1, best ``normalised_homography``.
        matches: (P,) counts.
        inliers: (P,) counts.
        unique: (P,) counts of different places.

    Returns:
        (P, 14): the 8 free entries of the homography as in the whale 4th place, the counts, the
        inliers' share of the matches, and, ours, the logarithm of the change of area and the
        skew (cosine between the images of the axes).
    """
    flat = np.asarray(homographies, np.float64).reshape(-1, 9)
    flat = np.clip(flat, -1e3, 1e3)
    a, b, c, d = flat[:, 0], flat[:, 1], flat[:, 3], flat[:, 4]
    area = np.log(np.maximum(np.abs(a * d - b * c), 1e-6)) * np.sign(a * d - b * c)
    skew = (a * b + c * d) / np.maximum(np.hypot(a, c) * np.hypot(b, d), 1e-9)
    counts = [np.asarray(x, np.float64) for x in (inliers, unique, matches)]
    share = counts[0] / np.maximum(counts[2], 1)
    return np.column_stack([flat[:, :8], *counts, share, area, skew])


def fit_validity(
    features: NDArray[np.float64],
    same: NDArray[np.bool_],
    groups: Sequence[Any] | NDArray[Any],
    *,
    seed: int = 0,
    folds: int = 5,
) -> Validity:
    """Train the classifier on the survey itself.

    Positives are pairs of one individual from different encounters (pairs of one encounter share
    the water and would teach the background); negatives are pairs of different individuals.

    Args:
        features: (P, 14) of ``validity_features``; only pairs that have a homography.
        same: (P,) whether both pictures show one individual.
        groups: (P,) the query's identity; the folds never split one.
        seed: Of the trees.
        folds: For the out-of-fold probabilities; 0 leaves them out.

    Returns:
        The classifier; without a model if there are fewer than 20 examples of either kind.

    References:
        Whale 4th place: StandardScaler and GradientBoosting (200 trees, depth 3, rate 0.05) on
        5,026 labelled homographies. Positives are rare in a survey, so we weigh both alike.
    """
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold

    truth = np.asarray(same, bool)
    out = np.full(len(truth), np.nan)
    if min(truth.sum(), (~truth).sum()) < LEAST:
        return Validity(None, out, float("nan"))

    def build() -> Any:
        return GradientBoostingClassifier(
            n_estimators=200,  # whale 4th place
            max_depth=3,  # whale 4th place
            learning_rate=0.05,  # whale 4th place
            subsample=0.7,  # our guess: half the time, less over-fitting
            random_state=seed,
        )

    def weights(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        share = np.clip(rows.mean(), 1e-6, 1 - 1e-6)
        return np.where(rows, 0.5 / share, 0.5 / (1 - share))

    keys = np.unique(np.asarray([str(g) for g in groups]), return_inverse=True)[1]
    if folds > 1 and len(np.unique(keys)) >= folds:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for train, test in splitter.split(features, truth, keys):
            if len(np.unique(truth[train])) == 2:
                model = build().fit(features[train], truth[train], weights(truth[train]))
                out[test] = model.predict_proba(features[test])[:, 1]
    known = np.isfinite(out)
    auc = float("nan")
    if len(np.unique(truth[known])) == 2:
        auc = float(roc_auc_score(truth[known], out[known]))
    return Validity(build().fit(features, truth, weights(truth)), out, auc)


def save_validity(path: Path, validity: Validity) -> None:
    """Write the classifier with skops: a format that cannot carry code."""
    import skops.io

    with atomic_path(path) as temporary:
        skops.io.dump(validity.model, temporary)


def load_validity(path: Path) -> Validity:
    """Read a classifier; a file that holds anything but trees of scikit-learn is refused.

    Raises:
        TransectError: If the file is missing, broken or holds something else.
    """
    import skops.io
    from sklearn.ensemble import GradientBoostingClassifier

    try:
        model = skops.io.load(path, trusted=_TRUSTED)
    except Exception as error:  # skops raises many kinds for broken or hostile files
        raise TransectError(
            f"{path} is not a classifier that transect wrote ({type(error).__name__}). Train again "
            "to make it anew."
        ) from error
    if model is not None and not isinstance(model, GradientBoostingClassifier):
        raise TransectError(f"{path} holds a {type(model).__name__}. Train again to make it anew.")
    return Validity(model, np.zeros(0), float("nan"))
