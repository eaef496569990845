"""Where a network looked: the attention map of its last level."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from transect.classify.network import Classifier
from transect.models.embedding import EmbeddingNetwork

__all__ = ["attention_map"]


def attention_map(
    model: Classifier, x: NDArray[np.float32], output: int, *, device: str
) -> NDArray[np.float32]:
    """What in the deepest level spoke for an output.

    Args:
        model: With weights, in evaluation mode.
        x: (H, W, C), prepared.
        output: Number of the label.
        device: Where to compute.

    Returns:
        (h, w), 0 or more, of the size of the deepest level.

    References:
        Selvaraju et al. 2017, Grad-CAM; of a mean pooling it is Zhou et al. 2016, CAM.
    """
    trunk = model.to(device).trunk
    assert isinstance(trunk, EmbeddingNetwork)
    levels = list(trunk.encoder(torch.from_numpy(x).permute(2, 0, 1)[None].to(device)))
    levels[-1] = levels[-1].detach().requires_grad_(True)
    logits = model.head(trunk.neck(trunk.pooling(levels)))
    (gradient,) = torch.autograd.grad(logits[0, min(output, logits.shape[1] - 1)], levels[-1])
    weights = gradient.mean((2, 3), keepdim=True)
    found = (weights * levels[-1].detach()).sum(1)[0].relu()
    return np.asarray(found.float().cpu().numpy(), np.float32)
