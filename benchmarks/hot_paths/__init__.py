"""Benchmarks of the hot paths: peer, ours and limit side by side in one run, in CPU seconds.

python -m benchmarks.hot_paths                  # all, small sizes
python -m benchmarks.hot_paths matching --full  # one, at the sizes of the design
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transect.errors import unknown_name

__all__ = ["Row", "absent", "interleaved", "names", "run_all", "table", "work_of"]


@dataclass(frozen=True)
class Row:
    """One contender.

    Attributes:
        path: The hot path, e.g. ``siamese matrix``.
        contender: Who ran.
        seconds: Median CPU seconds over the repeats; None of a peer that is not installed.
        ratio: Relative to the path's reference, which has 1.
        note: What else should be known.
        work: What it did, where contenders might differ: multiplications, parameters, items.
    """

    path: str
    contender: str
    seconds: float | None
    ratio: float | None
    note: str = ""
    work: str = ""


def absent(path: str, contender: str, module: str, line: str) -> list[Row]:
    """A row that says how to get a peer; none if it is installed.

    Args:
        path: The hot path.
        contender: The peer.
        module: What is imported.
        line: What installs it.
    """
    if importlib.util.find_spec(module) is not None:
        return []
    return [Row(path, contender, None, None, f"not installed: {line}")]


def interleaved(contenders: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Time contenders in turn, so that a busy machine slows all of them alike.

    Args:
        contenders: What to run, by name; each is run once before, unmeasured.
        repeats: Rounds.

    Returns:
        Median CPU seconds by name, those of all threads of this process together.
    """
    for run in contenders.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def work_of(model: Any, *inputs: Any) -> str:
    """What one call of a network multiplies, and its parameters.

    Args:
        model: A torch module.
        inputs: What it is called with.

    Returns:
        E.g. ``3.62 M parameters, 5.1 GMAC``.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(*inputs)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    return f"{parameters:.2f} M parameters, {counter.get_total_flops() / 2e9:.2f} GMAC"


def names() -> tuple[str, ...]:
    """The benchmarks, as a user types them."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(n.replace("_", "-") for n in found if not n.startswith("__")))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of a table whose columns hold their names."""
    cells = [("path", "contender", "cpu s", "ratio", "work", "note")]
    for row in rows:
        seconds = "-" if row.seconds is None else f"{row.seconds:.4f}"
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        cells.append((row.path, row.contender, seconds, ratio, row.work, row.note))
    used = [k for k in range(len(cells[0])) if any(row[k] for row in cells[1:])]
    widths = {k: max(len(row[k]) for row in cells) for k in used}
    for line in cells:
        yield "  ".join(
            line[k].rjust(widths[k]) if k in (2, 3) else line[k].ljust(widths[k]) for k in used
        ).rstrip()


def run_all(chosen: Sequence[str] = (), *, quick: bool = True) -> Iterator[str]:
    """Run benchmarks and lay out their rows as they come.

    Args:
        chosen: Names; none means all.
        quick: Small sizes, seconds each; else those of the design, minutes each.

    Yields:
        A table for each; the ratio is to the path's reference in the same run.

    Raises:
        TransectError: On an unknown name, before anything runs.
    """
    for name in chosen:
        if name not in names():
            raise unknown_name("a benchmark", name, names())
    for name in chosen or names():
        module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
        yield from table(module.run(quick=quick))
        yield ""
