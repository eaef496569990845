"""A dense CRF on the maps of an image, where the recipe allows it and the scores ask for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.postprocess.crf import dense_crf
from transect.types import MaskKind

__all__ = ["refined", "refined_tiles"]

_TILE_PX = 512  # as much as the decision was tuned on


def refined(maps: NDArray[np.float32], pixels: NDArray[Any], kind: MaskKind) -> NDArray[np.float32]:
    """Move foreground probabilities towards the edges of the image.

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


def refined_tiles(
    maps: NDArray[np.float32], pixels: NDArray[Any], kind: MaskKind, *, margin_px: int
) -> NDArray[np.float32]:
    """``refined`` tile by tile, for images whose grid would not fit into memory.

    Args:
        maps: (T, H, W) probabilities.
        pixels: (H, W, C) as stored.
        kind: As for ``refined``.
        margin_px: Seen by a tile beyond its border; the rest of the image has no say in it.

    Returns:
        (T, H, W).
    """
    height, width = maps.shape[1:]
    out = np.empty_like(maps)
    for top in range(0, height, _TILE_PX):
        for left in range(0, width, _TILE_PX):
            first, begin = max(0, top - margin_px), max(0, left - margin_px)
            seen = np.s_[first : top + _TILE_PX + margin_px, begin : left + _TILE_PX + margin_px]
            found = refined(maps[:, *seen], pixels[seen], kind)
            kept = np.s_[:, top : top + _TILE_PX, left : left + _TILE_PX]
            shape = out[kept].shape
            out[kept] = found[:, top - first :, left - begin :][:, : shape[1], : shape[2]]
    return out
