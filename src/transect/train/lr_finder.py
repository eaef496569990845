"""Finds a learning rate: an exponential sweep, and a tenth of where the loss falls fastest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from transect.errors import TransectError
from transect.train.plan import StagePlan
from transect.train.update import fresh, move

__all__ = ["Sweep", "find_lr", "suggest"]

_SMOOTH = 0.9  # of the loss, as Smith 2017's followers do
_GIVE_UP = 4.0  # times the lowest loss


@dataclass(frozen=True)
class Sweep:
    """A sweep over learning rates.

    Attributes:
        lrs: Rates, rising by a constant factor.
        losses: Smoothed training loss at each.
        lr: The suggestion.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    lr: float


def find_lr(
    build: Callable[[], nn.Module],
    plan: StagePlan,
    *,
    seed: int,
    device: str = "cpu",
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
) -> Sweep:
    """Sweep the rate of a stage's optimiser from ``low`` to ``high`` on a model of its own.

    The sweep ends when the loss is four times its lowest, or no number.

    Returns:
        The sweep with its suggestion; the salt 11th place used such a rate (5e-2 for SGD).

    Raises:
        TransectError: If the loss never falls.
    """
    torch.manual_seed(seed)
    place, many = torch.device(device), plan.stage.accumulate
    update = fresh(build, plan, place)
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    endless = itertools.chain.from_iterable(plan.batches.epoch(k) for k in itertools.count())
    for k in range(steps):
        lr = low * (high / low) ** (k / max(1, steps - 1))
        group = [move(batch, place) for batch in itertools.islice(endless, many)]
        value = float(update(group, lr, 0.0)[0])
        if not math.isfinite(value):
            break
        mean = _SMOOTH * mean + (1 - _SMOOTH) * value
        rates.append(lr)
        losses.append(mean / (1 - _SMOOTH ** (k + 1)))
        if losses[-1] > _GIVE_UP * max(min(losses), 1e-12) and k > steps // 10:
            break
    return Sweep(tuple(rates), tuple(losses), suggest(rates, losses))


def suggest(lrs: list[float], losses: list[float]) -> float:
    """A tenth of the rate at which the loss falls most steeply against the logarithm of the rate.

    Raises:
        TransectError: With fewer than five rates, or a loss that never falls.

    Example:
        >>> round(suggest([1e-4, 1e-3, 1e-2, 1e-1, 1.0], [1.0, 0.98, 0.7, 0.4, 3.0]), 6)
        0.001
    """
    if len(lrs) < 5:
        raise TransectError(
            f"the sweep of the learning rate ended after {len(lrs)} steps because the loss was no "
            "number. Begin lower, or look for damaged pictures with `transect audit`."
        )
    lowest = int(np.argmin(losses))
    slopes = np.gradient(np.asarray(losses), np.log(np.asarray(lrs)))[: lowest + 1]
    if slopes.min() >= 0:
        raise TransectError(
            "the loss never fell during the sweep of the learning rate. Does the loss fit the "
            "targets? Set optimizer.lr by hand."
        )
    return float(lrs[int(np.argmin(slopes))] / 10)
