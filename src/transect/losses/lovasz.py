"""The Lovász extension of the Jaccard loss in every form that the salt winners used, sorted once.

For a row of errors e in falling order with labels y and G = sum(y), the extension is
sum_k phi(e_k) * g_k with g_k = J_k - J_{k-1} and
J_k = 1 - (G - sum_{i<=k} y_i) / (G + sum_{i<=k} (1 - y_i)); g is held constant in the gradient.
In closed form g_k = 1 / u for a positive and (G - P_k) / (u * (u - 1)) for a negative, u being the
union G + N_k, so no differences of nearly equal numbers are taken. With relu only errors above
zero matter, and of a row without truth only the largest error: the rest is never sorted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from transect.errors import TransectError, unknown_name
from transect.losses.valid import check, rows

__all__ = [
    "lovasz",
    "lovasz_elu",
    "lovasz_elu_raw",
    "lovasz_skip_empty",
    "lovasz_softmax",
    "lovasz_symmetric",
]

_ACTIVATIONS = ("relu", "elu", "elu_raw")
_FLOAT = torch.float32


def lovasz(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    activation: str = "relu",
    per_image: bool = True,
) -> Tensor:
    """Lovász hinge: a convex surrogate of one minus the intersection over union.

    Of an image without truth only the worst pixel has a gradient: see ``lovasz_skip_empty`` and
    ``lovasz_symmetric`` for the winners' answers to that.

    Args:
        logits: (N, C, H, W) or (N, C); each channel is a binary question of its own.
        target: Same shape; above one half is foreground.
        valid: (N, 1, H, W); pixels at 0 do not count.
        activation: What is done to the errors 1 - logit * (2y - 1): relu (salt 1st place,
            phalanx), elu, which adds one to the exponential unit (salt 1st place, bes; 4th, 9th,
            14th), or elu_raw, which does not (28th; can be negative).
        per_image: A row per image and channel, then averaged; else one row per channel.

    Returns:
        A scalar, >= 0 except for elu_raw.

    References:
        Berman, Rannen Triki and Blaschko 2018, The Lovász-softmax loss.

    Example:
        >>> logits = torch.tensor([[[[2.0, -2.0]]]])
        >>> float(lovasz(logits, torch.tensor([[[[1.0, 0.0]]]])))
        0.0
    """
    values, _ = _hinge(logits, target, valid, activation, per_image, symmetric=False)
    return values.mean()


def lovasz_elu(
    logits: Tensor, target: Tensor, *, valid: Tensor | None = None, per_image: bool = True
) -> Tensor:
    """``lovasz`` with elu(e) + 1: pixels that are right by a margin keep a small gradient."""
    return lovasz(logits, target, valid=valid, activation="elu", per_image=per_image)


def lovasz_elu_raw(
    logits: Tensor, target: Tensor, *, valid: Tensor | None = None, per_image: bool = True
) -> Tensor:
    """``lovasz`` with elu(e), without the one: the salt 28th place's. Falls to -1 when perfect."""
    return lovasz(logits, target, valid=valid, activation="elu_raw", per_image=per_image)


def lovasz_skip_empty(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    activation: str = "relu",
    divide: str = "kept",
) -> Tensor:
    """``lovasz`` over the images that have something in them; 0 if none has.

    Args:
        logits: (N, C, H, W) or (N, C).
        target: Same shape.
        valid: (N, 1, H, W); pixels at 0 do not count.
        activation: As in ``lovasz``.
        divide: By the images ``kept`` (salt 4th and 9th place), or by the whole ``batch`` (1st).
    """
    if divide not in ("kept", "batch"):
        raise unknown_name("divide", divide, ("kept", "batch"))
    values, full = _hinge(logits, target, valid, activation, True, symmetric=False)
    weight = full.any(1).to(values.dtype)
    total = weight.sum().clamp_min(1) if divide == "kept" else len(values)
    return (values * weight).sum() / total


def lovasz_symmetric(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    activation: str = "elu",
    skip_empty: bool = False,
) -> Tensor:
    """Half of L(logit, y) + L(-logit, 1 - y): the empty image, too, gets a gradient everywhere.

    The errors of both halves are the same numbers, so they are sorted once.

    Args:
        logits: (N, C, H, W) or (N, C).
        target: Same shape.
        valid: (N, 1, H, W); pixels at 0 do not count.
        activation: As in ``lovasz``; elu at the salt 9th place, whose loss this is.
        skip_empty: Mean over images with something in them, as for the 9th place's deep heads.
    """
    values, full = _hinge(logits, target, valid, activation, True, symmetric=True)
    if not skip_empty:
        return values.mean()
    weight = full.any(1).to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp_min(1)


