"""Run-length codes of masks: the competitions' text, COCO's counts and COCO's short string.

All of them walk the mask column by column, down and then right. The competitions write pairs
"start length" with pixels numbered from 1; COCO writes the lengths of background and foreground
in turn, beginning with background.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError

__all__ = [
    "MASK_LIMIT_PX",
    "code_of_counts",
    "compress_counts",
    "counts_of",
    "counts_of_borders",
    "counts_of_code",
    "counts_of_codes",
    "decode",
    "decode_many",
    "decompress_counts",
    "encode",
    "encode_many",
    "mask_of_counts",
    "window_of_counts",
]

MASK_LIMIT_PX = 400_000_000
"""Most pixels of one mask that a code may ask for (20,000 x 20,000)."""
_CHUNK_PX = 1 << 19  # pixels at a time: masks and their differences stay in a core's cache
_TABLE_PX = 1 << 20  # largest mask whose numbers are written with a table (8 MB)
_DIGITS = 10  # longest number that is read: more is beyond any mask


def encode(mask: NDArray[Any]) -> str:
    """Write one mask as the competitions do.

    Args:
        mask: (H, W) bool or integer; what is not 0 is foreground.

    Returns:
        "start length start length ..." over the columns, from 1; "" for an empty mask.

    Raises:
        TransectError: If it is not two-dimensional, or of fractions.

    Example:
        >>> encode(np.array([[0, 1, 1], [1, 1, 0]]))
        '2 4'
    """
    return encode_many(np.asarray(mask)[None])[0]


def encode_many(masks: NDArray[Any]) -> list[str]:
    """Write masks of one size as the competitions do; see ``encode``.

    Nothing is transposed: only where a mask changes is looked up, and those few places are
    sorted by column.

    Args:
        masks: (N, H, W) bool or integer; what is not 0 is foreground.

    Returns:
        One text per mask.

    Raises:
        TransectError: If they are not (N, H, W), or of fractions.

    Example:
        >>> encode_many(np.zeros((2, 3, 3), bool))
        ['', '']
    """
    masks = _checked(masks, 3)
    n, height, width = masks.shape
    size = height * width
    texts = [""] * n
    if size == 0:
        return texts
    step = max(1, _CHUNK_PX // size)
    for start in range(0, n, step):
        keys = _changes(masks[start : start + step])
        owners = keys[::2] // size
        begins = keys[::2] - owners * size
        # A run over the last pixel ends where the next mask begins; the lengths know no border.
        numbers = np.empty(len(keys), np.int64)
        numbers[::2] = begins + 1
        numbers[1::2] = keys[1::2] - keys[::2]
        _write_texts(numbers, owners, size, texts, start)
    return texts


def decode(text: str, size_hw: tuple[int, int], *, where: str = "the RLE") -> NDArray[np.bool_]:
    """Read one mask that was written as the competitions do.

    Args:
        text: Pairs "start length", ascending, not overlapping; "" for an empty mask.
        size_hw: (height, width) of the mask.
        where: Its place, for messages.

    Returns:
        (H, W) bool.

    Raises:
        TransectError: If the text is not such a code, or leaves the mask.

    Example:
        >>> decode("2 4", (2, 3)).astype(int)
        array([[0, 1, 1],
               [1, 1, 0]])
    """
    return decode_many([text], size_hw, names=[where])[0]


def decode_many(
    texts: Sequence[str], size_hw: tuple[int, int], *, names: Sequence[str] | None = None
) -> NDArray[np.bool_]:
    """Read masks of one size; see ``decode``.

    Args:
        texts: One per mask.
        size_hw: (height, width) of every mask.
        names: What each is called in messages.

    Returns:
        (N, H, W) bool.

    Raises:
        TransectError: If a text is not such a code, or leaves the mask; or one mask is larger
            than ``MASK_LIMIT_PX``. All texts are checked before the masks are allocated.
    """
    height, width = _checked_size(size_hw)
    size = height * width
    step = max(1, _CHUNK_PX // max(size, 1))
    portions = range(0, len(texts), step)
    runs = [_runs(texts[at : at + step], at, size, names) for at in portions]
    masks = np.zeros((len(texts), height, width), np.bool_)
    if size:
        for at, (begins, ends) in zip(portions, runs, strict=True):
            _paint(masks[at : at + step].view(np.uint8), begins, ends)
    return masks


def counts_of(
    mask: NDArray[Any], *, top: int = 0, left: int = 0, size_hw: tuple[int, int] | None = None
) -> list[int]:
    """COCO's uncompressed counts of a mask.

    Args:
        mask: (H, W) bool or integer: the whole picture, or a window of it.
        top: Row of the window in the picture.
        left: Column of the window in the picture.
        size_hw: (height, width) of the picture; None if the mask is the whole of it.

    Returns:
        Lengths of background, foreground, background ... over the columns; their sum is the
        picture's number of pixels.

    Raises:
        TransectError: If the window leaves the picture.

    Example:
        >>> counts_of(np.array([[0, 1, 1], [1, 1, 0]]))
        [1, 4, 1]
    """
    mask = _checked(mask, 2)
    height, width = size_hw if size_hw is not None else mask.shape
    if top < 0 or left < 0 or top + mask.shape[0] > height or left + mask.shape[1] > width:
        raise TransectError(
            f"a window of {mask.shape[0]} x {mask.shape[1]} pixels at row {top}, column {left} "
            f"leaves its picture of {height} x {width}. Correct its place."
        )
    if mask.size == 0:
        return [height * width]
    if mask.shape[0] < height:
        # A strip over the window's columns: runs of whole columns must join.
        strip = np.zeros((height, mask.shape[1]), np.bool_)
        strip[top : top + mask.shape[0]] = mask != 0
        mask = strip
    return counts_of_borders(_changes(mask[None]) + left * height, height * width)


def counts_of_code(text: str, size_hw: tuple[int, int], *, where: str = "the RLE") -> list[int]:
    """Turn a competition's code into COCO's counts without making the mask.

    Args:
        text: As ``decode`` takes it.
        size_hw: (height, width).
        where: Its place, for messages.

    Returns:
        The counts.

    Raises:
        TransectError: As ``decode``.

    Example:
        >>> counts_of_code("2 4", (2, 3))
        [1, 4, 1]
    """
    return counts_of_codes([text], size_hw, names=[where])[0]


def counts_of_codes(
    texts: Sequence[str], size_hw: tuple[int, int], *, names: Sequence[str] | None = None
) -> list[list[int]]:
    """As ``counts_of_code`` for many codes of one size.

    Args:
        texts: One per mask.
        size_hw: (height, width) of every mask.
        names: What each is called in messages.

    Returns:
        The counts of each.

    Raises:
        TransectError: As ``decode_many``.

    Example:
        >>> counts_of_codes(["2 4", ""], (2, 3))
        [[1, 4, 1], [6]]
    """
    height, width = _checked_size(size_hw)
    pixels = height * width
    begins, ends = _runs(texts, 0, pixels, names)
    places = np.searchsorted(begins, np.arange(len(texts) + 1) * pixels)
    pairs = np.stack([begins, ends], axis=1)
    return [
        counts_of_borders(pairs[a:b].reshape(-1) - k * pixels, pixels)
        for k, (a, b) in enumerate(itertools.pairwise(places.tolist()))
    ]


def code_of_counts(counts: Sequence[int] | NDArray[Any]) -> str:
    """Turn COCO's counts into a competition's code without making the mask.

    Args:
        counts: As from ``counts_of``.

    Returns:
        "start length start length ...", from 1.

    Example:
        >>> code_of_counts([1, 4, 1])
        '2 4'
    """
    lengths = _lengths(counts, "the mask")
    borders = np.cumsum(lengths)[: len(lengths) // 2 * 2].reshape(-1, 2)
    borders = borders[borders[:, 1] > borders[:, 0]]
    pairs = np.stack([borders[:, 0] + 1, borders[:, 1] - borders[:, 0]], axis=1)
    return " ".join(map(str, pairs.reshape(-1).tolist()))


def mask_of_counts(
    counts: Sequence[int] | NDArray[Any], size_hw: tuple[int, int], *, where: str = "the RLE"
) -> NDArray[np.bool_]:
    """Read COCO's uncompressed counts.

    Args:
        counts: Lengths of background, foreground, background ... over the columns.
        size_hw: (height, width).
        where: Its place, for messages.

    Returns:
        (H, W) bool.

    Raises:
        TransectError: If the counts are no lengths or do not add up to the mask.
    """
    begins, ends = _counted_runs(counts, size_hw, where)
    mask = np.zeros((1, *size_hw), np.bool_)
    if mask.size:
        _paint(mask.view(np.uint8), begins, ends)
    return mask[0]


def window_of_counts(
    counts: Sequence[int] | NDArray[Any], size_hw: tuple[int, int], *, where: str = "the RLE"
) -> tuple[NDArray[np.bool_], int, int]:
    """Read COCO's uncompressed counts as the smallest window that holds the foreground.

    Args:
        counts: As for ``mask_of_counts``.
        size_hw: (height, width) of the picture.
        where: Its place, for messages.

    Returns:
        (h, w) bool, and the window's first row and column; (0, 0) if nothing is foreground.

    Raises:
        TransectError: As ``mask_of_counts``.

    Example:
        >>> window_of_counts([5, 2, 13], (4, 5))
        (array([[ True],
               [ True]]), 1, 1)
    """
    begins, ends = _counted_runs(counts, size_hw, where)
    if len(begins) == 0:
        return np.zeros((0, 0), np.bool_), 0, 0
    height = size_hw[0]
    left, right = int(begins[0] // height), int((ends[-1] - 1) // height)
    begins, ends = begins - left * height, ends - left * height
    strip = np.zeros((right - left + 1, height), np.bool_)  # one row per column of the picture
    if len(begins) < 4 * height:
        flat = strip.reshape(-1)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            flat[begin:end] = True
    else:
        turned = np.zeros((1, height, right - left + 1), np.bool_)
        _paint(turned.view(np.uint8), begins, ends)
        strip = turned[0].T
    rows = np.flatnonzero(strip.any(axis=0))
    window = np.ascontiguousarray(strip[:, rows[0] : rows[-1] + 1].T)
    return window, int(rows[0]), left


def compress_counts(counts: Sequence[int] | NDArray[Any]) -> str:
    """Write counts as COCO's short string: differences to the count before last, 5 bits a letter.

    Args:
        counts: As from ``counts_of``.

    Returns:
        Printable ASCII.

    Example:
        >>> compress_counts([1, 4, 1])
        '141'
    """
    values = _lengths(counts, "the mask")
    values[3:] -= values[1:-2].copy()
    # Letters needed so that the sign survives: values in [-2^(5k-1), 2^(5k-1)) take k.
    magnitude = np.where(values < 0, ~values, values)
    letters = np.ones(len(values), np.int64)
    for k in range(1, 13):
        letters += magnitude >= 1 << (5 * k - 1)
    place = np.arange(letters.max(initial=1))
    used = place < letters[:, None]  # (count, letter)
    bits = (values[:, None] >> (5 * place)) & 31
    more = (place < letters[:, None] - 1) * 32
    return (bits + more + 48)[used].astype(np.uint8).tobytes().decode("ascii")


def decompress_counts(text: str | bytes, *, where: str = "the RLE") -> list[int]:
    """Read COCO's short string.

    Args:
        text: As from ``compress_counts`` or pycocotools.
        where: Its place, for messages.

    Returns:
        The counts.

    Raises:
        TransectError: If it is not such a string.

    Example:
        >>> decompress_counts("141")
        [1, 4, 1]
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    letters = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    if len(letters) == 0:
        return []
    if letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        raise TransectError(
            f"{where} is not COCO's compressed RLE (cut off, or letters beyond its alphabet). "
            "Export it again."
        )
    last = (letters & 32) == 0
    first = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    place = np.arange(len(letters)) - np.repeat(first, np.diff(np.append(first, len(letters))))
    if place.max() > 11:
        raise TransectError(f"{where} holds a number of more than 60 bits. Export it again.")
    values = np.add.reduceat((letters & 31) << (5 * place), first)
    top = letters[last]
    values -= np.where(top & 16, np.int64(1) << (5 * (place[last] + 1)), 0)
    if np.abs(values).max() > 2**40:
        raise TransectError(f"{where} holds a length beyond any mask. Export it again.")
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return _lengths(values, where).tolist()


