"""How good masks are: overlap, the salt competition's score and its threshold sweep, outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError

__all__ = [
    "boundary_distance",
    "boundary_score",
    "class_overlap",
    "dice",
    "iou",
    "salt_map",
    "salt_map_sweep",
]

_PERCENT = np.arange(50, 100, 5)  # thresholds as integers: .6 must not be .6000000000000001


def salt_map(predicted: NDArray[np.generic], truth: NDArray[np.generic]) -> NDArray[np.float64]:
    """The salt competition's score: share of thresholds .50, .55, ... .95 that the IoU exceeds.

    The comparison is strict and done in integers, so that ties are never a matter of rounding.

    Args:
        predicted: (N, H, W) masks; anything but zero is foreground.
        truth: (N, H, W) masks.

    Returns:
        (N,) in [0, 1]. Both empty is 1, exactly one empty is 0.

    Raises:
        TransectError: If the shapes differ.

    References:
        TGS Salt Identification, Kaggle 2018. Winners' codes add small numbers to the division,
        which takes .1 from a perfect mask of one pixel; this form needs none.

    Example:
        >>> salt_map(np.ones((1, 2, 2)), np.array([[[1, 1], [1, 0]]])).item()  # IoU .75
        0.5
    """
    both, predicted_area, true_area = _areas(predicted, truth)
    return _salt(both, predicted_area + true_area - both)


def salt_map_sweep(
    probabilities: NDArray[np.floating], truth: NDArray[np.generic], thresholds: ArrayLike
) -> NDArray[np.float64]:
    """The salt score of ``probabilities > t`` for every threshold, from one sort per image.

    The cumulative histograms of all probabilities and of those inside the truth hold every
    threshold. numpy sorts floats with vector instructions, so sorting is the fastest exact way
    to them: faster than looking up the bin of every pixel.

    Args:
        probabilities: (N, H, W) float.
        truth: (N, H, W) masks.
        thresholds: (T,) in any order; compared in the type of ``probabilities``.

    Returns:
        (N, T), equal to ``salt_map`` threshold by threshold.

    Raises:
        TransectError: If the shapes differ.
    """
    _same_shape(probabilities, truth)
    levels = np.asarray(thresholds).astype(probabilities.dtype)
    flat, masks = probabilities.reshape(len(truth), -1), truth.reshape(len(truth), -1)
    above, both = np.empty((2, len(flat), len(levels)), np.int64)
    inside = np.empty((len(flat), 1), np.int64)
    for i, (values, mask) in enumerate(zip(flat, masks, strict=True)):
        chosen = values.take(np.flatnonzero(mask))
        inside[i] = chosen.size
        if not chosen.size:  # of an image without salt only one bit matters
            both[i], above[i] = 0, values.max(initial=-np.inf) > levels
            continue
        both[i] = chosen.size - np.searchsorted(np.sort(chosen), levels, side="right")
        above[i] = values.size - np.searchsorted(np.sort(values), levels, side="right")
    return _salt(both, above + inside - both)


def iou(predicted: NDArray[np.generic], truth: NDArray[np.generic]) -> NDArray[np.float64]:
    """Intersection over union of masks, per image.

    Args:
        predicted: (N, H, W) masks; anything but zero is foreground.
        truth: (N, H, W) masks.

    Returns:
        (N,) in [0, 1]; both empty is 1.
    """
    both, predicted_area, true_area = _areas(predicted, truth)
    return _ratio(both, predicted_area + true_area - both)


def dice(predicted: NDArray[np.generic], truth: NDArray[np.generic]) -> NDArray[np.float64]:
    """Dice coefficient of masks, per image: twice the overlap over the sum of areas.

    Args:
        predicted: (N, H, W) masks; anything but zero is foreground.
        truth: (N, H, W) masks.

    Returns:
        (N,) in [0, 1]; both empty is 1.

    Example:
        >>> dice(np.ones((1, 2, 2)), np.eye(2)[None]).round(3).tolist()
        [0.667]
    """
    both, predicted_area, true_area = _areas(predicted, truth)
    return _ratio(2 * both, predicted_area + true_area)


def class_overlap(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """IoU and Dice of every class of label images, over all pixels together.

    Args:
        predicted: Labels of any shape, 0 is background.
        truth: Same shape.
        classes: Number of classes without the background.

    Returns:
        Two (C,) arrays; a class that is nowhere is nan, so that it does not flatter a mean.

    Raises:
        TransectError: If shapes differ or a label is out of range.
    """
    _same_shape(predicted, truth)
    if predicted.size and not (
        min(predicted.min(), truth.min()) >= 0 and max(predicted.max(), truth.max()) <= classes
    ):
        raise TransectError(f"labels must be in 0..{classes}. Check the number of classes.")
    wide = classes + 1
    pairs = truth.astype(np.int64).ravel() * wide + predicted.ravel()
    table = np.bincount(pairs, minlength=wide * wide).reshape(wide, wide)
    both, areas = np.diag(table)[1:], (table.sum(0) + table.sum(1))[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        return both / (areas - both), 2 * both / areas


def boundary_distance(
    predicted: NDArray[np.generic], truth: NDArray[np.generic], *, spacing: float = 1.0
) -> NDArray[np.float64]:
    """Mean distance of the two outlines from one another, both ways together, per image.

    Outlines are the mask's pixels that touch the outside (or the picture's edge) by a side.

    Args:
        predicted: (N, H, W) masks; anything but zero is foreground.
        truth: (N, H, W) masks.
        spacing: Size of a pixel.

    Returns:
        (N,) in units of ``spacing``, lower is better. Both empty is 0; exactly one empty is the
        diagonal of the picture, the worst that can be.
    """
    _same_shape(predicted, truth)
    result = np.zeros(len(predicted))
    for i, (a, b) in enumerate(zip(predicted != 0, truth != 0, strict=True)):
        there, back = _outline_distances(a, b)
        if there is None or back is None:
            result[i] = 0.0 if a.any() == b.any() else np.hypot(*a.shape)
        else:
            result[i] = (there.sum() + back.sum()) / (there.size + back.size)
    return result * spacing


def boundary_score(
    predicted: NDArray[np.generic], truth: NDArray[np.generic], *, tolerance: float = 2.0
) -> NDArray[np.float64]:
    """Share of both outlines within ``tolerance`` pixels of the other: normalised surface Dice.

    Args:
        predicted: (N, H, W) masks; anything but zero is foreground.
        truth: (N, H, W) masks.
        tolerance: In pixels.

    Returns:
        (N,) in [0, 1]; both empty is 1, exactly one empty is 0.

    References:
        Nikolov et al. 2018, with pixels in place of surface elements.
    """
    _same_shape(predicted, truth)
    result = np.zeros(len(predicted))
    for i, (a, b) in enumerate(zip(predicted != 0, truth != 0, strict=True)):
        there, back = _outline_distances(a, b)
        if there is None or back is None:
            result[i] = float(a.any() == b.any())
        else:
            near = (there <= tolerance).sum() + (back <= tolerance).sum()
            result[i] = near / (there.size + back.size)
    return result


def _salt(both: NDArray[np.int64], union: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of thresholds exceeded by both / union; an empty union counts as perfect."""
    hits = np.floor_divide(20 * both - 1, np.maximum(union, 1)) - 9  # both / union > k / 20
    hits = np.where(union == 0, 10, np.clip(hits, 0, 10))
    return hits / 10


