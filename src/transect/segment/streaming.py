"""Masks of images larger than memory: bands of probabilities in, bands of labels out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transect.postprocess.watershed import split_instances_streamed
from transect.segment.deciding import Decisions
from transect.segment.masks import labels_of
from transect.segment.refining import refined_tiles
from transect.types import Image, MaskKind

__all__ = ["by_row", "label_bands"]

_BLOCK, _MARGIN = 512, 128  # rows; the margin is more than the largest min_area that is tried


class _Maps(Protocol):
    """What gives bands: a ``Predictor``."""

    kind: MaskKind

    @property
    def decisions(self) -> Decisions: ...

    def bands(self, path: Path, image: Image) -> Iterator[tuple[int, NDArray[np.float32]]]: ...

    def rows(self, path: Path, top: int, height: int) -> NDArray[Any]: ...

    def written(self, labels: NDArray[np.int32]) -> NDArray[np.generic]: ...


def label_bands(
    predictor: _Maps, image: Image, counted: dict[str, int]
) -> Iterator[NDArray[np.generic]]:
    """Label an image on disk band by band.

    Instances are owned by the block that holds their middle row, so none is cut or counted
    twice. Small pieces and holes are judged with 128 rows beyond the block, so what is larger
    than that is never mistaken for small. A CRF sees the image tile by tile, with a margin of
    as many pixels.

    Args:
        predictor: Maps and decision.
        image: The image.
        counted: Gets ``objects`` (instances only) and ``foreground`` pixels.

    Yields:
        (rows, W) as the survey's masks are written, from the top.
    """
    bands = predictor.bands(image.path, image)
    values = predictor.decisions.final
    if predictor.kind == "instances":
        stream = split_instances_streamed(
            bands,
            threshold=values.threshold,
            seed_threshold=values.seed_threshold,
            seed_depth=values.seed_depth,
            min_area=values.min_area,
            block=int(np.clip(8_000_000 // image.size_hw[1], 256, 1024)),
        )
        for _, labels in stream:
            counted["objects"] = max(counted["objects"], int(labels.max(initial=0)))
            counted["foreground"] += int(np.count_nonzero(labels))
            yield labels.astype(np.uint32)
        return
    # Whether a whole image is nearly empty is not known while it streams.
    values = dataclasses.replace(values, min_total=0)
    top = 0
    for before, block, after in _with_margins(band for _, band in bands):
        maps = np.concatenate([before, block, after], axis=1)
        if values.use_crf:
            pixels = predictor.rows(image.path, top - before.shape[1], maps.shape[1])
            maps = refined_tiles(maps, pixels, predictor.kind, margin_px=_MARGIN)
        top += block.shape[1]
        labels = labels_of(maps, values, predictor.kind)
        labels = labels[before.shape[1] : before.shape[1] + block.shape[1]]
        counted["foreground"] += int(np.count_nonzero(labels))
        yield predictor.written(labels)


def by_row(
    stream: Iterable[tuple[int, NDArray[np.float32]]],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Single rows (T, W) of a stream of bands, so that members with other tiles can be joined."""
    for first, band in stream:
        for k in range(band.shape[1]):
            yield first + k, band[:, k]


def _with_margins(
    bands: Iterable[NDArray[np.float32]],
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]:
    """Regroup bands (T, rows, W) into blocks, each with rows before and after it."""
    kept: NDArray[np.float32] | None = None
    start = 0  # first row of the next block within ``kept``
    for band in bands:
        kept = band if kept is None else np.concatenate([kept, band], axis=1)
        while kept.shape[1] - start >= _BLOCK + _MARGIN:
            end = start + _BLOCK
            yield kept[:, :start], kept[:, start:end], kept[:, end : end + _MARGIN]
            kept = kept[:, max(0, end - _MARGIN) :]
            start = min(end, _MARGIN)
    if kept is not None and kept.shape[1] > start:
        yield kept[:, :start], kept[:, start:], kept[:, kept.shape[1] :]
