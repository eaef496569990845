"""Progress on a terminal: one bar for all of the work, one for what is being done."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

__all__ = ["Bars", "plain_phase", "time_left"]

_EVERY_SECONDS = 10.0  # between lines of one phase, where there is no terminal
_PLAIN = {
    "reading": "reading the survey",
    "decoding": "decoding images",
    "keypoints": "finding keypoints",
    "the frozen yardstick": "embedding photos for the comparison with a frozen network",
    "comparing": "looking for copies and leaks",
    "deciding": "tuning decisions on held-out images",
    "measuring maps": "measuring what was drawn on held-out photos",
    "fusing": "weighing the sources on held-out photos",
}
"""Phases whose names say too little to someone who has not read the code."""


def plain_phase(name: str) -> str:
    """A phase in plain words.

    Example:
        >>> plain_phase("decoding"), plain_phase("predicting fold 2")
        ('decoding images', 'predicting what fold 3 held out')
    """
    fold = re.fullmatch(r"predicting fold (\d+)", name)
    if fold:
        return f"predicting what fold {int(fold[1]) + 1} held out"
    return _PLAIN.get(name, name)


def time_left(seconds: float) -> str:
    """A time in words.

    Example:
        >>> time_left(8), time_left(100), time_left(9000), time_left(-5)
        ('8 s left', '2 min left', '2 h 30 min left', 'nearly done')
    """
    if seconds <= 0:
        return "nearly done"
    if seconds < 60:
        return f"{seconds:.0f} s left"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min left"
    return f"{minutes // 60} h {minutes % 60} min left"


class Bars:
    """Progress on a terminal; where there is none, a line when a phase begins and ends.

    Where the whole time is known (a budget, a plan), a bar of its own shows it with what is left.
    """

    def __init__(self) -> None:
        self._bars: Any = None
        self._whole: Any = None
        self._task: Any = None
        self._phase = ""
        self._began = self._phase_began = self._told = time.monotonic()
        self._ends: float | None = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def expect(self, seconds: float) -> None:
        """Tell how long all of it will take from now on."""
        self._ends = time.monotonic() + seconds

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False)
        else:
            print(line, flush=True)

    def step(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Move the bar of a phase, or begin it."""
        if phase != self._phase:
            self._close()
            self._phase, self._phase_began = phase, time.monotonic()
            self._told = self._phase_began
            if sys.stderr.isatty():
                self._open(total)
            else:
                self._tell(f"{plain_phase(phase)} ...")
        if self._bars is not None:
            self._bars.update(self._task, completed=done, total=total, note=note)
            if self._whole is not None and self._ends is not None:
                now = time.monotonic()
                self._bars.update(
                    self._whole,
                    completed=now - self._began,
                    total=self._ends - self._began,
                    note=time_left(self._ends - now),
                )
        elif time.monotonic() - self._told > _EVERY_SECONDS and done < total:
            self._told = time.monotonic()
            self._tell(f"{plain_phase(phase)}: {done} of {total} {note}".rstrip())
        if done >= total:
            self._close()

    def _tell(self, line: str) -> None:
        """A line for logs, with the time that is left where it is known."""
        left = f" ({time_left(self._ends - time.monotonic())})" if self._ends is not None else ""
        print(f"{line}{left}", file=sys.stderr, flush=True)

    def _open(self, total: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        if self._bars is None:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[count]}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bars.start()
        if self._whole is None and self._ends is not None:
            self._whole = self._bars.add_task("all of it", total=1, note="", count="")
        self._task = self._bars.add_task(
            plain_phase(self._phase), total=total, note="", count=f"of {total}"
        )

    def _close(self) -> None:
        """End the phase."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        elif self._phase and time.monotonic() - self._phase_began > _EVERY_SECONDS:
            self._tell(f"{plain_phase(self._phase)}: {time.monotonic() - self._phase_began:.0f} s")
        self._phase = ""