def lovasz_softmax(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    per_image: bool = True,
    classes: str = "all",
) -> Tensor:
    """Lovász extension of the mean Jaccard loss over classes, on softmax probabilities.

    Args:
        logits: (N, C, H, W) or (N, C); with one channel, background is its complement.
        target: Same shape, one-hot.
        valid: (N, 1, H, W); pixels at 0 do not count.
        per_image: A row per image and class (salt 15th place), else per class of the batch.
        classes: ``all``, or only those ``present`` in the row's truth (0 if none).

    Returns:
        A scalar in [0, 1].
    """
    if classes not in ("all", "present"):
        raise unknown_name("classes", classes, ("all", "present"))
    logits, target = check(logits, target, valid)
    if logits.shape[1] == 1:
        p = logits.sigmoid()
        p, target = torch.cat([1 - p, p], 1), torch.cat([1 - target, target], 1)
    else:
        p = torch.softmax(logits, dim=1)
    labels = target > 0.5
    errors = torch.where(labels, 1 - p, p)
    labels_flat = _rows(labels, per_image)
    inside = None if valid is None else _rows((valid > 0).expand_as(p), per_image)
    values = _extension(_rows(errors, per_image), labels_flat, inside, "plain", False)
    if classes == "all":
        return values.mean()
    present = (labels_flat if inside is None else labels_flat & inside).any(1)
    return (values * present).sum() / present.sum().clamp_min(1)


def _rows(tensor: Tensor, per_image: bool) -> Tensor:
    """(N, C, ...) to one row per image and channel, or per channel."""
    return rows(tensor) if per_image else tensor.transpose(0, 1).flatten(1)


def _hinge(
    logits: Tensor,
    target: Tensor,
    valid: Tensor | None,
    activation: str,
    per_image: bool,
    *,
    symmetric: bool,
) -> tuple[Tensor, Tensor]:
    """The loss (R,) of every row, and its truth (R, P)."""
    if activation not in _ACTIVATIONS:
        raise unknown_name("activation", activation, _ACTIVATIONS)
    logits, target = check(logits, target, valid)
    labels = _rows(target > 0.5, per_image)
    flat = _rows(logits, per_image)
    if flat.shape[1] >= 2**31:
        raise TransectError("a Lovász row must have fewer than 2**31 pixels. Use smaller crops.")
    inside = None if valid is None else _rows((valid > 0).expand_as(logits), per_image)
    values = _extension(flat, labels, inside, activation, symmetric)
    return values, labels if inside is None else labels & inside


def _extension(
    scores: Tensor, labels: Tensor, inside: Tensor | None, activation: str, symmetric: bool
) -> Tensor:
    """(R,) extension of (R, P) logits; or, with activation ``plain``, of errors in [0, 1]."""
    result: Tensor = _Extension.apply(scores, labels, inside, activation, symmetric)
    return result


class _Extension(torch.autograd.Function):
    """sum_k phi(e_k) g_k per row; the gradient is found while the errors lie sorted."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        labels: Tensor,
        inside: Tensor | None,
        activation: str,
        symmetric: bool,
    ) -> Tensor:
        form = _on_cpu if scores.device.type == "cpu" and scores.dtype == _FLOAT else _in_batch
        values, slopes = form(scores, labels, inside, activation, symmetric)
        ctx.save_for_backward(slopes)
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * gradient[:, None], None, None, None, None


def _in_batch(
    scores: Tensor, labels: Tensor, inside: Tensor | None, activation: str, symmetric: bool
) -> tuple[Tensor, Tensor]:
    """All rows in one sort: the form for accelerators, and the reference for the other."""
    errors = scores
    if activation != "plain":
        errors = torch.where(labels, 1 - scores, 1 + scores)
    if inside is not None:
        errors = torch.where(inside, errors, torch.full_like(errors, -1e30))
        labels = labels & inside
    ordered, order = torch.sort(errors, dim=1, descending=True, stable=True)  # (R, P)
    y = labels.gather(1, order).to(errors.dtype)
    counted = None if inside is None else inside.gather(1, order).to(errors.dtype)
    steps = _steps(y, counted)
    if symmetric:
        steps = (steps + _steps(1 - y if counted is None else counted - y, counted)) / 2
    if counted is not None:
        steps = steps * counted
    if activation in ("relu", "plain"):
        phi, slope = ordered.clamp_min(0), (ordered > 0).to(errors.dtype)
    else:
        phi = F.elu(ordered) + (1.0 if activation == "elu" else 0.0)
        slope = torch.exp(ordered.clamp_max(0))
    if activation != "plain":
        slope = slope * (1 - 2 * y)  # the error falls with the logit where the truth is one
    slopes = torch.zeros_like(errors).scatter_(1, order, slope * steps)
    return (phi * steps).sum(1), slopes


def _steps(y: Tensor, counted: Tensor | None) -> Tensor:
    """Steps g of sorted labels (R, P), in closed form."""
    total = y.sum(1, keepdim=True)
    positives = y.cumsum(1)
    negatives = (torch.ones_like(y) if counted is None else counted).cumsum(1) - positives
    union = total + negatives
    falling = (total - positives) / (union * (union - 1)).clamp_min(1)
    steps = torch.where(y > 0.5, 1 / union.clamp_min(1), falling)
    first = (negatives == 1) & (y < 0.5)  # of a row without truth, the worst pixel alone
    return torch.where((total == 0) & first, torch.ones_like(steps), steps)


def _on_cpu(
    scores: Tensor, labels: Tensor, inside: Tensor | None, activation: str, symmetric: bool
) -> tuple[Tensor, Tensor]:
    """Row by row with numpy's vectorised integer sort; only what has a slope is sorted."""
    x, y = scores.detach().numpy(), labels.numpy()
    keep = None if inside is None else inside.numpy()
    values = np.zeros(len(x), np.float32)
    slopes = np.zeros(x.shape, np.float32)
    for row in range(len(x)):
        if keep is None:
            values[row] = _row(x[row], y[row], activation, symmetric, slopes[row])
            continue
        part = np.zeros(int(keep[row].sum()), np.float32)
        if part.size:
            kept = keep[row]
            values[row] = _row(x[row][kept], y[row][kept], activation, symmetric, part)
            slopes[row][kept] = part
    return torch.from_numpy(values), torch.from_numpy(slopes)


