"""Averages of weights: a moving one during training, the mean of snapshots after it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from transect.errors import TransectError

__all__ = ["Ema", "ema_decay", "mean_weights", "refresh_batch_norm"]


def ema_decay(decay: float, updates: int) -> float:
    """Decay after so many updates: small at first, so that the start is soon forgotten.

    Example:
        >>> [round(ema_decay(0.99, n), 3) for n in (0, 10, 10_000)]
        [0.1, 0.55, 0.99]
    """
    return min(decay, (1 + updates) / (10 + updates))


class Ema:
    """An exponential moving average of a model: the copy that is evaluated and kept.

    Floating parameters and buffers are averaged, counters copied.

    Attributes:
        model: The averaged model, in evaluation mode, without gradients.
        updates: Updates taken in.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise TransectError(f"ema must be in [0, 1); got {decay}. Usual is 0.99 to 0.9999.")
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's present weights."""
        share = 1 - ema_decay(self.decay, self.updates)
        self.updates += 1
        live = model.state_dict()
        for name, kept in self.model.state_dict().items():
            if kept.is_floating_point():
                kept.lerp_(live[name].detach().to(kept.dtype), share)
            else:
                kept.copy_(live[name])


def mean_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The equal mean of several states of one model (SWA, Izmailov 2018).

    Args:
        states: ``state_dict``s with the same names and shapes.

    Returns:
        Floating tensors averaged in float64; counters from the last state. Batch-norm statistics
        are those of no real network until ``refresh_batch_norm``.
    """
    assert states
    mean = {}
    for name, last in states[-1].items():
        if last.is_floating_point():
            total = torch.zeros_like(last, dtype=torch.float64)
            for state in states:
                total += state[name].to(total.device)
            mean[name] = (total / len(states)).to(last.dtype)
        else:
            mean[name] = last.clone()
    return mean


@torch.no_grad()
def refresh_batch_norm(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    forward: Callable[[Mapping[str, Tensor]], object],
) -> None:
    """Measure the batch-norm statistics of a model anew over one pass of training batches.

    Only batch norms are in training mode meanwhile, so that dropout does not distort what they
    see. The statistics are the mean over items: a batch of b after n items counts b / (n + b).

    Args:
        model: Its statistics are replaced; it is left in evaluation mode.
        batches: Of the items that the model was trained on, never of validation items.
        forward: Runs the model on a batch; what it returns is not used.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    norms = [m for m in norms if m.track_running_stats and m.running_mean is not None]
    model.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    try:
        for batch in batches:
            size = len(next(iter(batch.values())))
            seen += size
            for norm in norms:
                norm.momentum = size / seen
            forward(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.eval()
