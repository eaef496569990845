"""Losses that see the outline: distance-weighted boundary loss and active contours."""

from __future__ import annotations

import torch
from torch import Tensor

from transect.losses.valid import check, mean_where, rows

__all__ = ["active_contour", "boundary"]


def boundary(
    logits: Tensor, target: Tensor, *, valid: Tensor | None = None, reach: float = 20.0
) -> Tensor:
    """Wrong probability, weighted by its distance from the true outline.

    Equals the boundary loss of Kervadec et al. 2019 up to a constant: their sum of probability
    times signed distance, minus its value at the truth, is sum |distance| * |p - y|. In this form
    it is never negative and zero for a perfect answer. Distances are exact, found on the CPU.

    Args:
        logits: (N, C, H, W).
        target: Same shape; above one half is foreground.
        valid: (N, 1, H, W); pixels at 0 do not count.
        reach: Pixels further than this weigh no more; a weight of 1 is reached there. Our guess.

    Returns:
        In [0, 1].
    """
    logits, target = check(logits, target, valid)
    labels = target > 0.5
    weight = (_distance(labels, valid).to(logits) / reach).clamp_max(1)
    return mean_where(weight * (logits.sigmoid() - labels.to(logits.dtype)).abs(), valid)


def active_contour(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    length: float = 1.0,
    region: float = 1.0,
) -> Tensor:
    """Chan-Vese energy of the probability map: length of its outline plus wrong area.

    A perfect answer still pays for its outline; that is what smooths it.

    Args:
        logits: (N, C, H, W).
        target: Same shape, in [0, 1].
        valid: (N, 1, H, W); pixels at 0 do not count.
        length: Weight of the mean gradient of the probability.
        region: Weight of the mean wrong area.

    References:
        Chen et al. 2019, Learning active contour models for medical image segmentation.
    """
    logits, target = check(logits, target, valid)
    p = logits.sigmoid()
    down = torch.diff(p, dim=2, append=p[:, :, -1:])  # (N, C, H, W)
    right = torch.diff(p, dim=3, append=p[..., -1:])
    if valid is not None:  # a step into what does not count is no outline
        inside = (valid > 0).to(p.dtype)
        down = down * torch.cat([inside[:, :, 1:], inside[:, :, -1:]], 2)
        right = right * torch.cat([inside[..., 1:], inside[..., -1:]], 3)
    outline = torch.sqrt(down**2 + right**2 + 1e-8)
    wrong = p * (1 - target) ** 2 + (1 - p) * target**2
    return length * mean_where(outline, valid) + region * mean_where(wrong, valid)


def _distance(labels: Tensor, valid: Tensor | None) -> Tensor:
    """Pixels to the nearest counted pixel of the other kind; beyond any reach if there is none."""
    import cv2
    import numpy as np

    maps = rows(labels).reshape(-1, *labels.shape[-2:]).cpu().numpy()
    counted = np.ones_like(maps)
    if valid is not None:
        counted = rows((valid > 0).expand_as(labels)).cpu().numpy().reshape(maps.shape)
    result = np.full(maps.shape, 1e6, np.float32)
    for image, known, out in zip(maps, counted, result, strict=True):
        for kind in (image, ~image):
            other = ~kind & known
            if other.any():
                away = (~other).astype(np.uint8)
                near = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
                np.copyto(out, near, where=kind)
    return torch.from_numpy(result).reshape(labels.shape)
