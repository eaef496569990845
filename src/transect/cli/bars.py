"""Progress on a terminal."""

from __future__ import annotations

import sys
import time
from typing import Any

__all__ = ["Bars"]


class Bars:
    """Progress on a terminal: a bar with rate and time left; plain lines where there is none."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._phase = ""
        self._plain_at = time.monotonic()

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, flush=True)

    def step(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Move the bar of a phase, or begin it."""
        if phase != self._phase:
            self._close()
            self._phase = phase
            if sys.stderr.isatty():
                self._open(phase, total)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() - self._plain_at > 10 and done < total:
            self._plain_at = time.monotonic()
            print(f"{phase}: {done} of {total} {note}".rstrip(), file=sys.stderr, flush=True)
        if done >= total:
            self._close()

    def _open(self, phase: str, total: int) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bar.start()
        self._task = self._bar.add_task(phase, total=total, note="")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._phase = ""
