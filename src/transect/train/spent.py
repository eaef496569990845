"""Where the time of a run went, beside where it was planned to go."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from transect.recipe import Phase
from transect.run import RunFolder
from transect.train.distributed import is_main_process

__all__ = ["Spent", "plan_table"]


@dataclass(frozen=True)
class Spent:
    """The seconds of a run by phase, kept in ``spent.json`` and added up over resumed runs.

    Attributes:
        run: The run.
    """

    run: RunFolder

    @property
    def seconds(self) -> dict[str, float]:
        """Phase to seconds of wall clock so far."""
        known = (self.run.path / "spent.json").is_file()
        return (
            {str(k): float(v) for k, v in self.run.read_json("spent.json").items()} if known else {}
        )

    @contextlib.contextmanager
    def on(self, phase: str) -> Iterator[None]:
        """Count what happens inside to a phase, also if it is interrupted; one process counts."""
        if not is_main_process():
            yield
            return
        began = time.monotonic()
        try:
            yield
        finally:
            seconds = self.seconds
            seconds[phase] = round(seconds.get(phase, 0.0) + time.monotonic() - began, 2)
            self.run.write_json("spent.json", seconds)

    def left_for(self, phase: str, plan: Sequence[Phase]) -> float | None:
        """Seconds that a phase may take: its own, and what the phases before it have saved.

        Args:
            phase: Of the plan.
            plan: Of the recipe.

        Returns:
            At least half of what was planned for it, so that one slow phase does not starve
            another; None if the plan does not name it.
        """
        names = [one.name for one in plan]
        if phase not in names:
            return None
        before = plan[: names.index(phase)]
        spent = self.seconds
        saved = sum(one.seconds - spent.get(one.name, one.seconds) for one in before)
        own = plan[names.index(phase)].seconds
        return max(own / 2, own + saved)


def plan_table(plan: Sequence[Phase], spent: Mapping[str, float] | None = None) -> list[str]:
    """The plan as lines of text: phase, seconds, why; afterwards beside what was spent.

    Args:
        plan: Of a recipe.
        spent: Phase to seconds; None before the run.

    Returns:
        A head line and one line a phase; none without a plan.

    Example:
        >>> for line in plan_table([Phase("training", 90.0, "one fold")], {"training": 93.2}):
        ...     print(line)
        phase        planned    spent  why
        training        90 s     93 s  one fold
    """
    if not plan:
        return []
    head = f"{'phase':<12} {'planned':>7}" + (f" {'spent':>8}" if spent is not None else "")
    lines = [f"{head}  why"]
    for phase in plan:
        line = f"{phase.name:<12} {phase.seconds:>5.0f} s"
        if spent is not None:
            line += f" {spent[phase.name]:>6.0f} s" if phase.name in spent else f" {'-':>8}"
        lines.append(f"{line}  {phase.why}")
    return lines
