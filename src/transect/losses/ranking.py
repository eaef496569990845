"""Losses on orders: LSEP and the margin, which rank positives first, and soft weighted kappa."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from transect.errors import TransectError
from transect.losses.valid import check, rows

__all__ = ["kappa", "lsep", "multilabel_margin"]

_MOST_RANKED = 4096  # values of a row; 64 MiB of pairs


def lsep(logits: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Log-sum-exp of all pairs in which a negative outranks a positive (smooth, no margin).

    The double sum over pairs factors into two log-sum-exps, so it costs one pass. Who is ranked:
    the classes of each image for (N, C); the images of the batch for (N, 1); the pixels of each
    channel for (N, C, H, W). A row without both kinds costs nothing.

    Args:
        logits: (N, C, H, W) or (N, C).
        target: Same shape; above one half is positive.
        valid: (N, 1, H, W); pixels at 0 do not count.

    References:
        Li, Song and Luo 2017, Improving pairwise ranking for multi-label image classification.
    """
    logits, target = check(logits, target, valid)
    positive = target > 0.5
    inside = torch.ones_like(positive) if valid is None else (valid > 0).expand_as(positive)
    if logits.ndim > 2:
        logits, positive, inside = rows(logits), rows(positive), rows(inside)
    elif logits.shape[1] == 1:
        logits, positive, inside = logits.T, positive.T, inside.T
    # A large finite number instead of minus infinity keeps the gradient of empty rows at zero.
    nothing = torch.full_like(logits, -1e9)
    negatives = torch.logsumexp(torch.where(inside & ~positive, logits, nothing), 1)
    positives = torch.logsumexp(torch.where(inside & positive, -logits, nothing), 1)
    return F.softplus(negatives + positives).mean()


def multilabel_margin(
    logits: Tensor, target: Tensor, *, valid: Tensor | None = None, margin: float = 1.0
) -> Tensor:
    """Hinge on every pair of a positive and a negative of a row: the positive leads by a margin.

    Args:
        logits: (N, C, H, W) or (N, C), ranked as in ``lsep``.
        target: Same shape; above one half is positive.
        valid: (N, 1, H, W); pixels at 0 do not count.
        margin: Lead from which a pair costs nothing.

    Returns:
        The sum over the pairs of a row, divided by its length, as torch's
        ``multilabel_margin_loss`` has it; the mean over rows.

    Raises:
        TransectError: If rows are so long that their pairs have no room.
    """
    logits, target = check(logits, target, valid)
    positive = target > 0.5
    inside = torch.ones_like(positive) if valid is None else (valid > 0).expand_as(positive)
    if logits.ndim > 2:
        logits, positive, inside = rows(logits), rows(positive), rows(inside)
    elif logits.shape[1] == 1:
        logits, positive, inside = logits.T, positive.T, inside.T
    if logits.shape[1] > _MOST_RANKED:
        raise TransectError(
            f"multilabel_margin compares all pairs of {logits.shape[1]} values, and at most "
            f"{_MOST_RANKED} have room. Use lsep, which needs no pairs."
        )
    lead = logits[:, :, None] - logits[:, None, :]  # (R, K, K)
    pairs = (inside & positive)[:, :, None] & (inside & ~positive)[:, None, :]
    return (F.relu(margin - lead) * pairs).sum((1, 2)).mean() / logits.shape[1]


def kappa(
    logits: Tensor, target: Tensor, *, valid: Tensor | None = None, power: float = 2.0
) -> Tensor:
    """One minus the soft weighted kappa: for ordered classes, where a near miss is half a hit.

    Args:
        logits: (N, C, H, W) or (N, C), softmax over channels; with one channel the classes are
            "no" and "yes".
        target: Same shape, one-hot.
        valid: (N, 1, H, W); pixels at 0 do not count.
        power: Of the distance between classes: 1 is linear, 2 quadratic.

    Returns:
        In [0, 2]: 0 is full agreement, 1 is chance. A batch of one picture cannot be told from
        chance unless it is right.

    References:
        de La Torre, Puig and Valls 2018, Weighted kappa loss function for ordinal data.
    """
    logits, target = check(logits, target, valid)
    if logits.shape[1] == 1:
        p = logits.sigmoid()
        p, target = torch.cat([1 - p, p], 1), torch.cat([1 - target, target], 1)
    else:
        p = torch.softmax(logits, dim=1)
    if valid is not None:
        inside = (valid > 0).to(p.dtype)
        p, target = p * inside, target * inside
    p, target = p.transpose(0, 1).flatten(1), target.transpose(0, 1).flatten(1)  # (C, N*P)
    place = torch.arange(len(p), device=p.device, dtype=p.dtype)
    price = (place[:, None] - place[None]).abs() ** power
    count = target.sum().clamp_min(1)
    observed = (price * (target @ p.T)).sum() / count
    expected = (price * torch.outer(target.sum(1), p.sum(1))).sum() / count**2
    return observed / (expected + 1e-6)
