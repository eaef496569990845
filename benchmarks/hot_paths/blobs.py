"""Blobs for six thresholds: scikit-image once per threshold, ours from one scale space."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.hot_paths import Row, interleaved
from transect.postprocess.blobs import blobs

__all__ = ["run"]

_THRESHOLDS = (0.02, 0.04, 0.08, 0.16, 0.24, 0.5)  # sea lion 2nd place


def run(quick: bool = True) -> list[Row]:
    """Measure one map of 936 x 1404, a sea lion picture at a quarter of its side.

    Args:
        quick: One class; else five.

    Returns:
        One row per contender; ratios to ours. The limit is the four blurs alone, in float32.
    """
    from skimage.feature import blob_log

    rng = np.random.default_rng(0)
    maps = []
    for _ in range(1 if quick else 5):
        image = np.zeros((936, 1404))
        for y, x in rng.integers(0, (932, 1400), (1500, 2)):
            image[y : y + 4, x : x + 4] = rng.random() * 0.5 + 0.5
        blurred = cv2.GaussianBlur(image, (0, 0), 1.0)
        maps.append(np.clip(blurred + rng.normal(0, 0.005, image.shape), 0, 1))
    single = [image.astype(np.float32) for image in maps]

    def theirs() -> list[dict[float, object]]:
        return [
            {
                t: blob_log(m, min_sigma=1, max_sigma=4, num_sigma=4, threshold=t)
                for t in _THRESHOLDS
            }
            for m in maps
        ]

    def ours() -> list[dict[float, object]]:
        return [dict(blobs(m, thresholds=_THRESHOLDS)) for m in maps]

    def blurs() -> None:
        for image in single:
            for sigma in (1, 2, 3, 4):
                cv2.GaussianBlur(image, (8 * sigma + 1,) * 2, sigma)

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        seconds = interleaved(
            {"scikit-image per threshold": theirs, "ours": ours, "limit: four blurs": blurs},
            1 if quick else 5,
        )
        same = all(
            np.array_equal(np.asarray(a[t]), np.asarray(b[t]))
            for a, b in zip(theirs(), ours(), strict=True)
            for t in _THRESHOLDS
        )
    finally:
        cv2.setNumThreads(threads)
    notes = {"ours": "identical blobs" if same else "blobs differ"}
    return [
        Row(
            f"blobs, {len(maps)} classes x 6",
            name,
            value,
            value / seconds["ours"],
            notes.get(name, ""),
        )
        for name, value in seconds.items()
    ]
