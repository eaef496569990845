"""The bricks of our networks: convolution with norm, scSE, coordinates, resizing to a neighbour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from transect.errors import unknown_name

__all__ = [
    "GATES",
    "NORMS",
    "BatchNorm1d",
    "BatchNorm2d",
    "ChannelSpatialGate",
    "ConvBlock",
    "activation",
    "append_coordinates",
    "convolve_beside",
    "normalisation",
    "resize_like",
    "tolerate_single_values",
]

NEGATIVE_SLOPE = 0.01  # of the salt 9th place's activated batch norm


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that falls back to its running statistics when there is one value per channel.

    A batch of one whose map has shrunk to a single pixel has no variance; PyTorch raises there,
    but a batch of one must train.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if self.training and input.numel() == input.shape[1]:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0,
                self.eps,
            )  # fmt: skip
        return super().forward(input)


class BatchNorm1d(nn.BatchNorm1d):
    """As our ``BatchNorm2d``, for (N, C)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C)."""
        if self.training and input.shape[0] == 1:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0,
                self.eps,
            )  # fmt: skip
        return super().forward(input)


def _group_norm(channels: int) -> nn.Module:
    """Group norm with at most 8 groups that divide the channels; 8 is our guess."""
    groups = next(g for g in range(min(8, channels), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


def _instance_norm(channels: int) -> nn.Module:
    """Instance norm as one group per channel: it accepts a map of one pixel."""
    return nn.GroupNorm(channels, channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": BatchNorm2d,
    "group": _group_norm,
    "instance": _instance_norm,
}


def normalisation(name: str, channels: int) -> nn.Module:
    """A normalisation layer by name.

    Raises:
        TransectError: If the name is none of ``NORMS``.
    """
    if name not in NORMS:
        raise unknown_name("norm", name, NORMS)
    return NORMS[name](channels)


def activation(leaky: bool) -> nn.Module:
    """ReLU, or leaky ReLU of slope 0.01."""
    return nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True) if leaky else nn.ReLU(inplace=True)


def tolerate_single_values(module: nn.Module) -> nn.Module:
    """Turn a library's plain batch norms into ours, in place, weights and names unchanged."""
    for part in module.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = BatchNorm2d
        elif type(part) is nn.BatchNorm1d:
            part.__class__ = BatchNorm1d
    return module


