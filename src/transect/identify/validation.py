"""How well a network in training recognises photos that it does not see: what ranks its epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

from transect.identify.embedding import embed_with, unit
from transect.identify.photos import Photos
from transect.recipe import Geometry

__all__ = ["recognition"]

_MOST = 512  # photos of either side: our choice, enough to rank epochs


def recognition(
    photos: Photos,
    names: NDArray[np.str_],
    rows: NDArray[np.int64],
    geometry: Geometry,
    *,
    device: str,
) -> Callable[[nn.Module], Mapping[str, float]]:
    """A measure of a model on held-out photos of individuals that its training photos show.

    It ranks epochs; what is reported comes from the fused sources and the decision.

    Args:
        photos: All photos.
        names: (N,) class of each; the photos' unknown label stands for none.
        rows: The training photos; all others are held out.
        geometry: Of the input.
        device: Where the model is.

    Returns:
        From a model to ``map5``: for each held-out photo 1 / place of its individual among the
        five whose training photos have the nearest vector (cosine), 0 beyond; their mean, 0 where
        no held-out photo shows an individual of the training.
    """
    known = names != photos.unknown
    gallery = _spread(rows[known[rows]])
    held_out = np.setdiff1d(np.arange(len(names)), rows)
    queries = _spread(held_out[np.isin(names[held_out], np.unique(names[gallery]))])
    owners, place = np.unique(names[gallery], return_inverse=True)

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        if not len(queries):
            return {"map5": 0.0}
        vectors = [
            unit(embed_with(model, photos, some, geometry, device=device)[:, 0, 0])
            for some in (queries, gallery)
        ]
        scores = vectors[0] @ vectors[1].T
        best = np.full((len(queries), len(owners)), -np.inf, np.float32)
        np.maximum.at(best.T, place, scores.T)
        own = best[np.arange(len(queries)), np.searchsorted(owners, names[queries])]
        ahead = (best > own[:, None]).sum(axis=1)
        return {"map5": float(np.where(ahead < 5, 1.0 / (1 + ahead), 0.0).mean())}

    return evaluate


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most ``_MOST`` rows, evenly taken."""
    return rows[:: max(1, -(-len(rows) // _MOST))]
