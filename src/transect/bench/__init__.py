"""Benchmarks of the hot paths: peer, ours and limit side by side in one run."""

from __future__ import annotations

import importlib
import pkgutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from transect.errors import unknown_name

__all__ = ["Row", "interleaved", "names", "run_all"]


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


def names() -> tuple[str, ...]:
    """The benchmarks, as a user types them."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name.replace("_", "-") for name in found))


def run_all(chosen: Sequence[str] = (), *, quick: bool = True) -> Iterator[str]:
    """Run benchmarks and lay out their rows as they come.

    Args:
        chosen: Names; none means all.
        quick: Small sizes, seconds each; else those of the design, minutes each.

    Yields:
        Lines of a table; the ratio is to the path's reference in the same run.

    Raises:
        TransectError: On an unknown name, before anything runs.
    """
    for name in chosen:
        if name not in names():
            raise unknown_name("a benchmark", name, names())
    yield f"{'path':<28}{'contender':<34}{'seconds':>10}{'ratio':>8}  note"
    for name in chosen or names():
        module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
        for row in module.run(quick=quick):
            left = f"{row.path:<28}{row.contender:<34}{row.seconds:>10.4f}{row.ratio:>8.2f}"
            yield f"{left}  {row.note}".rstrip()
