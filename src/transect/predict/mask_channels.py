"""Pictures with predicted masks as further channels, so that tiles of both are cut together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.tiff import Reader

__all__ = ["MaskChannelReader", "foreground", "with_masks"]


def foreground(maps: NDArray[np.floating], *, exclusive: bool) -> NDArray[np.uint8]:
    """The probability of any object as a plane that is a channel of another network.

    Args:
        maps: (T, H, W) probabilities.
        exclusive: The maps are of classes that exclude one another, the background first.

    Returns:
        (H, W) uint8, 255 for probability 1.

    Example:
        >>> foreground(np.array([[[0.8]], [[0.2]]]), exclusive=True).tolist()
        [[51]]
    """
    return np.round((1 - maps[0] if exclusive else maps[0]) * 255).astype(np.uint8)


def with_masks(pixels: NDArray[Any], masks: NDArray[np.uint8]) -> NDArray[Any]:
    """Append planes to a picture, in the picture's own type.

    Args:
        pixels: (h, w, C) uint8, uint16 or float.
        masks: (h, w, M) uint8.

    Returns:
        (h, w, C + M); 255 becomes the largest whole number of the type, or 1.

    Example:
        >>> with_masks(np.zeros((1, 1, 1), np.uint16), np.full((1, 1, 1), 255, np.uint8)).tolist()
        [[[0, 65535]]]
    """
    full = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    scaled = np.rint(masks * (full / 255)) if pixels.dtype.kind != "f" else masks / 255
    return np.concatenate([pixels, scaled.astype(pixels.dtype)], axis=2)


class MaskChannelReader:
    """A picture on disk whose further channels are masks that are being predicted.

    Windows must be asked for from the top: the masks come in bands, and rows above the last
    window are forgotten.
    """

    def __init__(
        self, reader: Reader, streams: Sequence[Iterable[tuple[int, NDArray[np.uint8]]]]
    ) -> None:
        """Join a reader and one stream of (first row, (rows, W) uint8) per mask."""
        height, width, channels = reader.shape
        self._reader = reader
        self._rows = [_Rows(iter(stream), width) for stream in streams]
        self.shape: tuple[int, int, int] = (height, width, channels + len(streams))
        self.dtype: np.dtype[Any] = reader.dtype

    def window(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """The pixels and masks of a window: (height, width, C + M)."""
        pixels = self._reader.window(top, left, height, width)
        masks = [rows.of(top, height)[:, left : left + width] for rows in self._rows]
        return with_masks(pixels, np.stack(masks, axis=2))


class _Rows:
    """The rows of a stream that a window may still ask for."""

    def __init__(self, stream: Iterator[tuple[int, NDArray[np.uint8]]], width: int) -> None:
        self._stream = stream
        self._first = 0
        self._kept = np.zeros((0, width), np.uint8)

    def of(self, top: int, height: int) -> NDArray[np.uint8]:
        """Rows [top, top + height)."""
        self._kept = self._kept[top - self._first :]
        self._first = top
        while len(self._kept) < height:
            band = next(self._stream)[1]
            self._kept = np.concatenate([self._kept, band])
        return self._kept[:height]
