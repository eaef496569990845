"""Networks asked: vectors of images, and the probabilities of their labels, over views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.augment import augment_sample
from transect.data.inputs import Inputs
from transect.recipe import Augment
from transect.types import Image, Sample

__all__ = ["asked", "whole_window"]

BATCH = 8  # always as many at once, so that the bytes of an answer hang on no other image
_PLAIN = Augment()


def asked(
    models: Sequence[Callable[[Tensor], Tensor]],
    pixels: Sequence[NDArray[Any]],
    images: Sequence[Image],
    inputs: Inputs,
    *,
    device: str,
    views: Sequence[Callable[[Tensor], Tensor]],
    progress: Callable[[int, int], None] | None = None,
) -> list[NDArray[np.float32]]:
    """What several networks give for every image and view.

    Args:
        models: From (N, C, H, W) to (N, T).
        pixels: (h, w, C) of each image.
        images: What the table says of each.
        inputs: How pixels become the input.
        device: Where the networks are.
        views: What is done to a batch before it is looked at.
        progress: Told (done, all).

    Returns:
        Of each network (N, V, T) float32.
    """
    found: list[list[NDArray[np.float32]]] = [[] for _ in models]
    with torch.inference_mode():
        for start, batch in _batches(pixels, images, inputs):
            missing = ((0, BATCH - len(batch)), (0, 0), (0, 0), (0, 0))
            x = torch.from_numpy(np.pad(batch, missing)).permute(0, 3, 1, 2).to(device)
            seen = [view(x).contiguous(memory_format=torch.channels_last) for view in views]
            for parts, model in zip(found, models, strict=True):
                answers = [model(one)[: len(batch)].float().cpu().numpy() for one in seen]
                parts.append(np.stack(answers, axis=1))
            if progress is not None:
                progress(min(start + BATCH, len(images)), len(images))
    return [np.concatenate(parts) if parts else np.zeros((0, 1, 1), np.float32) for parts in found]


def ready(model: nn.Module, device: str) -> nn.Module:
    """A network on a device, to be asked."""
    moved: nn.Module = model.to(device).to(memory_format=torch.channels_last)
    return moved.eval()


def whole_window(
    size_hw: tuple[int, int], aspect: float | None
) -> tuple[float, float, float, float]:
    """The whole image as (top, left, height, width), grown on its shorter side to an aspect."""
    height, width = float(size_hw[0]), float(size_hw[1])
    wide, high = width, height
    if aspect is not None:
        high, wide = max(height, width / aspect), max(width, height * aspect)
    return (height - high) / 2, (width - wide) / 2, high, wide


def _batches(
    pixels: Sequence[NDArray[Any]], images: Sequence[Image], inputs: Inputs
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Prepared images, nothing changed at random."""
    geometry = inputs.geometry
    for start in range(0, len(images), BATCH):
        batch = []
        for i in range(start, min(start + BATCH, len(images))):
            sample = augment_sample(
                Sample(pixels[i]),
                _PLAIN,
                np.random.default_rng(0),
                out_hw=geometry.size_hw,
                window=whole_window(pixels[i].shape[:2], geometry.aspect),
            )
            batch.append(inputs.prepare(sample.image, images[i]))
        yield start, np.stack(batch)
