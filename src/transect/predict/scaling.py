"""Pictures and maps at another scale, by windows and by bands, without loading them whole.

Shrinking averages the area that an output pixel covers, enlarging interpolates linearly. Every
output pixel is a weighted sum along each axis, computed from the same numbers whichever window or
band asks for it; so windows agree with the whole picture resampled at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = ["ScaledReader", "rescaled_bands"]


class _Windows(Protocol):
    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def window(self, top: int, left: int, height: int, width: int) -> NDArray[Any]: ...


class ScaledReader:
    """A picture seen at another scale, window by window.

    Attributes:
        shape: (H, W, C) after resampling: the source's size times the scale, rounded, at least 1.
        dtype: The source's; whole numbers are rounded.

    Example:
        >>> from transect.data.images import ArrayReader
        >>> picture = ArrayReader(np.arange(16, dtype=np.uint8).reshape(4, 4, 1))
        >>> ScaledReader(picture, 0.5).window(0, 0, 2, 2)[..., 0]
        array([[ 2,  4],
               [10, 12]], dtype=uint8)
    """

    def __init__(self, reader: _Windows, scale: float) -> None:
        """Wrap a reader; ``scale`` 0.5 halves each side.

        Raises:
            TransectError: If the scale is not positive.
        """
        if not 0 < scale < float("inf"):
            raise TransectError(f"scale must be a positive number; got {scale}. 1 changes nothing.")
        height, width, channels = reader.shape
        self._reader = reader
        self.shape: tuple[int, int, int] = (
            max(1, round(height * scale)),
            max(1, round(width * scale)),
            channels,
        )
        self.dtype: np.dtype[Any] = reader.dtype

    def window(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """The resampled pixels [top, top + height) x [left, left + width): (height, width, C)."""
        source_h, source_w, channels = self._reader.shape
        first_y, rows = _weights(top, height, self.shape[0], source_h)
        first_x, columns = _weights(left, width, self.shape[1], source_w)
        pixels = self._reader.window(first_y, first_x, rows.shape[1], columns.shape[1])
        result = np.empty((height, width, channels), np.float32)
        for channel in range(channels):
            result[..., channel] = rows @ pixels[..., channel].astype(np.float32) @ columns.T
        if self.dtype.kind == "f":
            return result.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        return np.clip(np.rint(result), limits.min, limits.max).astype(self.dtype)


def rescaled_bands(
    bands: Iterable[tuple[int, NDArray[np.float32]]],
    from_hw: tuple[int, int],
    to_hw: tuple[int, int],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Bring bands of rows to another picture size as they come.

    Args:
        bands: (first row, (T, rows, W)), in order and without gaps.
        from_hw: (H, W) of the picture that the bands make up.
        to_hw: (H, W) wanted.

    Yields:
        (first row, (T, rows, W)) of the resampled picture, in order and without gaps.
    """
    _, columns = _weights(0, to_hw[1], to_hw[1], from_hw[1], dense=False)
    held: NDArray[np.float32] | None = None
    held_first = done = 0
    for first, band in bands:
        narrow = _gathered(band, *columns)
        held = narrow if held is None else np.concatenate([held, narrow], axis=1)
        reached = first + band.shape[1]
        ready = _ready_rows(done, reached, to_hw[0], from_hw[0])
        if ready == done:
            continue
        source, rows = _weights(done, ready - done, to_hw[0], from_hw[0])
        start = source - held_first
        part = held[:, start : start + rows.shape[1]]
        yield done, np.einsum("rs,tsw->trw", rows, part, optimize=True).astype(np.float32)
        done = ready
        if done < to_hw[0]:
            needed = _support(done, to_hw[0], from_hw[0])[0]
            held, held_first = held[:, needed - held_first :].copy(), needed


def _support(index: int, size: int, source: int) -> tuple[int, int]:
    """The first and one past the last source pixel that output pixel ``index`` looks at."""
    ratio = source / size
    if ratio > 1:
        first = int(np.floor(index * ratio + 1e-9))
        last = int(np.ceil((index + 1) * ratio - 1e-9))
    else:
        centre = (index + 0.5) * ratio - 0.5
        first = int(np.floor(centre))
        last = first + 2
    return max(0, first), min(source, last)


def _ready_rows(done: int, reached: int, size: int, source: int) -> int:
    """One past the last output row that source rows below ``reached`` are enough for."""
    if reached >= source:
        return size
    low, high = done, size
    while low < high:  # supports ascend, so look by halves
        middle = (low + high) // 2
        if _support(middle, size, source)[1] <= reached:
            low = middle + 1
        else:
            high = middle
    return low


def _weights(first: int, count: int, size: int, source: int, *, dense: bool = True) -> Any:
    """Weights of source pixels for output pixels [first, first + count) of ``size`` along an axis.

    Returns:
        The first source pixel and either the (count, pixels) matrix, or (indices, weights), both
        (count, K), if not dense.
    """
    index = np.arange(first, first + count, dtype=np.float64)[:, None]
    ratio = source / size
    if ratio > 1:
        start, stop = index * ratio, (index + 1) * ratio
        low = np.floor(start + 1e-9)
        place = low + np.arange(int(np.ceil(ratio)) + 1)
        weight = np.clip(np.minimum(place + 1, stop) - np.maximum(place, start), 0, None)
        weight /= weight.sum(axis=1, keepdims=True)
    else:
        centre = np.clip((index + 0.5) * ratio - 0.5, 0, source - 1)
        low = np.floor(centre)
        place = low + np.arange(2)
        weight = np.concatenate([1 - (centre - low), centre - low], axis=1)
    place = np.clip(place, 0, source - 1).astype(np.intp)
    if not dense:
        return 0, (place, weight.astype(np.float32))
    used = weight > 1e-9
    lowest, highest = int(place[used].min()), int(place[used].max())
    matrix = np.zeros((count, highest - lowest + 1), np.float64)
    rows = np.broadcast_to(np.arange(count)[:, None], place.shape)
    np.add.at(matrix, (rows[used], place[used] - lowest), weight[used])
    return lowest, matrix.astype(np.float32)


def _gathered(
    band: NDArray[np.float32], place: NDArray[np.intp], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Resample the columns of a band: a sum of a few gathered copies."""
    result = band[..., place[:, 0]] * weight[:, 0]
    for k in range(1, place.shape[1]):
        result += band[..., place[:, k]] * weight[:, k]
    return result
