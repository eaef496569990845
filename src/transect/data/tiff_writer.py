"""TIFF pictures of any size, written band by band, and the tags that place them on the ground."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from transect.data.tiff import damaged
from transect.errors import TransectError
from transect.files import atomic_path

__all__ = ["geo_tags", "write_tiff_bands"]

_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113)


def geo_tags(path: Path) -> list[tuple[int, int, int, Any, bool]]:
    """The tags that place a GeoTIFF on the ground, to be handed to ``write_tiff_bands``.

    Args:
        path: A TIFF; one without such tags gives an empty list.

    Returns:
        (tag, type, count, value, True) each, as tifffile's ``extratags`` want them.

    Raises:
        TransectError: If the file is no TIFF.
    """
    import tifffile

    try:
        with path.open("rb") as handle, tifffile.TiffFile(handle) as file:
            tags = file.pages.first.tags
            found = [tags[number] for number in _GEO_TAGS if number in tags]
            return [(int(t.code), int(t.dtype), int(t.count), t.value, True) for t in found]
    except Exception as error:  # a parser of strangers' files may raise anything
        raise damaged(path, error) from error


def write_tiff_bands(
    path: Path,
    bands: Iterable[NDArray[Any]],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    compression: str | None = "zlib",
    tile_px: int = 512,
    extratags: Sequence[tuple[int, int, int, Any, bool]] = (),
) -> None:
    """Write a tiled TIFF from bands of rows as they come, whole or not at all.

    At most ``tile_px`` rows and one band are in memory. Files that could pass 4 GB become BigTIFF.

    Args:
        path: The file to write.
        bands: (rows, W) or (rows, W, C) each, from the top; any number of rows a band.
        shape: (H, W) or (H, W, C) of the whole.
        dtype: Of the pixels; bands are cast to it.
        compression: ``zlib``, or None for plain pixels.
        tile_px: Side of a tile, a multiple of 16.
        extratags: From ``geo_tags``, to place the result where its source is.

    Raises:
        TransectError: If the bands do not add up to ``shape``, or the disk is full.
    """
    import tifffile

    height, width, channels = (*shape, 1)[:3]
    kind = np.dtype(dtype)
    size = height * width * channels * kind.itemsize
    tiles = _tiles(_rebanded(bands, (height, width, channels), kind, tile_px, path), tile_px)
    with (
        atomic_path(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=size > 3 << 30) as out,
    ):
        out.write(
            tiles,
            shape=(height, width) if channels == 1 else (height, width, channels),
            dtype=kind,
            tile=(tile_px, tile_px),
            compression=compression,
            photometric="rgb" if channels in (3, 4) and kind.kind == "u" else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=_extra_samples(channels, kind),
            extratags=list(extratags),
            metadata=None,
            maxworkers=1,
        )


def _extra_samples(channels: int, kind: np.dtype[Any]) -> list[int] | None:
    """What the channels past the colours are: unspecified, for alpha would be dropped."""
    colours = 3 if kind.kind == "u" and channels in (3, 4) else 1
    return [0] * (channels - colours) or None


def _rebanded(
    bands: Iterable[NDArray[Any]],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    rows: int,
    path: Path,
) -> Iterator[NDArray[Any]]:
    """Cut bands of any height into bands of ``rows`` rows, the last one filled with zeros."""
    height, width, channels = shape
    buffer = np.zeros((rows, width, channels), dtype)
    filled = seen = 0
    for band in bands:
        part = np.asarray(band).astype(dtype, copy=False)
        part = part[..., None] if part.ndim == 2 else part
        if part.ndim != 3 or part.shape[1:] != (width, channels) or seen + len(part) > height:
            raise TransectError(
                f"a band of {np.shape(band)} at row {seen} does not fit into the picture of "
                f"{shape} that {path} shall be. Give bands of whole rows from the top."
            )
        seen += len(part)
        while len(part):
            take = min(rows - filled, len(part))
            buffer[filled : filled + take] = part[:take]
            filled, part = filled + take, part[take:]
            if filled == rows:
                yield buffer
                buffer, filled = np.zeros_like(buffer), 0
    if seen < height:
        raise TransectError(
            f"{path} needs {height} rows and was given {seen}. Give bands for all rows."
        )
    if filled:
        yield buffer


def _tiles(bands: Iterator[NDArray[Any]], side: int) -> Iterator[NDArray[Any]]:
    """Cut bands of ``side`` rows into square tiles, the last of a row filled with zeros."""
    for band in bands:
        for left in range(0, band.shape[1], side):
            tile = np.zeros((side, side, band.shape[2]), band.dtype)
            part = band[:, left : left + side]
            tile[:, : part.shape[1]] = part
            yield tile if band.shape[2] > 1 else tile[..., 0]
