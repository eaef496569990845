"""Networks: encoders, decoders and heads by name, embeddings, and heads that compare pairs."""

from __future__ import annotations

from torch import nn

from transect.models.decoders import DECODERS
from transect.models.encoders import ENCODERS_SCRATCH
from transect.recipe import Embedding, Network

__all__ = ["DECODERS", "ENCODERS_SCRATCH", "build"]


def build(
    network: Network | Embedding,
    *,
    in_channels: int,
    outputs: int,
    pretrained_allowed: bool = True,
) -> nn.Module:
    """Build the network that a recipe describes.

    Args:
        network: A dense network, or an embedding.
        in_channels: Channels of the input.
        outputs: Maps of a dense network. An embedding has its own ``dim``; its margin head is
            built apart by ``models.heads.build_head``.
        pretrained_allowed: False when a trained state is going to be loaded: no weights are
            looked for.

    Returns:
        A module with ``encoder_parameters()`` and ``head_parameters()``, see ``DenseNetwork``
        and ``EmbeddingNetwork`` for what it takes and gives.

    Raises:
        TransectError: On an unknown name, or on weights that cannot be had.
    """
    if isinstance(network, Network):
        from transect.models.dense import DenseNetwork

        return DenseNetwork(
            network,
            in_channels=in_channels,
            outputs=outputs,
            pretrained_allowed=pretrained_allowed,
        )
    from transect.models.embedding import EmbeddingNetwork

    return EmbeddingNetwork(network, in_channels=in_channels, pretrained_allowed=pretrained_allowed)
