"""The pixels of many objects of one picture, all at once: runs along its rows.

One object at a time costs a dozen calls of numpy each, which is what a survey of 100,000 objects
waits for; here a picture costs as many as one object does in ``outlines.fill``, and gives the same
pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Instance, Part
from transect.data.outlines import box_ring, crossings
from transect.data.rle import MASK_LIMIT_PX, counts_of_borders
from transect.data.shapes import window_of
from transect.errors import TransectError

__all__ = ["Runs", "counts_for_all", "counts_of_labels", "paint", "runs_of"]

_Ints = NDArray[np.int64]
_CROSSINGS = 1 << 21  # of edges with rows that are sorted together
_CHUNK_PX = 1 << 22  # pixels that are listed one by one at a time


@dataclass(frozen=True, eq=False)
class Runs:
    """Which pixels each of some objects covers.

    Attributes:
        size_hw: (height, width) of the picture.
        objects: How many objects there are, also without a pixel.
        owner: (R,) the object of each run, ascending.
        begin: (R,) its first pixel, ``row * width + column``, ascending within an object.
        end: (R,) one past its last pixel. Runs of one object do not overlap.
    """

    size_hw: tuple[int, int]
    objects: int
    owner: _Ints
    begin: _Ints
    end: _Ints

    @property
    def areas(self) -> _Ints:
        """(objects,) pixels of each object."""
        length = self.end - self.begin
        return np.bincount(self.owner, length, minlength=self.objects).astype(np.int64)

    def pixels(self, order: _Ints | None = None) -> Iterator[tuple[_Ints, _Ints]]:
        """The pixels one by one, in portions.

        Args:
            order: (objects,) which object comes first, second, ...; None as they stand.

        Yields:
            (P,) the object of each pixel, and (P,) the pixel.
        """
        owner, begin, length = self.owner, self.begin, self.end - self.begin
        if order is not None:
            place = np.empty(self.objects, np.int64)
            place[order] = np.arange(self.objects)
            runs = np.argsort(place[owner], kind="stable")
            owner, begin, length = owner[runs], begin[runs], length[runs]
        until = np.cumsum(length)
        first = 0
        while first < len(owner):
            start = int(until[first] - length[first])
            last = max(int(np.searchsorted(until, start + _CHUNK_PX, "right")), first + 1)
            n = length[first:last]
            inside = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
            yield np.repeat(owner[first:last], n), np.repeat(begin[first:last], n) + inside
            first = last


def runs_of(instances: Sequence[Instance], size_hw: tuple[int, int]) -> Runs:
    """The pixels that objects cover: those whose centres an outline or box encloses, or a mask's.

    Args:
        instances: Of one picture; points and words have no pixels.
        size_hw: (height, width) of the picture.

    Returns:
        The runs; the same pixels as ``shapes.window_of`` gives for each.

    Raises:
        TransectError: As ``shapes.mask_of``.
    """
    if size_hw[0] * size_hw[1] > MASK_LIMIT_PX:
        raise TransectError(f"a mask of {size_hw[0]} x {size_hw[1]} pixels is too large. Cut it.")
    drawn: list[tuple[int, tuple[Part, ...]]] = []
    found = []
    for k, one in enumerate(instances):
        if one.counts is not None:
            found.append(_of_window(k, one, size_hw))
        elif one.parts or one.box is not None:
            drawn.append((k, one.parts or ((box_ring(*one.box),),)))  # type: ignore[misc]
    found += _of_outlines(drawn, size_hw)
    none = np.zeros(0, np.int64)
    owner, begin, end = (np.concatenate([none, *(f[i] for f in found)]) for i in range(3))
    order = np.lexsort((begin, owner))
    return Runs(size_hw, len(instances), *_joined(owner[order], begin[order], end[order], size_hw))


def paint(runs: Runs, numbers: Sequence[int]) -> tuple[NDArray[np.int32], _Ints]:
    """Numbers painted over one another, large objects first so that small ones end on top.

    Args:
        runs: The pixels of the objects.
        numbers: One per object.

    Returns:
        (H, W) int32, 0 where nothing is; and (objects,) how many pixels of each are not under an
        object that is painted later.
    """
    areas, n = runs.areas, runs.objects
    order = np.lexsort((np.arange(n), -areas))
    # The object on top, from 1.
    top = np.zeros(runs.size_hw, np.uint16 if n <= 65535 else np.int32)
    flat = top.reshape(-1)
    for owner, pixel in runs.pixels(order):
        flat[pixel] = owner + 1  # where a pixel is there twice, the last counts
    shown = np.zeros(n, np.int64)
    for owner, pixel in runs.pixels():
        shown += np.bincount(owner[flat[pixel] == owner + 1], minlength=n)
    if list(numbers) == list(range(1, n + 1)):
        return top.astype(np.int32), shown
    return np.array([0, *numbers], np.int32).take(top), shown


def counts_for_all(
    instances: Sequence[Instance], size_hw: tuple[int, int]
) -> list[tuple[int, ...]]:
    """The pixels that each object covers as COCO's counts; see ``shapes.counts_for``.

    Raises:
        TransectError: As ``runs_of``.
    """
    drawn = [k for k, one in enumerate(instances) if one.counts is None]
    runs = runs_of([instances[k] for k in drawn], size_hw)
    found = [one.counts or () for one in instances]
    height, width = size_hw
    borders: list[list[_Ints]] = [[] for _ in drawn]
    for owner, pixel in runs.pixels():
        row, column = np.divmod(pixel, width)
        keys = owner * (height * width) + column * height + row
        keys.sort()
        for k, begin, end in _by_owner(keys, height * width):
            borders[k].append(np.stack([begin, end], axis=1).reshape(-1))
    for k, some in zip(drawn, borders, strict=True):
        found[k] = _from_portions(some, height * width)
    return found


def counts_of_labels(labels: NDArray[np.integer]) -> list[tuple[int, tuple[int, ...]]]:
    """The objects of a label image as COCO's counts.

    Args:
        labels: (H, W); what is not above 0 is no object.

    Returns:
        Number and counts of each object, by number.
    """
    height, width = labels.shape
    down = np.ascontiguousarray(labels.T).reshape(-1)
    if down.size == 0:
        return []
    change = np.concatenate([[0], np.flatnonzero(down[1:] != down[:-1]) + 1])
    values, end = down[change], np.append(change[1:], down.size)
    kept = np.flatnonzero(values > 0)
    if not len(kept):
        return []
    kept = kept[np.argsort(values[kept], kind="stable")]
    values, begin, end = values[kept], change[kept], end[kept]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    runs = np.stack([begin, end], axis=1)
    return [
        (int(values[a]), tuple(counts_of_borders(runs[a:b].reshape(-1), height * width)))
        for a, b in zip(starts, [*starts[1:], len(values)], strict=True)
    ]


def _of_outlines(
    drawn: Sequence[tuple[int, tuple[Part, ...]]], size_hw: tuple[int, int]
) -> list[tuple[_Ints, _Ints, _Ints]]:
    """Runs of outlines, by the even-odd rule over the rings of each piece."""
    height, width = size_hw
    rings: list[NDArray[np.float64]] = []
    pieces: list[int] = []
    owners: list[int] = []
    for k, parts in drawn:
        for part in parts:
            rings += [ring for ring in part if len(ring)]
            pieces += [len(owners)] * sum(len(ring) > 0 for ring in part)
            owners.append(k)
    if not rings:
        return []
    start = np.concatenate(rings)
    lengths = np.array([len(ring) for ring in rings])
    after = np.arange(1, len(start) + 1)
    after[np.cumsum(lengths) - 1] = np.cumsum(lengths) - lengths
    spans = np.abs(start[:, 1] - start[after, 1])
    if len(drawn) > 1 and np.minimum(spans, height).sum() > _CROSSINGS:
        half = len(drawn) // 2
        return [*_of_outlines(drawn[:half], size_hw), *_of_outlines(drawn[half:], size_hw)]
    piece = np.repeat(pieces, lengths)
    keys = []
    for edge, row, column in crossings(start, start[after], size_hw):
        keys.append((piece[edge] * height + row) * (width + 1) + column)
    key = np.sort(np.concatenate(keys or [np.zeros(0, np.int64)]))
    line, column = np.divmod(key, width + 1)
    owner = np.array(owners)[line[::2] // height]
    begin = line[::2] % height * width + column[::2]
    return [(owner, begin, begin + column[1::2] - column[::2])]


def _of_window(k: int, one: Instance, size_hw: tuple[int, int]) -> tuple[_Ints, _Ints, _Ints]:
    """Runs of one object from its mask."""
    window, top, left = window_of(one, size_hw)
    framed = np.zeros((window.shape[0], window.shape[1] + 1), np.int8)
    framed[:, :-1] = window
    change = np.flatnonzero(np.diff(framed.reshape(-1), prepend=0))
    row, column = np.divmod(change, max(framed.shape[1], 1))
    place = (top + row) * size_hw[1] + left + column
    return np.full(len(change) // 2, k), place[::2], place[1::2]


def _joined(
    owner: _Ints, begin: _Ints, end: _Ints, size_hw: tuple[int, int]
) -> tuple[_Ints, _Ints, _Ints]:
    """Runs without those of no pixel, and those of one object that overlap as one."""
    some = end > begin
    owner, begin, end = owner[some], begin[some], end[some]
    if not len(owner):
        return owner, begin, end
    far = owner * (size_hw[0] * size_hw[1] + 1)  # so that objects lie behind one another
    reach = np.maximum.accumulate(far + end)
    fresh = np.append(True, far[1:] + begin[1:] >= reach[:-1])
    last = np.append(np.flatnonzero(fresh)[1:] - 1, len(owner) - 1)
    return owner[fresh], begin[fresh], (reach - far)[last]


def _by_owner(keys: _Ints, pixels: int) -> Iterator[tuple[int, _Ints, _Ints]]:
    """Sorted ``owner * pixels + place`` as owners with where their runs begin and end."""
    cut = np.flatnonzero(np.append(True, (np.diff(keys) > 1) | (keys[1:] % pixels == 0)))
    begin, end = keys[cut], np.append(keys[cut[1:] - 1], keys[-1]) + 1
    owner = begin // pixels
    starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    for a, b in zip(starts, [*starts[1:], len(owner)], strict=True):
        yield int(owner[a]), begin[a:b] - owner[a] * pixels, end[a:b] - owner[a] * pixels


def _from_portions(borders: Sequence[_Ints], pixels: int) -> tuple[int, ...]:
    """Counts from where runs begin and end, in portions that may interleave."""
    pairs = np.concatenate([*borders, np.zeros(0, np.int64)])
    if len(borders) > 1:
        pairs = pairs.reshape(-1, 2)[np.argsort(pairs[::2])].reshape(-1)
    return tuple(counts_of_borders(pairs, pixels))
