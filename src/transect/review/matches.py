"""Lines between two photos of individuals: local features that agree, checked by geometry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transect.matching import KeypointSpec, extract, match_one, verify

__all__ = ["match_lines"]

_SHOWN = 40  # lines at most, the strongest features first; more is a thicket
_LEAST = 8  # matches before geometry is asked; four determine a homography by chance


def match_lines(
    photo: NDArray[np.uint8], other: NDArray[np.uint8]
) -> list[tuple[float, float, float, float]]:
    """Places that two photos share.

    Args:
        photo: (H, W, 3).
        other: (H, W, 3), of any size.

    Returns:
        x0, y0 in the one and x1, y1 in the other, as shares of width and height in [0, 1]; none
        where no view of one surface explains enough of the matches.
    """
    spec = KeypointSpec(enlarge_below=500)
    mine, theirs = extract(photo, spec), extract(other, spec)
    pairs = match_one(mine, theirs)
    found = verify(mine, theirs, pairs, min_matches=_LEAST)
    rows = pairs[found.kept][:_SHOWN]
    ends = [
        (points[rows[:, side]] + 0.5) / size[::-1]
        for side, points, size in (
            (0, mine.points, photo.shape[:2]),
            (1, theirs.points, other.shape[:2]),
        )
    ]
    return [tuple(map(float, line)) for line in np.concatenate(ends, axis=1).tolist()]  # type: ignore[misc]
