"""A training step of the default network: a plain peer, memory layouts, and ours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.hot_paths import Row, interleaved, work_of
from transect.models import build
from transect.models.weights import quiet_timm
from transect.recipe import Network

__all__ = ["run"]


def run(quick: bool = True) -> list[Row]:
    """Measure forward, backward and update at 128 px, batch 16, on one thread.

    Args:
        quick: Three repeats instead of ten.

    Returns:
        One row per contender; ratios to the peer, segmentation-models-pytorch's U-Net with the
        same kind of encoder in the usual layout.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        networks = _networks()
        work = {
            name: work_of(model, torch.zeros(1, 3, 128, 128)) for name, model in networks.items()
        }
        steps = {
            name: _step(model, channels_last="channels_last" in name)
            for name, model in networks.items()
        }
        seconds = interleaved(steps, 3 if quick else 10)
    finally:
        torch.set_num_threads(threads)
    reference = seconds["smp Unet, NCHW"]
    return [
        Row("training step 128 px x 16", name, s, s / reference, work=work[name])
        for name, s in seconds.items()
    ]


def _networks() -> dict[str, nn.Module]:
    """The contenders, each with a network of its own."""
    import segmentation_models_pytorch as smp

    scratch = Network(weights=None)
    with quiet_timm():
        peers = [smp.Unet("timm-tf_efficientnet_lite0", encoder_weights=None) for _ in range(2)]
    return {
        "smp Unet, NCHW": peers[0],
        "smp Unet, channels_last": peers[1],
        "ours, NCHW": build(scratch, in_channels=3, outputs=1),
        "ours, channels_last": build(scratch, in_channels=3, outputs=1),
    }


def _step(model: nn.Module, *, channels_last: bool) -> Callable[[], object]:
    """One optimiser step on a fixed batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((16, 3, 128, 128), generator=generator)
    target = (torch.rand((16, 1, 128, 128), generator=generator) > 0.5).float()
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)

    def step() -> Tensor:
        optimiser.zero_grad()
        out = model(x)
        logits = out["logits"] if isinstance(out, dict) else out
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step
