"""Crops of one photo, and photos before one background: pairs that hashes do not see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.audit.chance import above_chance
from transect.audit.fingerprints import KEYPOINTS, THUMB, Prints, grey_of, picture_uint8
from transect.data.images import read_image
from transect.errors import TransectError

__all__ = ["MOST_DESCRIPTORS", "find_backgrounds", "find_crops"]

MOST_DESCRIPTORS = 50_000
"""Local features of all pictures together that are compared: about 20 s on one core."""
_VOTES = 6
_NEAR_BITS = 56
_WORK_PX = 256
_MOST_BACKGROUND = 60_000
_LEAST_BACKGROUND = 0.75
_MIDDLES_ALIKE = 0.7
_CHANCE_SPREAD = 0.1  # without decoys the limit is a correlation of 0.81


def find_crops(
    prints: Prints, paths: Mapping[str, Path], *, known: set[tuple[int, int]] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find pictures that are cut from one photo, also at another scale.

    Corners of a picture vote for the pictures where they are found again; pairs with votes enough
    are laid over one another and must agree pixel by pixel.

    Args:
        prints: With keypoints.
        paths: Name to file, for the final comparison.
        known: Pairs of rows that need no look: they are copies.

    Returns:
        (P, 2) pairs of rows and (P,) correlations of the overlap.
    """
    per_image = max(8, min(KEYPOINTS, MOST_DESCRIPTORS // max(len(prints), 1)))
    parts = [d[:per_image] for d in prints.descriptors]
    owner = np.repeat(np.arange(len(parts)), [len(d) for d in parts])
    if not 8 <= len(owner) <= 2 * MOST_DESCRIPTORS:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    descriptors = np.concatenate(parts)
    places = np.concatenate([k[:per_image, :2] for k in prints.keypoints])
    votes: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for start in range(0, len(owner), 512):
        part = slice(start, min(start + 512, len(owner)))
        depth = min(12, len(owner))
        apart, at = cv2.batchDistance(
            descriptors[part], descriptors, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=depth
        )
        for i, (gaps, rows) in enumerate(zip(apart.tolist(), at.tolist(), strict=True)):
            mine = start + i
            _vote(mine, gaps, rows, owner, votes)
    pairs, agree = [], []
    for (a, b), matches in sorted(votes.items()):
        if len(matches) < _VOTES or (known and (a, b) in known):
            continue
        fit = _overlap(prints, paths, (a, b), places, matches)
        if fit >= 0.85:
            pairs.append((a, b))
            agree.append(fit)
    return np.array(pairs, np.int64).reshape(-1, 2), np.array(agree)


def _vote(
    mine: int,
    gaps: list[int],
    rows: list[int],
    owner: NDArray[np.int64],
    votes: dict[tuple[int, int], list[tuple[int, int]]],
) -> None:
    """One corner's vote: its nearest in another picture, if no third picture has one as near."""
    best: tuple[int, int] | None = None
    for gap, row in zip(gaps, rows, strict=True):
        if row < 0 or owner[row] == owner[mine]:
            continue
        if best is None:
            if gap > _NEAR_BITS:
                return
            best = gap, row
        elif owner[row] != owner[best[1]]:
            if gap < 1.15 * best[0] + 2:
                return
            break
    if best is None:
        return
    a, b = int(owner[mine]), int(owner[best[1]])
    key = (min(a, b), max(a, b))
    votes.setdefault(key, []).append((mine, best[1]) if a < b else (best[1], mine))


def _overlap(
    prints: Prints,
    paths: Mapping[str, Path],
    pair: tuple[int, int],
    places: NDArray[np.float32],
    matches: list[tuple[int, int]],
) -> float:
    """Correlation of two pictures where one is laid on the other; 0 if they cannot be."""
    both = np.array(sorted(set(matches)))
    source, target = places[both[:, 0]], places[both[:, 1]]
    reach = float(max(*prints.size_hw[pair[0]], *prints.size_hw[pair[1]]))
    matrix, inliers = cv2.estimateAffinePartial2D(
        source, target, ransacReprojThreshold=max(2.0, 0.01 * reach), maxIters=500
    )
    if matrix is None or int(inliers.sum()) < _VOTES - 1:
        return 0.0
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if not 0.1 < scale < 10:
        return 0.0
    try:
        first, ours = _small(paths[prints.names[pair[0]]])
        second, theirs = _small(paths[prints.names[pair[1]]])
    except TransectError:
        return 0.0
    up = np.diag([theirs, theirs, 1.0]) @ np.vstack([matrix, [0, 0, 1]])
    down = up @ np.diag([1 / ours, 1 / ours, 1.0])
    size = second.shape[::-1]
    laid = cv2.warpAffine(first, down[:2], size)
    there = cv2.warpAffine(np.ones_like(first), down[:2], size) > 0
    if there.sum() < 400:
        return 0.0
    a = cv2.GaussianBlur(laid, (0, 0), 1.0)[there]
    b = cv2.GaussianBlur(second, (0, 0), 1.0)[there]
    if min(a.std(), b.std()) < 3 or (np.abs(a - np.median(a)) > 8).mean() < 0.2:
        return 0.0  # strokes on plain paper agree by chance
    return float(np.corrcoef(a, b)[0, 1])


def _small(path: Path) -> tuple[NDArray[np.float32], float]:
    """A picture in grey, at most 256 pixels long, and the factor to it."""
    picture = picture_uint8(read_image(path))
    grey = grey_of(picture)
    factor = min(1.0, _WORK_PX / max(grey.shape))
    size = (max(round(grey.shape[1] * factor), 2), max(round(grey.shape[0] * factor), 2))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32), factor


def find_backgrounds(
    prints: Prints, *, known: set[tuple[int, int]] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find pictures with one background: alike all around, unlike in the middle.

    Open water looks alike everywhere. So the same pictures are compared with one another mirrored
    as well: no two of these have one background, and what they reach is chance.

    Args:
        prints: Of all pictures.
        known: Pairs of rows that are copies anyway.

    Returns:
        (P, 2) pairs of rows and (P,) correlations of the fine detail of their outer parts.
    """
    none = np.zeros((0, 2), np.int64), np.zeros(0)
    if not 2 <= len(prints) <= _MOST_BACKGROUND:
        return none
    values = prints.grey.astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(v, (0, 0), 3) for v in values])
    fine = values - smooth
    edge = THUMB // 4
    ring = np.ones((THUMB, THUMB), np.bool_)
    ring[edge:-edge, edge:-edge] = False
    outer = fine[:, ring]
    # Drawings on plain paper share the paper; a background that can be known has texture.
    rim = values[:, ring]
    busy = (np.abs(rim - np.median(rim, axis=1, keepdims=True)) > 4.0).mean(axis=1)
    textured = ((np.abs(outer) > 1.5).mean(axis=1) > 0.6) & (busy > 0.5)
    good = np.flatnonzero((outer.std(axis=1) > 4.0) & textured & ~prints.flat)
    if len(good) < 2:
        return none
    chosen = fine[good]
    around, middle = _unit(chosen[:, ring]), _unit(chosen[:, ~ring])
    mirrored = chosen[:, :, ::-1]
    _, decoys = _alike(around, middle, _unit(mirrored[:, ring]), _unit(mirrored[:, ~ring]))
    rows, agree = _alike(around, middle, around, middle)
    floor = float(_open_ended(np.array(_LEAST_BACKGROUND)))
    limit = above_chance(_open_ended(decoys), floor=floor, spread=_CHANCE_SPREAD)
    pairs = good[rows]
    fresh = np.array([(a, b) not in (known or ()) for a, b in pairs.tolist()], np.bool_)
    keep = (_open_ended(agree) >= limit) & fresh
    pairs, agree = pairs[keep], agree[keep]
    # A logo, a scale bar or a vignette is on every picture: that is no background of two.
    times = np.unique(pairs, return_counts=True)[1]
    if len(times) and float(times.mean()) > 0.2 * len(good) and len(good) > 20:
        return none
    return pairs, agree


def _alike(
    around: NDArray[np.float32],
    middle: NDArray[np.float32],
    other_around: NDArray[np.float32],
    other_middle: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(P, 2) rows i < j that are alike around and not in the middle, and (P,) how alike."""
    pairs, agree = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for start in range(0, len(around), 1024):
        near = around[start : start + 1024] @ other_around.T
        rows = np.argwhere(np.triu(near >= _LEAST_BACKGROUND, k=start + 1))
        score = near[rows[:, 0], rows[:, 1]].astype(np.float64)
        rows[:, 0] += start
        inner = np.einsum("pd,pd->p", middle[rows[:, 0]], other_middle[rows[:, 1]])
        keep = inner <= _MIDDLES_ALIKE
        pairs.append(rows[keep])
        agree.append(score[keep])
    return np.concatenate(pairs), np.concatenate(agree)


def _open_ended(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fisher's transform squared: normal by chance, so that its square has an exponential tail."""
    return np.asarray(np.arctanh(np.minimum(correlation, 1 - 1e-6)) ** 2, np.float64)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows with mean 0 and length 1."""
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-6), np.float32)
