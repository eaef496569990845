"""The vectors of a catalogue: one flat file of float32 rows, which grows at its end."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = ["FILE", "append_rows", "digest_of_rows", "open_rows", "shorten"]

FILE = "vectors.f32"


def append_rows(path: Path, at: int, rows: NDArray[np.float32]) -> None:
    """Write rows behind the first ``at`` ones; what stood there was never promised to anyone.

    Args:
        path: The file; made if missing.
        at: Rows that stay.
        rows: (P, D), flushed to the device before this returns.

    Raises:
        TransectError: If the disk is full or the file cannot be written.
    """
    try:
        with path.open("r+b" if path.is_file() else "w+b") as file:
            file.seek(at * rows.shape[1] * 4)
            file.truncate()
            rows.astype("<f4", copy=False).tofile(file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TransectError(
            f"{path} cannot be written ({error.strerror or 'the disk is full'}); the catalogue is "
            "as it was. Free some space, or see who may write it, and repeat."
        ) from error


def shorten(path: Path, rows: int, dim: int) -> None:
    """Give back the room of all rows but the first ones."""
    os.truncate(path, rows * dim * 4)


def open_rows(path: Path, rows: int, dim: int) -> NDArray[np.float32]:
    """(rows, dim) of the file, as a memory map.

    Raises:
        TransectError: If the file is missing or has fewer rows.
    """
    if not rows * dim:
        return np.zeros((rows, dim), np.float32)
    try:
        size = path.stat().st_size
        if size >= rows * dim * 4:
            return np.memmap(path, "<f4", "r", shape=(rows, dim))
    except OSError as error:
        raise TransectError(f"{path} cannot be read ({error}). Restore it.") from error
    raise TransectError(
        f"{path} has {size} bytes where {rows} vectors of {dim} numbers need {rows * dim * 4}. "
        "Restore it from a copy."
    )


def digest_of_rows(rows: NDArray[np.float32]) -> str:
    """SHA-256 of some rows."""
    return hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()
