"""Decoders: from a pyramid of encoder levels back to full resolution, for inputs of any size.

Every decoder takes the levels finest first and gives its own levels coarsest first; the last is
the one that the head reads. ``DECODERS`` maps names to builders ``(channels, strides, network)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from transect.errors import TransectError, unknown_name
from transect.models.blocks import (
    GATES,
    ConvBlock,
    activation,
    resize_like,
    tolerate_single_values,
)
from transect.models.centres import FeaturePyramidAttention, GlobalConvolution, ObjectContext
from transect.models.decoder import Decoder
from transect.recipe import Network

__all__ = ["ATTENTIONS", "DECODERS", "Decoder", "build_decoder"]

DEFAULT_WIDTHS = (96, 64, 48, 32, 16)  # our guess; a third of the usual U-Net's time
_UPSAMPLINGS = ("nearest", "bilinear", "transpose", "shuffle")


def build_decoder(channels: Sequence[int], strides: Sequence[int], network: Network) -> Decoder:
    """Build the decoder that a recipe names.

    Args:
        channels: Of the levels, finest first.
        strides: Of the levels, finest first.
        network: The recipe.

    Returns:
        The decoder.

    Raises:
        TransectError: On an unknown decoder or upsampling.
    """
    if network.decoder not in DECODERS:
        raise unknown_name("decoder", network.decoder, DECODERS)
    if network.upsample not in _UPSAMPLINGS:
        raise unknown_name("upsample", network.upsample, _UPSAMPLINGS)
    if network.decoder_attention is not None and network.decoder_attention not in ATTENTIONS:
        raise unknown_name("decoder_attention", network.decoder_attention, ATTENTIONS)
    return DECODERS[network.decoder](channels, strides, network)


def _context(channels: int) -> nn.Module:
    """Object context in a decoder block: dropout 0.2 (salt 9th place), on small maps for speed."""
    return ObjectContext(channels, dropout=0.2, most_positions=1024)


ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {
    **{name: partial(gate, reduction=16) for name, gate in GATES.items()},
    "object_context": _context,
}


def _extras(network: Network, channels: int, dropout: float) -> list[nn.Module]:
    """What follows the convolutions of a block: attention and dropout, as the recipe asks."""
    parts: list[nn.Module] = []
    if network.decoder_attention is not None:
        parts.append(ATTENTIONS[network.decoder_attention](channels))
    if dropout > 0:
        parts.append(nn.Dropout2d(dropout))
    return parts


def _widths(network: Network, count: int) -> list[int]:
    """Widths from the deepest level to the finest; the last one repeats if there are too few."""
    given = list(network.decoder_channels) or list(DEFAULT_WIDTHS)
    if not network.decoder_channels and count < len(given):
        given = given[-count:]
    return (given + [given[-1]] * count)[:count]


def _steps(channels: Sequence[int], strides: Sequence[int]) -> list[tuple[int | None, int, int]]:
    """What each step up meets: (index of the skip or None, its channels, factor of the sides)."""
    steps: list[tuple[int | None, int, int]] = []
    for index in range(len(channels) - 2, -1, -1):
        steps.append((index, channels[index], max(1, strides[index + 1] // strides[index])))
    if strides[0] > 1:
        steps.append((None, 0, strides[0]))
    return steps


class _Up(nn.Module):
    """Enlarge by a factor: nearest, bilinear, transposed convolution or pixel shuffle; then fit.

    Pixel shuffle (Shi et al. 2016) lets a 1x1 convolution make the new pixels as channels.
    """

    def __init__(self, inputs: int, outputs: int, factor: int, how: str) -> None:
        super().__init__()
        self.how = how
        self.factor = factor
        self.convolution: nn.Module | None = None
        if how == "transpose" and factor > 1:
            # Kernel twice the stride: no checkerboard from uneven overlap.
            self.convolution = nn.ConvTranspose2d(
                inputs, outputs, 2 * factor, stride=factor, padding=factor // 2
            )
            self.channels = outputs
        elif how == "shuffle" and factor > 1:
            self.convolution = nn.Sequential(
                nn.Conv2d(inputs, outputs * factor**2, 1), nn.PixelShuffle(factor)
            )
            self.channels = outputs
        else:
            self.channels = inputs

    def forward(self, x: Tensor, size_hw: tuple[int, int]) -> Tensor:
        if self.convolution is not None:
            x = self.convolution(x)
            return _fitted(x, size_hw)
        return resize_like(x, size_hw, "bilinear" if self.how == "bilinear" else "nearest")


def _fitted(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Cut the odd row or column that a transposed convolution made; resample if that is not it."""
    height, width = size_hw
    if 0 <= x.shape[-2] - height < 4 and 0 <= x.shape[-1] - width < 4:
        return x[..., :height, :width]
    return resize_like(x, size_hw)


