"""Label Studio's brush: an RGBA picture whose alpha is the mask, run-length coded bit by bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transect.data import rle
from transect.errors import TransectError

__all__ = ["brush_to_mask", "mask_to_brush"]


def brush_to_mask(
    code: Sequence[int], size_hw: tuple[int, int], *, where: str = "the brush"
) -> NDArray[np.bool_]:
    """Decode a brush: an RGBA picture, packed bit by bit; its alpha is the mask.

    Args:
        code: Bytes as numbers: 32 bits count of values, 5 bits word size less 1, four times 4
            bits run size less 1; then runs: 1 bit repeat, 2 bits which run size, length less 1,
            and one word (repeat) or as many words as the length.
        size_hw: (height, width) of the picture.
        where: Its place, for messages.

    Returns:
        (H, W) bool.

    Raises:
        TransectError: If it is no such code, or for another size.
    """
    height, width = size_hw
    wanted = height * width * 4
    try:
        array = np.array(code)
        if array.dtype.kind not in "ui" or array.ndim != 1 or array.min() < 0 or array.max() > 255:
            raise ValueError("no bytes")
    except (ValueError, OverflowError):
        raise TransectError(f"{where} is no list of bytes. Export it again.") from None
    if height * width > rle.MASK_LIMIT_PX:
        raise TransectError(f"{where} is on a picture of {height} x {width} pixels. Cut it.")
    data = array.astype(np.uint8).tobytes()
    bits = _Bits(data, where)
    count = bits.read(32)
    if count != wanted:
        raise TransectError(
            f"{where} holds {count} values, and {height} x {width} pixels need {wanted}. Correct "
            "original_height and original_width."
        )
    word = bits.read(5) + 1
    sizes = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(wanted, np.uint8)
    at = 0
    while at < wanted:
        repeat = bits.read(1)
        length = bits.read(sizes[bits.read(2)]) + 1
        if at + length > wanted:
            raise TransectError(f"{where} runs past its picture. Export it again.")
        if repeat:
            values[at : at + length] = min(bits.read(word), 255)
        else:
            values[at : at + length] = bits.words(length, word)
        at += length
    return values.reshape(height, width, 4)[..., 3] > 0


def mask_to_brush(mask: NDArray[np.bool_]) -> list[int]:
    """Encode a mask as Label Studio's brush; see ``brush_to_mask``.

    Args:
        mask: (H, W) bool.

    Returns:
        Bytes as numbers.

    Example:
        >>> mask = np.eye(3, dtype=bool)
        >>> bool((brush_to_mask(mask_to_brush(mask), (3, 3)) == mask).all())
        True
    """
    sizes = (3, 8, 12, 16)
    flat = mask.reshape(-1)
    borders = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    pieces = [f"{flat.size * 4:032b}", f"{7:05b}", *(f"{s - 1:04b}" for s in sizes)]
    starts = borders[:-1].tolist() if flat.size else []
    for start, length in zip(starts, (np.diff(borders) * 4).tolist(), strict=False):
        word = "11111111" if flat[start] else "00000000"
        while length:
            part = min(length, 1 << 16)
            which = next(i for i, s in enumerate(sizes) if part <= 1 << s)
            pieces.append(f"1{which:02b}{part - 1:0{sizes[which]}b}{word}")
            length -= part
    text = "".join(pieces)
    bits = np.frombuffer(text.encode("ascii"), np.uint8) - 48
    return np.packbits(bits).tolist()


class _Bits:
    """Reads numbers of any width from bytes, the highest bit first."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0

    def read(self, width: int) -> int:
        """One number of ``width`` bits."""
        start, end = self.at, self.at + width
        if end > 8 * len(self.data):
            raise TransectError(f"{self.where} is cut off. Export it again.")
        self.at = end
        piece = int.from_bytes(self.data[start >> 3 : (end + 7) >> 3], "big")
        return piece >> (-end % 8) & ((1 << width) - 1)

    def words(self, count: int, width: int) -> NDArray[np.uint8]:
        """``count`` numbers of ``width`` bits, cut to 255."""
        start, end = self.at, self.at + count * width
        if end > 8 * len(self.data):
            raise TransectError(f"{self.where} is cut off. Export it again.")
        self.at = end
        raw = np.frombuffer(self.data, np.uint8, (end + 7 >> 3) - (start >> 3), start >> 3)
        bits = np.unpackbits(raw)[start % 8 :][: count * width].reshape(count, width)
        return np.where(bits[:, :-8].any(axis=1), 255, np.packbits(bits[:, -8:], axis=1)[:, 0])
