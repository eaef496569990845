"""What detectors say of a picture: boxes with scores, which count as peaks of a map do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from transect.postprocess.boxes import nms, weighted_boxes_fusion

__all__ = ["Detections", "fused"]

Floats = NDArray[np.float64]

OVERLAP = 0.5
"""IoU above which two boxes of one class are the same object; the usual choice."""


@dataclass(frozen=True)
class Detections:
    """Boxes of one picture, best first.

    Attributes:
        boxes: (K, 4) x0, y0, x1, y1 in pixels of the picture; the middle of the first pixel is 0.
        scores: (K,) in [0, 1].
        kinds: (K,) class numbers from 0.
        classes: Number of classes.
        size_hw: (H, W) of the picture.
    """

    boxes: Floats
    scores: Floats
    kinds: NDArray[np.int64]
    classes: int
    size_hw: tuple[int, int]

    @staticmethod
    def of(
        boxes: Floats,
        scores: Floats,
        kinds: NDArray[np.int64],
        *,
        classes: int,
        size_hw: tuple[int, int],
    ) -> Detections:
        """Cut boxes to the picture, keep the best of every heap, sort them."""
        edge = np.array([size_hw[1], size_hw[0]] * 2, np.float64) - 0.5
        boxes = np.clip(np.asarray(boxes, np.float64).reshape(-1, 4), -0.5, edge)
        some = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, scores, kinds = boxes[some], np.asarray(scores, np.float64)[some], kinds[some]
        rows = nms(boxes, scores, overlap=OVERLAP, classes=kinds)
        return Detections(boxes[rows], scores[rows], kinds[rows], classes, size_hw)

    @property
    def centres(self) -> Floats:
        """(K, 2) x, y of the middles."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @property
    def peaks(self) -> Floats:
        """(K, 4) row, column, score, class: what ``Measured.together`` holds."""
        return np.column_stack([self.centres[:, ::-1], self.scores, self.kinds])

    def to_pixels(self, cells: NDArray[np.floating]) -> Floats:
        """Positions (K, 2) of row, column as x, y: pixels are the cells."""
        return np.asarray(cells[:, ::-1], np.float64)

    def to_cells(self, points: NDArray[np.floating]) -> Floats:
        """Positions (K, 2) of x, y as they are."""
        return np.asarray(points, np.float64)

    def part(self, top: int, left: int, size_hw: tuple[int, int]) -> Detections:
        """Those whose middle lies in a block of the picture, in pixels of the block."""
        low = np.array([left, top]) - 0.5
        high = low + np.array(size_hw[::-1])
        inside = ((self.centres >= low) & (self.centres < high)).all(axis=1)
        moved = self.boxes[inside] - np.array([left, top] * 2)
        return replace(
            self,
            boxes=moved,
            scores=self.scores[inside],
            kinds=self.kinds[inside],
            size_hw=size_hw,
        )

    def save(self, file: BinaryIO) -> None:
        """Write them; sizes and classes are known to whoever reads them."""
        np.savez_compressed(file, boxes=self.boxes, scores=self.scores, kinds=self.kinds)


def fused(found: Sequence[Detections], weights: Sequence[float] | None = None) -> Detections:
    """What several networks say together, by weighted boxes fusion.

    Args:
        found: Of one picture by each network, at least one.
        weights: Of the networks; None is the same for all.

    Returns:
        Boxes averaged by their scores; an object that few see has a low score.
    """
    first = found[0]
    if len(found) == 1:
        return first
    boxes, scores, kinds = weighted_boxes_fusion(
        [one.boxes for one in found],
        [one.scores for one in found],
        [one.kinds for one in found],
        weights=weights,
        overlap=OVERLAP,
    )
    return replace(first, boxes=boxes, scores=np.clip(scores, 0, 1), kinds=kinds)
