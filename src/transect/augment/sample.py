"""One training picture, changed at random together with all that must follow it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transect.augment.draws import Draws
from transect.augment.pixels import Pixels
from transect.augment.policies import with_policy
from transect.augment.texture import add_noise, change_sharpness, cut_out, equalise
from transect.augment.tones import change_colours, change_tones
from transect.augment.validity import allowed
from transect.augment.warp import draw_warp
from transect.recipe import Augment
from transect.types import Sample

__all__ = ["augment_sample"]


def augment_sample(
    sample: Sample,
    spec: Augment,
    rng: np.random.Generator,
    *,
    out_hw: tuple[int, int],
    window: tuple[float, float, float, float] | None = None,
    fraction: float = 1.0,
    points_margin: float = 0.0,
) -> Sample:
    """Cut a window out of a picture and change it, its masks, dots and boxes alike.

    The picture is read once, straight from the source: pixels around the window are used where a
    turn or shift reaches beyond it, ``spec.border`` only outside the picture. Kinds that are on but
    not in ``spec.valid`` are not applied (``invalid_kinds`` names them).

    Args:
        sample: The whole picture (H, W, C) uint8, uint16 or float32, and what belongs to it.
            Columns of points beyond x, y and of boxes beyond the corners (a class, an index) are
            carried along.
        spec: The augmentation.
        rng: The only source of randomness.
        out_hw: (height, width) of the result in pixels.
        window: (top, left, height, width) in source pixels that becomes the result when nothing
            is changed: pixel i covers i - 0.5 to i + 0.5, so an integer window is a plain cut.
            It may reach outside the picture. None is the whole picture.
        fraction: How far training is, [0, 1]; only flips before ``spec.warmup``.
        points_margin: Points up to so many pixels outside the result are kept: what is drawn
            around them may reach inside.

    Returns:
        A sample of ``out_hw``: the image in its own dtype, planes interpolated, labels to the
        nearest, points that lie outside dropped, boxes clipped and those outside dropped.

    Raises:
        TransectError: If ``spec`` has a misspelt name or a number out of range.

    Example:
        >>> sample = Sample(np.arange(4, dtype=np.uint8).reshape(2, 2, 1))
        >>> flipped = augment_sample(
        ...     sample, Augment(hflip=1.0), np.random.default_rng(0), out_hw=(2, 2)
        ... )
        >>> flipped.image[..., 0].tolist()
        [[1, 0], [3, 2]]
    """
    draws = Draws(rng)
    spec = with_policy(allowed(spec, fraction < spec.warmup), draws)
    source_hw = sample.image.shape[0], sample.image.shape[1]
    warp = draw_warp(spec, draws, out_hw=out_hw, source_hw=source_hw, window=window)
    image = warp.image(sample.image)
    planes = None if sample.planes is None else warp.image(sample.planes)
    labels = None if sample.labels is None else warp.nearest(sample.labels)
    points = boxes = None
    if sample.points is not None:
        moved, inside = warp.points(sample.points[:, :2])
        if points_margin:
            low, high = -points_margin, np.array(out_hw[::-1], np.float32) + points_margin
            inside = np.asarray(((moved >= low) & (moved < high)).all(axis=1))
        points = np.concatenate([moved, sample.points[:, 2:]], axis=1)[inside]
    if sample.boxes is not None:
        placed, left = warp.boxes(sample.boxes[:, :4])
        boxes = np.concatenate([placed, sample.boxes[:, 4:]], axis=1)[left]
    image = equalise(image, spec, draws)
    image = change_tones(image, spec, draws)
    image = change_colours(image, spec, draws)
    image = change_sharpness(image, spec, draws)
    image = add_noise(image, spec, draws)
    if spec.cutout and spec.cutout_p:
        image = cut_out(image, spec, draws, _foreground(planes, labels, points, out_hw))
    return Sample(image, planes, labels, points, boxes)


def _foreground(
    planes: Pixels | None,
    labels: Pixels | None,
    points: NDArray[np.float32] | None,
    out_hw: tuple[int, int],
) -> NDArray[np.bool_] | None:
    """What an erasure must not hide: labels, else planes above half, else the dots, else None."""
    if labels is not None:
        return np.asarray(labels != 0)
    if planes is not None:
        half = np.iinfo(planes.dtype).max / 2 if planes.dtype.kind in "ui" else 0.5
        return np.asarray((planes > half).any(axis=2))
    if points is None:
        return None
    dots = np.zeros(out_hw, bool)
    rows = np.clip(np.rint(points[:, 1]).astype(int), 0, out_hw[0] - 1)
    columns = np.clip(np.rint(points[:, 0]).astype(int), 0, out_hw[1] - 1)
    dots[rows, columns] = True
    return dots
