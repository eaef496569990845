"""Decoded pictures in memory, or as views of one file where they are too many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIMIT_BYTES", "in_memory_or_file"]

LIMIT_BYTES = 3 << 30
"""Most bytes of pictures in memory; beyond, they lie in a file."""


def in_memory_or_file(
    parts: list[NDArray[Any]], path: Path | None, *, limit_bytes: int = LIMIT_BYTES
) -> Sequence[NDArray[Any]]:
    """Pictures as they are, or as views of a file that the system pages in and out.

    Args:
        parts: Arrays of any shapes and types; they are let go as they are written.
        path: The file; None keeps them in memory whatever they take.
        limit_bytes: Most bytes kept in memory.

    Returns:
        Arrays of the same values.
    """
    total = sum(part.nbytes for part in parts)
    if total <= limit_bytes or path is None:
        return parts
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = np.memmap(path, np.uint8, "w+", shape=(total + 16 * len(parts),))
    views: list[NDArray[Any]] = []
    at = 0
    for part in parts:
        view = whole[at : at + part.nbytes].view(part.dtype).reshape(part.shape)
        view[...] = part
        views.append(view)
        at += -(-part.nbytes // 16) * 16  # so that every type begins where it may
    whole.flush()
    return views
