"""Boxes and points of several detectors or tiles: suppress, soften, fuse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transect.errors import unknown_name

__all__ = ["fuse_points", "nms", "shrink", "soft_nms", "weighted_boxes_fusion"]


def nms(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    overlap: float = 0.5,
    classes: NDArray[np.integer] | None = None,
) -> NDArray[np.int64]:
    """Keep the best box of every heap.

    Args:
        boxes: (K, 4) x0, y0, x1, y1.
        scores: (K,).
        overlap: A box goes if its IoU with a better kept one is above this.
        classes: (K,); boxes of different classes do not compete.

    Returns:
        Rows kept, best first.
    """
    boxes, scores = _tidy(boxes, scores)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        rival = _iou_one(boxes[best], boxes[rest]) > overlap
        if classes is not None:
            rival &= classes[rest] == classes[best]
        order = rest[~rival]
    return np.array(kept, np.int64)


def soft_nms(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    overlap: float = 0.3,
    min_score: float = 0.001,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Lower the scores of overlapping boxes instead of dropping them (Bodla et al. 2017).

    Args:
        boxes: (K, 4) x0, y0, x1, y1.
        scores: (K,).
        method: ``gaussian``: times exp(-IoU^2 / sigma); ``linear``: times 1 - IoU above
            ``overlap``.
        sigma: Of the Gaussian form.
        overlap: Of the linear form.
        min_score: Boxes that fall below are dropped.

    Returns:
        Rows kept, best first, and their new scores.
    """
    if method not in ("gaussian", "linear"):
        raise unknown_name("method", method, ("gaussian", "linear"))
    boxes, scores = _tidy(boxes, scores)
    scores = scores.copy()
    left = np.arange(len(boxes))
    kept: list[int] = []
    while left.size:
        best = int(left[scores[left].argmax()])
        if scores[best] < min_score:
            break
        kept.append(best)
        left = left[left != best]
        share = _iou_one(boxes[best], boxes[left])
        if method == "gaussian":
            scores[left] *= np.exp(-(share**2) / sigma)
        else:
            scores[left] *= np.where(share > overlap, 1 - share, 1)
    rows = np.array(kept, np.int64)
    return rows, scores[rows]


def weighted_boxes_fusion(
    boxes: Sequence[NDArray[np.floating]],
    scores: Sequence[NDArray[np.floating]],
    classes: Sequence[NDArray[np.integer]] | None = None,
    *,
    weights: Sequence[float] | None = None,
    overlap: float = 0.55,
    min_score: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Average the boxes of several models, weighted by score (Solovyev, Wang, Gabruseva 2021).

    Args:
        boxes: Per model (K, 4) x0, y0, x1, y1.
        scores: Per model (K,).
        classes: Per model (K,), or None for one class.
        weights: Per model; None is 1 each.
        overlap: IoU above which a box joins a heap.
        min_score: Boxes below it are left out.

    Returns:
        (M, 4) boxes, (M,) scores, (M,) classes, best first. A heap that few models agree on has
        its score lowered in proportion.
    """
    trust = np.ones(len(boxes)) if weights is None else np.asarray(weights, np.float64)
    if not len(boxes):
        return np.empty((0, 4)), np.empty(0), np.empty(0, np.int64)
    tidy = [_tidy(b, s) for b, s in zip(boxes, scores, strict=True)]
    place = np.concatenate([b for b, _ in tidy])
    raw = np.concatenate([s for _, s in tidy])
    score = np.concatenate([s * w for (_, s), w in zip(tidy, trust, strict=True)])
    kind = (
        np.zeros(len(raw), np.int64)
        if classes is None
        else np.concatenate([np.asarray(c, np.int64).ravel() for c in classes])
    )
    usable = np.flatnonzero(raw >= min_score)
    order = usable[np.argsort(-score[usable], kind="stable")]
    fused = np.empty((len(order), 4))
    mass, count, group = np.zeros(len(order)), np.zeros(len(order), int), np.zeros(len(order), int)
    used = 0
    for row in order:
        near = np.where(group[:used] == kind[row], _iou_one(place[row], fused[:used]), 0)
        heap = int(near.argmax()) if used and near.max() > overlap else used
        if heap == used:
            group[used], used = kind[row], used + 1
            fused[heap] = 0
        total = mass[heap] + score[row]
        share = score[row] / total if total > 0 else 1 / (count[heap] + 1)
        fused[heap] = fused[heap] * (1 - share) + place[row] * share
        mass[heap] = total
        count[heap] += 1
    sure = mass[:used] / count[:used] * np.minimum(count[:used], len(trust)) / trust.sum()
    best = np.argsort(-sure, kind="stable")
    return fused[:used][best], sure[best], group[:used][best]


def fuse_points(
    points: Sequence[NDArray[np.floating]],
    scores: Sequence[NDArray[np.floating]],
    *,
    radius: float,
    min_votes: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Average the points of several models or views that mean the same object.

    Best first, a point takes from every other model its nearest free point within the radius.

    Args:
        points: Per model (K, 2) x, y.
        scores: Per model (K,), > 0.
        radius: In pixels.
        min_votes: Objects that fewer models saw are left out.

    Returns:
        (M, 2) score-weighted places, (M,) mean score over all models (absent counts 0), (M,)
        votes; best first.
    """
    from scipy.spatial import KDTree

    place = np.concatenate(
        [np.asarray(p, np.float64).reshape(-1, 2) for p in points] or [np.empty((0, 2))]
    )
    score = np.concatenate([np.asarray(s, np.float64).ravel() for s in scores] or [np.empty(0)])
    model = np.repeat(np.arange(len(points)), [len(np.asarray(s).ravel()) for s in scores])
    if not len(place):
        return np.empty((0, 2)), np.empty(0), np.empty(0, np.int64)
    near = KDTree(place).query_ball_point(place, radius)
    free = np.ones(len(place), bool)
    where, sure, votes = [], [], []
    for row in np.argsort(-score, kind="stable"):
        if not free[row]:
            continue
        rivals = np.array(near[row])
        rivals = rivals[free[rivals] & (model[rivals] != model[row])]
        rivals = rivals[np.argsort(((place[rivals] - place[row]) ** 2).sum(1), kind="stable")]
        _, first = np.unique(model[rivals], return_index=True)
        heap = np.append(rivals[first], row)
        free[heap] = False
        where.append(np.average(place[heap], axis=0, weights=np.maximum(score[heap], 1e-12)))
        sure.append(score[heap].sum() / len(points))
        votes.append(len(heap))
    count, mean = np.array(votes, np.int64), np.array(sure)
    keep = np.flatnonzero(count >= min_votes)
    keep = keep[np.argsort(-mean[keep], kind="stable")]
    return np.array(where)[keep], mean[keep], count[keep]


def shrink(boxes: NDArray[np.floating], share: float) -> NDArray[np.float64]:
    """Move every side inward by this share of the box's size (negative grows it)."""
    box = np.asarray(boxes, np.float64).reshape(-1, 4)
    inward = share * (box[:, 2:] - box[:, :2])
    return np.concatenate([box[:, :2] + inward, box[:, 2:] - inward], 1)


def _tidy(
    boxes: NDArray[np.floating], scores: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes as (K, 4) and scores as (K,), in float64."""
    return np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(scores, np.float64).ravel()


def _iou_one(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K,) intersection over union of one box with others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = np.clip(high - low, 0, None).prod(1)
    area = np.clip(others[:, 2:] - others[:, :2], 0, None).prod(1)
    union = area + np.clip(box[2:] - box[:2], 0, None).prod() - both
    return np.where(union > 0, both / np.where(union > 0, union, 1), 0.0)