def _row(
    x: NDArray[np.float32],
    labels: NDArray[np.bool_],
    activation: str,
    symmetric: bool,
    slopes: NDArray[np.float32],
) -> float:
    """The extension of one row; fills ``slopes`` in place."""
    errors = x if activation == "plain" else np.where(labels, 1 - x, 1 + x)
    if not np.isfinite(errors.sum()):
        return np.nan  # a loss that is no number must be seen, not sorted away
    total = int(np.count_nonzero(labels))
    if total == 0 and not symmetric:
        return _worst(errors, activation, slopes)
    bits = errors.view(np.int32)
    if activation in ("relu", "plain"):
        where = np.flatnonzero(errors > 0)
        keys = bits[where].astype(np.int64)
    else:
        where = np.arange(errors.size)
        keys = np.where(bits >= 0, bits, bits ^ 0x7FFFFFFF).astype(np.int64)  # order of floats
    # One 64-bit key: falling order of the error above, place and label below. Sorting plain
    # integers is what numpy does with vector instructions; an argsort is not.
    np.negative(keys, out=keys)
    keys <<= 32
    keys |= where << 1
    keys |= labels[where]
    keys.sort()
    y = (keys & 1).astype(np.float64)
    keys &= 0xFFFFFFFF
    keys >>= 1
    ordered = errors[keys]
    steps = _steps_sorted(y, total)
    if symmetric:
        steps = (steps + _steps_sorted(1 - y, labels.size - total)) / 2
    phi = ordered.astype(np.float64)
    slope = steps
    if activation in ("elu", "elu_raw"):
        decay = np.exp(np.minimum(phi, 0))
        slope = decay * steps
        phi = np.where(phi > 0, phi + 1, decay) - (activation == "elu_raw")
    slopes[keys] = slope if activation == "plain" else slope * (1 - 2 * y)
    return float(phi @ steps)


def _steps_sorted(y: NDArray[np.float64], total: int) -> NDArray[np.float64]:
    """Steps g of one sorted row, as differences; float64 has the digits for that."""
    if total == 0:
        steps = np.zeros_like(y)
        steps[: y.size and 1] = 1.0
        return steps
    missed = total - np.cumsum(y)
    union = np.arange(1 + total, y.size + 1 + total) - (total - missed)
    missed /= union  # one minus J
    steps = np.empty_like(y)
    steps[:1] = 1 - missed[:1]
    np.subtract(missed[:-1], missed[1:], out=steps[1:])
    return steps


def _worst(errors: NDArray[np.float32], activation: str, slopes: NDArray[np.float32]) -> float:
    """A row without truth: g is one for the largest error and zero for all others."""
    place = int(errors.argmax())
    worst = float(errors[place])
    if activation in ("relu", "plain"):
        slopes[place] = worst > 0
        return max(worst, 0.0)
    slopes[place] = np.exp(min(worst, 0.0))
    raised = worst + 1 if worst > 0 else float(np.exp(worst))
    return raised if activation == "elu" else raised - 1
