"""What is measured on the maps of a picture: sums, peaks, and features of windows, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.count.detections import Detections
from transect.count.maps import CellMap, Drawn
from transect.count.windows import Windows, windows_for
from transect.postprocess.blobs import blobs
from transect.recipe import CountDecide

__all__ = ["PEAK_LEVELS", "Measured", "measure", "peak_numbers", "peaks"]

PEAK_LEVELS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Heights at which peaks are counted when the best one is looked for; our choice."""

_ROWS = 512  # cells at once
_SIGMAS = (1.0, 4.0, 4)  # sea lion 2nd place: least, most, number
_MARGIN = 40  # cells: four of the largest sigma, and the reach of two overlapping blobs


@dataclass(frozen=True)
class Measured:
    """Numbers of one picture.

    Attributes:
        sums: (C,) sum of each map over cells, or of its density.
        peaks: For each map (K, 3) row, column, height above the lowest of ``PEAK_LEVELS``.
        features: (windows, F, C) float32; no windows if they were not asked for.
        windows: Their grid, or None.
        together: (K, 4) row, column, height, map of the peaks of the sum of all maps: one dot
            per object, with the map that is highest there.
        cells: Number of cells of a map.
    """

    sums: NDArray[np.float64]
    peaks: tuple[NDArray[np.float64], ...]
    features: NDArray[np.float32]
    windows: Windows | None
    together: NDArray[np.float64]
    cells: int = 0


