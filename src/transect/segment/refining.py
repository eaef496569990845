"""A dense CRF on the maps of a picture, where the recipe allows it and the scores ask for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.postprocess.crf import dense_crf
from transect.types import MaskKind

__all__ = ["refined"]


def refined(maps: NDArray[np.float32], pixels: NDArray[Any], kind: MaskKind) -> NDArray[np.float32]:
    """Move foreground probabilities towards the edges of the picture.

    Args:
        maps: (T, H, W) probabilities.
        pixels: (H, W, C) as stored.
        kind: Only binary masks are refined; other maps come back as they are.

    Returns:
        (T, H, W), the first map refined with the CRF's customary numbers.
    """
    if kind != "binary":
        return maps
    levels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
    if pixels.dtype != np.uint8:
        low, high = np.percentile(levels, (0.5, 99.5))
        levels = np.clip((levels - low) * (255 / max(float(high - low), 1e-6)), 0, 255)
    return np.concatenate([dense_crf(maps[0], levels)[None], maps[1:]])
