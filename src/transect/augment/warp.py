"""One sampling grid per sample: all geometry is composed first and the picture is read once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.augment.draws import Draws
from transect.augment.fields import nodes, piecewise_affine, spread, unfolded
from transect.augment.pixels import Pixels, by_fours
from transect.recipe import Augment

__all__ = ["Warp", "draw_warp"]

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

_BORDERS = {
    "reflect": cv2.BORDER_REFLECT_101,
    "edge": cv2.BORDER_REPLICATE,
    "zero": cv2.BORDER_CONSTANT,
}
_GRID_CELLS = 5
_MESH = 4  # nodes each way of a piecewise affine map, as imgaug has them


@dataclass(frozen=True)
class Warp:
    """Where every output pixel is read: ``source = matrix @ (pixel + field[pixel])``.

    Attributes:
        matrix: (3, 3) from output to source pixels, in homogeneous x, y, 1.
        field: (2, H, W) displacement dx, dy in output pixels, or None.
        out_hw: (height, width) of the output.
        source_hw: (height, width) of the picture.
        border: reflect, edge or zero: what lies outside the picture.
    """

    matrix: Matrix
    field: Floats | None
    out_hw: tuple[int, int]
    source_hw: tuple[int, int]
    border: str

    def image(self, array: Pixels) -> Pixels:
        """Warp an (H, W, C) picture or planes linearly; the dtype stays.

        Copies without interpolation when the map is flips, quarter turns and whole-pixel shifts.
        """
        if self._exact:
            return self.nearest(array)
        reduced = self._reduction
        top, left, bottom, right = self._region
        source = array[top:bottom, left:right]
        if source.dtype not in (np.uint8, np.uint16, np.float32):
            source = source.astype(np.float32)
        if reduced != (1, 1):
            height, width = source.shape[0] // reduced[0], source.shape[1] // reduced[1]
            source = source[: height * reduced[0], : width * reduced[1]]
            source = by_fours(
                source,
                lambda a: cv2.resize(a, (width, height), interpolation=cv2.INTER_AREA),
            )
        warped = self._read(source, self._local(reduced), cv2.INTER_LINEAR)
        if warped.dtype == array.dtype:
            return warped
        if array.dtype.kind in "ui":
            warped = np.rint(warped)
        return warped > 0.5 if array.dtype.kind == "b" else warped.astype(array.dtype)

    def nearest(self, array: Pixels) -> Pixels:
        """Warp an (H, W) or (H, W, C) array of labels: every value is one of the source's."""
        top, left, bottom, right = self._region
        source = array[top:bottom, left:right]
        bytes_each = array.dtype.itemsize
        if array.dtype in (np.uint8, np.uint16, np.int16, np.float32):
            return self._read(source, self._local((1, 1)), cv2.INTER_NEAREST)
        # OpenCV need not know the type: the bytes of a value travel as channels.
        split = np.ascontiguousarray(source).view(np.uint8)
        split = split.reshape(*source.shape[:2], -1)
        moved = self._read(split, self._local((1, 1)), cv2.INTER_NEAREST)
        moved = np.ascontiguousarray(moved).reshape(*self.out_hw, -1, bytes_each)
        whole = moved.view(array.dtype)[..., 0]
        return whole if array.ndim == 3 else whole[..., 0]

    def points(self, points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Move points from the source to the output.

        Args:
            points: (K, 2) x, y in source pixels.

        Returns:
            (K, 2) x, y in output pixels, and (K,) whether each lies in the output.
        """
        inverse = np.asarray(np.linalg.inv(self.matrix), np.float64)
        moved = _mapped(inverse, points.astype(np.float64))
        if self.field is not None:
            aim, moved = moved, moved.copy()
            for _ in range(60):  # contracts by STEEPEST each time: 1e-3 px after about 25
                step = aim - _bilinear(self.field, moved)
                still = np.abs(step - moved).max(initial=0.0) < 1e-3
                moved = step
                if still:
                    break
        x, y = moved[:, 0], moved[:, 1]
        height, width = self.out_hw
        inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
        return moved.astype(np.float32), inside

    def boxes(self, boxes: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Move boxes: the upright box around the moved outline, clipped to the output.

        Args:
            boxes: (K, 4) x0, y0, x1, y1 in source pixels.

        Returns:
            (K, 4) in output pixels, and (K,) whether anything of each is left.
        """
        share = np.array([0.0, 0.5, 1.0])
        across, down = (a.ravel() for a in np.meshgrid(share, share))
        x = boxes[:, 0:1] + (boxes[:, 2:3] - boxes[:, 0:1]) * across  # (K, 9)
        y = boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * down
        moved, _ = self.points(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32))
        places = moved.reshape(-1, 9, 2)
        low, high = places.min(axis=1), places.max(axis=1)
        limit = np.array([self.out_hw[1], self.out_hw[0]], np.float32) - np.float32(0.5)
        low, high = np.clip(low, -0.5, limit), np.clip(high, -0.5, limit)
        return np.concatenate([low, high], axis=1), (high > low).all(axis=1)

    @cached_property
    def _exact(self) -> bool:
        """Whether the map only permutes pixels: flips, quarter turns, whole-pixel shifts."""
        if self.field is not None or _bent(self.matrix):
            return False
        (a, b, tx), (c, d, ty), _ = self.matrix.tolist()
        straight = abs(abs(a) - 1) + abs(b) + abs(c) + abs(abs(d) - 1) < 1e-6
        turned = abs(a) + abs(abs(b) - 1) + abs(abs(c) - 1) + abs(d) < 1e-6
        return (straight or turned) and abs(tx - round(tx)) + abs(ty - round(ty)) < 1e-6

    @cached_property
    def _maps(self) -> tuple[Floats, Floats]:
        """Source x and y of every output pixel; only for warps with a field."""
        assert self.field is not None
        height, width = self.out_hw
        x = self.field[0] + np.arange(width, dtype=np.float32)
        y = self.field[1] + np.arange(height, dtype=np.float32)[:, None]
        (a, b, tx), (c, d, ty), (e, f, one) = self.matrix.tolist()  # Python's floats keep float32
        source_x = a * x + (b * y + tx)
        source_y = c * x + (d * y + ty)
        if _bent(self.matrix):
            below = e * x + (f * y + one)
            source_x, source_y = source_x / below, source_y / below
        return source_x, source_y

    @cached_property
    def _region(self) -> tuple[int, int, int, int]:
        """Top, left, bottom, right of the part of the picture that is read."""
        if self.field is not None:
            x, y = self._maps
            spans = (float(y.min()), float(y.max())), (float(x.min()), float(x.max()))
        else:
            right, bottom = self.out_hw[1] - 1.0, self.out_hw[0] - 1.0
            corners = (0.0, 0.0), (right, 0.0), (0.0, bottom), (right, bottom)
            (a, b, tx), (c, d, ty), (e, f, one) = self.matrix.tolist()
            below = [e * u + f * v + one for u, v in corners]
            x_ = [(a * u + b * v + tx) / w for (u, v), w in zip(corners, below, strict=True)]
            y_ = [(c * u + d * v + ty) / w for (u, v), w in zip(corners, below, strict=True)]
            spans = (min(y_), max(y_)), (min(x_), max(x_))
        (top, bottom_), (left, right_) = (
            _needed(low, high, side)
            for (low, high), side in zip(spans, self.source_hw, strict=True)
        )
        return top, left, bottom_, right_

    @cached_property
    def _reduction(self) -> tuple[int, int]:
        """Whole factors by which the picture is averaged first, lest shrinking alias."""
        (a, b, _), (c, d, _), _ = self.matrix.tolist()
        down, across = math.hypot(c, d), math.hypot(a, b)
        if max(down, across) < 2 - 1e-6:
            return 1, 1
        top, left, bottom, right = self._region
        return (
            max(1, min(int(down + 1e-6), (bottom - top) // 2)),
            max(1, min(int(across + 1e-6), (right - left) // 2)),
        )

    def _local(self, reduced: tuple[int, int]) -> Matrix:
        """From source pixels to pixels of the cut and reduced region."""
        top, left, _, _ = self._region
        fy, fx = reduced
        return np.array(
            [[1 / fx, 0, (0.5 - left) / fx - 0.5], [0, 1 / fy, (0.5 - top) / fy - 0.5], [0, 0, 1]]
        )

    def _read(self, source: Pixels, local: Matrix, interpolation: int) -> Pixels:
        """Sample a region with OpenCV; ``local`` leads from source pixels into the region."""
        size = self.out_hw[1], self.out_hw[0]
        border = _BORDERS[self.border]
        if self.field is not None:
            x, y = self._maps
            if local[0, 0] != 1 or local[0, 2]:
                x = (x * local[0, 0] + local[0, 2]).astype(np.float32)
            if local[1, 1] != 1 or local[1, 2]:
                y = (y * local[1, 1] + local[1, 2]).astype(np.float32)
            return by_fours(source, lambda a: cv2.remap(a, x, y, interpolation, borderMode=border))
        matrix = local @ self.matrix
        if interpolation == cv2.INTER_NEAREST and self._exact:
            matrix = np.rint(matrix)
        flags = interpolation | cv2.WARP_INVERSE_MAP
        if _bent(matrix):
            return by_fours(
                source,
                lambda a: cv2.warpPerspective(a, matrix, size, flags=flags, borderMode=border),
            )
        affine = matrix[:2]
        return by_fours(
            source, lambda a: cv2.warpAffine(a, affine, size, flags=flags, borderMode=border)
        )


def draw_warp(
    spec: Augment,
    draws: Draws,
    *,
    out_hw: tuple[int, int],
    source_hw: tuple[int, int],
    window: tuple[float, float, float, float] | None = None,
) -> Warp:
    """Draw all geometry of one sample and compose it.

    The changes are made in the frame of the output, about its middle, so a turn stays a turn
    when the window has other proportions than the output.

    Args:
        spec: The augmentation, with only what may be applied.
        draws: Random numbers.
        out_hw: (height, width) of the output in pixels.
        source_hw: (height, width) of the picture.
        window: (top, left, height, width) in source pixels that fills the output when nothing is
            changed; None is the whole picture.

    Returns:
        The warp.
    """
    height, width = out_hw
    top, left, tall, wide = window or (0.0, 0.0, float(source_hw[0]), float(source_hw[1]))
    down, across = tall / height, wide / width
    base = np.array(
        [
            [across, 0, left + 0.5 * across - 0.5],
            [0, down, top + 0.5 * down - 0.5],
            [0, 0, 1],
        ]
    )
    matrix = base @ _drawn_matrix(spec, draws, height, width)
    field = _drawn_field(spec, draws, height, width)
    return Warp(matrix, field, out_hw, source_hw, spec.border)


def _drawn_matrix(spec: Augment, draws: Draws, height: int, width: int) -> Matrix:
    """From output pixels to pixels of the unchanged window: flips, turns, affine, perspective."""
    a, b, c, d = 1.0, 0.0, 0.0, 1.0  # the linear part, about the middle
    tx = ty = 0.0
    if draws.chance(spec.hflip):
        a = -1.0
    if draws.chance(spec.vflip):
        d = -1.0
    if draws.chance(spec.rot90):
        for _ in range(1 + int(draws.unit() * 3)):
            a, b, c, d = -b, a, -d, c
        if b and (height - width) % 2:  # turn about a whole pixel, so that it stays a copy
            tx = ty = 0.5
    if spec.crop and draws.chance(spec.crop_p):
        x0, x1, y0, y1 = (draws.between(0, spec.crop) for _ in range(4))
        tx += a * (x0 - x1) / 2 * width + b * (y0 - y1) / 2 * height
        ty += c * (x0 - x1) / 2 * width + d * (y0 - y1) / 2 * height
        keep_x, keep_y = 1 - x0 - x1, 1 - y0 - y1
        a, b, c, d = a * keep_x, b * keep_y, c * keep_x, d * keep_y
    moves = spec.shift or spec.scale != (1.0, 1.0) or spec.aspect or spec.shear
    affine = bool(moves) and draws.chance(spec.affine_p)
    turn = spec.rotate and draws.chance(spec.rotate_p)
    if affine:
        zoom = draws.between(*spec.scale)
        stretch = 1.0 + draws.around(spec.aspect)
        lean = draws.around(spec.shear)
        # inverse of: zoom, then x += lean * y
        a, b = a / (zoom * stretch), b / zoom - a * lean / (zoom * stretch)
        c, d = c / (zoom * stretch), d / zoom - c * lean / (zoom * stretch)
    if turn:
        angle = math.radians(draws.around(spec.rotate))
        cos, sin = math.cos(angle), math.sin(angle)
        a, b, c, d = a * cos - b * sin, a * sin + b * cos, c * cos - d * sin, c * sin + d * cos
    mx, my = (width - 1) / 2, (height - 1) / 2
    shift_x = draws.around(spec.shift) * width if affine else 0.0
    shift_y = draws.around(spec.shift) * height if affine else 0.0
    from_x, from_y = mx + shift_x, my + shift_y
    matrix = np.array(
        [
            [a, b, mx + tx - a * from_x - b * from_y],
            [c, d, my + ty - c * from_x - d * from_y],
            [0.0, 0.0, 1.0],
        ]
    )
    if spec.perspective and draws.chance(spec.perspective_p):
        matrix = matrix @ _inset(spec.perspective, draws, width - 1.0, height - 1.0)
    return matrix


def _inset(share: float, draws: Draws, right: float, bottom: float) -> Matrix:
    """The perspective that fills the output with a quadrangle whose corners lie further in."""
    dx = [draws.between(0, share) * right for _ in range(4)]
    dy = [draws.between(0, share) * bottom for _ in range(4)]
    corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float32)
    inside = np.array(
        [
            [dx[0], dy[0]],
            [right - dx[1], dy[1]],
            [right - dx[2], bottom - dy[2]],
            [dx[3], bottom - dy[3]],
        ],
        np.float32,
    )
    return np.asarray(cv2.getPerspectiveTransform(corners, inside), np.float64)


def _drawn_field(spec: Augment, draws: Draws, height: int, width: int) -> Floats | None:
    """The sum of the elastic, grid, barrel and piecewise displacements, (2, H, W), or None."""
    field: Floats | None = None
    if spec.elastic and draws.chance(spec.elastic_p):
        # Nodes this far apart, joined smoothly, vary as noise blurred by the sigma does.
        step = max(2, round(2 * spec.elastic_sigma))
        field = _spread_noise(draws, step, height, width, spec.elastic, smooth=True)
    if spec.grid and draws.chance(spec.grid_p):
        step = max(2, math.ceil(max(height, width) / _GRID_CELLS))
        bent = _spread_noise(draws, step, height, width, spec.grid * step, smooth=False)
        field = bent if field is None else field + bent
    if spec.barrel and draws.chance(spec.barrel_p):
        strength = draws.around(spec.barrel)
        x = np.arange(width, dtype=np.float32) - (width - 1) / 2
        y = (np.arange(height, dtype=np.float32) - (height - 1) / 2)[:, None]
        growth = np.float32(4 * strength / (height**2 + width**2)) * (x * x + y * y)
        bent = np.stack([growth * x, growth * y])
        field = bent if field is None else field + bent
    if spec.piecewise and draws.chance(spec.piecewise_p):
        largest = np.array([width, height], np.float32)[:, None, None] * np.float32(spec.piecewise)
        noise = draws.rng.standard_normal((2, _MESH, _MESH), dtype=np.float32) * largest
        bent = piecewise_affine(noise, (height, width))
        field = bent if field is None else field + bent
    return None if field is None else unfolded(field)


def _spread_noise(
    draws: Draws, step: int, height: int, width: int, largest: float, *, smooth: bool
) -> Floats:
    """(2, H, W) from numbers in [-largest, largest] at nodes ``step`` pixels apart."""
    noise = draws.rng.random((2, nodes(height, step), nodes(width, step)), dtype=np.float32)
    noise = (2 * noise - 1) * np.float32(largest)
    field = spread(height, step, smooth) @ noise @ spread(width, step, smooth).T
    return np.asarray(field, np.float32)


def _bent(matrix: Matrix) -> bool:
    """Whether a map is a true perspective."""
    return bool(abs(matrix[2, 0]) > 1e-12 or abs(matrix[2, 1]) > 1e-12)


def _mapped(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply a homogeneous matrix to (K, 2) points."""
    moved = points @ matrix[:2, :2].T + matrix[:2, 2]
    if _bent(matrix):
        moved = moved / (points @ matrix[2, :2] + matrix[2, 2])[:, None]
    return moved


def _bilinear(field: Floats, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The field at (K, 2) places x, y; beyond its edge it stays constant."""
    height, width = field.shape[1:]
    x, y = np.clip(places[:, 0], 0, width - 1), np.clip(places[:, 1], 0, height - 1)
    x0 = np.minimum(x.astype(np.intp), max(width - 2, 0))
    y0 = np.minimum(y.astype(np.intp), max(height - 2, 0))
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    across, down = x - x0, y - y0
    upper = field[:, y0, x0] * (1 - across) + field[:, y0, x1] * across
    lower = field[:, y1, x0] * (1 - across) + field[:, y1, x1] * across
    return np.asarray(upper * (1 - down) + lower * down).T


def _needed(low: float, high: float, side: int) -> tuple[int, int]:
    """Begin and end of the pixels that are read between two places along one axis.

    What reaches over an edge is mirrored back, so as much is needed inside that edge.
    """
    first, last = math.floor(low) - 2, math.ceil(high) + 3
    begin, end = max(first, 0), min(last, side)
    if first < 0:
        end = max(end, min(side, 1 - first))
    if last > side:
        begin = min(begin, max(0, 2 * side - last - 1))
    if begin >= end:  # wholly outside
        begin, end = (0, 1) if last <= 0 else (side - 1, side)
    return begin, end
