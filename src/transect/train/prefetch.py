"""Builds the next batches in a background thread while the present one trains."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

__all__ = ["prefetch"]

T = TypeVar("T")
_POLL_SECONDS = 0.2


def prefetch(
    items: Iterator[T], *, depth: int = 2, move: Callable[[T], T] | None = None
) -> Generator[T, None, None]:
    """Give the items of an iterator in their order, computed ahead in one thread.

    Args:
        items: Is advanced in the thread only, so it must not share random state with the caller.
        depth: Items held ready; 0 computes in the caller's thread.
        move: Applied to each item in the thread, e.g. the copy to a device.

    Yields:
        The items. An error of the thread is raised here; closing the generator ends the thread.

    Example:
        >>> list(prefetch(iter([1, 2, 3]), move=lambda x: 10 * x))
        [10, 20, 30]
    """
    change = move if move is not None else _same
    if depth < 1:
        for item in items:
            yield change(item)
        return
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(kind: str, value: T | BaseException | None) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((kind, value), timeout=_POLL_SECONDS)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", change(item)):
                    return
            put("end", None)
        except BaseException as error:  # raised again in the caller's thread
            put("error", error)

    thread = threading.Thread(target=work, name="transect-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        with contextlib.suppress(queue.Empty):
            while True:
                ready.get_nowait()
        thread.join()


def _same(item: T) -> T:
    return item