def _areas(
    predicted: NDArray[np.generic], truth: NDArray[np.generic]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(N,) intersection and both areas, image by image: one stays in the fast cache."""
    _same_shape(predicted, truth)
    counts = np.empty((3, len(predicted)), np.int64)
    for i, (one, other) in enumerate(zip(predicted, truth, strict=True)):
        a = one if one.dtype == np.bool_ else one != 0
        b = other if other.dtype == np.bool_ else other != 0
        counts[:, i] = np.count_nonzero(a & b), np.count_nonzero(a), np.count_nonzero(b)
    return counts[0], counts[1], counts[2]


def _ratio(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
    """Quotient in which nothing over nothing is 1."""
    return np.where(below == 0, 1.0, above / np.maximum(below, 1))


def _outline_distances(
    a: NDArray[np.bool_], b: NDArray[np.bool_]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Distances of a's outline from b's and of b's from a's; None if one is empty."""
    from scipy import ndimage

    if not (a.any() and b.any()):
        return None, None
    outlines = [m & ~ndimage.binary_erosion(m) for m in (a, b)]
    away = [ndimage.distance_transform_edt(~outline) for outline in outlines]
    return away[1][outlines[0]], away[0][outlines[1]]


def _same_shape(predicted: NDArray[np.generic], truth: NDArray[np.generic]) -> None:
    """Refuse shapes that would broadcast."""
    if predicted.shape != truth.shape or predicted.ndim < 1:
        raise TransectError(
            f"predicted and true masks must have one shape; got {predicted.shape} and "
            f"{truth.shape}. Undo the padding or resizing of the prediction first."
        )
