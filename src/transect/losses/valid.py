"""What all losses share: shapes are checked once, and pixels outside ``valid`` do not count."""

from __future__ import annotations

import torch
from torch import Tensor

from transect.errors import TransectError

__all__ = ["check", "mean_where", "rows"]


def check(logits: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Refuse shapes that would broadcast silently, and give both tensors in float32.

    Args:
        logits: (N, C, H, W) or (N, C).
        target: Same shape.
        valid: Same shape with one channel, or None.

    Returns:
        Logits and target in float32, or float64 if the logits are.

    Raises:
        TransectError: If the shapes differ.
    """
    if logits.shape != target.shape:
        raise TransectError(
            f"a loss needs logits and target of one shape; got {tuple(logits.shape)} and "
            f"{tuple(target.shape)}. Give one target channel for every output."
        )
    if valid is not None and valid.shape != (logits.shape[0], 1, *logits.shape[2:]):
        raise TransectError(
            f"the valid mask must be {(logits.shape[0], 1, *logits.shape[2:])}; got "
            f"{tuple(valid.shape)}. Give one channel for all outputs."
        )
    kind = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return logits.to(kind), target.to(kind)


def mean_where(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over all entries, or over those where ``valid`` is above zero; 0 if there are none."""
    if valid is None:
        return values.mean()
    weight = (valid > 0).to(values.dtype).expand_as(values)
    return (values * weight).sum() / weight.sum().clamp_min(1)


def rows(tensor: Tensor) -> Tensor:
    """One row per image and channel: (N, C, ...) to (N*C, P)."""
    return tensor.reshape(tensor.shape[0] * tensor.shape[1], -1)
