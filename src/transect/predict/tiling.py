"""Predicting pictures of any size with overlapping tiles, row by row, in bounded memory.

Tiles are weighed by a Gaussian around their centre. The Gaussian is a product of a row and a
column factor, so a row of tiles is merged with one factor per column, and bands of tiles with one
factor per row: no weight map is ever stored. Every merge is a running weighted mean,
``mean += (tile - mean) * share``, which needs no division at the end and gives back exactly what
all tiles agree on, to the last bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.predict.scaling import ScaledReader, rescaled_bands

__all__ = [
    "Band",
    "Forward",
    "Prepare",
    "ScaledReader",
    "Source",
    "predict_bands",
    "predict_many",
    "predict_whole",
    "stitch",
    "tile_starts",
    "window_of",
]

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From prepared tiles (N, h, w, C) to maps (N, T, h, w)."""

Prepare = Callable[[NDArray[Any], tuple[int, int, int, int]], NDArray[np.float32]]
"""From pixels (h, w, C) as stored, and their window (top, left, h, w), to input (h, w, C').

The window is in pixels of the (resampled) picture and may reach past its border; the pixels there
are reflected.
"""

Band = tuple[int, NDArray[np.float32]]
"""The first row of a band, and its rows of all maps: (T, rows, W)."""

_SIGMA = 1 / 8  # of the tile's side; nnU-Net's choice


