"""Descriptor matching with the ratio test: OpenCV's matcher pair by pair, and ours."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.hot_paths import Row, interleaved
from transect.matching.match import Stacked, match_many

__all__ = ["run"]

_KEYPOINTS, _RATIO = 500, 0.8


def run(quick: bool = True) -> list[Row]:
    """Measure one photo of 500 keypoints against a gallery, ratio .8, many-to-one allowed.

    Args:
        quick: 20 gallery photos; else 400.

    Returns:
        Rows; ratios to ours. The limit is the matrix product alone.
    """
    pictures, rounds = (20, 5) if quick else (400, 5)
    rng = np.random.default_rng(0)
    query = _unit(rng.gamma(0.5, size=(_KEYPOINTS, 128)))
    gallery = _unit(rng.gamma(0.5, size=(pictures, _KEYPOINTS, 128)))
    shown = rng.permutation(_KEYPOINTS)[:200]  # the first photo shows 200 of them again
    gallery[0, :200] = _unit(query[shown] + rng.normal(0, 0.02, (200, 128)))
    stacked = Stacked(gallery, np.full(pictures, _KEYPOINTS))
    matcher = cv2.BFMatcher(cv2.NORM_L2)

    def theirs() -> list[NDArray[np.int64]]:
        found = []
        for other in gallery:
            pairs = matcher.knnMatch(query, other, k=2)
            kept = [a for a, b in pairs if a.distance < _RATIO * b.distance]
            found.append(np.array([(m.queryIdx, m.trainIdx) for m in kept]).reshape(-1, 2))
        return found

    def ours() -> list[NDArray[np.int64]]:
        return match_many(query, stacked, ratio=_RATIO, unique=False)

    def product() -> None:
        for start in range(0, pictures, 2):
            query @ gallery[start : start + 2].reshape(-1, 128).T

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        seconds = interleaved(
            {"cv2.BFMatcher": theirs, "ours": ours, "limit: the product": product}, rounds
        )
        both = list(zip(theirs(), ours(), strict=True))
    finally:
        cv2.setNumThreads(threads)
    unlike = sum(len(set(map(tuple, a)) ^ set(map(tuple, b))) for a, b in both)
    notes = {"ours": f"{unlike} of {sum(len(a) for a, _ in both)} matches differ"}
    path = f"matching, {pictures} pairs of {_KEYPOINTS}"
    return [
        Row(path, name, value, value / seconds["ours"], notes.get(name, ""))
        for name, value in seconds.items()
    ]


def _unit(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors of length 1."""
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)
