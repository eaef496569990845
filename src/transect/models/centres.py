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
    "ExpectationMaximisation",
    "FeaturePyramidAttention",
    "GlobalConvolution",
    "ObjectContext",
    "ObjectContextCentre",
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
        small = x
        height, width = x.shape[-2:]
        if height * width > self.most_positions:
            shrink = (self.most_positions / (height * width)) ** 0.5
            size = (max(1, int(height * shrink)), max(1, int(width * shrink)))
            small = functional.adaptive_avg_pool2d(x, size)
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
}

POOLED_CENTRES = {"conv", "fpa"}
"""After these a max pooling by 2 follows, and the deepest encoder level becomes a skip of the
decoder (salt 1st and 4th place); the others replace the deepest level."""
