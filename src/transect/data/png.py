"""Writing PNG files of 8 and 16 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.files import atomic_path

__all__ = ["write_png"]


def write_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write a PNG, whole or not at all.

    Args:
        path: The file.
        pixels: (H, W) or (H, W, 3) RGB, uint8 or uint16.

    Raises:
        TransectError: If it cannot be a PNG, or the disk is full.
    """
    import cv2

    array = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    good = pixels.dtype in (np.uint8, np.uint16) and pixels.size and pixels.ndim in (2, 3)
    # OpenCV's own default: naming a level makes it try all filters, three times as long.
    done, data = cv2.imencode(".png", np.ascontiguousarray(array)) if good else (False, None)
    if not done or data is None:
        raise TransectError(
            f"{path} cannot be a PNG: {pixels.shape} of {pixels.dtype}. Pass uint8 or uint16."
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
