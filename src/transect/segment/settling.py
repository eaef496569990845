"""How many held-out images the decisions are tuned on: as many as the time that is left allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from transect.recipe import Recipe, SegmentDecide
from transect.run import RunFolder
from transect.train.spent import Spent

__all__ = ["tuned_images"]

_TIMED = 4  # images whose decision is timed; our choice
_LEAST, _MOST = 12, 400  # fewer cannot tell thresholds apart, more change none; our guess


def tuned_images(
    run: RunFolder, recipe: Recipe, chosen: Sequence[int], *, once: Callable[[int], object],
    asked: float,
) -> list[int]:  # fmt: skip
    """Evenly taken images for the search of the decisions.

    Without a plan these are ``decide.pictures``. With one, a decision is timed on the real maps of
    a few images, and the number follows from what the plan gives the phase and what the phases
    before it have saved; it is noted in ``tuned.json``, so that a resumed run tunes on the same.

    Args:
        run: The run.
        recipe: Its decisions and its plan.
        chosen: All images with out-of-fold maps.
        once: Decides on one of them and scores the answer.
        asked: Times that the search asks for an image.

    Returns:
        Some of ``chosen``, at least 12 if there are so many.
    """
    assert isinstance(recipe.decide, SegmentDecide)
    seconds = Spent(run).left_for("deciding", recipe.plan)
    noted = run.path / "tuned.json"
    count = recipe.decide.pictures
    if noted.is_file():
        count = int(run.read_json("tuned.json")["images"])
    elif seconds is not None:
        each = _seconds_each(chosen, once)
        count = min(max(_LEAST, int(seconds / (each * asked))), _MOST)
        run.write_json("tuned.json", {"images": count, "seconds": seconds, "each": each})
    return list(chosen[:: max(1, -(-len(chosen) // count))])


def _seconds_each(chosen: Sequence[int], once: Callable[[int], object]) -> float:
    """Seconds of one decision on a real map; the first call, which imports, does not count."""
    some = chosen[:: max(1, len(chosen) // _TIMED)][:_TIMED]
    once(some[0])
    began = time.perf_counter()
    for i in some:
        once(i)
    return max((time.perf_counter() - began) / len(some), 1e-6)
