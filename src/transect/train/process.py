"""What a training process sets once: threads, kept memory, repeatable kernels, SIGTERM."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType

import torch

__all__ = ["interruptible", "keep_freed_memory", "prepare_process", "repeatable"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEEP_BYTES = 2**31 - 1  # the largest value mallopt takes


def prepare_process(threads: int | None = None, *, keep_memory: bool = True) -> bool:
    """Set up a process for training or prediction: threads of every library, and memory.

    Args:
        threads: For torch; None leaves torch's own choice. OpenCV gets one thread, because
            batches are built beside the training step.
        keep_memory: Keep freed memory, which makes training steps faster; prediction of large
            pictures gives it back, so that its peak stays low.

    Returns:
        Whether freed memory is kept (it is with glibc; elsewhere training is only slower).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads is not None:
        torch.set_num_threads(max(1, threads))
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    return keep_freed_memory() if keep_memory else False


def keep_freed_memory() -> bool:
    """Tell the allocator to keep large freed blocks instead of returning them at once.

    A training step frees and asks for the same activations again; returning the pages costs
    about a tenth of a CPU step (docs of performance: .69 to .62 of the plain step).

    Returns:
        False where the C library has no ``mallopt``.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    mallopt.restype = ctypes.c_int
    kept = mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
    trimmed = mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
    return bool(kept and trimmed)


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Choose kernels that give the same bits every time; CPU kernels do at a fixed thread count.

    On a GPU an operation without a repeatable kernel still runs: its warning is dropped here,
    and what it costs stands in ``docs/reliability.md``.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic.*")
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = before[2]


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM, as schedulers send it, act like Ctrl-C inside the block.

    Handlers can only be set in the main thread; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