def measure(
    cells: Drawn,
    decide: CountDecide,
    *,
    radius: int,
    blur: float,
    classify: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> Measured:
    """Measure the maps of one picture in row blocks, so that its size does not matter.

    Boxes are peaks as they are: their scores are the heights, and the sums.

    Args:
        cells: The maps.
        decide: Windows, thresholds; features are skipped if regressors are not among its methods.
        radius: A peak is the highest within so many cells.
        blur: Sigma in cells of the smoothing before peaks are looked for.
        classify: From points (K, 2) x, y of the picture to class probabilities (K, C): a second
            look at every object. Its sums, and those above one half, become two more features.

    Returns:
        The numbers; blobs and peaks are those of the whole map, whatever the blocks.
    """
    if isinstance(cells, Detections):
        return _measured_boxes(cells)
    count, (height, width) = cells.drawn, cells.stored.shape[1:]
    wanted = "regressors" in decide.methods
    grid = windows_for((height, width), size=decide.window, stride=decide.stride)
    names = 1 + len(decide.pixel_thresholds) + 2 * len(decide.blob_thresholds)
    stride = decide.stride
    tally: NDArray[np.float64] = np.zeros((count, names, -(-height // stride), -(-width // stride)))
    sums = np.zeros(count)
    found: list[list[NDArray[np.float64]]] = [[] for _ in range(count + 1)]
    rows_at_once = max(stride, _ROWS // stride * stride)
    for top in range(0, height, rows_at_once):
        bottom = min(height, top + rows_at_once)
        first, last = max(0, top - _MARGIN), min(height, bottom + _MARGIN)
        every = cells.values(first, last)
        block, summed = every[:count], every[-count:]  # densities are added up where there are any
        inner = slice(top - first, bottom - first)
        for number in range(count):
            plane = block[number]
            sums[number] += summed[number][inner].sum(dtype=np.float64)
            own = peaks(plane, radius=radius, blur=blur, least=PEAK_LEVELS[0], first_row=first)
            found[number].append(own[(own[:, 0] >= top) & (own[:, 0] < bottom)])
            if wanted:
                _tally(tally[number], plane, first, top, bottom, decide)
        whole = block.sum(axis=0) if count > 1 else block[0]
        own = peaks(whole, radius=radius, blur=blur, least=PEAK_LEVELS[0], first_row=first)
        own = own[(own[:, 0] >= top) & (own[:, 0] < bottom)]
        at = own[:, :2].astype(int)
        kinds = _smooth_all(block, blur)[:, at[:, 0] - first, at[:, 1]].argmax(axis=0)
        found[count].append(np.column_stack([own, kinds]))
    joined = [np.concatenate(parts) for parts in found]
    features = np.zeros((0, names + 2 * (classify is not None), count), np.float32)
    if wanted and classify is not None:
        tally = np.concatenate(
            [tally, _second_look(cells, joined[-1], classify, tally.shape, stride)], axis=1
        )
    if wanted:
        features = np.stack([_windowed(part, grid) for part in tally], axis=2)
    return Measured(
        sums, tuple(joined[:-1]), features, grid if wanted else None, joined[-1], height * width
    )


def _measured_boxes(found: Detections) -> Measured:
    """The numbers of a picture that detectors looked at; a cell is a pixel."""
    together = found.peaks
    own = tuple(together[found.kinds == kind][:, :3] for kind in range(found.classes))
    return Measured(
        np.bincount(found.kinds, found.scores, minlength=found.classes).astype(np.float64),
        own,
        np.zeros((0, 0, found.classes), np.float32),
        None,
        together,
        found.size_hw[0] * found.size_hw[1],
    )


def peaks(
    plane: NDArray[np.float32], *, radius: int, blur: float, least: float, first_row: int = 0
) -> NDArray[np.float64]:
    """Local maxima of a map.

    Args:
        plane: (h, w).
        radius: A peak is the highest within so many cells (a disc).
        blur: Sigma of the smoothing before, in cells; 0 is none.
        least: Lowest height.
        first_row: Number of the plane's first row in the whole map.

    Returns:
        (K, 3) row (in the whole map), column, height.
    """
    smooth = _smooth(plane, blur)
    # Plateaus have one peak: a tilt that no real map has, the same whichever rows are seen.
    rows = (np.arange(plane.shape[0]) + first_row) % 61
    columns = np.arange(plane.shape[1]) % 67
    tilted = smooth + (rows[:, None] * 1.1e-7 + columns * 1.7e-9).astype(np.float64)
    side = 2 * radius + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    highest = cv2.dilate(tilted, disc, borderType=cv2.BORDER_REPLICATE)
    row, column = np.nonzero((tilted >= highest) & (smooth >= least))
    return np.column_stack([row + first_row, column, smooth[row, column]]).astype(np.float64)


def _smooth(plane: NDArray[np.float32], blur: float) -> NDArray[np.float64]:
    """Gaussian smoothing in float64, so that equal neighbourhoods give equal heights."""
    wide = plane.astype(np.float64)
    if blur <= 0:
        return wide
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), blur, borderType=cv2.BORDER_REFLECT))


def _smooth_all(block: NDArray[np.float32], blur: float) -> NDArray[np.float64]:
    """All maps smoothed: (C, h, w)."""
    return np.stack([_smooth(plane, blur) for plane in block])


def _tally(
    tally: NDArray[np.float64],
    plane: NDArray[np.float32],
    first: int,
    top: int,
    bottom: int,
    decide: CountDecide,
) -> None:
    """Add the rows [top, bottom) of a map to the sums of its squares of ``stride`` cells."""
    inner = plane[top - first : bottom - first]
    row = top // decide.stride
    parts = [inner, *(inner > level for level in decide.pixel_thresholds)]
    for number, part in enumerate(parts):
        squares = _square_sums(part, decide.stride)
        tally[number, row : row + len(squares)] = squares
    if not decide.blob_thresholds:
        return
    at = blobs(
        plane,
        min_sigma=_SIGMAS[0],
        max_sigma=_SIGMAS[1],
        num_sigma=int(_SIGMAS[2]),
        thresholds=decide.blob_thresholds,
    )
    for number, level in enumerate(sorted(decide.blob_thresholds)):
        place = at[float(level)][:, :2].astype(int)
        own = place[(place[:, 0] + first >= top) & (place[:, 0] + first < bottom)]
        i, j = (own[:, 0] + first) // decide.stride, own[:, 1] // decide.stride
        where = len(parts) + 2 * number
        np.add.at(tally[where], (i, j), 1)
        np.add.at(tally[where + 1], (i, j), plane[own[:, 0], own[:, 1]])


def _second_look(
    cells: CellMap,
    found: NDArray[np.float64],
    classify: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    shape: tuple[int, ...],
    stride: int,
) -> NDArray[np.float64]:
    """Sums over squares of class probabilities of objects, and of those above one half."""
    tally = np.zeros((shape[0], 2, *shape[2:]))
    if not len(found):
        return tally
    said = classify(cells.to_pixels(found[:, :2]))
    i, j = (found[:, :2].astype(int) // stride).T
    for number in range(shape[0]):
        own = said[:, number] if shape[0] > 1 else said.sum(axis=1)
        np.add.at(tally[number, 0], (i, j), own)
        np.add.at(tally[number, 1], (i, j), np.where(own > 0.5, own, 0.0))
    return tally


def _square_sums(part: NDArray[np.generic], stride: int) -> NDArray[np.float64]:
    """Sums over squares of ``stride`` cells; the last ones may be smaller."""
    height, width = part.shape
    rows = np.add.reduceat(part, np.arange(0, height, stride), axis=0, dtype=np.float64)
    return np.asarray(np.add.reduceat(rows, np.arange(0, width, stride), axis=1))


def _windowed(tally: NDArray[np.float64], grid: Windows) -> NDArray[np.float32]:
    """Windows as sums of the squares that make them up: (windows, F)."""
    ratio = grid.size // grid.stride
    padded = np.pad(tally, ((0, 0), (ratio - 1, ratio - 1), (ratio - 1, ratio - 1)))
    rows, columns = len(grid.tops), len(grid.lefts)
    total = np.zeros((tally.shape[0], rows, columns))
    for a in range(ratio):
        for b in range(ratio):
            total += padded[:, a : a + rows, b : b + columns]
    return total.reshape(tally.shape[0], -1).T.astype(np.float32)


def peak_numbers(found: NDArray[np.float64], levels: Sequence[float]) -> NDArray[np.float64]:
    """How many peaks are at least as high as each level."""
    return np.array([(found[:, 2] >= level).sum() for level in levels], np.float64)
