"""Training of detectors: boxes as rows of a batch, the step, and what ranks their epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.types import Sample

__all__ = ["LOSS", "box_target", "detector_counts", "detector_step"]

LOSS = "detector"
"""The loss of stages that train detectors: the head's own terms, added up."""

_LEAST_PX = 2.0  # sides of what is left of a box at the edge of a tile; our choice


def box_target(
    most: int,
) -> Callable[[Sample], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """A target of dense batches that holds boxes.

    Args:
        most: Rows, as many as the fullest picture has boxes.

    Returns:
        From a sample whose boxes are x0, y0, x1, y1, class to (``most``, 5) class, x0, y0, x1, y1
        as edges (the first pixel reaches from 0 to 1), class -1 where there is none; and ones,
        (1, h, w).
    """

    def target(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert sample.boxes is not None
        height, width = sample.image.shape[:2]
        edges = np.clip(sample.boxes[:, :4] + 0.5, 0, [width, height, width, height])
        kept = ((edges[:, 2:] - edges[:, :2]) >= _LEAST_PX).all(axis=1)
        rows = np.full((most, 5), -1, np.float32)
        rows[: kept.sum(), 0] = sample.boxes[kept, 4]
        rows[: kept.sum(), 1:] = edges[kept]
        return rows, np.ones((1, height, width), np.float32)

    return target


def detector_step(
    model: nn.Module, batch: dict[str, Tensor], progress: float
) -> tuple[Tensor, dict[str, float]]:
    """The sum of a detector's own losses, and each of them."""
    del progress
    parts: dict[str, Tensor] = model(batch["image"], batch["target"])
    total = torch.stack(list(parts.values())).sum()
    return total, {name: float(value.detach()) for name, value in parts.items()}


def detector_counts(
    model: nn.Module, batches: Sequence[Mapping[str, Tensor]], classes: int, device: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of scores, and numbers of boxes, of every window of some batches.

    Args:
        model: A detector in evaluation mode.
        batches: With ``image`` and ``target``.
        classes: Number of classes (C).
        device: Where the model is.

    Returns:
        (N, C) sums of scores and (N, C) boxes.
    """
    sums, truth = [], []
    for batch in batches:
        found: list[dict[str, Any]] = model(batch["image"].to(device))
        for one, rows in zip(found, batch["target"], strict=True):
            labels, scores = one["labels"].cpu().numpy(), one["scores"].double().cpu().numpy()
            sums.append(np.bincount(labels, scores, minlength=classes))
            kinds = rows[rows[:, 0] >= 0, 0].long().numpy()
            truth.append(np.bincount(kinds, minlength=classes).astype(np.float64))
    return np.array(sums), np.array(truth)
