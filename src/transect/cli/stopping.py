"""Ctrl-C and a scheduler's SIGTERM: what is finished stays, and the process ends within seconds.

Python looks at signals between two of its own steps only, so a long call into a library (trees
that are fitted, a large picture that is decoded, threads that are waited for) would hold Ctrl-C
up for as long as it takes. Files are written whole or not at all and a run can be gone on with
from any moment, so a process that has not ended by itself after a moment is simply ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

__all__ = ["stoppable"]

_STOPPED = "transect: stopped; nothing finished is lost. Add --resume to a training to go on."

_GRACE_SECONDS = 1.5  # to leave by itself: state written, bars closed
_CODE = 130  # what shells expect after Ctrl-C


@contextlib.contextmanager
def stoppable(*, for_good: bool) -> Iterator[None]:
    """Let SIGINT and SIGTERM raise ``KeyboardInterrupt``, and end the process if that is not heard.

    Does nothing outside the main thread, where signals cannot be handled.

    Args:
        for_good: The process has nothing else to do: its end is watched, too, after the block was
            left (threads of libraries may still be waited for).
    """
    try:
        before = signal.signal(signal.SIGTERM, _interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    left, told = threading.Event(), threading.Event()
    woken = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(
        target=_watch, args=(ours, left, told), name="transect-stopping", daemon=True
    ).start()
    heard = False
    try:
        yield
    except KeyboardInterrupt:
        heard = True
        _tell(told)
        raise
    finally:
        if not (heard and for_good):
            left.set()
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGTERM, before)
        theirs.close()


def _watch(signals: socket.socket, left: threading.Event, told: threading.Event) -> None:
    """Wait for the first signal that asks to stop, then for the process to end by itself."""
    with signals:
        while numbers := signals.recv(64):
            if {signal.SIGINT, signal.SIGTERM} & set(numbers):
                break
        else:
            return  # the block was left
    if left.wait(_GRACE_SECONDS):
        return
    _tell(told)
    os._exit(_CODE)


def _tell(told: threading.Event) -> None:
    """Say once that the work was stopped."""
    if not told.is_set():
        told.set()
        with contextlib.suppress(OSError, ValueError):
            print(_STOPPED, file=sys.stderr, flush=True)


def _interrupt(signum: int, frame: object) -> None:
    """Turn a polite kill into the interrupt that Python knows."""
    raise KeyboardInterrupt
