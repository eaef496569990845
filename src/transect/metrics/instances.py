"""How good separate objects are: matching by overlap, average precision, panoptic quality, F1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = ["Matching", "ap", "f1", "instance_scores", "matching", "panoptic_quality"]

AP_THRESHOLDS = tuple(i / 100 for i in range(50, 100, 5))


@dataclass(frozen=True)
class Matching:
    """The overlap of predicted and true objects of one image.

    Attributes:
        pairs: (M, 2) int: predicted label, true label of every pair that overlaps.
        iou: (M,) their intersection over union.
        predicted: (P,) predicted labels.
        truth: (T,) true labels.
    """

    pairs: NDArray[np.int64]
    iou: NDArray[np.float64]
    predicted: NDArray[np.int64]
    truth: NDArray[np.int64]

    def at(self, threshold: float) -> NDArray[np.int64]:
        """Rows of ``pairs`` matched one to one with IoU above ``threshold``.

        From one half on, pairs cannot compete; below it, the assignment with most pairs, and
        among those the largest total overlap, is taken.
        """
        rows = np.flatnonzero(self.iou > threshold)
        if threshold >= 0.5 or rows.size == 0:
            return rows
        from scipy.optimize import linear_sum_assignment

        left, i = np.unique(self.pairs[rows, 0], return_inverse=True)
        right, j = np.unique(self.pairs[rows, 1], return_inverse=True)
        value = np.zeros((left.size, right.size))
        value[i, j] = 2 * min(value.shape) + self.iou[rows]
        chosen = np.zeros(value.shape, bool)
        chosen[linear_sum_assignment(value, maximize=True)] = True
        return rows[chosen[i, j]]


def matching(predicted: NDArray[np.integer], truth: NDArray[np.integer]) -> Matching:
    """Overlap of all objects of two label images, from one histogram of label pairs.

    Args:
        predicted: (H, W) labels; 0 is background.
        truth: (H, W) labels.

    Returns:
        The overlapping pairs only: memory does not grow with the product of object counts.

    Raises:
        TransectError: If shapes differ.

    Example:
        >>> matching(np.array([[1, 1, 0]]), np.array([[0, 5, 5]])).iou.round(3).tolist()
        [0.333]
    """
    if predicted.shape != truth.shape:
        raise TransectError(
            f"predicted and true labels must have one shape; got {predicted.shape} and "
            f"{truth.shape}. Resize labels to the picture's own size first."
        )
    p, t = predicted.ravel().astype(np.int64), truth.ravel().astype(np.int64)
    wide = int(t.max(initial=0)) + 1
    key, both = _histogram(p * wide + t)
    kinds = np.stack([key // wide, key % wide], 1)
    labels_p, area_p = _histogram(p)
    labels_t, area_t = _histogram(t)
    touching = (kinds > 0).all(1)
    pairs, both = kinds[touching], both[touching]
    area = area_p[np.searchsorted(labels_p, pairs[:, 0])]
    area = area + area_t[np.searchsorted(labels_t, pairs[:, 1])]
    return Matching(pairs, both / (area - both), labels_p[labels_p > 0], labels_t[labels_t > 0])


def ap(
    predicted: NDArray[np.integer],
    truth: NDArray[np.integer],
    thresholds: Iterable[float] = AP_THRESHOLDS,
) -> NDArray[np.float64]:
    """Instance precision TP / (TP + FP + FN) at IoU thresholds, as the nuclei competition has it.

    Args:
        predicted: (H, W) labels; 0 is background.
        truth: (H, W) labels.
        thresholds: A pair matches above these (strictly).

    Returns:
        (T,) in [0, 1]; 1 if both are without objects.
    """
    found = matching(predicted, truth)
    hits = np.array([found.at(t).size for t in thresholds], np.float64)
    below = found.predicted.size + found.truth.size - hits
    return np.where(below == 0, 1.0, hits / np.maximum(below, 1))


def f1(predicted: NDArray[np.integer], truth: NDArray[np.integer], threshold: float = 0.5) -> float:
    """Harmonic mean of precision and recall of objects at one IoU threshold; 1 if none at all."""
    found = matching(predicted, truth)
    total = found.predicted.size + found.truth.size
    return 2 * found.at(threshold).size / total if total else 1.0


def panoptic_quality(
    predicted: NDArray[np.integer], truth: NDArray[np.integer]
) -> tuple[float, float, float]:
    """Panoptic quality and its factors (Kirillov et al. 2019).

    Args:
        predicted: (H, W) labels; 0 is background.
        truth: (H, W) labels.

    Returns:
        (quality, segmentation quality, recognition quality) at IoU > 0.5; quality is the product
        of the other two. All 1 if both are without objects.
    """
    found = matching(predicted, truth)
    total = found.predicted.size + found.truth.size
    if total == 0:
        return 1.0, 1.0, 1.0
    rows = found.at(0.5)
    segmentation = float(found.iou[rows].mean()) if rows.size else 0.0
    recognition = 2 * rows.size / total
    return segmentation * recognition, segmentation, recognition


def instance_scores(
    predicted: NDArray[np.integer],
    truth: NDArray[np.integer],
    *,
    predicted_class: NDArray[np.integer] | None = None,
    true_class: NDArray[np.integer] | None = None,
) -> dict[str, float]:
    """All instance scores of one image; with class images, only objects of one class may match.

    Args:
        predicted: (H, W) labels; 0 is background.
        truth: (H, W) labels.
        predicted_class: (H, W) class of each pixel, or None for one class.
        true_class: Likewise.

    Returns:
        ``ap``, ``ap50``, ``ap75``, ``f1``, ``pq``, ``sq``, ``rq``; with classes the mean over
        those that occur in either image.
    """
    if predicted_class is None or true_class is None:
        scores = ap(predicted, truth)
        quality, segmentation, recognition = panoptic_quality(predicted, truth)
        return {
            "ap": float(scores.mean()),
            "ap50": float(scores[0]),
            "ap75": float(scores[5]),
            "f1": recognition,
            "pq": quality,
            "sq": segmentation,
            "rq": recognition,
        }
    present = np.union1d(np.unique(predicted_class[predicted > 0]), true_class[truth > 0])
    if present.size == 0:
        return instance_scores(predicted, truth)
    each = [
        instance_scores(
            np.where(predicted_class == kind, predicted, 0), np.where(true_class == kind, truth, 0)
        )
        for kind in present
    ]
    return {name: float(np.mean([scores[name] for scores in each])) for name in each[0]}


def _histogram(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct keys in rising order and how often each occurs."""
    top = int(keys.max(initial=0)) + 1
    if top <= max(4 * keys.size, 1 << 16):
        counts = np.bincount(keys, minlength=top)
        present = np.flatnonzero(counts)
        return present, counts[present]
    present, counts = np.unique(keys, return_counts=True)
    return present, counts
