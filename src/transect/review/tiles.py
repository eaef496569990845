"""Large images as small tiles: a pyramid of halves, cut as the browser asks for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.data.images import Reader, open_reader
from transect.errors import TransectError

__all__ = ["TILE_PX", "Pyramid", "Pyramids", "levels_of"]

TILE_PX = 256
_STRIP_PX = 1 << 24  # pixels that are read together when the pyramid is made, our choice
_KEPT_BYTES = 2 << 30  # of decoded images


def levels_of(size_hw: tuple[int, int]) -> int:
    """How many halves there are: level 0 fits into one tile, the last one is the image itself."""
    longest = max(size_hw)
    count = 1
    while longest > TILE_PX:
        longest = (longest + 1) // 2
        count += 1
    return count


class Pyramid:
    """An image at full size and its halves, as 8-bit RGB.

    TIFFs are read by windows; other kinds are decoded once. Values of other types than 8 bits are
    spread over their 1st to 99.5th percentile, the same for all tiles.
    """

    def __init__(self, path: Path) -> None:
        """Read an image and halve it until it fits into one tile.

        Raises:
            TransectError: If it cannot be read.
        """
        self._reader: Reader = open_reader(path)
        height, width, _ = self._reader.shape
        self.size_hw = height, width
        self._lock = threading.Lock()
        self._range = self._values()
        self._halves: list[NDArray[np.uint8]] = []
        count = levels_of(self.size_hw)
        if count > 1:
            self._halves.append(self._first_half())
        while len(self._halves) < count - 1:
            self._halves.append(_halved(self._halves[-1]))

    @property
    def bytes(self) -> int:
        """What it takes of the memory."""
        whole = self.size_hw[0] * self.size_hw[1] * self._reader.shape[2]
        return whole * self._reader.dtype.itemsize + sum(half.nbytes for half in self._halves)

    def tile(self, level: int, column: int, row: int) -> NDArray[np.uint8]:
        """One tile: (h, w, 3), at the right and lower edges smaller than the others.

        Raises:
            TransectError: If there is no such tile.
        """
        behind = len(self._halves) - level  # 0 is the image itself
        top, left = row * TILE_PX, column * TILE_PX
        if 0 < behind <= len(self._halves) and min(row, column) >= 0:
            tile = self._halves[behind - 1][top : top + TILE_PX, left : left + TILE_PX]
            if tile.size:
                return tile
        height, width = self.size_hw
        if behind != 0 or min(row, column) < 0 or top >= height or left >= width:
            raise TransectError(f"there is no tile {level}/{column}/{row}.")
        return self._window(top, left, min(TILE_PX, height - top), min(TILE_PX, width - left))

    def crop(
        self, box: tuple[float, float, float, float] | None, longest: int
    ) -> NDArray[np.uint8]:
        """A part of the image, made smaller if it is larger than asked for.

        Args:
            box: x0, y0, x1, y1; None takes all of it.
            longest: Pixels of the longer side, at most.

        Returns:
            (h, w, 3).
        """
        height, width = self.size_hw
        x0, y0, x1, y1 = box or (-0.5, -0.5, width - 0.5, height - 0.5)
        left, top = max(0, round(x0)), max(0, round(y0))
        right, bottom = min(width, max(left + 1, round(x1))), min(height, max(top + 1, round(y1)))
        shrink = 0
        while max(right - left, bottom - top) >> (shrink + 1) >= longest:
            shrink += 1
        shrink = min(shrink, len(self._halves))
        if shrink:
            half = self._halves[shrink - 1]
            part = half[top >> shrink : -(-bottom >> shrink), left >> shrink : -(-right >> shrink)]
        else:
            part = self._window(top, left, bottom - top, right - left)
        scale = longest / max(part.shape[:2])
        if scale < 1:
            part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        return part

    def _first_half(self) -> NDArray[np.uint8]:
        """The image at half its size, read strip by strip."""
        height, width = self.size_hw
        half = np.empty(((height + 1) // 2, (width + 1) // 2, 3), np.uint8)
        rows = max(2, _STRIP_PX // width // 2 * 2)
        for top in range(0, height, rows):
            strip = _halved(self._window(top, 0, min(rows, height - top), width))
            half[top // 2 : top // 2 + strip.shape[0]] = strip
        return half

    def _window(self, top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
        """A part of the image at full size as 8-bit RGB."""
        with self._lock:  # readers of TIFFs share one file
            pixels = self._reader.window(top, left, height, width)
        pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
        if self._range is not None:
            low, high = self._range
            scaled = (np.nan_to_num(pixels.astype(np.float32), nan=low) - low) / (high - low)
            pixels = np.clip(scaled * 255, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))

    def _values(self) -> tuple[float, float] | None:
        """The range of values that is shown; None for 8 bits."""
        if self._reader.dtype == np.uint8:
            return None
        height, width = self.size_hw
        rows = np.linspace(0, height - 1, min(height, 64)).astype(int).tolist()
        sample = np.concatenate([self._reader.window(row, 0, 1, width).ravel() for row in rows])
        sample = sample[np.isfinite(sample)]
        low, high = np.percentile(sample, [1, 99.5]) if sample.size else (0.0, 1.0)
        return float(low), float(max(high, low + 1e-12))


class Pyramids:
    """The pyramids that were asked for last, each made once however many ask for it."""

    def __init__(self) -> None:
        self._made: OrderedDict[Path, Pyramid] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Path, threading.Lock] = {}

    def __call__(self, path: Path) -> Pyramid:
        """The pyramid of an image.

        Raises:
            TransectError: If it cannot be read.
        """
        with self._lock:
            own = self._making.setdefault(path, threading.Lock())
        with own:
            with self._lock:
                if path in self._made:
                    self._made.move_to_end(path)
                    return self._made[path]
            made = Pyramid(path)
            with self._lock:
                self._made[path] = made
                while (
                    len(self._made) > 1 and sum(p.bytes for p in self._made.values()) > _KEPT_BYTES
                ):
                    self._made.popitem(last=False)
            return made


def _halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) at half its size, rounded up."""
    size = (pixels.shape[1] + 1) // 2, (pixels.shape[0] + 1) // 2
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
