"""Networks for volumes: U-Net and residual net of MONAI, C3D of our own, and sliding them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from transect.errors import TransectError, unknown_name

__all__ = ["C3D", "VOLUME_NETWORKS", "build_volume", "slide_volume"]


class C3D(nn.Module):
    """Small 3-D convolutional classifier with a narrow last layer.

    Args:
        in_channels: Channels of the volume.
        outputs: Numbers per volume.
        width: Of the first level; it doubles three times.
        bottleneck: Length of the last feature vector (the digest of 39 found 64 enough).

    References:
        Tran et al. 2015, with the "small bottleneck" of the digest of 39.
    """

    def __init__(
        self, in_channels: int, outputs: int, *, width: int = 16, bottleneck: int = 64
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = in_channels
        for level in range(4):
            after = width * 2**level
            layers += [
                nn.Conv3d(before, after, 3, padding=1),
                nn.GroupNorm(min(8, after), after),
                nn.ReLU(inplace=True),
                nn.MaxPool3d(2, ceil_mode=True),
            ]
            before = after
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(before, bottleneck), nn.ReLU(inplace=True), nn.Linear(bottleneck, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, outputs); any size."""
        return self.head(self.body(x).mean((2, 3, 4)))


def _unet(in_channels: int, outputs: int, width: int) -> nn.Module:
    """MONAI's U-Net with two residual units a level; sides 32, 48, 64 and so on."""
    nets = _monai("networks.nets")
    return nets.UNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=outputs,
        channels=tuple(width * 2**level for level in range(5)),
        strides=(2, 2, 2, 2),
        num_res_units=2,
        norm="instance",
    )


def _residual(in_channels: int, outputs: int, width: int) -> nn.Module:
    """MONAI's SegResNet; sides divisible by 8."""
    nets = _monai("networks.nets")
    return nets.SegResNet(
        spatial_dims=3, init_filters=width, in_channels=in_channels, out_channels=outputs
    )


def _c3d(in_channels: int, outputs: int, width: int) -> nn.Module:
    """Our C3D: one vector per volume."""
    return C3D(in_channels, outputs, width=width)


VOLUME_NETWORKS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "unet3d": _unet,
    "resnet3d": _residual,
    "c3d": _c3d,
}


def build_volume(name: str, *, in_channels: int, outputs: int, width: int = 16) -> nn.Module:
    """Build a network for volumes.

    Args:
        name: One of ``VOLUME_NETWORKS``.
        in_channels: Channels of the volume.
        outputs: Maps, or numbers for ``c3d``.
        width: Of the first level; divisible by 8.

    Returns:
        A module on (N, C, D, H, W).

    Raises:
        TransectError: On an unknown name, or if MONAI is needed and missing.
    """
    if name not in VOLUME_NETWORKS:
        raise unknown_name("volume network", name, VOLUME_NETWORKS)
    return VOLUME_NETWORKS[name](in_channels, outputs, width)


def slide_volume(
    network: Callable[[Tensor], Tensor],
    volume: Tensor,
    *,
    window: tuple[int, int, int],
    overlap: float = 0.5,
    batch: int = 1,
) -> Tensor:
    """Run a network over a volume in overlapping, Gaussian-weighted windows.

    Args:
        network: (N, C, d, h, w) to (N, T, d, h, w).
        volume: (N, C, D, H, W).
        window: (d, h, w).
        overlap: Share of a window covered again by its neighbour, [0, 0.9].
        batch: Windows at a time.

    Returns:
        (N, T, D, H, W).

    Raises:
        TransectError: If MONAI is missing.
    """
    slide = _monai("inferers").sliding_window_inference
    result: Tensor = slide(volume, window, batch, network, overlap=overlap, mode="gaussian")
    return result


def _monai(part: str) -> Any:
    """A module of MONAI; importing it takes some ten seconds, so only here."""
    import importlib

    try:
        return importlib.import_module(f"monai.{part}")
    except ImportError as error:
        raise TransectError(
            "networks for volumes need MONAI, which is not installed. Install it with "
            "pip install 'transect[volume]'."
        ) from error
