"""How alike pictures are by chance: what a pair must exceed before it is called a finding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FALSE_PAIRS", "above_chance"]

FALSE_PAIRS = 0.05
"""Pairs expected to be taken for alike in a clean survey; 0.1 where 30 decoys set the limit."""


def above_chance(decoys: NDArray[np.floating], *, floor: float, spread: float) -> float:
    """The least score that chance reaches ``FALSE_PAIRS`` times in a survey.

    Decoys are pairs that look like those that are compared and cannot be alike, such as a picture
    beside another one mirrored. Their number beyond ``floor`` and the mean by which they exceed it
    give an exponential tail, which is followed to where less than ``FALSE_PAIRS`` are left.

    Args:
        decoys: (D,) scores of as many comparisons as are judged, larger is more alike, on a scale
            on which chance has an exponential tail.
        floor: Nothing below this is ever a finding.
        spread: The excess that counts as one decoy more, so that few decoys give a limit too.

    Returns:
        The limit, above ``floor``.

    Example:
        >>> round(above_chance(np.array([1.0, 1.5, 2.0]), floor=0.5, spread=1.0), 3)
        4.882
    """
    excess = np.asarray(decoys, np.float64)
    excess = excess[excess > floor] - floor
    count = len(excess) + 1
    mean = (float(excess.sum()) + spread) / count
    return floor + mean * float(np.log(count / FALSE_PAIRS))