class Source(Protocol):
    """A picture that gives windows of itself, as ``data.images.open_reader`` gives it."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""

    def window(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """The pixels of a window inside the picture: (height, width, C)."""


def predict_bands(
    forward: Forward,
    reader: Source,
    *,
    outputs: int,
    tile_hw: tuple[int, int],
    overlap: float = 0.5,
    batch: int = 8,
    prepare: Prepare | None = None,
    scale: float = 1.0,
    border: float = 0.0,
) -> Iterator[Band]:
    """Predict a picture tile by tile and give finished rows from the top, each exactly once.

    Two bands of tile height are in memory besides one batch, whatever the height of the picture.
    The rows that are given belong to the caller, who may change them in place.

    Args:
        forward: The network, from ``network_forward`` or ``with_views``.
        reader: The picture.
        outputs: Maps that ``forward`` gives (T).
        tile_hw: (height, width) of a tile in pixels of the resampled picture.
        overlap: Least share of a tile that its neighbour covers again, [0, 0.9].
        batch: Tiles per call of ``forward``; the last one may have fewer.
        prepare: Makes network input of pixels; None only casts to float32.
        scale: The network sees the picture resampled by this factor (2 enlarges); the maps are
            brought back to the picture's own size.
        border: Share of a tile that the tiles reach past the picture's border, [0, 0.9], so that
            pixels there are seen as often as inner ones. Overlap 2/3 with border 2/3 covers
            every pixel at least three times along each axis.

    Yields:
        (first row, (T, rows, W) float32), rows in order and without gaps.

    Raises:
        TransectError: If ``forward`` gives maps of another shape, or on a setting out of range.

    References:
        Gaussian weights with sigma 1/8 of the tile and evenly spaced tiles: nnU-Net (Isensee et
        al. 2021).
    """
    source = reader if scale == 1 else ScaledReader(reader, scale)
    height, width = source.shape[:2]
    grid = _Grid.of((height, width), tile_hw, overlap, border)
    tiles = _tiles(source, grid, prepare)
    bands = stitch(
        _maps(forward, tiles, batch, outputs, tile_hw),
        size_hw=(height, width),
        tile_hw=tile_hw,
        tops=grid.tops,
        lefts=grid.lefts,
    )
    if source is reader:
        return bands
    return rescaled_bands(bands, (height, width), (reader.shape[0], reader.shape[1]))


def predict_whole(
    forward: Forward,
    reader: Source,
    *,
    outputs: int,
    tile_hw: tuple[int, int],
    overlap: float = 0.5,
    batch: int = 8,
    prepare: Prepare | None = None,
    scale: float = 1.0,
    border: float = 0.0,
) -> NDArray[np.float32]:
    """Predict a picture that fits into memory; the arguments are those of ``predict_bands``.

    Returns:
        (T, H, W) float32.

    Example:
        >>> from transect.data.images import ArrayReader
        >>> picture = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
        >>> def double(tiles):
        ...     return 2 * tiles.transpose(0, 3, 1, 2)
        >>> maps = predict_whole(double, ArrayReader(picture), outputs=1, tile_hw=(2, 2))
        >>> bool((maps[0] == 2 * picture[..., 0]).all())
        True
    """
    result = np.empty((outputs, *reader.shape[:2]), np.float32)
    for row, band in predict_bands(
        forward,
        reader,
        outputs=outputs,
        tile_hw=tile_hw,
        overlap=overlap,
        batch=batch,
        prepare=prepare,
        scale=scale,
        border=border,
    ):
        result[:, row : row + band.shape[1]] = band
    return result


def predict_many(
    forward: Forward,
    readers: Iterable[Source],
    *,
    outputs: int,
    tile_hw: tuple[int, int],
    overlap: float = 0.5,
    batch: int = 8,
    prepare: Callable[[int], Prepare] | None = None,
    border: float = 0.0,
) -> Iterator[NDArray[np.float32]]:
    """Predict many pictures of any sizes, filling batches across them.

    The pictures are read one after the other, at most one batch ahead.

    Args:
        forward: As in ``predict_bands``.
        readers: The pictures.
        outputs: As in ``predict_bands``.
        tile_hw: As in ``predict_bands``.
        overlap: As in ``predict_bands``.
        batch: As in ``predict_bands``.
        prepare: From the position of a picture to its ``Prepare``.
        border: As in ``predict_bands``.

    Yields:
        (T, H, W) float32 of each picture, in order.
    """
    grids: list[tuple[tuple[int, int], _Grid]] = []

    def tiles() -> Iterator[NDArray[np.float32]]:
        for i, reader in enumerate(readers):
            size_hw = (reader.shape[0], reader.shape[1])
            grid = _Grid.of(size_hw, tile_hw, overlap, border)
            grids.append((size_hw, grid))
            yield from _tiles(reader, grid, prepare(i) if prepare else None)

    maps = _maps(forward, tiles(), batch, outputs, tile_hw)
    for first in maps:  # the tiles of a picture are made before its first map comes out
        size_hw, grid = grids.pop(0)
        result = np.empty((outputs, *size_hw), np.float32)
        own = itertools.islice(itertools.chain([first], maps), len(grid.tops) * len(grid.lefts))
        for row, band in stitch(
            own, size_hw=size_hw, tile_hw=tile_hw, tops=grid.tops, lefts=grid.lefts
        ):
            result[:, row : row + band.shape[1]] = band
        yield result


def tile_starts(size: int, tile: int, overlap: float, border: float = 0.0) -> list[int]:
    """Where tiles start along one axis: evenly spaced, from border to border.

    Args:
        size: Pixels of the picture along the axis.
        tile: Pixels of a tile.
        overlap: Least share of a tile that the next one covers again.
        border: Share of a tile that the first and last tile reach past the picture.

    Returns:
        First pixels, ascending. A picture smaller than a tile gets one tile around its middle,
        whose start is negative.

    Example:
        >>> tile_starts(10, 4, 0.5), tile_starts(3, 8, 0.5), tile_starts(8, 8, 0.5)
        ([0, 2, 4, 6], [-2], [0])
        >>> tile_starts(8, 6, 0.5, border=0.5)
        [-3, 0, 2, 5]
    """
    past = int(border * tile)
    room = size + 2 * past - tile
    if room <= 0:
        return [-((tile - size) // 2)]
    # A little slack, so that 2/3 of 6 is not taken for a hair more than 4.
    count = int(np.ceil(room / max(1.0, tile * (1 - overlap)) - 1e-9)) + 1
    return [round(i * room / (count - 1)) - past for i in range(count)]


def stitch(
    maps: Iterable[NDArray[np.float32]],
    *,
    size_hw: tuple[int, int],
    tile_hw: tuple[int, int],
    tops: Sequence[int],
    lefts: Sequence[int],
) -> Iterator[Band]:
    """Merge tiles into bands of finished rows, with Gaussian weights.

    Args:
        maps: (T, h, w) each, row of tiles after row of tiles, from the left.
        size_hw: (H, W) of the picture.
        tile_hw: (h, w).
        tops: First rows of the rows of tiles, ascending, without gaps between them.
        lefts: First columns of the tiles of a row, likewise.

    Yields:
        (first row, (T, rows, W) float32).
    """
    (height, width), (tile_h, tile_w) = size_hw, tile_hw
    column_shares = list(_shares(lefts, tile_w))
    row_shares = _shares(tops, tile_h)
    incoming = iter(maps)
    kept: NDArray[np.float32] | None = None  # rows from tops[i] on that earlier bands reach
    for i, (top, row_share) in enumerate(zip(tops, row_shares, strict=True)):
        band = _merged_row(incoming, lefts, column_shares, width, tile_hw)
        inside = slice(max(0, -top), min(tile_h, height - top))
        band, first, shares = band[:, inside], max(0, top), row_share[inside]
        if kept is not None:
            _merge(band[:, : kept.shape[1]], kept, shares[: kept.shape[1], None])
        next_first = max(0, tops[i + 1]) if i + 1 < len(tops) else height
        if next_first > first:
            yield first, band[:, : next_first - first]
        kept = band[:, next_first - first :]


@dataclass(frozen=True)
class _Grid:
    """Where the tiles of a picture stand."""

    tile_hw: tuple[int, int]
    tops: list[int]
    lefts: list[int]

    @staticmethod
    def of(
        size_hw: tuple[int, int], tile_hw: tuple[int, int], overlap: float, border: float
    ) -> _Grid:
        """Lay tiles over a picture, checking the settings."""
        for name, value in (("overlap", overlap), ("border", border)):
            if not 0 <= value <= 0.9:
                raise TransectError(f"{name} must be in [0, 0.9]; got {value}. 0.5 is usual.")
        if min(tile_hw) < 1:
            raise TransectError(f"tile_hw must be positive; got {tile_hw}. (256, 256) is usual.")
        (height, width), (tile_h, tile_w) = size_hw, tile_hw
        return _Grid(
            tile_hw,
            tile_starts(height, tile_h, overlap, border),
            tile_starts(width, tile_w, overlap, border),
        )


def _tiles(source: Source, grid: _Grid, prepare: Prepare | None) -> Iterator[NDArray[np.float32]]:
    """The prepared tiles of a picture, row by row."""
    for top, left in itertools.product(grid.tops, grid.lefts):
        pixels = window_of(source, top, left, *grid.tile_hw)
        if prepare is None:
            yield pixels.astype(np.float32)
        else:
            yield prepare(pixels, (top, left, *grid.tile_hw))


def window_of(source: Source, top: int, left: int, height: int, width: int) -> NDArray[Any]:
    """A window that may reach past the picture, which is reflected there: (height, width, C)."""
    rows, columns = source.shape[:2]
    if min(top, left) >= 0 and top + height <= rows and left + width <= columns:
        return source.window(top, left, height, width)
    y, x = _reflect(top, height, rows), _reflect(left, width, columns)
    part = source.window(int(y.min()), int(x.min()), int(np.ptp(y)) + 1, int(np.ptp(x)) + 1)
    return part[np.ix_(y - y.min(), x - x.min())]


def _reflect(start: int, count: int, size: int) -> NDArray[np.intp]:
    """Indices of ``count`` pixels from ``start``, mirrored at both ends, the end not repeated."""
    if size == 1:
        return np.zeros(count, np.intp)
    place = np.abs(np.arange(start, start + count)) % (2 * size - 2)
    return np.minimum(place, 2 * size - 2 - place)


def _maps(
    forward: Forward,
    tiles: Iterator[NDArray[np.float32]],
    batch: int,
    outputs: int,
    tile_hw: tuple[int, int],
) -> Iterator[NDArray[np.float32]]:
    """Run the network on full batches and give the maps tile by tile."""
    while group := list(itertools.islice(tiles, max(1, batch))):
        maps = forward(np.stack(group))
        expected = (len(group), outputs, *tile_hw)
        if maps.shape != expected:
            raise TransectError(
                f"the network gave maps of shape {maps.shape} where {expected} was expected. "
                "Its number of outputs or its output size differs from what was asked for."
            )
        yield from maps


def _merged_row(
    maps: Iterator[NDArray[np.float32]],
    lefts: Sequence[int],
    shares: Sequence[NDArray[np.float32]],
    width: int,
    tile_hw: tuple[int, int],
) -> NDArray[np.float32]:
    """Merge one row of tiles into a band: (T, h, W)."""
    band: NDArray[np.float32] | None = None
    tile_h, tile_w = tile_hw
    reached = 0
    for left, share in zip(lefts, shares, strict=True):
        tile = next(maps)
        if band is None:
            band = np.empty((tile.shape[0], tile_h, width), np.float32)
        first, last = max(0, left), min(width, left + tile_w)
        tile, share = tile[..., first - left : last - left], share[first - left : last - left]
        seen = max(0, reached - first)
        place = band[..., first:last]
        if seen:
            new = tile[..., :seen] - place[..., :seen]
            new *= share[:seen]
            place[..., :seen] += new
        place[..., seen:] = tile[..., seen:]
        reached = max(reached, last)
    assert band is not None
    return band


def _merge(new: NDArray[np.float32], mean: NDArray[np.float32], share: NDArray[np.float32]) -> None:
    """Turn ``new`` into the running mean of itself and ``mean``, in place, map by map."""
    for one, other in zip(new, mean, strict=True):
        one -= other
        one *= share
        one += other


def _shares(starts: Sequence[int], tile: int) -> Iterator[NDArray[np.float32]]:
    """The share of each tile's pixels in the running mean of it and the tiles before it.

    Yields:
        (tile,) per tile, in (0, 1]; 1 where no earlier tile reaches.
    """
    offset = (np.arange(tile) - (tile - 1) / 2) / (tile * _SIGMA)
    weight = np.exp(-0.5 * offset**2)  # at least 3e-4, at the ends
    total = np.zeros(tile)
    for i, start in enumerate(starts):
        step = min(tile, start - starts[i - 1]) if i else 0
        total = np.concatenate([total[step:], np.zeros(step)]) + weight
        yield (weight / total).astype(np.float32)