def _checked(masks: NDArray[Any], dimensions: int) -> NDArray[Any]:
    """Masks as an array of bool or integers."""
    masks = np.asarray(masks)
    if masks.ndim != dimensions or masks.dtype.kind not in "bui":
        shape = "(N, H, W)" if dimensions == 3 else "(H, W)"
        raise TransectError(
            f"masks must be {shape} of bool or integers; got {masks.shape} of {masks.dtype}. "
            "Apply the threshold first and pass one channel."
        )
    return masks


def _checked_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """A size that may be allocated."""
    height, width = (int(v) for v in size_hw)
    if height < 0 or width < 0 or height * width > MASK_LIMIT_PX:
        raise TransectError(
            f"a mask of {height} x {width} pixels is outside 0 to {MASK_LIMIT_PX / 1e6:.0f} "
            "million. Correct its size (height first)."
        )
    return height, width


def _lengths(counts: Sequence[int] | NDArray[Any], where: str) -> NDArray[np.int64]:
    """Counts as numbers that can be lengths."""
    try:
        array = np.array(counts)
        good = array.ndim == 1 and (array.dtype.kind in "ui" or array.size == 0)
    except (ValueError, OverflowError):
        good = False
    if not good or (array.size and (array.min() < 0 or array.max() > 2**40)):
        raise TransectError(
            f"the counts of {where} must be whole numbers from 0 up. Export them again."
        )
    return array.astype(np.int64)


