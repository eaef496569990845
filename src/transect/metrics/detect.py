"""Average precision of boxes after COCO's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["COCO_THRESHOLDS", "average_precision", "box_ap", "box_hits", "box_iou"]

COCO_THRESHOLDS = tuple(i / 100 for i in range(50, 100, 5))


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of all pairs of boxes.

    Args:
        a: (P, 4) x0, y0, x1, y1 as edges: the area is (x1 - x0) * (y1 - y0).
        b: (T, 4).

    Returns:
        (P, T) in [0, 1]; 0 for boxes without area.
    """
    a, b = np.asarray(a, np.float64).reshape(-1, 4), np.asarray(b, np.float64).reshape(-1, 4)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(2)
    area_a = np.clip(a[:, 2:] - a[:, :2], 0, None).prod(1)
    area_b = np.clip(b[:, 2:] - b[:, :2], 0, None).prod(1)
    union = area_a[:, None] + area_b[None] - both
    return np.where(union > 0, both / np.where(union > 0, union, 1), 0.0)


def box_ap(
    predicted: Sequence[Mapping[str, NDArray[np.generic]]],
    truth: Sequence[Mapping[str, NDArray[np.generic]]],
    *,
    thresholds: Iterable[float] = COCO_THRESHOLDS,
    limit: int = 100,
) -> dict[str, float]:
    """COCO's average precision: matched best score first, 101 recalls, mean over classes.

    Args:
        predicted: Per image ``boxes`` (P, 4), ``scores`` (P,), ``classes`` (P,).
        truth: Per image ``boxes`` (T, 4), ``classes`` (T,).
        thresholds: A box matches at IoU >= these.
        limit: Best boxes per image and class that count.

    Returns:
        ``ap`` over all thresholds, ``ap50``, ``ap75``, ``recall`` at ``limit`` boxes, and
        ``ap:CLASS`` for each class; nan if there is no true box. No crowd regions and no area
        ranges.
    """
    levels = np.array(list(thresholds))
    names = np.unique([name for t in truth for name in np.asarray(t["classes"]).tolist()])
    tables, recalls = [], []
    result: dict[str, float] = {}
    for name in names:
        table, recall = _class_ap(predicted, truth, name, levels, limit)
        tables.append(table)
        recalls.append(recall)
        result[f"ap:{name}"] = float(table.mean())
    if not tables:
        return {"ap": np.nan, "ap50": np.nan, "ap75": np.nan, "recall": np.nan}
    mean = np.mean(tables, axis=0)
    result["ap"], result["recall"] = float(mean.mean()), float(np.mean(recalls))
    for key, level in (("ap50", 0.5), ("ap75", 0.75)):
        found = np.flatnonzero(np.isclose(levels, level))
        result[key] = float(mean[found[0]]) if found.size else float("nan")
    return result


def _class_ap(
    predicted: Sequence[Mapping[str, NDArray[np.generic]]],
    truth: Sequence[Mapping[str, NDArray[np.generic]]],
    name: object,
    levels: NDArray[np.float64],
    limit: int,
) -> tuple[NDArray[np.float64], float]:
    """(T,) average precision of one class, and its mean recall."""
    scores, hits, total = [], [], 0
    for guess, real in zip(predicted, truth, strict=True):
        mine = np.asarray(guess["classes"]) == name
        boxes = np.asarray(guess["boxes"], np.float64).reshape(-1, 4)[mine]
        score = np.asarray(guess["scores"], np.float64)[mine]
        order = np.argsort(-score, kind="stable")[:limit]
        wanted = np.asarray(real["boxes"], np.float64).reshape(-1, 4)[
            np.asarray(real["classes"]) == name
        ]
        total += len(wanted)
        scores.append(score[order])
        hits.append(box_hits(boxes[order], wanted, levels))
    hit = np.concatenate(hits, 1)
    return average_precision(np.concatenate(scores), hit, total), float(hit.sum(1).mean() / total)


def average_precision(
    scores: NDArray[np.floating], hits: NDArray[np.bool_], total: int
) -> NDArray[np.float64]:
    """COCO's average precision of boxes whose hits are known, over all images.

    Args:
        scores: (P,).
        hits: (T, P) whether a box took a true one, at each of T thresholds.
        total: True boxes, above 0.

    Returns:
        (T,) the mean of the precision at 101 recalls.
    """
    hit = hits[:, np.argsort(-scores, kind="stable")]
    good = hit.cumsum(1)
    precision = good / np.arange(1, hit.shape[1] + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    recall = good / total
    table = np.zeros(len(hits))
    for i in range(len(hits)):
        place = np.searchsorted(recall[i], np.linspace(0, 1, 101), side="left")
        inside = place < hit.shape[1]
        table[i] = precision[i][place[inside]].sum() / 101
    return table


def box_hits(
    boxes: NDArray[np.floating], truth: NDArray[np.floating], levels: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which boxes of one image and class take a true box that is still free.

    Args:
        boxes: (P, 4), best first.
        truth: (N, 4).
        levels: (T,) least IoU.

    Returns:
        (T, P).
    """
    overlap = box_iou(boxes, truth)
    hit = np.zeros((len(levels), len(overlap)), bool)
    if not overlap.size:
        return hit
    for i, level in enumerate(levels):
        free = np.ones(overlap.shape[1], bool)
        for p, row in enumerate(overlap):
            best = int(np.where(free, row, -1).argmax())
            if free[best] and row[best] >= level:
                free[best], hit[i, p] = False, True
    return hit
