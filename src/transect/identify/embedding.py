"""Photos to vectors: plain cut-outs, test-time views, random views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from transect.augment import augment_sample
from transect.data.inputs import Inputs
from transect.identify.photos import Photos
from transect.recipe import Augment, Geometry
from transect.types import Sample

__all__ = ["embed_with", "joined_views", "unit"]

BATCH = 8  # always as many at once, so that the bytes of a photo hang on no other photo


def embed_with(
    model: nn.Module,
    photos: Photos,
    rows: Sequence[int] | NDArray[np.integer],
    geometry: Geometry,
    *,
    device: str,
    scales: Sequence[float] = (1.0,),
    mirrored: bool = False,
    jitter: int = 0,
    augment: Augment | None = None,
    output: str = "embedding",
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Vectors of photos, one per view and copy.

    Args:
        model: Gives ``embedding`` and ``features``.
        photos: Cut-outs.
        rows: Which.
        geometry: Of the input.
        device: Where the model is.
        scales: Of the box: each is a view.
        mirrored: Each view also mirrored, after the plain ones.
        jitter: Random copies of every view by ``augment``, the same changes for every photo.
        augment: Of the copies.
        output: ``embedding`` or ``features``.
        progress: Told (done, all).

    Returns:
        (N, V, 1 + jitter, D) float32, the plain copy first; the model is left in the mode it was
        in.
    """
    inputs = Inputs(geometry, photos.channels)
    training = model.training
    model.eval()
    whole = len(rows) * len(scales) * (1 + mirrored) * (1 + jitter)
    found: list[list[NDArray[np.float32]]] = []
    done = 0
    with torch.inference_mode():
        for flip in (False, True) if mirrored else (False,):
            for scale in scales:
                copies: list[NDArray[np.float32]] = []
                for copy in range(1 + jitter):
                    spec = augment if copy and augment is not None else Augment()
                    parts = []
                    for batch in _batches(photos, rows, inputs, scale, spec, copy):
                        missing = ((0, BATCH - len(batch)), (0, 0), (0, 0), (0, 0))
                        x = torch.from_numpy(np.pad(batch, missing)).permute(0, 3, 1, 2).to(device)
                        x = x.flip(3) if flip else x
                        x = x.contiguous(memory_format=torch.channels_last)
                        vectors = model(x)[output][: len(batch)]
                        parts.append(vectors.float().cpu().numpy())
                        done += len(batch)
                        if progress is not None:
                            progress(done, whole)
                    if parts:
                        copies.append(np.concatenate(parts))
                found.append(copies)
    model.train(training)
    if not len(rows):
        return np.zeros((0, len(scales) * (1 + mirrored), 1 + jitter, 1), np.float32)
    return np.stack([np.stack(copies, axis=1) for copies in found], axis=1)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors of length 1 along the last axis."""
    values = np.asarray(vectors, np.float32)
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    shortened: NDArray[np.float32] = values / np.maximum(length, 1e-12)
    return shortened


def joined_views(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """(N, V, D) to (N, V * D) of length 1: a product of two is the mean cosine over the views.

    Equal views are compared with equal ones, so a mirrored query meets the mirrored gallery, as
    the whale 1st and 3rd place averaged.
    """
    short = unit(vectors) / np.float32(np.sqrt(vectors.shape[1]))
    return np.asarray(short, np.float32).reshape(len(vectors), -1)


def _batches(
    photos: Photos,
    rows: Sequence[int] | NDArray[np.integer],
    inputs: Inputs,
    scale: float,
    spec: Augment,
    copy: int,
) -> Iterator[NDArray[np.float32]]:
    """Prepared cut-outs, all changed alike."""
    geometry = inputs.geometry
    for start in range(0, len(rows), BATCH):
        batch = []
        for row in rows[start : start + BATCH]:
            window = photos.window(
                int(row), margin=geometry.margin, aspect=geometry.aspect, scale=scale
            )
            sample = augment_sample(
                Sample(photos.pixels(int(row))),
                spec,
                np.random.default_rng([7, copy]),  # of the copy, not of the photo
                out_hw=geometry.size_hw,
                window=window,
            )
            batch.append(inputs.prepare(sample.image, photos.subjects[int(row)].image))
        yield np.stack(batch)
