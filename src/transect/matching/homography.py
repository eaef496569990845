"""Whether one view of a flat animal explains the matches: a fast robust fit, then RANSAC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.errors import unknown_name
from transect.matching.features import Keypoints

__all__ = ["FIRST_METHODS", "Verified", "normalised_homography", "verify"]

# The name and what OpenCV calls it. On wrong pairs, nearly all pairs, each is about a hundred
# times as fast as plain RANSAC, which must run to its last iteration there.
FIRST_METHODS = {"rho": "RHO", "magsac": "USAC_MAGSAC", "fast": "USAC_FAST", "ransac": "RANSAC"}


@dataclass(frozen=True)
class Verified:
    """What is left of the matches of two pictures.

    Attributes:
        matches: Matches that came in.
        inliers: Matches that the homography explains.
        unique: Different places among their ends in the other picture; many keypoints that
            meet in one place prove nothing.
        homography: (3, 3) float64 from query to other, in stored pixels; None if there is none.
        kept: (inliers,) rows of the matches that are left.
    """

    matches: int
    inliers: int
    unique: int
    homography: NDArray[np.float64] | None
    kept: NDArray[np.int64]


def verify(
    query: Keypoints,
    other: Keypoints,
    matches: NDArray[np.integer],
    *,
    first: str = "rho",
    first_px: float = 5.0,
    second_px: float = 9.0,
    min_matches: int = 10,
    iterations: int = 20_000,
    confidence: float = 0.995,
) -> Verified:
    """Fit a homography twice: robustly and fast on all matches, then RANSAC on the survivors.

    Args:
        query: Keypoints of the one picture.
        other: Keypoints of the other.
        matches: (M, 2) rows.
        first: Method of the first fit: rho (PROSAC), magsac, fast or ransac. The slide of the
            whale 4th place says LMedS, its code RHO.
        first_px: Largest error of the first fit, in working pixels of ``other``.
        second_px: Largest error of the second fit.
        min_matches: Fewer matches than this prove nothing (10 in the whale 4th place; 4 is the
            least that determines a homography).
        iterations: At most.
        confidence: Of both fits.

    Returns:
        The inliers, or none.

    References:
        Whale 4th place: findHomography RHO 5.0, on its inliers RANSAC 9.0.
    """
    import cv2

    if first not in FIRST_METHODS:
        raise unknown_name("the first fit", first, FIRST_METHODS)
    none = Verified(len(matches), 0, 0, None, np.zeros(0, np.int64))
    if len(matches) < max(min_matches, 4):
        return none
    start = query.points[matches[:, 0]]
    end = other.points[matches[:, 1]]
    method = getattr(cv2, FIRST_METHODS[first])
    kept = np.arange(len(matches))
    for how, limit in ((method, first_px), (cv2.RANSAC, second_px)):
        found, inside = cv2.findHomography(
            start[kept], end[kept], how, limit / other.working, None, iterations, confidence
        )
        if found is None or inside is None or found.shape != (3, 3) or not np.isfinite(found).all():
            return none
        kept = kept[inside.ravel() != 0]
        if len(kept) < 4:
            return none
    places = np.rint(end[kept] * other.working).astype(np.int64)
    unique = len(np.unique(places, axis=0))
    return Verified(len(matches), len(kept), unique, found, kept)


def normalised_homography(
    homography: NDArray[np.float64],
    query_hw: tuple[int, int],
    other_hw: tuple[int, int],
) -> NDArray[np.float64]:
    """Free a homography of the pictures' sizes: both become the square from -1 to 1.

    The whale 4th place fed raw pixel homographies to its classifier, whose photos had similar
    sizes; those of a survey need not.

    Args:
        homography: (3, 3) in pixels.
        query_hw: Size of the picture it starts from.
        other_hw: Size of the picture it ends in.

    Returns:
        (3, 3) with lower right entry 1 (or tiny, if that entry vanishes).

    Example:
        >>> normalised_homography(np.eye(3), (10, 20), (10, 20)).round(3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    matrix = _to_square(other_hw) @ homography @ np.linalg.inv(_to_square(query_hw))
    corner = float(matrix[2, 2])
    if abs(corner) < 1e-9:
        corner = 1e-9 if corner >= 0 else -1e-9
    scaled: NDArray[np.float64] = matrix / corner
    return scaled


def _to_square(size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """The map from pixels of a picture to the square from -1 to 1."""
    height, width = size_hw
    return np.array(
        [
            [2 / width, 0, -(width - 1) / width],
            [0, 2 / height, -(height - 1) / height],
            [0, 0, 1],
        ]
    )
