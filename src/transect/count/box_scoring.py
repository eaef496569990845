"""Average precision of boxes, as columns of what came out, so that it can be counted again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transect.count.detections import Detections
from transect.metrics.detect import COCO_THRESHOLDS, average_precision, box_hits
from transect.task import Rows

__all__ = ["Boxes", "box_columns", "precision_of"]

_LIMIT = 1000
"""Best boxes per picture and class that count; COCO takes 100, which crowds pass."""

_LEVELS = np.array(COCO_THRESHOLDS)

Boxes = tuple[NDArray[np.floating], NDArray[np.int64]]
"""(K, 4) corners, (K,) classes."""


def box_columns(
    found: Sequence[Detections], truth: Sequence[Boxes]
) -> dict[str, NDArray[np.generic]]:
    """What average precision is counted from, for every picture.

    Args:
        found: Boxes of every picture (N).
        truth: Its true ones; classes that are not told apart are all 0.

    Returns:
        ``box_scores`` (N, K) float32, -1 where there is no box; ``box_kinds`` (N, K); ``box_hits``
        (N, K) whose bit t says that the box took a true one at the t-th of COCO's ten thresholds;
        ``boxes_true`` (N, C).
    """
    classes = found[0].classes if found else 1
    tables = [_hits(one, real) for one, real in zip(found, truth, strict=True)]
    most = max((len(scores) for scores, *_ in tables), default=0)
    scores = np.full((len(found), most), -1, np.float32)
    kinds, hits = np.zeros(scores.shape, np.int16), np.zeros(scores.shape, np.int16)
    for n, (own, kind, hit) in enumerate(tables):
        scores[n, : len(own)], kinds[n, : len(own)], hits[n, : len(own)] = own, kind, hit
    real = np.array([np.bincount(kind, minlength=classes) for _, kind in truth], np.int64)
    return {
        "box_scores": scores, "box_kinds": kinds, "box_hits": hits,
        "boxes_true": real.reshape(-1, classes),
    }  # fmt: skip


def precision_of(rows: Rows) -> Mapping[str, Callable[[NDArray[np.intp]], float]]:
    """Metrics of boxes, as functions of the rows they are over.

    Args:
        rows: With the columns of ``box_columns``.

    Returns:
        ``box_ap`` (mean over IoU .50 to .95) and ``box_ap50``, means over the classes that have
        true boxes; 0 where there are none.
    """
    scores, kinds = rows["box_scores"], rows["box_kinds"]
    hits = (rows["box_hits"][None] >> np.arange(len(_LEVELS))[:, None, None]) & 1
    true = rows["boxes_true"]

    def over(levels: slice) -> Callable[[NDArray[np.intp]], float]:
        def value(chosen: NDArray[np.intp]) -> float:
            found = []
            for kind in np.flatnonzero(true[chosen].sum(axis=0)):
                some = (scores[chosen] >= 0) & (kinds[chosen] == kind)
                table = average_precision(
                    scores[chosen][some],
                    hits[levels][:, chosen][:, some].astype(bool),
                    int(true[chosen][:, kind].sum()),
                )
                found.append(table.mean())
            return float(np.mean(found)) if found else 0.0

        return value

    return {"box_ap": over(slice(None)), "box_ap50": over(slice(0, 1))}


def _hits(
    found: Detections, truth: Boxes
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Scores, classes and hits (as bits) of a picture's boxes."""
    boxes, own = truth
    parts = []
    for kind in range(found.classes):
        rows = np.flatnonzero(found.kinds == kind)
        rows = rows[np.argsort(-found.scores[rows], kind="stable")][:_LIMIT]
        hit = box_hits(found.boxes[rows], np.asarray(boxes)[own == kind], _LEVELS)
        bits = (hit << np.arange(len(_LEVELS))[:, None]).sum(axis=0)
        parts.append((found.scores[rows], np.full(len(rows), kind), bits))
    scores, kinds, bits = (np.concatenate(column) for column in zip(*parts, strict=True))
    return scores, kinds.astype(np.int64), bits.astype(np.int64)
