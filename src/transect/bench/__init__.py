"""Benchmarks of the hot paths: peer, ours and limit side by side in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Row", "interleaved"]


@dataclass(frozen=True)
class Row:
    """One measured contender.

    Attributes:
        path: The hot path, e.g. ``siamese matrix``.
        contender: Who ran.
        seconds: Median over the repeats.
        ratio: Relative to the path's reference, which has 1.
        note: What else should be known.
    """

    path: str
    contender: str
    seconds: float
    ratio: float
    note: str = ""


def interleaved(contenders: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Time contenders in turn, so that a busy machine slows all of them alike.

    Args:
        contenders: What to run, by name; each is run once before, unmeasured.
        repeats: Rounds.

    Returns:
        Median seconds by name.
    """
    for run in contenders.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