def counts_of_borders(borders: NDArray[np.int64], pixels: int) -> list[int]:
    """COCO's counts from where runs begin and end in turn, over a mask of so many pixels."""
    inner = borders[:-1] if len(borders) and borders[-1] == pixels else borders
    same = np.flatnonzero(inner[1:] == inner[:-1])  # runs that touch are one
    if len(same):
        inner = np.delete(inner, np.concatenate([same, same + 1]))
    return np.diff(inner, prepend=0, append=pixels).tolist()


def _counted_runs(
    counts: Sequence[int] | NDArray[Any], size_hw: tuple[int, int], where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Begins and ends of the foreground in counts, checked against the size."""
    height, width = _checked_size(size_hw)
    lengths = _lengths(counts, where)
    if int(lengths.sum()) != height * width:
        raise TransectError(
            f"the counts of {where} add up to {lengths.sum()} pixels, and the mask has {height} x "
            f"{width} = {height * width}. Correct the counts or the size (height first)."
        )
    borders = np.cumsum(lengths)
    begins, ends = borders[:-1:2], borders[1::2]
    filled = ends > begins
    return begins[filled], ends[filled]


def _changes(masks: NDArray[Any]) -> NDArray[np.int64]:
    """Where masks change along their columns: (2R,) ascending, mask * H * W + column * H + row.

    Even entries begin a run, odd entries end it (one past its last pixel).
    """
    n, height, width = masks.shape
    if masks.dtype != np.bool_:
        masks = masks != 0
    bits = np.ascontiguousarray(masks).view(np.uint8)
    changed = np.empty((n, height, width), np.uint8)
    np.bitwise_xor(bits[:, 1:], bits[:, :-1], out=changed[:, 1:])
    changed[:, 0, 0] = bits[:, 0, 0]
    np.bitwise_xor(bits[:, 0, 1:], bits[:, -1, :-1], out=changed[:, 0, 1:])
    places = _nonzero(changed.reshape(-1))
    pixels = height * width
    owners, inside = np.divmod(places, pixels)
    rows, columns = np.divmod(inside, width)
    keys = owners * pixels + columns * height + rows
    open_ended = np.flatnonzero(bits[:, -1, -1])
    keys = np.concatenate([keys, (open_ended + 1) * pixels])
    # Two equal keys are possible: a mask that ends filled and a next one that begins filled.
    keys.sort()
    return keys


def _nonzero(flat: NDArray[np.uint8]) -> NDArray[np.int64]:
    """``flatnonzero`` for bytes that are nearly all 0: eight at a glance."""
    whole = len(flat) // 8 * 8
    # numpy looks through booleans several times faster than through numbers.
    words = np.flatnonzero(flat[:whole].view(np.uint64) != 0)
    inside = np.flatnonzero(flat[:whole].reshape(-1, 8)[words].view(np.bool_))
    rest = np.flatnonzero(flat[whole:]) + whole
    return np.concatenate([words[inside >> 3] * 8 + (inside & 7), rest])


@functools.lru_cache(maxsize=4)
def _digit_table(limit: int) -> NDArray[np.bytes_]:
    """The text of 0 ... limit: first with a blank behind it, then with a line end."""
    text = np.arange(limit + 1).astype(f"S{len(str(limit)) + 1}")
    return np.concatenate([np.char.add(text, b" "), np.char.add(text, b"\n")]).astype("S8")


def _write_texts(
    numbers: NDArray[np.int64],
    owners: NDArray[np.int64],
    size: int,
    texts: list[str],
    start: int,
) -> None:
    """Put the text of the runs of some masks at its places in ``texts``."""
    if len(numbers) == 0:
        return
    last = np.flatnonzero(np.append(owners[1:] != owners[:-1], True))
    if size <= _TABLE_PX:
        table = _digit_table(size)
        numbers[2 * last + 1] += size + 1
        data = table.view(np.uint64)[numbers].tobytes().translate(None, b"\0")
        lines = data.decode("ascii").split("\n")
    else:
        parts = np.split(numbers, 2 * last + 2)
        lines = [" ".join(map(str, part.tolist())) for part in parts]
    for owner, line in zip(owners[last].tolist(), lines, strict=False):
        texts[start + owner] = line


def _runs(
    texts: Sequence[str], at: int, size: int, names: Sequence[str] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Begins and ends (from 0, mask after mask) of the runs of some texts, checked."""

    def refuse(index: int, what: str) -> TransectError:
        name = names[at + index] if names else f"mask {at + index}"
        return TransectError(
            f"{name} {what}. Write 'start length' pairs from 1, column by column, ascending."
        )

    try:
        data = np.frombuffer(("\n".join(texts) + "\n").encode("ascii"), np.uint8)
    except (UnicodeEncodeError, TypeError):
        bad = next(i for i, t in enumerate(texts) if not isinstance(t, str) or not t.isascii())
        raise refuse(bad, f"is not an RLE: {str(texts[bad])[:40]!r}") from None
    digit = (data >= 48) & (data <= 57)
    line_end = data == 10
    lines = np.cumsum(line_end)
    if lines[-1] != len(texts):
        bad = next(i for i, t in enumerate(texts) if "\n" in t)
        raise refuse(bad, "has a line break inside")
    strange = ~digit & ~line_end & (data != 32)
    if strange.any():
        place = int(np.argmax(strange))
        raise refuse(int(lines[place]), f"has the character {chr(data[place])!r}")
    edges = np.flatnonzero(np.diff(digit, prepend=False))
    first, after = edges[::2], edges[1::2]
    if len(first) and (after - first).max() > _DIGITS:
        raise refuse(int(lines[first[np.argmax(after - first)]]), "has a number beyond any mask")
    values = _parsed(data, first, after)
    owners = lines[first]
    per_text = np.bincount(owners, minlength=len(texts))
    if (per_text % 2).any():
        bad = int(np.argmax(per_text % 2))
        raise refuse(bad, f"has {per_text[bad]} numbers, and pairs are needed")
    starts, lengths, owners = values[::2], values[1::2], owners[::2]
    ends = starts - 1 + lengths
    wrong = (starts < 1) | (lengths < 1) | (ends > size)
    wrong[1:] |= (starts[1:] - 1 < ends[:-1]) & (owners[1:] == owners[:-1])
    if wrong.any():
        i = int(np.argmax(wrong))
        pair = f"{starts[i]} {lengths[i]}"
        if starts[i] < 1 or lengths[i] < 1:
            what = f"has the pair '{pair}', and both numbers start at 1"
        elif ends[i] > size:
            what = f"has the pair '{pair}', which leaves the {size} pixels of the mask"
        else:
            what = f"has the pair '{pair}', which begins before the last one ended"
        raise refuse(int(owners[i]), what)
    return owners * size + starts - 1, owners * size + ends


def _parsed(
    data: NDArray[np.uint8], first: NDArray[np.int64], after: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The numbers whose digits stand in data[first:after]."""
    values = np.zeros(len(first), np.int64)
    longest = int((after - first).max(initial=0))
    for k in range(longest):
        here = after - 1 - k
        inside = here >= first
        digits = data[np.maximum(here, 0)].astype(np.int64) - 48
        values += np.where(inside, digits, 0) * 10**k
    return values


def _paint(masks: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
    """Fill runs into zeroed masks (n, H, W), row by row over all masks at once.

    Every begin and end toggles a pixel, and each pixel becomes the parity of the toggles above
    it and in the columns to its left.
    """
    n, height, width = masks.shape
    pixels = height * width
    # Rows of all masks side by side: each step of the parity is one long, aligned operation.
    rows = masks.reshape(height, width) if n == 1 else np.zeros((height, n * width), np.uint8)
    for places, shift in ((begins, 0), (ends, 1)):
        # An end belongs to the mask of its last pixel; past the mask there is nothing to toggle.
        owners = (places - shift) // pixels
        inside = places - owners * pixels
        kept = inside < pixels
        column, row = np.divmod(inside[kept], height)
        rows.reshape(-1)[row * (n * width) + owners[kept] * width + column] ^= 1
    columns_odd = np.bitwise_xor.reduce(rows, axis=0).reshape(n, width)
    carried = np.bitwise_xor.accumulate(columns_odd, axis=1)
    rows[0].reshape(n, width)[:, 1:] ^= carried[:, :-1]
    for i in range(1, height):
        np.bitwise_xor(rows[i], rows[i - 1], out=rows[i])
    if n > 1:
        masks[:] = rows.reshape(height, n, width).transpose(1, 0, 2)
