"""What a counting network is asked to draw around each dot: squares, Gaussians, peaks, density."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from transect.errors import unknown_name

__all__ = ["TARGETS", "render", "spacing_of"]

TARGETS = ("squares", "gaussian", "fidt", "density", "joint")

_OWN_SHARE = 0.3  # sigma over the distance of the next dot: two that touch stay two; our choice
_LEAST_PX = 1.0  # sigma that a network's pixels still draw; our choice


def render(
    points: NDArray[np.float32],
    classes: NDArray[np.int64],
    *,
    target: str,
    target_px: float,
    n_classes: int,
    size_hw: tuple[int, int],
) -> NDArray[np.float32]:
    """Draw dots as target planes.

    Args:
        points: (K, 2) x, y in pixels; dots outside add what reaches inside.
        classes: (K,) class numbers from 0.
        target: ``squares`` (one-hot with a last background plane; later dots overwrite earlier
            ones), ``gaussian`` (height 1 at the dot, the largest wins), ``fidt`` (inverse
            distance, 1 at the dot), ``density`` (each dot sums to 1 over the whole plane, so a
            dot at the border counts by the share that is inside), ``joint`` (gaussian planes whose
            sigma shrinks where the next dot of the class is near, so that crowds stay apart, then
            density planes).
        target_px: Side of the square, or sigma in pixels.
        n_classes: Number of classes (C).
        size_hw: (H, W) of the planes.

    Returns:
        (C, H, W) float32; (C + 1, H, W) for squares, (2C, H, W) for joint.

    Raises:
        TransectError: On an unknown target.

    References:
        Squares of 16 px at any scale: sea lion 2nd place. Gaussian mass inside a tile: 4th place.
        FIDT: Liang et al. 2021, exponent 0.02 d + 0.75.
    """
    if target not in TARGETS:
        raise unknown_name("a count target", target, TARGETS)
    if target == "squares":
        return _squares(points, classes, target_px, n_classes, size_hw)
    if target == "fidt":
        return _fidt(points, classes, n_classes, size_hw)
    wide = np.full(len(points), target_px)
    planes = [
        _hills(points, classes, sigma, add, (n_classes, *size_hw))
        for sigma, add, wanted in (
            (wide, False, target == "gaussian"),
            (_own_sigma(points, classes, target_px), False, target == "joint"),
            (wide, True, target in ("density", "joint")),
        )
        if wanted
    ]
    return np.concatenate(planes)


def spacing_of(points: NDArray[np.float32], groups: NDArray[np.int64]) -> float:
    """The usual distance from a dot to its nearest neighbour on the same picture.

    Args:
        points: (K, 2) x, y in pixels, over all pictures.
        groups: (K,) number of the picture of each dot.

    Returns:
        The lower quartile of the distances, in pixels: crowds set it, not stragglers. 32 if no
        picture has two dots.
    """
    found = []
    for number in np.unique(groups):
        own = points[groups == number]
        if len(own) > 1:
            found.append(cKDTree(own).query(own, k=2)[0][:, 1])
    if not found:
        return 32.0
    distances = np.concatenate(found)
    return float(max(2.0, np.quantile(distances, 0.25)))


def _hills(
    points: NDArray[np.float32],
    classes: NDArray[np.int64],
    sigma: NDArray[np.float64],
    add: bool,
    shape: tuple[int, int, int],
) -> NDArray[np.float32]:
    """A Gaussian around every dot: of sum 1 and added up, or of height 1 and the largest taken."""
    planes = np.zeros(shape, np.float32)
    for (x, y), number, wide in zip(points, classes, sigma.tolist(), strict=True):
        reach = int(np.ceil(3 * wide)) + 1
        column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        left, right = max(column - reach, 0), min(column + reach + 1, shape[2])
        top, bottom = max(row - reach, 0), min(row + reach + 1, shape[1])
        if left >= right or top >= bottom:
            continue
        rows = np.exp(-((np.arange(top, bottom) - y) ** 2) / (2 * wide**2))
        columns = np.exp(-((np.arange(left, right) - x) ** 2) / (2 * wide**2))
        patch = (rows[:, None] * columns[None]).astype(np.float32)
        view = planes[number, top:bottom, left:right]
        if add:
            view += patch / np.float32(2 * np.pi * wide**2)
        else:
            np.maximum(view, patch, out=view)
    return planes


def _own_sigma(
    points: NDArray[np.float32], classes: NDArray[np.int64], most: float
) -> NDArray[np.float64]:
    """Sigma of each dot: less than ``most`` where the next dot of its class is near."""
    sigma = np.full(len(points), most)
    for number in np.unique(classes):
        own = np.flatnonzero(classes == number)
        if len(own) > 1:
            nearest = cKDTree(points[own]).query(points[own], k=2)[0][:, 1]
            sigma[own] = np.clip(_OWN_SHARE * nearest, min(_LEAST_PX, most), most)
    return sigma


def _squares(
    points: NDArray[np.float32],
    classes: NDArray[np.int64],
    side: float,
    n_classes: int,
    size_hw: tuple[int, int],
) -> NDArray[np.float32]:
    """One-hot squares [c - side/2, c + side/2), background last."""
    index = np.full(size_hw, n_classes, np.int64)
    half = round(side / 2)
    for (x, y), number in zip(points, classes, strict=True):
        column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        top, bottom = max(row - half, 0), max(row + half, 0)
        left, right = max(column - half, 0), max(column + half, 0)
        index[top:bottom, left:right] = number
    return np.moveaxis(np.eye(n_classes + 1, dtype=np.float32)[index], -1, 0).copy()


def _fidt(
    points: NDArray[np.float32],
    classes: NDArray[np.int64],
    n_classes: int,
    size_hw: tuple[int, int],
) -> NDArray[np.float32]:
    """Focal inverse distance: narrow peaks that stay apart in crowds."""
    planes = np.zeros((n_classes, *size_hw), np.float32)
    for number in range(n_classes):
        own = np.floor(points[classes == number] + 0.5).astype(int)
        inside = (
            (own[:, 0] >= 0)
            & (own[:, 0] < size_hw[1])
            & (own[:, 1] >= 0)
            & (own[:, 1] < size_hw[0])
        )
        own = own[inside]
        if not len(own):
            continue
        seeds = np.ones(size_hw, np.uint8)
        seeds[own[:, 1], own[:, 0]] = 0
        distance = cv2.distanceTransform(seeds, cv2.DIST_L2, 5)
        planes[number] = 1 / (np.power(distance, 0.02 * distance + 0.75) + 1)
    return planes
