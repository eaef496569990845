"""Losses that look at one pixel at a time: cross-entropies, focal, and plain differences."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from transect.errors import TransectError
from transect.losses.valid import check, mean_where

__all__ = [
    "balanced_bce",
    "bce",
    "ce",
    "ce_balanced",
    "focal",
    "l1",
    "mse",
    "multilabel_soft_margin",
    "smooth_l1",
]


def bce(
    logits: Tensor, target: Tensor, *, valid: Tensor | None = None, positive_weight: float = 1.0
) -> Tensor:
    """Binary cross-entropy of sigmoid outputs, mean over pixels.

    Args:
        logits: (N, C, H, W) or (N, C).
        target: Same shape, soft labels in [0, 1].
        valid: (N, 1, H, W); pixels at 0 do not count.
        positive_weight: Factor on the positive part.

    Returns:
        A scalar >= 0.
    """
    logits, target = check(logits, target, valid)
    weight = None if positive_weight == 1.0 else logits.new_tensor(positive_weight)
    values = F.binary_cross_entropy_with_logits(logits, target, reduction="none", pos_weight=weight)
    return mean_where(values, valid)


def balanced_bce(logits: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy in which positives and negatives weigh the same in every batch.

    The mean over positive pixels and the mean over negative pixels, averaged; if the batch has
    only one kind, that kind's mean. Soft targets count with their share.
    """
    logits, target = check(logits, target, valid)
    inside = target if valid is None else target * (valid > 0)
    outside = 1 - target if valid is None else (1 - target) * (valid > 0)
    positive = (F.softplus(-logits) * inside).sum() / inside.sum().clamp_min(1e-6)
    negative = (F.softplus(logits) * outside).sum() / outside.sum().clamp_min(1e-6)
    kinds = (inside.sum() > 0).to(logits.dtype) + (outside.sum() > 0).to(logits.dtype)
    return (positive + negative) / kinds.clamp_min(1)


def multilabel_soft_margin(
    logits: Tensor, target: Tensor, *, valid: Tensor | None = None
) -> Tensor:
    """One-versus-all log loss over classes: what torch calls ``multilabel_soft_margin_loss``.

    With equal weights it is ``bce`` by another name; winners' recipes name it, so both are here.
    """
    return bce(logits, target, valid=valid)


def focal(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    gamma: float = 2.0,
    alpha: float | None = None,
) -> Tensor:
    """Focal loss: cross-entropy times (1 - probability of the truth) to the power of gamma.

    Args:
        logits: (N, C, H, W) or (N, C).
        target: Same shape, in [0, 1]; a soft label mixes the two hard ones.
        valid: (N, 1, H, W); pixels at 0 do not count.
        gamma: 2 at Lin 2017 and at the salt 2nd place.
        alpha: Weight of positives, 1 - alpha of negatives; None weighs both by 1.

    References:
        Lin et al. 2017, Focal loss for dense object detection.
    """
    logits, target = check(logits, target, valid)
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    positive = -log_p * torch.exp(gamma * log_q)
    negative = -log_q * torch.exp(gamma * log_p)
    if alpha is not None:
        positive, negative = alpha * positive, (1 - alpha) * negative
    return mean_where(target * positive + (1 - target) * negative, valid)


def ce(logits: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Cross-entropy of a softmax over channels; background is a channel like the others.

    Args:
        logits: (N, C, H, W) or (N, C), C >= 2.
        target: Same shape, one-hot or soft, channels summing to 1.
        valid: (N, 1, H, W); pixels at 0 do not count.

    Raises:
        TransectError: With a single channel, where a softmax is always 1.
    """
    logits, target = _several(logits, target, valid, "ce")
    return mean_where(-(target * F.log_softmax(logits, dim=1)).sum(1, keepdim=True), valid)


def ce_balanced(logits: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """``ce`` with classes weighted by their inverse share of the batch; absent classes drop out."""
    logits, target = _several(logits, target, valid, "ce_balanced")
    counted = target if valid is None else target * (valid > 0)
    axes = [axis for axis in range(target.ndim) if axis != 1]
    mass = counted.sum(axes)  # (C,)
    values = -(counted * F.log_softmax(logits, dim=1)).sum(axes)  # (C,)
    return (values / mass.clamp_min(1e-6)).sum() / (mass > 0).sum().clamp_min(1)


def mse(
    logits: Tensor, target: Tensor, *, valid: Tensor | None = None, sigmoid: bool = False
) -> Tensor:
    """Mean squared difference of the raw output (or its sigmoid) and the target."""
    logits, target = check(logits, target, valid)
    return mean_where(((logits.sigmoid() if sigmoid else logits) - target) ** 2, valid)


def l1(
    logits: Tensor, target: Tensor, *, valid: Tensor | None = None, sigmoid: bool = False
) -> Tensor:
    """Mean absolute difference of the raw output (or its sigmoid) and the target."""
    logits, target = check(logits, target, valid)
    return mean_where(((logits.sigmoid() if sigmoid else logits) - target).abs(), valid)


def smooth_l1(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    beta: float = 1.0,
    sigmoid: bool = False,
) -> Tensor:
    """Squared below a difference of ``beta``, linear above it (Girshick 2015)."""
    logits, target = check(logits, target, valid)
    output = logits.sigmoid() if sigmoid else logits
    return mean_where(F.smooth_l1_loss(output, target, beta=beta, reduction="none"), valid)


def _several(
    logits: Tensor, target: Tensor, valid: Tensor | None, name: str
) -> tuple[Tensor, Tensor]:
    """Check shapes, and that there are at least two channels."""
    if logits.shape[1] < 2:
        raise TransectError(
            f"{name} needs two or more channels, background being one; got 1. "
            "Use bce for a single channel."
        )
    return check(logits, target, valid)
