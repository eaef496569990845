"""What a decoder is; the decoders by name are in ``decoders``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["Decoder"]


class Decoder(nn.Module):
    """What every decoder is: levels finest first in, levels coarsest first out.

    Attributes:
        channels: Width of every output.
        multiple: The input picture's sides must be divisible by it; 1 for nearly all.
    """

    channels: tuple[int, ...]
    multiple: int = 1

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Decode the levels."""
        raise NotImplementedError
