"""Pictures for people: outlines, dots, matches and sheets, drawn over what the camera saw.

The colours are those of Okabe and Ito (2008), which people of any colour vision tell apart; every
line and dot has a dark rim, so that it is seen on bright ground, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "INVENTED",
    "MISSED",
    "PREDICTED",
    "RIGHT",
    "TRUTH",
    "boundaries",
    "contact_sheet",
    "difference",
    "dots",
    "framed",
    "heat",
    "matches",
    "overlay",
    "shown",
    "side_by_side",
]

TRUTH = (86, 180, 233)  # sky blue
PREDICTED = (230, 159, 0)  # orange
RIGHT = (86, 180, 233)  # sky blue
MISSED = (240, 228, 66)  # yellow
INVENTED = (213, 94, 0)  # vermilion
_RIM = (18, 22, 28)
_FILL = 0.22  # strength of a fill: what lies below is still seen where two of them meet
_LEAST_PX = 320  # smaller pictures are enlarged before lines are drawn over them


def shown(image: NDArray[Any], *, stretch: bool | None = None) -> NDArray[np.uint8]:
    """Make any picture viewable.

    Args:
        image: (H, W) or (H, W, C) of any type; of more than three channels the first three are
            taken, two are grey with alpha, alpha is left out.
        stretch: Spread the 1-99 % range over 0-255; None does so for all but 8 bits, and for
            8 bits so dark that nearly nothing would be seen.

    Returns:
        (H, W, 3) uint8.
    """
    array = image[..., None] if image.ndim == 2 else image
    colours = array[..., :3] if array.shape[2] >= 3 else array[..., :1]
    step = max(1, int(math.sqrt(colours.size / 1e6)))  # a million samples tell the range
    if stretch is None:
        stretch = colours.dtype != np.uint8 or np.quantile(colours[::step, ::step], 0.995) < 100
    if stretch:
        values = colours.astype(np.float32)
        sample = values[::step, ::step]
        sample = sample[np.isfinite(sample)]
        low, high = np.percentile(sample, [1, 99.5]) if sample.size else (0.0, 1.0)
        scaled = (np.nan_to_num(values, nan=low) - low) / max(float(high - low), 1e-12) * 255
        colours = np.clip(scaled, 0, 255).astype(np.uint8)
    elif colours.dtype != np.uint8:
        colours = np.clip(colours, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))


def boundaries(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels of objects that touch another label; the picture's border does not count.

    Args:
        labels: (H, W) integers or bool, 0 is background.

    Example:
        >>> boundaries(np.array([[1, 1, 2, 0]]))
        array([[False,  True,  True, False]])
    """
    edge = np.zeros(labels.shape, bool)
    down, across = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return edge & (labels != 0)