class ConvBlock(nn.Sequential):
    """Convolution that keeps the size (or divides it by the stride), norm, activation.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Odd.
        stride: Of the convolution.
        dilation: Of the convolution.
        norm: A name of ``NORMS``, or None for no norm (and a bias instead).
        act: The activation, or None.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        norm: str | None = "batch",
        act: nn.Module | None = None,
    ) -> None:
        parts: list[nn.Module] = [
            nn.Conv2d(
                inputs,
                outputs,
                kernel,
                stride=stride,
                padding=dilation * (kernel // 2),
                dilation=dilation,
                bias=norm is None,
            )
        ]
        if norm is not None:
            parts.append(normalisation(norm, outputs))
        if act is not None:
            parts.append(act)
        super().__init__(*parts)

    def forward(self, input: Tensor, everywhere: Tensor | None = None) -> Tensor:
        """Apply the block.

        Args:
            input: (N, C, H, W).
            everywhere: (N, V), further channels of one value each over the whole map; the
                convolution has C + V inputs.

        Returns:
            (N, outputs, H, W), smaller by the stride.
        """
        if everywhere is None:
            return super().forward(input)
        convolution, *rest = self
        assert isinstance(convolution, nn.Conv2d)
        x = convolve_beside(convolution, input, everywhere)
        for part in rest:
            x = part(x)
        return x


def convolve_beside(convolution: nn.Conv2d, x: Tensor, everywhere: Tensor) -> Tensor:
    """Convolve a map and a vector repeated at every pixel, without repeating it.

    A channel of one value adds the same amount to every pixel, less what the taps beyond the
    border would have added: one number per tap and output, which no full-size map is needed for.

    Args:
        convolution: Of C + V inputs, odd kernel, stride 1, zeros that keep the size.
        x: (N, C, H, W).
        everywhere: (N, V).

    Returns:
        (N, outputs, H, W): that of ``cat([x, everywhere at every pixel])``, but for rounding.

    Example:
        >>> conv = nn.Conv2d(3, 1, 3, padding=1)
        >>> x, vector = torch.ones(1, 1, 2, 5), torch.ones(1, 2)
        >>> whole = torch.cat([x, vector[:, :, None, None].expand(-1, -1, 2, 5)], 1)
        >>> torch.allclose(convolve_beside(conv, x, vector), conv(whole), atol=1e-6)
        True
    """
    height, width = x.shape[-2:]
    weight = convolution.weight
    of_map, of_vector = weight.split([x.shape[1], everywhere.shape[1]], 1)
    mapped = functional.conv2d(
        x, of_map.contiguous(memory_format=torch.channels_last), convolution.bias,
        padding=convolution.padding, dilation=convolution.dilation,
    )  # fmt: skip
    taps = torch.einsum("nv,ovij->nijo", everywhere, of_vector).flatten(1, 2)  # (N, kk, outputs)
    down = _inside(height, convolution.kernel_size[0], convolution.dilation[0], x)
    across = _inside(width, convolution.kernel_size[1], convolution.dilation[1], x)
    hit = (down[:, None, :, None] * across[None, :, None, :]).flatten(2).flatten(0, 1)
    shift = hit.to(taps.dtype) @ taps  # (N, H*W, outputs): channels last already
    return mapped + shift.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def _inside(size: int, kernel: int, dilation: int, like: Tensor) -> Tensor:
    """Which taps of a kernel lie inside a line of pixels: (size, kernel) of 0 and 1."""
    place = torch.arange(size, device=like.device)[:, None]
    tap = (torch.arange(kernel, device=like.device) - kernel // 2) * dilation
    return ((place + tap >= 0) & (place + tap < size)).to(like.dtype)


class ChannelSpatialGate(nn.Module):
    """Concurrent channel and spatial squeeze and excitation: x * channel + x * space.

    Args:
        channels: C.
        reduction: The hidden layer of the channel gate has C / reduction features.
        spatial_outputs: 1 for the paper's form (one gate per pixel); C for a gate per pixel and
            channel.
        spatial_hidden: Features of a hidden layer in the spatial gate; 0 has none, as the paper.

    References:
        Roy et al. 2018.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        spatial_outputs: int = 1,
        spatial_hidden: int = 0,
    ) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)
        biased = spatial_outputs > 1
        self.space: nn.Module = nn.Conv2d(channels, spatial_outputs, 1, bias=biased)
        if spatial_hidden:
            self.space = nn.Sequential(
                nn.Conv2d(channels, spatial_hidden, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(spatial_hidden, spatial_outputs, 1),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W)."""
        mean = x.mean((2, 3), keepdim=True)
        channel = torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))
        return x * (channel + torch.sigmoid(self.space(x)))


class Gate(Protocol):
    """From a number of channels to a gate."""

    def __call__(self, channels: int, *, reduction: int) -> nn.Module:
        """Make it; ``reduction`` is the usual one of the place, which a gate may not heed."""
        ...


def _paper_gate(channels: int, *, reduction: int) -> nn.Module:
    """One gate per pixel, by one convolution."""
    return ChannelSpatialGate(channels, reduction=reduction)


def _dense_gate(channels: int, *, reduction: int) -> nn.Module:
    """A gate per pixel and channel: the salt 1st place's Keras network, reduction 2."""
    del reduction
    return ChannelSpatialGate(channels, reduction=2, spatial_outputs=channels)


def _deep_gate(channels: int, *, reduction: int) -> nn.Module:
    """Two layers to one gate per pixel, 16 features between: the salt 28th place, reduction 16."""
    del reduction
    return ChannelSpatialGate(channels, reduction=16, spatial_hidden=16)


GATES: dict[str, Gate] = {
    "scse": _paper_gate,
    "scse_dense": _dense_gate,
    "scse_deep": _deep_gate,
}
"""scSE by name: (channels, reduction) to a gate. The reduction is 4 in an encoder and 16 in a
decoder (salt 1st place, PyTorch part); the authors of the other two had one for both."""


def resize_like(x: Tensor, size_hw: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Resample (N, C, h, w) to a size; a no-op where it already has it."""
    if tuple(x.shape[-2:]) == tuple(size_hw):
        return x
    options: dict[str, Any] = {} if mode == "nearest" else {"align_corners": False}
    return functional.interpolate(x, size=tuple(size_hw), mode=mode, **options)


def append_coordinates(x: Tensor) -> Tensor:
    """Append two channels, x and y in [-1, 1], to a batch: (N, C, H, W) to (N, C + 2, H, W).

    References:
        CoordConv, Liu et al. 2018.

    Example:
        >>> append_coordinates(torch.zeros(1, 1, 1, 3))[0, 1].tolist()
        [[-1.0, 0.0, 1.0]]
    """
    count, _, height, width = x.shape
    row = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)
    column = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype)
    if height == 1:
        row = row * 0
    if width == 1:
        column = column * 0
    across = column.expand(count, 1, height, width)
    down = row[:, None].expand(count, 1, height, width)
    return torch.cat([x, across, down], 1)
