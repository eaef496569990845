"""Homographies of wrong and of true pairs: one RANSAC, and a fast fit before it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.hot_paths import Row, interleaved
from transect.matching.features import Keypoints
from transect.matching.homography import verify

__all__ = ["run"]

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def run(quick: bool = True) -> list[Row]:
    """Measure pairs of 60 matches: all wrong, as most pairs of a catalogue are, and 40 true ones.

    Args:
        quick: 5 pairs of each; else 100.

    Returns:
        Rows for wrong and for true pairs; ratios to ours.
    """
    count, rounds = (5, 3) if quick else (100, 3)
    every = np.stack([np.arange(60)] * 2, axis=1)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    rows = []
    try:
        for kind, true in (("wrong", 0), ("true", 40)):
            rng = np.random.default_rng(0)
            pairs = [_pair(rng, true) for _ in range(count)]
            shown = [(_keypoints(a), _keypoints(b)) for a, b in pairs]

            def theirs(pairs: list[Pair] = pairs) -> list[int]:
                found = [
                    cv2.findHomography(a, b, cv2.RANSAC, 9.0, None, 20_000, 0.995)[1]
                    for a, b in pairs
                ]
                return [0 if inside is None else int(inside.sum()) for inside in found]

            def ours(shown: list[tuple[Keypoints, Keypoints]] = shown) -> list[int]:
                return [verify(a, b, every).inliers for a, b in shown]

            seconds = interleaved({"cv2 RANSAC": theirs, "ours": ours}, rounds)
            inliers = {"cv2 RANSAC": np.mean(theirs()), "ours": np.mean(ours())}
            rows += [
                Row(
                    f"homography, {count} {kind} pairs",
                    name,
                    value,
                    value / seconds["ours"],
                    f"{inliers[name]:.1f} inliers a pair",
                )
                for name, value in seconds.items()
            ]
    finally:
        cv2.setNumThreads(threads)
    return rows


def _pair(rng: np.random.Generator, true: int) -> Pair:
    """Places in two photos; so many of them belong together, to within a pixel."""
    start = rng.uniform(0, 640, (60, 2))
    end = rng.uniform(0, 640, (60, 2))
    turn = rng.uniform(-0.3, 0.3)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    end[:true] = start[:true] @ matrix.T + rng.uniform(-40, 40, 2) + rng.normal(0, 1, (true, 2))
    return start.astype(np.float32), end.astype(np.float32)


def _keypoints(points: NDArray[np.float32]) -> Keypoints:
    """Places alone: no descriptor is asked any more."""
    none = np.zeros(len(points), np.float32)
    return Keypoints(points, none[:, None], none, none, none, (640, 640))
