"""The salt metric at 101 thresholds: image by image, in numpy, and from one sort per image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.hot_paths import Row, interleaved
from transect.metrics.segment import salt_map, salt_map_sweep

__all__ = ["run"]

Score = Callable[[NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.float64]]

_THRESHOLDS = np.arange(101) / 100


def run(quick: bool = True) -> list[Row]:
    """Measure the sweep over patches of 101 x 101, of which 39 % are empty.

    Args:
        quick: 200 patches; else 4,000.

    Returns:
        One row per contender; ratios to ours.
    """
    rng = np.random.default_rng(0)
    count = 200 if quick else 4000
    truth = np.zeros((count, 101, 101), bool)
    for i in np.flatnonzero(rng.random(count) > 0.39):
        truth[i, :, : rng.integers(1, 100)] = True
    noise = rng.normal(0.25, 0.2, truth.shape).astype(np.float32)
    p = np.clip(truth * np.float32(0.5) + noise, 0, 1)
    few = slice(0, min(count, 200))  # the loop is timed on these and scaled up

    def each(score: Score, chosen: slice) -> NDArray[np.float64]:
        levels = _THRESHOLDS.astype(np.float32)
        return np.stack([score(p[chosen] > t, truth[chosen]) for t in levels], 1)

    everything = slice(None)
    seconds = interleaved(
        {
            "loop over images and thresholds": lambda: each(_loop, few),
            "numpy, threshold by threshold": lambda: each(_numpy, everything),
            "ours, threshold by threshold": lambda: each(salt_map, everything),
            "ours, one sort per image": lambda: salt_map_sweep(p, truth, _THRESHOLDS),
        },
        3,
    )
    seconds["loop over images and thresholds"] *= count / (few.stop - few.start)
    swept = salt_map_sweep(p, truth, _THRESHOLDS)
    error = float(np.abs(swept - each(_numpy, everything)).max())
    notes = {"ours, one sort per image": f"largest difference {error:.1g}"}
    reference = seconds["ours, one sort per image"]
    return [
        Row(
            f"salt metric sweep, {count} patches",
            name,
            value,
            value / reference,
            notes.get(name, ""),
        )
        for name, value in seconds.items()
    ]


def _loop(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """As most competition kernels have it: one image at a time, one IoU threshold at a time."""
    scores = []
    for a, b in zip(predicted, truth, strict=True):
        if not a.any() and not b.any():
            scores.append(1.0)
            continue
        iou = np.logical_and(a, b).sum() / np.logical_or(a, b).sum()
        scores.append(float(np.mean([iou > t / 100 for t in range(50, 100, 5)])))
    return np.array(scores)


def _numpy(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """All images at once."""
    both, either = (predicted & truth).sum((1, 2)), (predicted | truth).sum((1, 2))
    iou = np.where(either == 0, 2.0, both / np.maximum(either, 1))
    return (iou[:, None] > np.arange(50, 100, 5) / 100).mean(1)
