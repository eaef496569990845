"""TIFF pictures of any size, read by windows without loading them.

Libraries either load the whole picture or need compiled codecs for the common compressions, and
none of them bounds what a hostile segment unpacks to. So the tags are parsed by tifffile and the
segments (strips or tiles) are unpacked here, each to at most its declared size.
"""

from __future__ import annotations

import functools
import io
import lzma
import math
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = ["ArrayReader", "Reader", "TiffReader", "damaged", "oriented"]

SEGMENT_LIMIT = 1 << 30
"""Most bytes that one strip or tile may unpack to."""
CACHE_BYTES = 128 << 20
"""Unpacked segments that a reader keeps."""
CHANNEL_LIMIT = 4096
"""More samples per pixel than any survey camera has; beyond it a file is taken for damaged."""

_MASK_AMONG = 40  # pages that are looked through for a mask; GDAL puts it before the overviews
_DEFLATE, _LZMA, _JPEG = (8, 32946), 34925, 7
_WRAPPED = {5: "LZW", 32773: "PackBits", 50000: "Zstandard"}
_CCITT = {2, 3, 4}
_BIT_REVERSE = np.packbits(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1
)[:, 0]


class Reader(Protocol):
    """A picture that gives windows of itself."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8, uint16 or float32."""

    def window(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """The pixels [top, top + height) x [left, left + width): (height, width, C)."""


class ArrayReader:
    """A picture that is already in memory, read by windows.

    Example:
        >>> ArrayReader(np.arange(6, dtype=np.uint8).reshape(2, 3, 1)).window(1, 1, 1, 2).ravel()
        array([4, 5], dtype=uint8)
    """

    def __init__(self, array: NDArray[Any]) -> None:
        """Wrap an (H, W, C) array."""
        self._array = array
        self.shape: tuple[int, int, int] = (array.shape[0], array.shape[1], array.shape[2])
        self.dtype: np.dtype[Any] = array.dtype

    def window(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """The pixels of a window, as a view.

        Raises:
            TransectError: If the window leaves the picture.
        """
        _check_window(self.shape, top, left, height, width)
        return self._array[top : top + height, left : left + width]


class TiffReader:
    """The first picture of a TIFF, read by windows in bounded memory.

    Pixels that the file stores as one uncompressed block are memory-mapped. Otherwise the strips
    or tiles under the window are unpacked, and the last ones are kept (``CACHE_BYTES``). Safe to
    use from several threads.

    Pixel values follow the rule of ``images.read_image``: bits become 0 or 255, 2 and 4 bits are
    stretched to 0..255, other types that are not uint8, uint16 or float32 become float32 of the
    same value; white-is-zero is inverted; a colour map is applied. A channel that ExtraSamples
    calls alpha is no channel; one that it does not (near infrared) is. Pixels without data (see
    ``void``) hold the mean of some that have data.

    Attributes:
        shape: (H, W, C) after orientation.
        dtype: Of the windows.
        nodata: The number that GDAL's tag says stands for no data, or None.
    """

    def __init__(
        self,
        path: Path,
        *,
        labels: bool = False,
        cache_bytes: int = CACHE_BYTES,
        page: int = 0,
    ) -> None:
        """Read the tags and check that every segment lies inside the file.

        Args:
            path: The file.
            labels: Give stored values as they are (no colour map, no stretching, integers keep
                their type), as label images need it; bits give 0 or 1.
            cache_bytes: Unpacked segments to keep.
            page: Which picture of the file; GDAL puts masks behind the first.

        Raises:
            TransectError: If the file is no TIFF, damaged, truncated, or in a form that is not
                read: a stack of several pictures, a volume, an unknown compression.
        """
        self._path, self._labels, self._cache_bytes = path, labels, cache_bytes
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._cached_bytes = 0
        self._map: NDArray[Any] | None = None
        try:
            mask = self._parse(path, page)
        except TransectError:
            raise
        except Exception as error:  # a parser of strangers' files may raise anything
            raise damaged(path, error) from error
        height, width = self._size
        if self._orientation >= 5:
            height, width = width, height
        self.shape: tuple[int, int, int] = (height, width, self._channels)
        self._mask = None if labels else self._mask_of(path, mask)

    def _mask_of(self, path: Path, page: int | None) -> TiffReader | None:
        """GDAL's mask: a page of the file, else ``NAME.tif.msk`` beside it; 0 is no data.

        Source: GDAL RFC 15 (band masks); the GTiff driver's internal mask is a page whose
        NewSubfileType has bit 2.
        """
        beside = path.with_name(path.name + ".msk")
        if page is not None:
            mask = TiffReader(path, labels=True, page=page)
        elif beside.is_file():
            mask = TiffReader(beside, labels=True)
        else:
            return None
        if mask._size != self._size:
            raise TransectError(
                f"{beside} is of another size than {path.name}. Make the mask again, or remove it."
            )
        mask._orientation, mask.shape = self._orientation, (*self.shape[:2], mask.shape[2])
        return mask

    def _parse(self, path: Path, number: int) -> int | None:
        """Take from the tags what windows need; gives the page that is GDAL's mask."""
        import tifffile

        with path.open("rb") as handle, tifffile.TiffFile(handle) as file:
            order = file.byteorder
            page: Any = file.pages[number]
            if not number:
                self._refuse_stacks(file, page)
            mask = _mask_page(file, page) if not number else None
            self._size = (int(page.imagelength), int(page.imagewidth))
            self._samples = int(page.samplesperpixel)
            bits = page.bitspersample
            if isinstance(bits, tuple):
                raise TransectError(
                    f"{path} mixes channels of different bit depths {bits}. Save all channels "
                    "with the same type."
                )
            self._bits, kind = int(bits), int(page.sampleformat or 1)
            self._planar = int(page.planarconfig or 1) == 2 and self._samples > 1
            self._compression = int(page.compression)
            self._predictor = int(page.predictor or 1)
            self._photometric = int(page.photometric)
            self._fill_reversed = int(page.fillorder or 1) == 2
            self._jpeg_tables = page.jpegtables
            orientation = page.tags.valueof(274, 1)
            self._orientation = orientation if orientation in range(1, 9) else 1
            self._tiled = bool(page.is_tiled)
            rows, columns = (
                (int(page.tilelength), int(page.tilewidth))
                if self._tiled
                else (min(int(page.rowsperstrip or 2**32), self._size[0]), self._size[1])
            )
            self._segment_hw = (rows, columns)
            self._offsets = np.asarray(page.dataoffsets, np.int64)
            self._counts = np.asarray(page.databytecounts, np.int64)
            colormap = page.tags.valueof(320)
            self._tags = {n: page.tags.valueof(n) for n in (292, 293, 530, 532)}
            self._alpha = _alpha_of(page.tags.valueof(338), self._samples)
            self.nodata = _nodata_of(page.tags.valueof(42113))
            if int(page.imagedepth or 1) > 1:
                raise TransectError(f"{path} is a volume. Save its slices as pictures.")
        self._stored = _stored_type(path, self._bits, kind, order)
        self._colormap = None
        if self._photometric == 3 and colormap is not None and not self._labels:
            self._colormap = (np.asarray(colormap).reshape(3, -1).T >> 8).astype(np.uint8)
        self._alpha = self._alpha if self._colormap is None else ()
        colours = self._samples - len(self._alpha)
        self._channels = 3 if self._colormap is not None else colours
        self._colours = [i for i in range(self._samples) if i not in self._alpha]
        self._check(path)
        self._map_if_contiguous(path)
        if self._map is None and self._segment_bytes() > SEGMENT_LIMIT:
            pieces = "tiles" if self._tiled else "strips"
            raise TransectError(
                f"{path} is stored in {pieces} of {self._segment_hw[0]} x {self._segment_hw[1]} "
                "pixels, more than 1 GiB each, and cannot be read in bounded memory. Save it with "
                "tiles of 512 x 512."
            )
        sample = np.zeros((0, 0, self._samples), self._stored.newbyteorder("="))
        self.dtype: np.dtype[Any] = self._finished(sample).dtype
        if self.nodata is not None and self.dtype.kind != "f":
            top = np.iinfo(self.dtype).max
            self.nodata = self.nodata if self.nodata in range(top + 1) else None
        return mask

    def _refuse_stacks(self, file: Any, page: Any) -> None:
        """A second page of the same size means a stack; overviews and thumbnails are skipped.

        ImageJ (over 4 GB) and tifffile may describe only the first page of a stack.
        """
        try:
            second: Any = file.pages[1]
        except IndexError:
            told = file.is_imagej or file.is_shaped or file.is_ome
            if told and int(page.imagedepth or 1) == 1:
                pixels = int(page.imagelength) * int(page.imagewidth) * int(page.samplesperpixel)
                pictures = int(np.prod(file.series[0].shape, dtype=np.int64)) // max(pixels, 1)
                if pictures > 1:
                    raise self._stack(pictures) from None
            return
        reduced = int(second.tags.valueof(254, 0) or 0) & 0b101
        same = (second.imagelength, second.imagewidth) == (page.imagelength, page.imagewidth)
        if same and not reduced:
            raise self._stack(len(file.pages))

    def _stack(self, pictures: int) -> TransectError:
        """The sentence for several pictures in one file."""
        return TransectError(
            f"{self._path} is a stack of {pictures} pictures, and one per file is read. "
            "Save each picture (or all bands as the channels of one picture) to its own file."
        )

    def _check(self, path: Path) -> None:
        """Refuse what cannot be read before the first window is asked for."""
        (height, width), (rows, columns) = self._size, self._segment_hw
        if min(height, width, rows, columns, self._samples) < 1:
            raise TransectError(f"{path} has no pixels. Restore it from the original.")
        if self._samples > CHANNEL_LIMIT:
            raise TransectError(
                f"{path} declares {self._samples} channels; at most {CHANNEL_LIMIT} are read. "
                "Restore it from the original."
            )
        known = self._compression in (1, *_DEFLATE, _LZMA, _JPEG, *_WRAPPED, *_CCITT)
        whole_bytes = self._bits in (8, 16, 32, 64)
        fits = (self._predictor != 2 or whole_bytes) and self._predictor in (1, 2, 3)
        jpeg = self._compression != _JPEG or (self._bits == 8 and self._per_segment in (1, 3))
        ccitt = self._compression not in _CCITT or (self._bits, self._samples) == (1, 1)
        if not (known and fits and jpeg and ccitt):
            raise TransectError(
                f"{path} is compressed in a way that is not read (TIFF compression "
                f"{self._compression}, predictor {self._predictor}, {self._bits} bits). Save it "
                "with LZW or deflate, or uncompressed."
            )
        if self._photometric == 6 and self._compression != _JPEG:
            raise TransectError(
                f"{path} stores luma and chroma uncompressed (YCbCr). Save it as RGB."
            )
        self._grid = (math.ceil(height / rows), math.ceil(width / columns))
        expected = self._grid[0] * self._grid[1] * (self._samples if self._planar else 1)
        size = path.stat().st_size
        ends = self._offsets + self._counts
        broken = len(self._offsets) < expected or len(self._counts) < expected
        if broken or (self._counts < 0).any() or bool((ends > size).any()):
            raise TransectError(
                f"{path} is truncated: its {expected} segments reach beyond its {size} bytes. "
                "Restore it from the original."
            )

    @property
    def _per_segment(self) -> int:
        """Samples per pixel within one segment."""
        return 1 if self._planar else self._samples

    def _row_bytes(self) -> int:
        """Bytes of one row of a segment; rows start at whole bytes."""
        return -(-self._segment_hw[1] * self._per_segment * self._bits // 8)

    def _segment_bytes(self) -> int:
        """Bytes of a full segment, unpacked."""
        return self._segment_hw[0] * self._row_bytes()

    def _map_if_contiguous(self, path: Path) -> None:
        """Memory-map pixels that are stored as one plain block."""
        plain = self._compression == 1 and self._predictor == 1 and self._bits % 8 == 0
        if not plain or self._tiled or self._fill_reversed:
            return
        height, width = self._size
        whole = height * width * self._samples * (self._bits // 8)
        ends = self._offsets + self._counts
        block = bool((self._offsets[1:] == ends[:-1]).all()) and int(self._counts.sum()) == whole
        if not block or self._offsets[0] == 0:
            return
        shape = (self._samples, height, width) if self._planar else (height, width, self._samples)
        mapped = np.memmap(path, self._stored, "r", offset=int(self._offsets[0]), shape=shape)
        self._map = np.moveaxis(mapped, 0, 2) if self._planar else mapped

    def window(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """The pixels of a window; only the segments under it are read.

        Args:
            top: First row, after orientation.
            left: First column.
            height: Rows; the window must lie inside the picture.
            width: Columns.

        Returns:
            (height, width, C), a fresh array of ``dtype``.

        Raises:
            TransectError: If the window leaves the picture or a segment is damaged.
        """
        stored = self._window(top, left, height, width)
        pixels = stored[..., self._colours] if self._alpha else stored
        void = self._void_in(stored, top, left)
        if void is not None and void.any():
            pixels[void] = self._fill
        return pixels

    def void(self, top: int, left: int, height: int, width: int) -> NDArray[np.bool_]:
        """Which pixels of a window hold no data.

        Those with a number that is not finite, with GDAL's nodata number (of colour pictures: in
        all channels), wholly transparent, or outside GDAL's mask (in the file or beside it).

        Args:
            top: As for ``window``.
            left: As for ``window``.
            height: As for ``window``.
            width: As for ``window``.

        Returns:
            (height, width) bool.

        Raises:
            TransectError: As ``window``.
        """
        if not self.may_be_void:
            return np.zeros((height, width), np.bool_)
        found = self._void_in(self._window(top, left, height, width), top, left)
        return np.zeros((height, width), np.bool_) if found is None else found

    @property
    def may_be_void(self) -> bool:
        """Whether the file can hold pixels without data."""
        special = self.dtype.kind == "f" or self.nodata is not None or bool(self._alpha)
        special = special or self._mask is not None
        return special and not self._labels

    def _void_in(self, stored: NDArray[Any], top: int, left: int) -> NDArray[np.bool_] | None:
        """Which pixels of finished values, alpha included, hold no data; None if none can."""
        if not self.may_be_void:
            return None
        colours = stored[..., self._colours] if self._alpha else stored
        found: NDArray[np.bool_] = np.zeros(stored.shape[:2], np.bool_)
        if colours.dtype.kind == "f":
            # Some tools write the least float for no data and no tag.
            found |= ~(np.abs(colours) < 1e30).all(axis=2)
        if self.nodata is not None:
            same = colours == np.asarray(self.nodata).astype(colours.dtype)
            # Zero in one colour is a colour; in all of them it is the border of an orthomosaic.
            bands = same.all(axis=2) if colours.dtype.kind == "u" else same.any(axis=2)
            found |= bands
        if self._alpha:
            found |= (stored[..., list(self._alpha)] == 0).all(axis=2)
        if self._mask is not None:
            found |= (self._mask.window(top, left, *stored.shape[:2]) == 0).all(axis=2)
        return found

    @functools.cached_property
    def _fill(self) -> NDArray[Any]:
        """The mean of pixels with data, from 64 places spread evenly: (C,)."""
        height, width = self.shape[:2]
        some = []
        side = (min(32, height), min(32, width))
        for top in np.linspace(0, height - side[0], 8).astype(int):
            for left in np.linspace(0, width - side[1], 8).astype(int):
                stored = self._window(int(top), int(left), *side)
                void = self._void_in(stored, int(top), int(left))
                assert void is not None  # asked only where there is a void
                some.append(stored[~void][:, self._colours].astype(np.float64))
        known = np.concatenate(some)
        mean = known.mean(axis=0) if len(known) else np.zeros(self._channels)
        return (mean if self.dtype.kind == "f" else np.rint(mean)).astype(self.dtype)

    def _window(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """Finished values of a window, alpha included."""
        _check_window(self.shape, top, left, height, width)
        swap, flip_rows, flip_columns = _ORIENTATIONS[self._orientation]
        if flip_rows:
            top = self.shape[0] - top - height
        if flip_columns:
            left = self.shape[1] - left - width
        if swap:
            top, left, height, width = left, top, width, height
        if self._map is not None:
            part = self._map[top : top + height, left : left + width]
            raw = np.array(part, dtype=part.dtype.newbyteorder("="))
        else:
            raw = self._assembled(top, left, height, width)
        return oriented(self._finished(raw), self._orientation)

    def _assembled(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """Copy the window together from its segments, in stored orientation."""
        rows, columns = self._segment_hw
        out = np.empty((height, width, self._samples), self._stored.newbyteorder("="))
        planes = range(self._samples) if self._planar else range(1)
        for plane in planes:
            for r in range(top // rows, -(-(top + height) // rows)):
                for c in range(left // columns, -(-(left + width) // columns)):
                    index = (plane * self._grid[0] + r) * self._grid[1] + c
                    segment = self._segment(index, r)
                    y0, y1 = max(top, r * rows), min(top + height, (r + 1) * rows)
                    x0, x1 = max(left, c * columns), min(left + width, (c + 1) * columns)
                    part = segment[
                        y0 - r * rows : y1 - r * rows, x0 - c * columns : x1 - c * columns
                    ]
                    channels = slice(plane, plane + 1) if self._planar else slice(None)
                    out[y0 - top : y1 - top, x0 - left : x1 - left, channels] = part
        return out

    def _segment(self, index: int, grid_row: int) -> NDArray[Any]:
        """One unpacked segment, from the cache if it is there."""
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        rows = self._segment_hw[0]
        if not self._tiled:
            rows = min(rows, self._size[0] - grid_row * rows)
        try:
            segment = self._unpacked(index, rows)
        except Exception as error:  # codecs may raise anything on strangers' bytes
            raise damaged(self._path, error) from error
        with self._lock:
            if index not in self._cache:
                self._cache[index] = segment
                self._cached_bytes += segment.nbytes
            while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return segment

    def _unpacked(self, index: int, rows: int) -> NDArray[Any]:
        """Read and unpack one segment: (rows, columns, samples per segment), native order."""
        columns, samples = self._segment_hw[1], self._per_segment
        offset, count = int(self._offsets[index]), int(self._counts[index])
        native = self._stored.newbyteorder("=")
        if offset == 0 or count == 0:  # sparse: GDAL leaves empty tiles out
            return np.zeros((rows, columns, samples), native)
        with self._path.open("rb") as handle:
            handle.seek(offset)
            packed = handle.read(count)
        if self._compression == _JPEG:
            return self._jpeg(packed, rows)
        expected = rows * self._row_bytes()
        data = self._bytes(packed, rows, expected)
        if len(data) < expected:
            raise ValueError("a segment ends early")
        flat = np.frombuffer(data, np.uint8, expected)
        if self._fill_reversed and self._compression not in _CCITT:
            flat = _BIT_REVERSE[flat]
        if self._bits % 8:
            return _unpack_bits(flat, rows, columns * samples, self._bits).reshape(
                rows, columns, samples
            )
        if self._predictor == 3:
            return _float_unpredicted(flat, (rows, columns, samples), self._stored)
        segment = flat.view(self._stored).astype(native).reshape(rows, columns, samples)
        if self._predictor == 2:
            unsigned = segment.view(f"u{native.itemsize}")
            segment = np.cumsum(unsigned, axis=1, dtype=unsigned.dtype).view(native)
        return segment

    def _bytes(self, packed: bytes, rows: int, expected: int) -> bytes:
        """Undo the compression, giving at most ``expected`` bytes."""
        if self._compression == 1:
            return packed
        if self._compression in _DEFLATE:
            return zlib.decompressobj().decompress(packed, expected)
        if self._compression == _LZMA:
            return lzma.LZMADecompressor().decompress(packed, expected)
        if self._compression in _CCITT:
            width, bits = self._segment_hw[1], 1
        else:  # lossless codecs do not care what the bytes mean: decode them as a grey picture
            width, bits = self._row_bytes(), 8
        tags: dict[int, tuple[str, Sequence[int]]] = {262: ("H", [1])}
        if self._compression in _CCITT:
            for number in (292, 293):
                if self._tags[number]:
                    tags[number] = ("I", [int(self._tags[number])])
            tags[266] = ("H", [2 if self._fill_reversed else 1])
        wrapped = _one_strip_tiff(packed, (rows, width), bits, 1, self._compression, tags)
        return _pillow(wrapped).tobytes()

    def _jpeg(self, packed: bytes, rows: int) -> NDArray[Any]:
        """Unpack a JPEG segment by giving it to libtiff as a small TIFF of its own."""
        tags: dict[int, tuple[str, Sequence[int]]] = {262: ("H", [self._photometric])}
        if self._photometric in (0, 3):
            tags[262] = ("H", [1])
        if self._photometric == 6:
            tags[530] = ("H", list(self._tags[530] or (2, 2)))
        tables = self._jpeg_tables
        if tables:
            tags[347] = ("B", list(bytes(tables)))
        shape = (rows, self._segment_hw[1])
        image = _pillow(_one_strip_tiff(packed, shape, 8, self._per_segment, _JPEG, tags))
        return np.asarray(image).reshape(*shape, self._per_segment)

    def _finished(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Map stored values to what callers get."""
        white_is_zero = self._photometric == 0
        if self._labels:
            return 1 - raw if self._bits == 1 and white_is_zero else raw
        if white_is_zero and raw.dtype.kind == "u":
            raw = np.asarray(raw.dtype.type((1 << self._bits) - 1) - raw)
        if self._colormap is not None:
            return self._colormap[np.minimum(raw[..., 0], len(self._colormap) - 1)]
        if self._bits in (1, 2, 4):
            return raw * np.uint8(255 // ((1 << self._bits) - 1))
        return raw if raw.dtype in (np.uint8, np.uint16) else raw.astype(np.float32, copy=False)


def _mask_page(file: Any, page: Any) -> int | None:
    """The page that GDAL keeps its mask in: of the picture's size, and no overview."""
    for number in range(1, _MASK_AMONG):
        try:
            other: Any = file.pages[number]
        except IndexError:
            return None
        same = (other.imagelength, other.imagewidth) == (page.imagelength, page.imagewidth)
        if same and int(other.tags.valueof(254, 0) or 0) & 0b101 == 0b100:
            return number
    return None


def _alpha_of(extra: Any, samples: int) -> tuple[int, ...]:
    """Which samples are alpha by the tag ExtraSamples: 1 and 2 are, 0 is "something else"."""
    kinds = extra if isinstance(extra, tuple) else (extra,) if extra is not None else ()
    first = samples - len(kinds)
    alpha = tuple(first + i for i, kind in enumerate(kinds) if kind in (1, 2) and first + i > 0)
    return alpha if len(alpha) < samples else ()


def _nodata_of(tag: Any) -> float | None:
    """The number of GDAL's nodata tag, a text; None if it is none."""
    try:
        return float(str(tag).strip("\0 ")) if tag is not None else None
    except ValueError:
        return None


# What the EXIF and TIFF orientation numbers mean: (transpose first, flip rows, flip columns).
_ORIENTATIONS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def oriented(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a stored picture upright.

    Args:
        image: (H, W) or (H, W, C).
        orientation: The EXIF number, 1 to 8; any other is taken as 1.

    Returns:
        The picture as it is meant to be seen, contiguous.

    Example:
        >>> oriented(np.array([[1, 2], [3, 4]]), 6)  # turn clockwise
        array([[3, 1],
               [4, 2]])
    """
    swap, flip_rows, flip_columns = _ORIENTATIONS.get(orientation, (False, False, False))
    turned = np.swapaxes(image, 0, 1) if swap else image
    if flip_rows:
        turned = turned[::-1]
    if flip_columns:
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def _stored_type(path: Path, bits: int, kind: int, order: str) -> np.dtype[Any]:
    """The numpy type of stored samples; fewer than 16 odd bits are unpacked into integers."""
    letter = {1: "u", 2: "i", 3: "f", 4: "u"}.get(kind)
    if letter in ("u", "i") and bits in (8, 16, 32, 64):
        return np.dtype(f"{order}{letter}{bits // 8}")
    if letter == "f" and bits in (16, 32, 64):
        return np.dtype(f"{order}f{bits // 8}")
    if letter == "u" and 1 <= bits < 16:
        return np.dtype("u1" if bits < 8 else "u2")
    raise TransectError(
        f"{path} stores samples of {bits} bits in TIFF format {kind}, which is not read. Save it "
        "as 8-bit, 16-bit or 32-bit float."
    )


def _unpack_bits(flat: NDArray[np.uint8], rows: int, values: int, bits: int) -> NDArray[Any]:
    """Values of 1 to 15 bits, most significant first, rows starting at whole bytes."""
    lines = np.unpackbits(flat.reshape(rows, -1), axis=1)[:, : values * bits]
    kind = np.uint8 if bits < 8 else np.uint16
    out = np.zeros((rows, values), kind)
    for i in range(bits):
        out = (out << kind(1)) | lines[:, i::bits]
    return out


def _float_unpredicted(
    flat: NDArray[np.uint8], shape: tuple[int, int, int], stored: np.dtype[Any]
) -> NDArray[Any]:
    """Undo the floating-point predictor (TIFF Technical Note 3): byte planes, differenced."""
    rows, columns, samples = shape
    size = stored.itemsize
    lines = np.cumsum(flat.reshape(rows, -1, samples), axis=1, dtype=np.uint8)
    planes = lines.reshape(rows, size, columns * samples)
    values = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(f">f{size}")
    return values.astype(stored.newbyteorder("=")).reshape(shape)


def _one_strip_tiff(
    packed: bytes,
    size_hw: tuple[int, int],
    bits: int,
    samples: int,
    compression: int,
    tags: dict[int, tuple[str, Sequence[int]]],
) -> bytes:
    """A little TIFF whose only strip is ``packed``, for libtiff to decode."""
    height, width = size_hw
    entries: dict[int, tuple[str, Sequence[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * samples),
        259: ("H", [compression]),
        273: ("I", [8]),
        277: ("H", [samples]),
        278: ("I", [height]),
        279: ("I", [len(packed)]),
        284: ("H", [1]),
        **tags,
    }
    body = bytearray(packed + b"\0" * (len(packed) % 2))
    directory = bytearray(struct.pack("<H", len(entries)))
    for number in sorted(entries):
        letter, values = entries[number]
        data = struct.pack(f"<{len(values)}{letter}", *values)
        kind = {"B": 7, "H": 3, "I": 4}[letter]
        if len(data) > 4:
            place = struct.pack("<I", 8 + len(body))
            body += data + b"\0" * (len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        directory += struct.pack("<HHI", number, kind, len(values)) + place
    start = 8 + len(body)
    return struct.pack("<2sHI", b"II", 42, start) + bytes(body) + bytes(directory) + b"\0" * 4


def _pillow(wrapped: bytes) -> Any:
    """Decode a little TIFF; the sizes were bounded when it was made."""
    from PIL import TiffImagePlugin

    image = TiffImagePlugin.TiffImageFile(io.BytesIO(wrapped))
    image.load()
    return image


def _check_window(
    shape: tuple[int, int, int], top: int, left: int, height: int, width: int
) -> None:
    """Refuse windows that leave the picture."""
    inside = min(top, left) >= 0 and top + height <= shape[0] and left + width <= shape[1]
    if not inside or height < 0 or width < 0:
        raise TransectError(
            f"the window of {height} x {width} at row {top}, column {left} leaves the picture of "
            f"{shape[0]} x {shape[1]}. Ask for pixels inside it."
        )


def damaged(path: Path, error: Exception) -> TransectError:
    """Build the sentence for a file that a decoder stumbled over.

    Args:
        path: The file.
        error: What the decoder raised.

    Returns:
        The error, to be raised by the caller.
    """
    if isinstance(error, FileNotFoundError):
        return TransectError(f"{path} is missing. Restore it, or take it out of the tables.")
    if isinstance(error, PermissionError):
        return TransectError(f"{path} may not be read ({error.strerror}). Change its permissions.")
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return TransectError(
        f"{path} is damaged or truncated ({reason}). Restore it from the original."
    )