def overlay(
    image: NDArray[Any],
    truth: NDArray[Any] | None = None,
    predicted: NDArray[Any] | None = None,
    *,
    least_px: int = _LEAST_PX,
) -> NDArray[np.uint8]:
    """Draw true objects in sky blue and predicted ones in orange: thin fills with outlines.

    Args:
        image: (H, W, C) as read.
        truth: (H, W) labels or mask, or None.
        predicted: (H, W) labels or mask, or None.
        least_px: Smaller pictures are enlarged to this longer side, so that lines stay thin.

    Returns:
        (h, w, 3) uint8.
    """
    import cv2

    factor = _factor(image.shape, least_px)
    result = _enlarged(shown(image), factor)
    # The true line lies inside the objects, the predicted one outside: both are seen where they
    # agree. A picture is looked at at a third of its size, so lines widen with it.
    width = max(2, round(max(result.shape[:2]) / 280))
    for labels, colour in ((truth, TRUTH), (predicted, PREDICTED)):
        if labels is not None:
            inside = _enlarged_labels(np.asarray(labels) != 0, factor)
            result[inside] = (result[inside] * (1 - _FILL) + np.array(colour) * _FILL).astype(
                np.uint8
            )
    true = None if truth is None else _line(truth, factor, width, outside=False)
    guess = None if predicted is None else _line(predicted, factor, width, outside=True)
    lines = [line for line in (true, guess) if line is not None]
    if not lines:
        return result
    every = np.logical_or.reduce(lines)
    rim = (cv2.dilate(every.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~every
    result[rim] = (result[rim] * 0.5 + np.array(_RIM) * 0.5).astype(np.uint8)
    for line, colour in ((true, TRUTH), (guess, PREDICTED)):
        if line is not None:
            result[line] = colour
    return result


def difference(
    image: NDArray[Any],
    truth: NDArray[Any],
    predicted: NDArray[Any],
    *,
    least_px: int = _LEAST_PX,
) -> NDArray[np.uint8]:
    """Tint pixels: found (sky blue), missed (yellow), invented (vermilion).

    Args:
        image: (H, W, C) as read.
        truth: (H, W) labels or mask.
        predicted: (H, W) labels or mask.
        least_px: As in ``overlay``.

    Returns:
        (h, w, 3) uint8.
    """
    factor = _factor(image.shape, least_px)
    result = _enlarged(shown(image), factor).astype(np.float32)
    t, p = _enlarged_labels(truth != 0, factor), _enlarged_labels(predicted != 0, factor)
    for where, colour, strength in (
        (t & p, RIGHT, 0.3),
        (t & ~p, MISSED, 0.6),
        (p & ~t, INVENTED, 0.6),
    ):
        result[where] += strength * (np.array(colour, np.float32) - result[where])
    return result.astype(np.uint8)


def dots(
    image: NDArray[Any],
    *,
    right: ArrayLike = (),
    missed: ArrayLike = (),
    invented: ArrayLike = (),
    least_px: int = _LEAST_PX,
    radius_px: float | None = None,
) -> NDArray[np.uint8]:
    """Mark points: found (blue disc), missed (yellow ring), invented (vermilion cross).

    Args:
        image: (H, W, C) as read.
        right: (K, 2) x, y of predicted points that are objects.
        missed: (K, 2) x, y of objects without a predicted point.
        invented: (K, 2) x, y of predicted points without an object.
        least_px: As in ``overlay``.
        radius_px: Of the marks in the picture given back; None suits its size.

    Returns:
        (h, w, 3) uint8.
    """
    import cv2

    factor = _factor(image.shape, least_px)
    result = _enlarged(shown(image), factor)
    radius = radius_px or max(3.5, max(result.shape[:2]) / 110)
    thick = max(2, round(radius / 3))
    r = round(radius)
    for x, y in _places(right, factor):
        cv2.circle(result, (x, y), r, _RIM, -1, cv2.LINE_AA)
        cv2.circle(result, (x, y), max(1, r - 1), RIGHT, -1, cv2.LINE_AA)
    for x, y in _places(missed, factor):
        cv2.circle(result, (x, y), r + 1, _RIM, thick + 2, cv2.LINE_AA)
        cv2.circle(result, (x, y), r + 1, MISSED, thick, cv2.LINE_AA)
    for x, y in _places(invented, factor):
        for colour, width in ((_RIM, thick + 2), (INVENTED, thick)):
            for a, b in (((x - r, y - r), (x + r, y + r)), ((x - r, y + r), (x + r, y - r))):
                cv2.line(result, a, b, colour, width, cv2.LINE_AA)
    return result


def heat(
    image: NDArray[Any], values: NDArray[np.floating], *, most: float | None = None
) -> NDArray[np.uint8]:
    """Lay a density or probability over a picture: darker purple to bright yellow, clear at 0.

    Args:
        image: (H, W, C) as read.
        values: (h, w), 0 or more, at any resolution.
        most: The value of full yellow; None takes the 99.5 % quantile.
    """
    import cv2

    base = shown(image)
    level = cv2.resize(values.astype(np.float32), base.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    top = most or float(np.quantile(level, 0.995)) or 1.0
    level = np.clip(level / max(top, 1e-12), 0, 1)
    colours = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (0.75 * np.sqrt(level))[..., None]
    return np.asarray(base * (1 - share) + colours * share, np.uint8)


def matches(
    left: NDArray[Any],
    right: NDArray[Any],
    points_left: ArrayLike,
    points_right: ArrayLike,
    *,
    inliers: ArrayLike | None = None,
    height_px: int = 300,
    most: int = 40,
) -> NDArray[np.uint8]:
    """Two pictures side by side with lines between matched points.

    Args:
        left: (H, W, C).
        right: (H, W, C).
        points_left: (K, 2) x, y.
        points_right: (K, 2) x, y.
        inliers: (K,) bool: those that agree with one view of the same body are drawn in sky
            blue, the others in vermilion below them; None: all agree.
        height_px: Of both.
        most: Lines drawn, spread evenly over the list.

    Returns:
        (height_px, w, 3) uint8.
    """
    import cv2

    a, scale_a = _to_height(shown(left), height_px)
    b, scale_b = _to_height(shown(right), height_px)
    gap = 6
    result = np.full((height_px, a.shape[1] + gap + b.shape[1], 3), 255, np.uint8)
    result[:, : a.shape[1]], result[:, a.shape[1] + gap :] = a, b
    p = np.asarray(points_left, np.float64).reshape(-1, 2) * scale_a
    q = np.asarray(points_right, np.float64).reshape(-1, 2) * scale_b + (a.shape[1] + gap, 0)
    good = np.ones(len(p), bool) if inliers is None else np.asarray(inliers, bool)
    drawn = np.concatenate([np.flatnonzero(~good), np.flatnonzero(good)])
    if len(drawn) > most:  # keep what agrees, if there is no room for all
        drawn = drawn[::-1][:most][::-1]
    for i in drawn:
        start, end = _point(p[i]), _point(q[i])
        colour = RIGHT if good[i] else INVENTED
        cv2.line(result, start, end, _RIM, 3, cv2.LINE_AA)
        cv2.line(result, start, end, colour, 1, cv2.LINE_AA)
        for place in (start, end):
            cv2.circle(result, place, 3, _RIM, -1, cv2.LINE_AA)
            cv2.circle(result, place, 2, colour, -1, cv2.LINE_AA)
    return result


def framed(
    image: NDArray[Any], colour: Sequence[int] | None, *, width_px: int = 6
) -> NDArray[np.uint8]:
    """Put a coloured frame around a picture, e.g. ``RIGHT`` around the candidate that is true."""
    result = shown(image).copy()
    if colour is not None:
        w = min(width_px, min(result.shape[:2]) // 4)
        for part in (result[:w], result[-w:], result[:, :w], result[:, -w:]) if w else ():
            part[:] = colour
    return result


def side_by_side(
    images: Sequence[NDArray[Any]],
    *,
    frames: Sequence[Sequence[int] | None] | None = None,
    height_px: int = 220,
    gap_px: int = 8,
    first_apart: bool = True,
) -> NDArray[np.uint8]:
    """A query and its candidates in one row of one height.

    Args:
        images: (H, W, C) each, the query first.
        frames: A colour per picture, or None for no frame.
        height_px: Of the row.
        gap_px: White between them.
        first_apart: Leave three times the gap after the query.

    Returns:
        (height_px, w, 3) uint8.
    """
    kinds = frames or [None] * len(images)
    parts: list[NDArray[np.uint8]] = []
    for i, (image, colour) in enumerate(zip(images, kinds, strict=True)):
        if i:
            gap = gap_px * (3 if i == 1 and first_apart else 1)
            parts.append(np.full((height_px, gap, 3), 255, np.uint8))
        parts.append(framed(_to_height(shown(image), height_px)[0], colour))
    return np.concatenate(parts, axis=1)


def contact_sheet(
    images: Sequence[NDArray[Any]], *, columns: int = 6, cell_px: int = 160, gap_px: int = 6
) -> NDArray[np.uint8]:
    """Many pictures in one, each fitted into a square.

    Args:
        images: (H, W, C) each.
        columns: In a row.
        cell_px: Side of the squares.
        gap_px: White between them.

    Returns:
        (h, w, 3) uint8.
    """
    import cv2

    columns = max(1, min(columns, len(images)))
    rows = -(-max(1, len(images)) // columns)
    step = cell_px + gap_px
    sheet = np.full((rows * step - gap_px, columns * step - gap_px, 3), 255, np.uint8)
    for i, image in enumerate(images):
        picture = shown(image)
        scale = cell_px / max(picture.shape[:2])
        w, h = (max(1, round(side * scale)) for side in picture.shape[1::-1])
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = cv2.resize(picture, (w, h), interpolation=kind)
        top = i // columns * step + (cell_px - h) // 2
        left = i % columns * step + (cell_px - w) // 2
        sheet[top : top + h, left : left + w] = small
    return sheet


def _factor(shape: Sequence[int], least_px: int) -> int:
    """The whole number by which a small picture is enlarged."""
    return max(1, math.ceil(least_px / max(1, *shape[:2])))


def _enlarged(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    import cv2

    if factor == 1:
        return picture.copy()
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _enlarged_labels(labels: NDArray[Any], factor: int) -> NDArray[Any]:
    return labels if factor == 1 else labels.repeat(factor, axis=0).repeat(factor, axis=1)


def _line(labels: NDArray[Any], factor: int, width: int, *, outside: bool) -> NDArray[np.bool_]:
    """The outlines of objects in an enlarged picture, ``width`` pixels inside or outside them."""
    import cv2

    large = _enlarged_labels(labels.astype(np.int32), factor)
    edge = boundaries(large)
    between = edge & _between(large)
    if outside:
        near = cv2.dilate(edge.astype(np.uint8), _square(width)) > 0
        return (near & (large == 0)) | between
    near = cv2.dilate(edge.astype(np.uint8), _square(width - 1)) > 0
    return near & (large != 0)


def _square(reach: int) -> NDArray[np.uint8]:
    """The neighbourhood of a pixel, ``reach`` pixels to each side."""
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _between(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels where two objects touch each other."""
    touch = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        a = labels[:-1] if axis == 0 else labels[:, :-1]
        b = labels[1:] if axis == 0 else labels[:, 1:]
        both = (a != b) & (a != 0) & (b != 0)
        (touch[:-1] if axis == 0 else touch[:, :-1])[...] |= both
    return touch


def _places(points: ArrayLike, factor: int) -> list[tuple[int, int]]:
    """Points (pixel centres at integers) in an enlarged picture."""
    array = np.asarray(points, np.float64).reshape(-1, 2)
    return [_point(p) for p in (array + 0.5) * factor - 0.5]


def _point(p: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(p[0])), round(float(p[1]))


def _to_height(picture: NDArray[np.uint8], height_px: int) -> tuple[NDArray[np.uint8], float]:
    """A picture of that height, and its scale."""
    import cv2

    scale = height_px / picture.shape[0]
    width = max(1, round(picture.shape[1] * scale))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(picture, (width, height_px), interpolation=kind)
    return np.asarray(resized, np.uint8), scale
