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

__all__ = ["interruptible", "kept_memory", "prepare_process", "repeatable"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST = (2**31 - 1, 2**25)  # what mallopt takes, and what older versions of glibc take
_GIVEN_BACK = 2**25  # where glibc's own threshold, which rises with use, ends


def prepare_process(threads: int | None = None) -> None:
    """Set up the threads of every library for training or prediction.

    Args:
        threads: For torch; None leaves torch's own choice. OpenCV gets one thread, because
            batches are built beside the training step.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads is not None:
        torch.set_num_threads(max(1, threads))
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)


@contextlib.contextmanager
def kept_memory() -> Iterator[bool]:
    """Let the allocator keep large freed blocks inside the block, instead of returning them.

    A training step frees and asks for the same activations again; returning their pages costs
    about a tenth of a CPU step. Afterwards all is given back, so that the prediction of large
    pictures has a low peak.

    Yields:
        Whether memory is kept: False where the C library has no ``mallopt`` or refuses.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError, TypeError):
        yield False
        return
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    mallopt.restype = ctypes.c_int
    trim.argtypes = [ctypes.c_size_t]
    kept = any(mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST)
    try:
        yield bool(kept and mallopt(_M_TRIM_THRESHOLD, _LARGEST[0]))
    finally:
        mallopt(_M_MMAP_THRESHOLD, _GIVEN_BACK)
        mallopt(_M_TRIM_THRESHOLD, 2 * _GIVEN_BACK)
        trim(0)


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
