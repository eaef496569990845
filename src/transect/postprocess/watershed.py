"""From a foreground map and a centre map to separate objects, whole or streamed by bands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.postprocess.components import label, remove_small_labels

__all__ = ["InstanceSplitter", "seeds", "split_instances", "split_instances_streamed"]


def seeds(
    centre_prob: NDArray[np.floating], *, seed_threshold: float, seed_depth: float
) -> NDArray[np.int32]:
    """Hills of the centre map that stand out from their surroundings, numbered from 1.

    Args:
        centre_prob: (H, W).
        seed_threshold: Hills whose top is at or below it are no seeds.
        seed_depth: How far one must descend from a top before a higher one can be reached
            (h-maxima); ripples on a large object are shallower than the pass between two objects,
            whatever their size.

    Returns:
        (H, W) int32.

    References:
        Grey-scale reconstruction: Vincent 1993.
    """
    hills = _Hills.of(centre_prob, seed_depth)
    keep = hills.height > seed_threshold
    number = np.cumsum(keep) * keep
    marks = np.zeros(centre_prob.shape, np.int32)
    marks[hills.y, hills.x] = number[hills.number]
    return marks


def split_instances(
    foreground_prob: NDArray[np.floating],
    centre_prob: NDArray[np.floating] | None = None,
    *,
    threshold: float = 0.5,
    seed_threshold: float = 0.5,
    seed_depth: float = 0.08,
    smooth_px: float = 1.5,
    min_area: int = 0,
) -> NDArray[np.int32]:
    """Split touching objects by a watershed of the centre map inside the foreground.

    A piece of foreground with one seed, or none, is one object and needs no watershed; only
    pieces with several seeds are flooded, which is what makes this fast.

    Args:
        foreground_prob: (H, W) in [0, 1].
        centre_prob: (H, W), high at the middle of objects; None takes the distance from the
            edge of the foreground, relative to its largest value within each piece.
        threshold: Foreground is above it.
        seed_threshold: Seeds are above it.
        seed_depth: Least depth of the pass between two seeds, see ``seeds``.
        smooth_px: Sigma of a Gaussian over the centre map before seeds are looked for.
        min_area: Smaller objects are removed.

    Returns:
        (H, W) int32 labels 1, 2, ..., 0 is background.

    Raises:
        TransectError: If the maps differ in shape.
    """
    return InstanceSplitter(foreground_prob, centre_prob, smooth_px=smooth_px)(
        threshold=threshold,
        seed_threshold=seed_threshold,
        seed_depth=seed_depth,
        min_area=min_area,
    )


class InstanceSplitter:
    """``split_instances`` of one picture again and again, for a search over its numbers.

    The blurred centre map is made once, the hills of a depth once per depth, and the latest
    pieces and objects are kept, so that a number which only chooses among them costs no more.
    """

    def __init__(
        self,
        foreground_prob: NDArray[np.floating],
        centre_prob: NDArray[np.floating] | None = None,
        *,
        smooth_px: float = 1.5,
    ) -> None:
        """Take the maps; arguments and errors as in ``split_instances``."""
        if centre_prob is not None and centre_prob.shape != foreground_prob.shape:
            raise TransectError(
                f"foreground and centre maps must have one shape; got {foreground_prob.shape} and "
                f"{centre_prob.shape}."
            )
        self._foreground = foreground_prob
        self._smooth_px = smooth_px
        self._level = None if centre_prob is None else _smoothed(centre_prob, smooth_px)
        self._hills: dict[float, _Hills] = {}
        self._pieces: tuple[float, NDArray[np.bool_], NDArray[np.int32]] | None = None
        self._labels: tuple[tuple[float, float, float], NDArray[np.int32]] | None = None

    def __call__(
        self, *, threshold: float, seed_threshold: float, seed_depth: float, min_area: int = 0
    ) -> NDArray[np.int32]:
        """Split: (H, W) int32 labels 1, 2, ..., 0 is background."""
        asked = (threshold, seed_threshold, seed_depth)
        if self._labels is None or self._labels[0] != asked:
            self._labels = asked, self._split(*asked)
        return remove_small_labels(self._labels[1], min_area)

    def _split(
        self, threshold: float, seed_threshold: float, seed_depth: float
    ) -> NDArray[np.int32]:
        """The objects of all sizes, numbered with gaps."""
        if self._pieces is None or self._pieces[0] != threshold:
            on = np.ascontiguousarray(self._foreground > threshold)
            self._pieces = threshold, on, label(on)
        _, on, pieces = self._pieces
        count = int(pieces.max(initial=0)) + 1
        level = self._level
        if level is None:
            level = _smoothed(_distance_level(on, pieces, count), self._smooth_px)
            hills = _Hills.of(level, seed_depth)
        else:
            if seed_depth not in self._hills:
                self._hills[seed_depth] = _Hills.of(level, seed_depth)
            hills = self._hills[seed_depth]
        y, x, number = hills.above(seed_threshold, on)
        home = pieces[y, x]
        # A plateau may touch two pieces: a seed is a pair of both.
        span = len(hills.height)
        pairs, place = np.unique(home.astype(np.int64) * span + number, return_inverse=True)
        many = np.bincount(pairs // span, minlength=count) > 1
        if not many.any():
            return pieces
        labels = np.where(many[pieces], 0, pieces).astype(np.int32)
        contested = many[home]
        marks = np.zeros_like(labels)
        marks[y[contested], x[contested]] = count + place[contested]
        _flood(labels, level, pieces, marks, many)
        return labels


@dataclass(frozen=True)
class _Hills:
    """The h-maxima of a map as a list of pixels.

    Attributes:
        y: (P,) rows, in reading order.
        x: (P,) columns.
        number: (P,) the hill of each pixel, from 1.
        height: (K + 1,) the top of each hill; of number 0, which is none, minus infinity.
    """

    y: NDArray[np.intp]
    x: NDArray[np.intp]
    number: NDArray[np.int32]
    height: NDArray[np.float32]

    @staticmethod
    def of(level: NDArray[np.floating], seed_depth: float) -> _Hills:
        """All hills that are at least so deep."""
        from skimage.morphology import local_maxima, reconstruction

        level = np.ascontiguousarray(level, np.float32)
        lowered = reconstruction(level - np.float32(seed_depth), level).astype(np.float32)
        # A frame below everything, so that a flat picture is one hill and hills may touch the
        # border.
        tops = local_maxima(np.pad(lowered, 1, constant_values=-1.0))[1:-1, 1:-1]
        count, labels = cv2.connectedComponents(tops.astype(np.uint8), connectivity=8)
        y, x = np.nonzero(tops)
        number = np.asarray(labels[y, x], np.int32)
        height = np.full(count, -np.inf, np.float32)
        height[number] = lowered[y, x] + seed_depth  # a hill's top is level
        return _Hills(y, x, number, height)

    def above(
        self, threshold: float, on: NDArray[np.bool_]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
        """Rows, columns and hills of the pixels of hills above a height, where ``on``."""
        keep = (self.height > threshold)[self.number] & on[self.y, self.x]
        return self.y[keep], self.x[keep], self.number[keep]


def _smoothed(level: NDArray[np.floating], smooth_px: float) -> NDArray[np.floating]:
    """A Gaussian blur, if any."""
    if smooth_px <= 0:
        return level
    return np.asarray(cv2.GaussianBlur(np.asarray(level, np.float32), (0, 0), smooth_px))


def split_instances_streamed(
    bands: Iterable[tuple[int, NDArray[np.floating]]],
    *,
    margin: int = 128,
    block: int = 1024,
    threshold: float = 0.5,
    seed_threshold: float = 0.5,
    seed_depth: float = 0.08,
    smooth_px: float = 1.5,
    min_area: int = 0,
    split: Callable[..., NDArray[np.int32]] = split_instances,
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """``split_instances`` of a map of any height in bounded memory.

    The map is split block by block, each with ``margin`` pixels of its neighbours; an object
    belongs to the block that holds its middle, so none is counted twice or cut. Objects larger
    than ``margin`` may be cut or broken at block borders.

    Args:
        bands: (first row, (T, rows, W)) from top to bottom without gaps; map 0 is foreground,
            map 1, if there, the centres.
        margin: Pixels seen beyond a block; at least the size of the largest object.
        block: Rows, and columns, of a block.
        threshold: As in ``split_instances``, with the following three.
        seed_threshold: As there.
        seed_depth: As there.
        smooth_px: As there.
        min_area: As there.
        split: What splits a block; for tests and for other methods.

    Yields:
        (first row, (rows, W) int32 labels), contiguous, labels unique over the whole map and
        below 2**31.
    """
    options = {
        "threshold": threshold,
        "seed_threshold": seed_threshold,
        "seed_depth": seed_depth,
        "smooth_px": smooth_px,
        "min_area": min_area,
    }
    given = 0
    canvas = np.empty((0, 0), np.int32)  # labels of the rows from max(0, start - margin) on
    maps: NDArray[np.floating] | None = None  # probabilities of the same rows
    start = 0  # first row of the block to come
    done = False
    source = iter(bands)
    end = 0  # rows received
    while True:
        while end < start + block + margin and not done:
            band = next(source, None)
            if band is None:
                done = True
                break
            row0, values = band
            if row0 != end:
                raise TransectError(f"bands must follow one another: row {end} was expected.")
            maps = values if maps is None else np.concatenate([maps, values], 1)
            end += values.shape[1]
        if maps is None:
            return
        top, core = max(0, start - margin), min(start + block, end)
        last = done and start + block >= end
        bottom = end if last else min(end, start + block + margin)
        canvas = _grown(canvas, bottom - top, maps.shape[2])
        labels = _split_wide(maps[:, : bottom - top], split, options, margin, block)
        given = _paint(canvas, labels, start - top, bottom - top if last else core - top, given)
        final = bottom if last else max(core - margin, top)
        if final > top:
            yield top, canvas[: final - top].copy()
        if last:
            return
        start = core
        canvas, maps = canvas[final - top :], maps[:, final - top :]


def _split_wide(
    maps: NDArray[np.floating],
    split: Callable[..., NDArray[np.int32]],
    options: Mapping[str, float],
    margin: int,
    block: int,
) -> NDArray[np.int32]:
    """Split (T, rows, W) by blocks of columns: an object belongs to that of its middle column."""
    width = maps.shape[2]
    labels = np.zeros(maps.shape[1:], np.int32)
    given = 0
    for start in range(0, width, block):
        left, right = max(0, start - margin), min(width, start + block + margin)
        window = maps[:, :, left:right]
        found = split(window[0], window[1] if len(maps) > 1 else None, **options)
        last = right - left if start + block >= width else start + block - left
        given = _paint(labels[:, left:right].T, found.T, start - left, last, given)
    return labels


def _paint(
    canvas: NDArray[np.int32], labels: NDArray[np.int32], first: int, last: int, given: int
) -> int:
    """Write the objects whose middle row is in [first, last); return the labels given so far."""
    rows, columns = np.nonzero(labels)
    if not rows.size:
        return given
    number = labels[rows, columns]
    count = int(number.max()) + 1
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(low, number, rows)
    np.maximum.at(high, number, rows)
    middle = np.where(high >= 0, (low + high) // 2, -1)
    owned = (middle >= first) & (middle < last)
    fresh = np.where(owned, given + np.cumsum(owned), 0).astype(np.int32)
    value = fresh[number]
    write = (value > 0) & (canvas[rows, columns] == 0)
    canvas[rows[write], columns[write]] = value[write]
    return given + int(owned.sum())


def _grown(canvas: NDArray[np.int32], rows: int, width: int) -> NDArray[np.int32]:
    """The canvas with empty rows below."""
    grown = np.zeros((rows, width), np.int32)
    if canvas.size:
        grown[: len(canvas)] = canvas[:rows]
    return grown


def _flood(
    labels: NDArray[np.int32],
    level: NDArray[np.floating],
    pieces: NDArray[np.int32],
    marks: NDArray[np.int32],
    many: NDArray[np.bool_],
) -> None:
    """Watershed of the pieces with several seeds, in place."""
    from skimage.segmentation import watershed

    contested = many[pieces]
    rows, columns = np.flatnonzero(contested.any(1)), np.flatnonzero(contested.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inside = contested[box]
    flooded = watershed(-np.asarray(level[box], np.float32), marks[box], mask=inside)
    labels[box][inside] = flooded[inside]


def _distance_level(
    on: NDArray[np.bool_], pieces: NDArray[np.int32], count: int
) -> NDArray[np.floating]:
    """Distance from the outside, smoothed a little, relative to the deepest point of the piece."""
    framed = np.pad(on.view(np.uint8), 1)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    depth = cv2.GaussianBlur(depth, (0, 0), 1.0) * on
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, pieces.ravel(), depth.ravel())
    return depth / np.maximum(deepest, 1e-6)[pieces]