def _target(x: Tensor, skip: Tensor | None, factor: int) -> tuple[int, int]:
    """The size after a step: the skip's, or the factor times the present one."""
    if skip is not None:
        return skip.shape[-2], skip.shape[-1]
    return x.shape[-2] * factor, x.shape[-1] * factor


class _UNetBlock(nn.Module):
    """Enlarge, concatenate the skip, two 3x3 convolutions, optional gate and dropout."""

    def __init__(
        self, inputs: int, skip: int, outputs: int, factor: int, network: Network,
        dropout: float, dilation: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.up = _Up(inputs, outputs, factor, network.upsample)
        self.factor = factor
        norm, leaky = network.norm, network.leaky
        parts: list[nn.Module] = [
            ConvBlock(self.up.channels + skip, outputs, norm=norm, act=activation(leaky)),
            ConvBlock(outputs, outputs, dilation=dilation, norm=norm, act=activation(leaky)),
        ]
        parts += _extras(network, outputs, dropout)
        self.body = nn.Sequential(*parts)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.up(x, _target(x, skip, self.factor))
        return self.body(x if skip is None else torch.cat([x, skip], 1))


class _Ladder(Decoder):
    """Blocks that climb the pyramid one skip at a time."""

    def __init__(
        self, blocks: Sequence[nn.Module], skips: Sequence[int | None], channels: Sequence[int]
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.skips = tuple(skips)
        self.channels = tuple(channels)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        x, outputs = levels[-1], []
        for block, index in zip(self.blocks, self.skips, strict=True):
            x = block(x, None if index is None else levels[index])
            outputs.append(x)
        return outputs


def _unet(
    channels: Sequence[int], strides: Sequence[int], network: Network, *, dilation: int = 1
) -> Decoder:
    """U-Net of two convolutions a level."""
    steps = _steps(channels, strides)
    widths = _widths(network, len(steps))
    drops = _dropouts(network, len(steps))
    blocks: list[nn.Module] = []
    inputs = channels[-1]
    for (_, skip, factor), width, drop in zip(steps, widths, drops, strict=True):
        blocks.append(_UNetBlock(inputs, skip, width, factor, network, drop, dilation))
        inputs = width
    return _Ladder(blocks, [index for index, _, _ in steps], widths)


def _dilated(channels: Sequence[int], strides: Sequence[int], network: Network) -> Decoder:
    """U-Net whose second convolution of every level has dilation 2."""
    return _unet(channels, strides, network, dilation=2)


def _dropouts(network: Network, count: int) -> list[float]:
    """Dropout per level, zero where the recipe names none."""
    return (list(network.dropout) + [0.0] * count)[:count]


class _LinkBlock(nn.Module):
    """LinkNet step: 1x1 to a quarter, enlarge, 1x1 out; then the skip added or concatenated."""

    def __init__(
        self, inputs: int, skip: int, outputs: int, factor: int, network: Network,
        dropout: float, concatenate: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        norm, leaky = network.norm, network.leaky
        inner = max(inputs // 4, 8)
        self.reduce = ConvBlock(inputs, inner, 1, norm=norm, act=activation(leaky))
        self.up = _Up(inner, inner, factor, network.upsample)
        self.factor = factor
        self.mix = ConvBlock(inner, inner, norm=norm, act=activation(leaky))
        self.expand = ConvBlock(inner, outputs, 1, norm=norm, act=activation(leaky))
        self.join = (
            ConvBlock(outputs + skip, outputs, 1, norm=norm, act=activation(leaky))
            if concatenate and skip
            else None
        )
        self.extras = nn.Sequential(*_extras(network, outputs, dropout))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        size = _target(x, skip, self.factor)
        x = self.expand(self.mix(self.up(self.reduce(x), size)))
        if skip is not None:
            x = x + skip if self.join is None else self.join(torch.cat([x, skip], 1))
        return self.extras(x)


def _linknet(
    channels: Sequence[int], strides: Sequence[int], network: Network, *, concatenate: bool = False
) -> Decoder:
    """LinkNet: the sum needs the skip's width, concatenation takes the recipe's."""
    steps = _steps(channels, strides)
    given = _widths(network, len(steps))
    widths = [
        skip if skip and not concatenate else width
        for (_, skip, _), width in zip(steps, given, strict=True)
    ]
    drops = _dropouts(network, len(steps))
    blocks: list[nn.Module] = []
    inputs = channels[-1]
    for (_, skip, factor), width, drop in zip(steps, widths, drops, strict=True):
        blocks.append(_LinkBlock(inputs, skip, width, factor, network, drop, concatenate))
        inputs = width
    return _Ladder(blocks, [index for index, _, _ in steps], widths)


def _linknet_concat(channels: Sequence[int], strides: Sequence[int], network: Network) -> Decoder:
    """LinkNet with concatenation and a 1x1 convolution instead of the sum."""
    return _linknet(channels, strides, network, concatenate=True)


class _PhalanxBlock(nn.Module):
    """Transposed convolution to 32 channels beside a 1x1 of the skip to 32; norm; scSE."""

    def __init__(
        self, inputs: int, skip: int, half: int, factor: int, network: Network, dropout: float
    ) -> None:
        super().__init__()
        kernel = max(factor, 1)
        self.up = nn.ConvTranspose2d(inputs, half, kernel, stride=kernel)
        self.skip = nn.Conv2d(skip, half, 1)
        parts: list[nn.Module] = [nn.BatchNorm2d(2 * half), activation(network.leaky)]
        parts += _extras(network, 2 * half, dropout)
        self.after = tolerate_single_values(nn.Sequential(*parts))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        assert skip is not None
        x = _fitted(self.up(x), (skip.shape[-2], skip.shape[-1]))
        return self.after(torch.cat([x, self.skip(skip)], 1))


class _PhalanxLast(nn.Module):
    """Bilinear enlargement, 3x3 to 32, 3x3 to 64, ELU, scSE: only if the encoder's stem strides."""

    def __init__(self, inputs: int, half: int, factor: int, network: Network) -> None:
        super().__init__()
        self.factor = factor
        self.body = nn.Sequential(
            ConvBlock(inputs, half, norm=network.norm, act=nn.ELU(inplace=True)),
            ConvBlock(half, 2 * half, norm=network.norm, act=nn.ELU(inplace=True)),
        )
        self.gate = nn.Sequential(*_extras(network, 2 * half, 0.0))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = resize_like(x, _target(x, skip, self.factor))
        return self.gate(self.body(x))


def _phalanx(channels: Sequence[int], strides: Sequence[int], network: Network) -> Decoder:
    """Decoder of the salt 1st place's PyTorch networks; 64 channels at every level.

    The stem's own output is not used where the first stage has the same stride.
    """
    kept = [
        i for i in range(len(channels)) if i + 1 == len(channels) or strides[i] != strides[i + 1]
    ]
    half = (network.decoder_channels[0] if network.decoder_channels else 64) // 2
    steps = _steps([channels[i] for i in kept], [strides[i] for i in kept])
    drops = _dropouts(network, len(steps))
    blocks: list[nn.Module] = []
    inputs = channels[-1]
    for (index, skip, factor), drop in zip(steps, drops, strict=True):
        if index is None:
            blocks.append(_PhalanxLast(inputs, half, factor, network))
        else:
            blocks.append(_PhalanxBlock(inputs, skip, half, factor, network, drop))
        inputs = 2 * half
    indices = [None if index is None else kept[index] for index, _, _ in steps]
    return _Ladder(blocks, indices, [2 * half] * len(steps))


class _GAUBlock(nn.Module):
    """Global attention upsampling: the high level gates the channels of the low one.

    The gate has two 1x1 convolutions with ReLU between, like scSE's, as the salt 1st place says;
    they have no norm, because they see one value per channel.
    """

    def __init__(
        self, inputs: int, skip: int, outputs: int, factor: int, network: Network,
        dropout: float, large: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.factor = factor
        self.high = (
            ConvBlock(inputs, outputs, 1, norm=network.norm, act=activation(network.leaky))
            if inputs != outputs
            else nn.Identity()
        )
        self.low: nn.Module | None = None
        if skip:
            self.low = (
                GlobalConvolution(skip, outputs=outputs, leaky=network.leaky)
                if large
                else ConvBlock(skip, outputs, norm=network.norm, act=activation(network.leaky))
            )
            self.gate = nn.Sequential(
                nn.Conv2d(outputs, max(outputs // 4, 4), 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(max(outputs // 4, 4), outputs, 1),
                nn.Sigmoid(),
            )
        self.extras = nn.Sequential(*_extras(network, outputs, dropout))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.high(x)
        large = resize_like(x, _target(x, skip, self.factor))
        if skip is not None and self.low is not None:
            large = large + self.low(skip) * self.gate(x.mean((2, 3), keepdim=True))
        return self.extras(large)


def _gau(
    channels: Sequence[int], strides: Sequence[int], network: Network, *, large: bool = True
) -> Decoder:
    """GAU decoder with large-kernel skips; together with centre gcn, salt 1st's resize-128 net."""
    steps = _steps(channels, strides)
    widths = _widths(network, len(steps))
    drops = _dropouts(network, len(steps))
    blocks: list[nn.Module] = []
    inputs = channels[-1]
    for (_, skip, factor), width, drop in zip(steps, widths, drops, strict=True):
        # Large kernels pay on small maps only; the finest skips get a plain 3x3.
        blocks.append(
            _GAUBlock(inputs, skip, width, factor, network, drop, large and len(blocks) < 3)
        )
        inputs = width
    return _Ladder(blocks, [index for index, _, _ in steps], widths)


class _PAN(Decoder):
    """Pyramid attention network: FPA on the deepest level, GAU on the way up, one width."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], network: Network) -> None:
        super().__init__()
        self.attention = FeaturePyramidAttention(channels[-1], norm=network.norm)
        width = network.decoder_channels[0] if network.decoder_channels else 64
        first = next((i for i, s in enumerate(strides) if s >= 4), 0)
        kept = list(range(min(first, len(channels) - 1), len(channels)))
        inner = [*(channels[i] for i in kept[:-1]), self.attention.channels]
        flat = _replaced(network, decoder_channels=(width,))
        self.first = kept[0]
        stride = [strides[i] for i in kept]
        # Levels finer than a quarter are not decoded: the head's output is enlarged instead.
        steps = _steps(inner, stride)
        steps = [step for step in steps if step[0] is not None] or steps
        drops = _dropouts(network, len(steps))
        blocks, inputs = [], inner[-1]
        for (_, skip, factor), drop in zip(steps, drops, strict=True):
            blocks.append(_GAUBlock(inputs, skip, width, factor, flat, drop, False))
            inputs = width
        self.ladder = _Ladder(blocks, [index for index, _, _ in steps], [width] * len(steps))
        self.channels = self.ladder.channels

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        inner = [*levels[self.first : -1], self.attention(levels[-1])]
        return self.ladder(inner)


def _replaced(network: Network, **fields: object) -> Network:
    """``dataclasses.replace`` for the network."""
    import dataclasses

    return dataclasses.replace(network, **fields)  # type: ignore[arg-type]


class _ResidualUnit(nn.Module):
    """RefineNet's residual convolution unit, pre-activation and without norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(torch.relu(x))))


class _RefineBlock(nn.Module):
    """RefineNet block: two residual units per input, fusion by sum, chained residual pooling."""

    def __init__(self, inputs: Sequence[int], width: int, network: Network, dropout: float) -> None:
        super().__init__()
        self.adapt = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, 1), _ResidualUnit(width), _ResidualUnit(width))
            for c in inputs
        )
        self.fuse = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in inputs)
        # Three links of 5x5 pooling and 3x3 convolution (salt 2nd place).
        self.chain = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.out = _ResidualUnit(width)
        self.extras = nn.Sequential(*_extras(network, width, dropout))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        size = max((x.shape[-2], x.shape[-1]) for x in inputs)
        total: Tensor | None = None
        for x, adapt, fuse in zip(inputs, self.adapt, self.fuse, strict=True):
            part = resize_like(fuse(adapt(x)), size)
            total = part if total is None else total + part
        assert total is not None
        total = torch.relu(total)
        link = total
        for convolution in self.chain:
            link = convolution(functional.max_pool2d(link, 5, stride=1, padding=2))
            total = total + link
        return self.extras(self.out(total))


class _RefineNet(Decoder):
    """RefineNet over all levels, deepest first, one width (128 at the salt 2nd place)."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], network: Network) -> None:
        super().__init__()
        width = network.decoder_channels[0] if network.decoder_channels else 128
        self.kept = [
            i
            for i in range(len(channels))
            if i + 1 == len(channels) or strides[i] != strides[i + 1]
        ]
        if len(self.kept) > 4 and strides[self.kept[0]] > 1:
            self.kept = self.kept[-4:]  # the paper refines four levels; the rest is interpolation
        drops = _dropouts(network, len(self.kept))
        blocks: list[nn.Module] = []
        for position, index in enumerate(reversed(self.kept)):
            inputs = [channels[index]] if position == 0 else [channels[index], width]
            blocks.append(_RefineBlock(inputs, width, network, drops[position]))
        self.blocks = nn.ModuleList(blocks)
        self.channels = tuple([width] * len(blocks))

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        outputs: list[Tensor] = []
        for block, index in zip(self.blocks, reversed(self.kept), strict=True):
            outputs.append(block([levels[index], *outputs[-1:]]))
        return outputs


class _Adapted(Decoder):
    """A decoder of segmentation-models-pytorch; it doubles sizes, so inputs are padded for it.

    Levels of an encoder that cuts borders off are no exact multiples of each other; they are
    resampled to what they would be with padding.
    """

    def __init__(
        self,
        decoder: nn.Module,
        chosen: Sequence[int | None],
        channels: int,
        strides: Sequence[int],
    ) -> None:
        super().__init__()
        self.decoder = tolerate_single_values(decoder)
        self.chosen = tuple(chosen)
        self.channels = (channels,)
        self.strides = tuple(strides)
        self.multiple = strides[-1]

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        used = [i for i in self.chosen if i is not None]
        units = [
            max(-(-levels[i].shape[axis] * self.strides[i] // self.multiple) for i in used)
            for axis in (-2, -1)
        ]  # sides of the deepest level, in its own pixels
        empty = levels[0].new_zeros(0)
        return [
            self.decoder(
                [empty if i is None else self._exact(levels[i], i, units) for i in self.chosen]
            )
        ]

    def _exact(self, level: Tensor, index: int, units: Sequence[int]) -> Tensor:
        """The level at the size that its stride says."""
        times = self.multiple // self.strides[index]
        return resize_like(level, (units[0] * times, units[1] * times))


def _level_at(strides: Sequence[int], stride: int) -> int | None:
    """The last level of that stride."""
    return max((i for i, s in enumerate(strides) if s == stride), default=None)


def _fpn(channels: Sequence[int], strides: Sequence[int], network: Network) -> Decoder:
    """Feature pyramid network of segmentation-models-pytorch on the four deepest strides."""
    from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder

    deepest = strides[-1]
    chosen = [_level_at(strides, deepest // factor) for factor in (8, 4, 2, 1)]
    if deepest < 8 or any(index is None for index in chosen):
        raise TransectError(
            f"decoder fpn needs four levels that halve in size; encoder {network.encoder} has "
            f"strides {tuple(strides)}. Use unet or refinenet."
        )
    width = network.decoder_channels[0] if network.decoder_channels else 96
    out = network.decoder_channels[1] if len(network.decoder_channels) > 1 else 64
    if out % 32:
        raise TransectError(
            f"decoder fpn needs a second decoder_channels divisible by 32; got {out}."
        )
    decoder = FPNDecoder(
        [channels[i] for i in chosen if i is not None],
        pyramid_channels=width,
        segmentation_channels=out,
        dropout=network.dropout[0] if network.dropout else 0.0,
    )
    return _Adapted(decoder, chosen, out, strides)


def _deeplab(channels: Sequence[int], strides: Sequence[int], network: Network) -> Decoder:
    """DeepLabv3+ of segmentation-models-pytorch: pyramid of dilations, joined at a quarter."""
    from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

    width = network.decoder_channels[0] if network.decoder_channels else 96
    deepest = strides[-1]
    fine = _level_at(strides, 4)
    fine = 0 if fine is None else fine
    # Its rates 12, 24, 36 suit stride 8; on a deeper map they would only see padding.
    rates = tuple(max(1, round(rate * 8 / max(deepest, 8))) for rate in (12, 24, 36))
    decoder = DeepLabV3PlusDecoder(
        encoder_channels=[0, 0, channels[fine], 0, channels[-1]],
        encoder_depth=4,
        out_channels=width,
        atrous_rates=rates,
        output_stride=16,
        aspp_separable=True,
        aspp_dropout=network.dropout[0] if network.dropout else 0.0,
    )
    decoder.up = nn.Upsample(scale_factor=deepest // strides[fine], mode="bilinear")
    return _Adapted(decoder, [None, None, fine, len(channels) - 1], width, strides)


DECODERS: dict[str, Callable[[Sequence[int], Sequence[int], Network], Decoder]] = {
    "unet": _unet,
    "linknet": _linknet,
    "linknet_concat": _linknet_concat,
    "fpn": _fpn,
    "pan": _PAN,
    "deeplabv3": _deeplab,
    "refinenet": _RefineNet,
    "gau": _gau,
    "phalanx": _phalanx,
    "dilated": _dilated,
}
