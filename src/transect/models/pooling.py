"""From maps to one vector per picture: average, maximum, GeM, attention, several levels, more.

Every pooling takes the encoder's levels, finest first, gives (N, F), and accepts maps of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from transect.errors import unknown_name

__all__ = ["POOLINGS", "GeM", "Pooling", "build_pooling"]

STRIPES = 4  # whale 7th place


class Pooling(nn.Module):
    """What every pooling is.

    Attributes:
        features: F, the length of the vector.
    """

    features: int

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels of (N, C, h, w), finest first, to (N, F)."""
        raise NotImplementedError


class GeM(nn.Module):
    """Generalised mean over pixels: (mean x^p)^(1/p), between average (p = 1) and maximum.

    Args:
        power: The starting p; it is learned. 3 is usual, 3.74 the whale 7th place's.

    References:
        Radenovic et al. 2018.
    """

    def __init__(self, power: float = 3.0) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C); negative values count as 0."""
        return _generalised_mean(x.flatten(2), self.power)


def _generalised_mean(flat: Tensor, power: Tensor) -> Tensor:
    """Over the last axis, in float32, because powers overflow halves."""
    power = power.float().clamp(min=1.0)
    return flat.float().clamp(min=1e-6).pow(power).mean(-1).pow(1 / power)


class _Average(Pooling):
    """Mean of the deepest level."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = channels[-1]

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return levels[-1].mean((2, 3))


class _Maximum(Pooling):
    """Maximum of the deepest level."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = channels[-1]

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return levels[-1].amax((2, 3))


class _Both(Pooling):
    """Maximum and mean side by side (whale 7th place, after fastai)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = 2 * channels[-1]

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return torch.cat([levels[-1].amax((2, 3)), levels[-1].mean((2, 3))], 1)


class _GeneralisedMean(Pooling):
    """GeM of the deepest level."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = channels[-1]
        self.mean = GeM()

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return self.mean(levels[-1])


class _Attention(Pooling):
    """Mean of the deepest level by shares that a small gated layer gives to its pixels.

    It begins as the plain mean.

    References:
        Ilse, Tomczak and Welling 2018, Attention-based deep multiple instance learning, section
        2.4; 128 hidden values are theirs.
    """

    hidden = 128

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = channels[-1]
        self.value = nn.Conv2d(channels[-1], self.hidden, 1)
        self.gate = nn.Conv2d(channels[-1], self.hidden, 1)
        self.score = nn.Conv2d(self.hidden, 1, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        x = levels[-1]
        score = self.score(torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x)))
        share = score.flatten(2).float().softmax(-1).to(x.dtype)  # (N, 1, h*w)
        return (x.flatten(2) * share).sum(-1)


class _Channel(Pooling):
    """The average vector beside a map pooled over channels to a fixed 8 x 8 grid.

    A 1x1 convolution squeezes the channels first, so that the vector keeps where things are.

    References:
        "Channel pooling" branch of the whale 1st place's slides, whose sizes are not given: the
        grid and the width are our guess.
    """

    grid = 8
    squeezed = 4

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = channels[-1] + self.squeezed * self.grid**2
        self.squeeze = nn.Conv2d(channels[-1], self.squeezed, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        x = levels[-1]
        where = functional.adaptive_avg_pool2d(torch.relu(self.squeeze(x)), self.grid)
        return torch.cat([x.mean((2, 3)), where.flatten(1)], 1)


class _Striped(Pooling):
    """GeM of four vertical stripes, left to right, side by side (whale 7th place, p = 3.74)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = STRIPES * channels[-1]
        self.power = nn.Parameter(torch.tensor(3.74))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        x = levels[-1]
        width = x.shape[-1]
        stripes = []
        for part in range(STRIPES):  # as adaptive pooling cuts: maps narrower than 4 share columns
            left, right = part * width // STRIPES, -(-(part + 1) * width // STRIPES)
            stripes.append(_generalised_mean(x[..., left:right].flatten(2), self.power))
        return torch.cat(stripes, 1)


class _Multilayer(Pooling):
    """GeM of the two deepest levels side by side (Happywhale 1st place; whale 15th's fusion)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = sum(channels[-2:])
        self.means = nn.ModuleList(GeM() for _ in channels[-2:])

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        pairs = zip(self.means, levels[-2:], strict=True)
        return torch.cat([mean(level) for mean, level in pairs], 1)


class _Layout(Pooling):
    """What is there and where: GeM of the three deepest levels, and a 2 x 3 grid of averages.

    The grid is of the second deepest level; each part is brought to length 1. For networks that
    are not trained on the survey: mid-level maps and their places tell individuals apart better
    than the deepest vector does. Ours; in our measurements, projected, .88 to .91 on characters
    and .74 to .77 on simulated flukes (MAP@5) over the two deepest levels.
    """

    grid_hw = (2, 3)

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        placed = channels[-2] if len(channels) > 1 else channels[-1]
        self.features = sum(channels[-3:]) + placed * self.grid_hw[0] * self.grid_hw[1]
        self.means = nn.ModuleList(GeM() for _ in channels[-3:])

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        pairs = zip(self.means, levels[-3:], strict=True)
        parts = [mean(level) for mean, level in pairs]
        placed = levels[-2] if len(levels) > 1 else levels[-1]
        parts.append(functional.adaptive_avg_pool2d(placed, self.grid_hw).flatten(1))
        return torch.cat([functional.normalize(part) for part in parts], 1)


class _EveryLevel(Pooling):
    """Averages of all levels, then two connected layers: the head of GapNet (whale 9th place)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = 256  # GapNet-PL's width
        self.mix = nn.Sequential(
            nn.Linear(sum(channels), 256), nn.SELU(), nn.Linear(256, 256), nn.SELU()
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return self.mix(torch.cat([level.mean((2, 3)) for level in levels], 1))


POOLINGS: dict[str, Callable[[Sequence[int]], Pooling]] = {
    "avg": _Average,
    "max": _Maximum,
    "concat": _Both,
    "gem": _GeneralisedMean,
    "attention": _Attention,
    "channel": _Channel,
    "striped": _Striped,
    "multilayer": _Multilayer,
    "gapnet": _EveryLevel,
    "layout": _Layout,
}


def build_pooling(name: str, channels: Sequence[int]) -> Pooling:
    """A pooling by name.

    Args:
        name: One of ``POOLINGS``.
        channels: Of the encoder's levels, finest first.

    Raises:
        TransectError: If there is no such pooling.
    """
    if name not in POOLINGS:
        raise unknown_name("pooling", name, POOLINGS)
    return POOLINGS[name](channels)
