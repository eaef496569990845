"""Files of predictions: masks of any size, maps, and the small pictures that people look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from transect.data.images import geo_tags, write_tiff_bands
from transect.errors import TransectError
from transect.files import atomic_path

__all__ = [
    "SmallLabels",
    "label_dtype",
    "small_view",
    "write_mask",
    "write_mask_bands",
    "write_picture",
]

PNG_LIMIT_PX = 100_000_000
"""Larger masks are written as tiled TIFF, which viewers open piece by piece; our guess."""


class _Windows(Protocol):
    @property
    def shape(self) -> tuple[int, int, int]: ...

    def window(self, top: int, left: int, height: int, width: int) -> NDArray[Any]: ...


def label_dtype(most: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds labels up to ``most``.

    Raises:
        TransectError: If there are more than 4,294,967,295.

    Example:
        >>> label_dtype(255), label_dtype(256), label_dtype(70_000)
        (dtype('uint8'), dtype('uint16'), dtype('uint32'))
    """
    for kind in (np.uint8, np.uint16, np.uint32):
        if most <= np.iinfo(kind).max:
            return np.dtype(kind)
    raise TransectError(f"{most} labels do not fit into a mask file. Predict smaller pictures.")


def write_mask(path: Path, labels: NDArray[Any], *, most: int | None = None) -> Path:
    """Write a mask or label picture that fits into memory.

    Args:
        path: Where, by its name without suffix; ``.png`` or ``.tif`` is chosen by the content.
        labels: (H, W) bool or non-negative integers.
        most: Largest label that masks of this folder may have, so that all get one type; None
            looks at this one.

    Returns:
        The file written: PNG with 8 or 16 bits; TIFF if labels need 32 bits or the picture is
        very large.

    Raises:
        TransectError: If labels are negative, or the file cannot be written.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "bui":
        raise TransectError(
            f"a mask must be (H, W) whole numbers; got {labels.shape} {labels.dtype}. "
            "Threshold the maps first."
        )
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0:
        raise TransectError(f"a mask must not have negative labels; got {low}. Use 0, 1, 2 ...")
    dtype = label_dtype(max(high, most or 0))
    if dtype.itemsize > 2 or labels.size > PNG_LIMIT_PX:
        path = path.with_suffix(".tif")
        write_tiff_bands(path, [labels.astype(dtype)], labels.shape, dtype)
        return path
    path = path.with_suffix(".png")
    _write_image(path, labels.astype(dtype), "PNG")
    return path


def write_mask_bands(
    path: Path,
    bands: Iterable[tuple[int, NDArray[Any]]],
    size_hw: tuple[int, int],
    dtype: DTypeLike,
    *,
    source: Path | None = None,
) -> Path:
    """Write a mask, or maps, of any size as bands of rows come.

    Args:
        path: Where; the suffix becomes ``.tif``. Tiled and compressed, BigTIFF when needed.
        bands: (first row, (rows, W) or (T, rows, W)) in order.
        size_hw: (H, W) of the picture.
        dtype: Of the file's pixels.
        source: The picture that was predicted; if it is a GeoTIFF, its place on the ground is
            copied, so that the mask lies over it in a map.

    Returns:
        The file written.

    Raises:
        TransectError: If the bands do not make up the picture, or the disk is full.
    """
    path = path.with_suffix(".tif")
    iterator = iter(bands)
    first = next(iterator, None)
    if first is None:
        raise TransectError(f"{path} needs {size_hw[0]} rows and was given none.")
    channels = first[1].shape[:-2]

    def rows() -> Iterator[NDArray[Any]]:
        yield np.moveaxis(first[1], 0, -1) if channels else first[1]
        for _, band in iterator:
            yield np.moveaxis(band, 0, -1) if channels else band

    tags = geo_tags(source) if source is not None and _is_tiff(source) else []
    write_tiff_bands(path, rows(), (*size_hw, *channels), dtype, extratags=tags)
    return path


def write_picture(path: Path, picture: NDArray[np.uint8], *, quality: int = 88) -> None:
    """Write a small picture for people, as JPEG or PNG by the suffix.

    Args:
        path: ``.jpg`` or ``.png``.
        picture: (H, W, 3) uint8.
        quality: Of a JPEG, 1-95.
    """
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    _write_image(path, picture, kind, quality=quality)


def small_view(reader: _Windows, longest_px: int = 512) -> NDArray[Any]:
    """A small version of a picture of any size, read strip by strip.

    Args:
        reader: The picture.
        longest_px: Of the longer side; smaller pictures are given as they are.

    Returns:
        (h, w, C) of the picture's type; each pixel is the mean of a block of at most 8 x 8 pixels
        around its place, so that thin things do not vanish.
    """
    height, width, channels = reader.shape
    step = max(1, -(-max(height, width) // longest_px))
    rows, columns = -(-height // step), -(-width // step)
    block = min(step, 8)
    result: NDArray[Any] | None = None
    for row in range(rows):
        top = row * step
        strip = reader.window(top, 0, min(block, height - top), width)
        if result is None:
            result = np.empty((rows, columns, channels), strip.dtype)
        mean = strip.mean(axis=0, dtype=np.float32)
        short = columns * step - width
        padded = np.concatenate([mean, np.repeat(mean[-1:], short, axis=0)])
        small = padded.reshape(columns, step, channels)[:, :block].mean(axis=1)
        result[row] = small if strip.dtype.kind == "f" else np.rint(small)
    assert result is not None
    return result


class SmallLabels:
    """Collects a small version of a mask while its bands pass, to be drawn over ``small_view``."""

    def __init__(self, size_hw: tuple[int, int], longest_px: int = 512) -> None:
        """Prepare for a picture of (H, W); ``longest_px`` as in ``small_view``."""
        self._step = max(1, -(-max(size_hw) // longest_px))
        self.labels: NDArray[np.int32] = np.zeros(
            (-(-size_hw[0] // self._step), -(-size_hw[1] // self._step)), np.int32
        )

    def watch(
        self, bands: Iterable[tuple[int, NDArray[Any]]]
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Hand on every band of labels, (rows, W) each, and remember every n-th pixel of it."""
        for first, band in bands:
            start = -first % self._step
            picked = band[start :: self._step, :: self._step]
            row = (first + start) // self._step
            self.labels[row : row + len(picked)] = picked
            yield first, band


def _write_image(path: Path, array: NDArray[Any], kind: str, *, quality: int = 88) -> None:
    """Encode with Pillow, whole or not at all."""
    from PIL import Image

    options: dict[str, Any] = {"quality": quality} if kind == "JPEG" else {"compress_level": 6}
    with atomic_path(path) as temporary:
        Image.fromarray(array).save(temporary, format=kind, **options)


def _is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFFs do."""
    with path.open("rb") as handle:
        return handle.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
