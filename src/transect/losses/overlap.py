"""Soft overlap losses: Dice, Jaccard, Tversky and their variants."""

from __future__ import annotations

import torch
from torch import Tensor

from transect.losses.valid import check, rows

__all__ = ["dice", "dice_positive", "jaccard", "log_dice", "tversky"]


def dice(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    smooth: float = 1.0,
    per_image: bool = False,
    softmax: bool = False,
) -> Tensor:
    """One minus the soft Dice coefficient.

    Args:
        logits: (N, C, H, W) or (N, C).
        target: Same shape, in [0, 1].
        valid: (N, 1, H, W); pixels at 0 do not count.
        smooth: Added above and below the fraction; makes an empty prediction of an empty truth
            perfect. 1 at the salt 1st place.
        per_image: A coefficient per image and channel, then averaged; else one per channel over
            the whole batch, as the salt 1st place did.
        softmax: Probabilities by softmax over channels instead of sigmoid.

    Returns:
        A scalar in [0, 1].
    """
    return (1 - _dice(logits, target, valid, smooth, per_image, softmax)).mean()


def log_dice(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    smooth: float = 1.0,
    per_image: bool = False,
    softmax: bool = False,
) -> Tensor:
    """Minus the logarithm of the soft Dice coefficient: steeper than ``dice`` when overlap is poor.

    Arguments as in ``dice``.
    """
    return -_dice(logits, target, valid, smooth, per_image, softmax).clamp_min(1e-7).log().mean()


def dice_positive(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    smooth: float = 1.0,
    softmax: bool = False,
) -> Tensor:
    """Soft Dice over the images (and channels) that have something in them; 0 if none has.

    Arguments as in ``dice``. An image is empty if its target stays at or below one half.
    """
    coefficient = _dice(logits, target, valid, smooth, True, softmax)
    inside = target if valid is None else target * (valid > 0)
    full = (rows(inside) > 0.5).any(1).to(coefficient.dtype)
    return ((1 - coefficient) * full).sum() / full.sum().clamp_min(1)


def jaccard(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    smooth: float = 1.0,
    per_image: bool = True,
    softmax: bool = False,
) -> Tensor:
    """One minus the soft intersection over union (``smooth`` 10 per image in one salt entry).

    Arguments as in ``dice``.
    """
    both, predicted, truth = _sums(logits, target, valid, per_image, softmax)
    return (1 - (both + smooth) / (predicted + truth - both + smooth)).mean()


def tversky(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    smooth: float = 1.0,
    per_image: bool = False,
    softmax: bool = False,
) -> Tensor:
    """Dice with separate prices for false positives (alpha) and false negatives (beta).

    Other arguments as in ``dice``. ``gamma`` above 1 is the focal form. 0.3 and 0.7 are the
    paper's best for small lesions (Salehi et al. 2017).
    """
    both, predicted, truth = _sums(logits, target, valid, per_image, softmax)
    ratio = (both + smooth) / (both + alpha * (predicted - both) + beta * (truth - both) + smooth)
    return ((1 - ratio).clamp_min(0) ** gamma).mean()


def _dice(
    logits: Tensor,
    target: Tensor,
    valid: Tensor | None,
    smooth: float,
    per_image: bool,
    softmax: bool,
) -> Tensor:
    """The soft Dice coefficient: (N*C,) per image, (C,) otherwise."""
    both, predicted, truth = _sums(logits, target, valid, per_image, softmax)
    return (2 * both + smooth) / (predicted + truth + smooth)


def _sums(
    logits: Tensor, target: Tensor, valid: Tensor | None, per_image: bool, softmax: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Soft intersection, predicted mass and true mass, per image and channel or per channel."""
    logits, target = check(logits, target, valid)
    p = torch.softmax(logits, dim=1) if softmax else logits.sigmoid()
    if valid is not None:
        inside = (valid > 0).to(p.dtype)
        p, target = p * inside, target * inside
    if per_image:
        p, target = rows(p), rows(target)
    else:
        p, target = p.transpose(0, 1).flatten(1), target.transpose(0, 1).flatten(1)
    return (p * target).sum(1), p.sum(1), target.sum(1)
