"""A network that finds the animal's box and landmarks, so that pictures can be cropped and aligned.

References:
    The whale 3rd place regressed a box and four points (left tip, notch, right tip, bottom) on an
    anchor grid. One animal per picture needs no anchors: the points are the means of heat maps,
    the box comes from a coarse grid of features. The loss weights are theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from transect.models.blocks import ConvBlock, activation, resize_like
from transect.models.encoders import build_encoder
from transect.recipe import Network

__all__ = ["LandmarkNetwork", "landmark_loss", "to_pixels"]

_GRID = 4  # cells of the pooled map that the box is read from; our guess
_SHARPNESS = 8.0  # on the heat maps' logits: without it the mean stays at the centre for long


class LandmarkNetwork(nn.Module):
    """Picture in; box, landmarks and a score out, as shares of the picture's sides.

    Args:
        network: Its encoder fields apply.
        in_channels: Channels of the input.
        points: P, landmarks to find; may be 0.
        width: Of the layers on top; our guess.
        pretrained_allowed: False starts from scratch; a trained state is going to be loaded.
    """

    def __init__(
        self,
        network: Network,
        *,
        in_channels: int,
        points: int = 0,
        width: int = 64,
        pretrained_allowed: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(
            network, in_channels=in_channels, pretrained_allowed=pretrained_allowed
        )
        fine, deep = self.encoder.channels[-2], self.encoder.channels[-1]
        self.points = points
        self.mix = ConvBlock(fine + deep, width, norm=network.norm, act=activation(network.leaky))
        self.heat = nn.Conv2d(width, points, 1) if points else None
        self.box = nn.Sequential(
            nn.Linear(width * _GRID**2, 128), nn.ReLU(inplace=True), nn.Linear(128, 5)
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the network.

        Args:
            x: (N, C, H, W) float32.

        Returns:
            ``box`` (N, 4): x0, y0, x1, y1 in [0, 1]; ``score`` (N, 1): logit that there is an
            animal; ``points`` (N, P, 2): x, y in [0, 1] (absent if P is 0).
        """
        fine, deep = self.encoder(x)[-2:]
        deep = resize_like(deep, (fine.shape[-2], fine.shape[-1]))
        mixed = self.mix(torch.cat([fine, deep], 1))
        raw = self.box(functional.adaptive_avg_pool2d(mixed, _GRID).flatten(1))
        centre, half = torch.sigmoid(raw[:, :2]), torch.sigmoid(raw[:, 2:4]) / 2
        box = torch.cat([centre - half, centre + half], 1).clamp(0, 1)
        out = {"box": box, "score": raw[:, 4:]}
        if self.heat is not None:
            out["points"] = _mean_places(self.heat(mixed))
        return out

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The encoder's parameters."""
        return self.encoder.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Everything else."""
        for name, parameter in self.named_parameters():
            if not name.startswith("encoder."):
                yield parameter


def _mean_places(heat: Tensor) -> Tensor:
    """Mean place of softmaxed heat maps: (N, P, h, w) to (N, P, 2) as x, y in [0, 1]."""
    count, points, height, width = heat.shape
    share = (heat.flatten(2) * _SHARPNESS).softmax(2).view(count, points, height, width)
    row = (torch.arange(height, device=heat.device, dtype=heat.dtype) + 0.5) / height
    column = (torch.arange(width, device=heat.device, dtype=heat.dtype) + 0.5) / width
    return torch.stack([(share.sum(2) * column).sum(2), (share.sum(3) * row).sum(2)], -1)


def to_pixels(shares: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Turn shares of the sides into pixel coordinates, centres at integers.

    Args:
        shares: (..., 2) x, y, or (..., 4) x0, y0, x1, y1, in [0, 1].
        size_hw: Height and width in pixels.

    Returns:
        The same shape.

    Example:
        >>> to_pixels(torch.tensor([0.5, 1.0]), (10, 20)).tolist()
        [9.5, 9.5]
    """
    height, width = size_hw
    sides = torch.tensor([width, height] * (shares.shape[-1] // 2), device=shares.device)
    return shares * sides - 0.5


def landmark_loss(
    out: dict[str, Tensor],
    *,
    box: Tensor,
    present: Tensor,
    points: Tensor | None = None,
    visible: Tensor | None = None,
) -> Tensor:
    """5 times smooth L1 of box and points, plus half the binary cross-entropy of the score.

    Args:
        out: What the network gave.
        box: (N, 4) shares; rows without an animal are ignored.
        present: (N,) 1 where there is an animal.
        points: (N, P, 2) shares, or None.
        visible: (N, P) 1 where a point was annotated; None means all.

    Returns:
        A scalar.
    """
    present = present.float()
    total = functional.binary_cross_entropy_with_logits(out["score"][:, 0], present) * 0.5
    far = functional.smooth_l1_loss(out["box"], box, reduction="none", beta=0.1).mean(1)
    total = total + 5 * (far * present).sum() / present.sum().clamp(min=1)
    if points is not None:
        weight = present[:, None] * (
            torch.ones_like(points[..., 0]) if visible is None else visible
        )
        far = functional.smooth_l1_loss(out["points"], points, reduction="none", beta=0.1).mean(2)
        total = total + 5 * (far * weight).sum() / weight.sum().clamp(min=1)
    return total
