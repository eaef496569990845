"""What stands between encoder and decoder: pyramid attention, large kernels, object context."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from transect.models.blocks import ConvBlock, activation, resize_like

__all__ = [
    "CENTRES",
    "POOLED_CENTRES",
    "Centre",
    "ConvolutionCentre",
    "DilatedCentre",
    "DualAttention",
    "ExpectationMaximisation",
    "FeaturePyramidAttention",
    "GlobalConvolution",
    "ObjectContext",
    "ObjectContextCentre",
    "PyramidPooling",
]


class Centre(nn.Module):
    """What every centre is: a map in, a map of the same size and ``channels`` out."""

    channels: int


class ConvolutionCentre(Centre):
    """Two 3x3 convolutions; the second halves the channels, as at the salt 4th place."""

    def __init__(self, inputs: int, *, norm: str = "batch", leaky: bool = False) -> None:
        super().__init__()
        self.channels = max(inputs // 2, 16)
        self.body = nn.Sequential(
            ConvBlock(inputs, inputs, norm=norm, act=activation(leaky)),
            ConvBlock(inputs, self.channels, norm=norm, act=activation(leaky)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C / 2, H, W)."""
        return self.body(x)


class FeaturePyramidAttention(Centre):
    """Feature pyramid attention without its 7x7 level ("FPA v2"), C to C / 2 channels.

    A pyramid of two strided levels (5x5, then 3x3) makes a map that multiplies a 1x1 branch; a
    global average through a 1x1 convolution without norm is added.

    References:
        Li et al. 2018 (PAN); salt 1st place, phalanx networks, 512 to 256 channels.
    """

    def __init__(self, inputs: int, *, norm: str = "batch", leaky: bool = False) -> None:
        super().__init__()
        del leaky  # the original's activation is ELU
        out = self.channels = max(inputs // 2, 16)
        self.main = ConvBlock(inputs, out, 1, norm=norm, act=nn.ELU(inplace=True))
        self.down5 = ConvBlock(inputs, inputs, 5, stride=2, norm=norm, act=nn.ELU(inplace=True))
        self.flat5 = ConvBlock(inputs, out, 5, norm=norm, act=nn.ELU(inplace=True))
        self.down3 = ConvBlock(inputs, inputs, 3, stride=2, norm=norm, act=nn.ELU(inplace=True))
        self.flat3 = ConvBlock(inputs, out, 3, norm=norm, act=nn.ELU(inplace=True))
        self.everywhere = nn.Conv2d(inputs, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C / 2, H, W)."""
        half = self.down5(x)
        quarter = self.flat3(self.down3(half))
        upper = self.flat5(half)
        attention = upper + resize_like(quarter, _size(upper))
        gated = self.main(x) * resize_like(attention, _size(x))
        return gated + self.everywhere(x.mean((2, 3), keepdim=True))


class GlobalConvolution(Centre):
    """Global convolution with boundary refinement: k x 1 then 1 x k, plus the other order.

    References:
        Peng et al. 2017, k = 7; centre of the salt 1st place's resize-128 variant.
    """

    def __init__(
        self,
        inputs: int,
        *,
        outputs: int | None = None,
        kernel: int = 7,
        norm: str = "batch",
        leaky: bool = False,
    ) -> None:
        super().__init__()
        del norm
        out = self.channels = max(inputs // 2, 16) if outputs is None else outputs
        tall, wide, pad = (kernel, 1), (1, kernel), kernel // 2
        self.tall_first = nn.Sequential(
            nn.Conv2d(inputs, out, tall, padding=(pad, 0)),
            nn.Conv2d(out, out, wide, padding=(0, pad)),
        )
        self.wide_first = nn.Sequential(
            nn.Conv2d(inputs, out, wide, padding=(0, pad)),
            nn.Conv2d(out, out, tall, padding=(pad, 0)),
        )
        self.refine = nn.Sequential(
            nn.Conv2d(out, out, 3, padding=1), activation(leaky), nn.Conv2d(out, out, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C / 2, H, W)."""
        x = self.tall_first(x) + self.wide_first(x)
        return x + self.refine(x)


class ObjectContext(Centre):
    """Object context: every pixel attends to the pixels that look like it.

    Key and query share a 1x1 convolution to C / 2 channels; the output convolution starts at zero
    and its result is concatenated with the input and mixed by 1x1.

    Args:
        inputs: C.
        outputs: Channels of the result; None keeps C.
        dropout: After the mixing (.05 at the centre of the salt 9th place, .2 in its decoder).
        most_positions: Larger maps are attended to at a reduced size, so that memory is bounded.
        norm: Of the convolutions.
        leaky: Leaky activations.

    References:
        Yuan and Wang 2018 (OCNet, base form); salt 9th place.
    """

    def __init__(
        self,
        inputs: int,
        *,
        outputs: int | None = None,
        dropout: float = 0.05,
        most_positions: int = 4096,
        norm: str = "batch",
        leaky: bool = False,
    ) -> None:
        super().__init__()
        self.channels = inputs if outputs is None else outputs
        inner = max(inputs // 2, 4)
        self.key = ConvBlock(inputs, inner, 1, norm=norm)
        self.value = nn.Conv2d(inputs, inner, 1)
        self.out = nn.Conv2d(inner, inputs, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]
        self.mix = ConvBlock(2 * inputs, self.channels, 1, norm=norm, act=activation(leaky))
        self.drop = nn.Dropout2d(dropout)
        self.most_positions = most_positions

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, outputs, H, W)."""
        small = _bounded(x, self.most_positions)
        height, width = _size(x)
        key = self.key(small).flatten(2).transpose(1, 2)  # (N, H*W, K)
        value = self.value(small).flatten(2).transpose(1, 2)
        context = functional.scaled_dot_product_attention(key, key, value)
        context = context.transpose(1, 2).reshape(x.shape[0], -1, *small.shape[-2:])
        context = resize_like(self.out(context), (height, width))
        return self.drop(self.mix(torch.cat([context, x], 1)))


class ObjectContextCentre(Centre):
    """A 3x3 convolution to at most 512 channels, then object context (OCNet; salt 9th place)."""

    def __init__(self, inputs: int, *, norm: str = "batch", leaky: bool = False) -> None:
        super().__init__()
        self.channels = min(inputs, 512)
        self.body = nn.Sequential(
            ConvBlock(inputs, self.channels, norm=norm, act=activation(leaky)),
            ObjectContext(self.channels, norm=norm, leaky=leaky),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, min(C, 512), H, W)."""
        context: Tensor = self.body(x)
        return context


class ExpectationMaximisation(Centre):
    """Attention through K bases found by a few steps of expectation maximisation.

    Args:
        inputs: C.
        bases: K; 64 in the paper, 32 is our guess for small maps.
        steps: 3 in the paper.
        norm: Of the last convolution.
        leaky: Unused.

    References:
        Li et al. 2019 (EMANet). We learn the starting bases instead of keeping a moving average,
        so that the network has no state that a batch of another size would disturb.
    """

    def __init__(
        self, inputs: int, *, bases: int = 32, steps: int = 3, norm: str = "batch",
        leaky: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        del leaky
        self.channels = inputs
        self.steps = steps
        self.bases = nn.Parameter(torch.randn(inputs, bases) * (2 / bases) ** 0.5)
        self.before = nn.Conv2d(inputs, inputs, 1)
        self.after = ConvBlock(inputs, inputs, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), same shape."""
        flat = self.before(x).flatten(2)  # (N, C, H*W)
        bases = functional.normalize(self.bases, dim=0).expand(x.shape[0], -1, -1)
        for _ in range(self.steps):
            share = torch.softmax(flat.transpose(1, 2) @ bases, 2)  # (N, H*W, K)
            weight = share / (share.sum(1, keepdim=True) + 1e-6)
            bases = functional.normalize(flat @ weight, dim=1)
        rebuilt = torch.relu(bases @ share.transpose(1, 2)).reshape(x.shape)
        return torch.relu(x + self.after(rebuilt))


class DilatedCentre(Centre):
    """Stacked 3x3 convolutions of dilation 1, 2, 4, 8; the outputs of all are added.

    References:
        D-LinkNet (Zhou et al. 2018) stacks the same four.
    """

    def __init__(self, inputs: int, *, norm: str = "batch", leaky: bool = False) -> None:
        super().__init__()
        self.channels = inputs
        self.stack = nn.ModuleList(
            ConvBlock(inputs, inputs, dilation=d, norm=norm, act=activation(leaky))
            for d in (1, 2, 4, 8)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), same shape."""
        total = x
        for layer in self.stack:
            x = layer(x)
            total = total + x
        return total


class PyramidPooling(Centre):
    """Averages over 1, 4, 9 and 36 parts of the picture beside the map itself, mixed by 3x3.

    Each average has C / 4 channels, the result at most 512.

    References:
        Zhao et al. 2017 (PSPNet).
    """

    def __init__(self, inputs: int, *, norm: str = "batch", leaky: bool = False) -> None:
        super().__init__()
        self.channels = min(inputs, 512)
        part = max(inputs // 4, 4)
        self.parts = nn.ModuleList(
            ConvBlock(inputs, part, 1, norm=norm, act=activation(leaky)) for _ in self.sides
        )
        width = inputs + part * len(self.sides)
        self.mix = ConvBlock(width, self.channels, norm=norm, act=activation(leaky))

    sides = (1, 2, 3, 6)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, min(C, 512), H, W)."""
        pooled = [
            resize_like(part(functional.adaptive_avg_pool2d(x, side)), _size(x))
            for side, part in zip(self.sides, self.parts, strict=True)
        ]
        return self.mix(torch.cat([x, *pooled], 1))


class DualAttention(Centre):
    """Pixels attend to pixels and channels to channels; both are added. C to C / 4 channels.

    Both attentions begin without effect (a factor of zero). Maps of more than 4,096 positions are
    attended to at a reduced size, so that memory is bounded.

    References:
        Fu et al. 2019 (DANet).
    """

    def __init__(self, inputs: int, *, norm: str = "batch", leaky: bool = False) -> None:
        super().__init__()
        inner = self.channels = max(inputs // 4, 8)

        def block(channels: int) -> nn.Module:
            return ConvBlock(channels, inner, norm=norm, act=activation(leaky))

        self.by_pixel, self.by_channel = block(inputs), block(inputs)
        self.query = nn.Conv2d(inner, max(inner // 8, 2), 1)
        self.key = nn.Conv2d(inner, max(inner // 8, 2), 1)
        self.value = nn.Conv2d(inner, inner, 1)
        self.share_pixel = nn.Parameter(torch.zeros(1))
        self.share_channel = nn.Parameter(torch.zeros(1))
        self.after_pixel, self.after_channel = block(inner), block(inner)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C / 4, H, W)."""
        pixels, channels = self.by_pixel(x), self.by_channel(x)
        small = _bounded(pixels, 4096)
        query, key, value = (
            part(small).flatten(2).transpose(1, 2) for part in (self.query, self.key, self.value)
        )  # (N, H*W, K)
        seen = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        seen = seen.transpose(1, 2).reshape(x.shape[0], -1, *small.shape[-2:])
        pixels = pixels + self.share_pixel * resize_like(seen, _size(x))
        flat = channels.flatten(2)  # (N, C, H*W)
        alike = flat @ flat.transpose(1, 2)
        # The paper's form: what is least alike weighs most.
        weight = torch.softmax(alike.amax(2, keepdim=True) - alike, 2)
        channels = channels + self.share_channel * (weight @ flat).reshape(channels.shape)
        total: Tensor = self.after_pixel(pixels) + self.after_channel(channels)
        return total


def _bounded(x: Tensor, most_positions: int) -> Tensor:
    """A map averaged down until it has no more positions than that."""
    height, width = _size(x)
    if height * width <= most_positions:
        return x
    shrink = (most_positions / (height * width)) ** 0.5
    size = (max(1, int(height * shrink)), max(1, int(width * shrink)))
    return functional.adaptive_avg_pool2d(x, size)


def _size(x: Tensor) -> tuple[int, int]:
    """(H, W) of a map."""
    return x.shape[-2], x.shape[-1]


CENTRES: dict[str, Callable[..., Centre]] = {
    "conv": ConvolutionCentre,
    "fpa": FeaturePyramidAttention,
    "gcn": GlobalConvolution,
    "object_context": ObjectContextCentre,
    "dilated": DilatedCentre,
    "ema": ExpectationMaximisation,
    "psp": PyramidPooling,
    "dual_attention": DualAttention,
}

POOLED_CENTRES = {"conv", "fpa"}
"""After these a max pooling by 2 follows, and the deepest encoder level becomes a skip of the
decoder (salt 1st and 4th place); the others replace the deepest level."""
