"""Lovász hinge, forward and backward: the published loop, one batched sort, ours, and BCE."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.hot_paths import Row, interleaved
from transect.losses.lovasz import _in_batch, lovasz
from transect.losses.pixelwise import bce

__all__ = ["run"]


def run(quick: bool = True) -> list[Row]:
    """Measure 32 masks of 128 x 128 on one thread.

    Args:
        quick: Five rounds; else 25.

    Returns:
        One row per contender; ratios to ours. BCE stands for what any loss must cost.
    """
    from segmentation_models_pytorch.losses import LovaszLoss

    torch.manual_seed(0)
    logits, target = torch.randn(32, 1, 128, 128), torch.zeros(32, 1, 128, 128)
    target[8:, :, 20:90, 10:80] = 1  # a quarter is empty
    peer = LovaszLoss("binary", per_image=True)

    def step(loss: Callable[..., Tensor]) -> Callable[[], object]:
        def work() -> Tensor | None:
            x = logits.clone().requires_grad_()
            loss(x, target).backward()
            return x.grad

        return work

    def batched() -> Tensor:
        labels = target.flatten(1) > 0.5
        return _in_batch(logits.flatten(1), labels, None, "relu", False)[1]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = interleaved(
            {
                "segmentation-models-pytorch": step(peer),
                "one batched sort": batched,
                "ours": step(lovasz),
                "limit: binary cross-entropy": step(bce),
            },
            5 if quick else 25,
        )
    finally:
        torch.set_num_threads(threads)
    return [
        Row("lovasz 32 x 128^2", name, value, value / seconds["ours"])
        for name, value in seconds.items()
    ]
