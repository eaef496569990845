"""What the network is asked to draw: planes made from a mask, and masks read back from planes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from transect.types import MaskKind

__all__ = ["centre_map", "foreground_planes", "object_centres", "plane_names", "planes_of"]


def plane_names(kind: MaskKind, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the target planes of a kind of mask, in the network's output order."""
    if kind == "instances":
        return ("foreground", "centre")
    if kind == "classes":
        return ("background", *classes)
    return ("foreground",)


def foreground_planes(kind: MaskKind) -> slice:
    """Which target planes show objects: their largest value says whether anything is there."""
    return slice(1, None) if kind == "classes" else slice(0, 1)


def planes_of(labels: NDArray[np.integer], kind: MaskKind, classes: int = 1) -> NDArray[np.uint8]:
    """Turn a label image into soft target planes.

    Args:
        labels: (H, W); 0 is background, -1 does not count.
        kind: ``binary`` gives one plane; ``instances`` gives foreground and ``centre_map``;
            ``classes`` gives background and one plane per value.
        classes: Number of classes, which are 1, 2, ... (``classes`` only).

    Returns:
        (H, W, T) uint8, 255 where the target is 1.
    """
    foreground = np.where(labels > 0, np.uint8(255), np.uint8(0))
    if kind == "binary":
        return foreground[..., None]
    if kind == "instances":
        return np.dstack([foreground, centre_map(labels)])
    planes = [
        np.where(labels == value, np.uint8(255), np.uint8(0)) for value in range(1, classes + 1)
    ]
    background = 255 - np.maximum.reduce(planes)
    return np.dstack([background, *planes])


def centre_map(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Distance to the object's own edge, divided by the object's largest: 255 in its heart.

    Touching objects fall to nearly zero where they meet, which is what lets a watershed part
    them again. The idea of regressing a normalised distance for seeds is old in microscopy; the
    form (one chamfer transform for all objects of an image) is ours.

    Args:
        labels: (H, W) instance labels, 0 is background.

    Returns:
        (H, W) uint8.
    """
    if not (labels > 0).any():
        return np.zeros(labels.shape, np.uint8)
    labels = np.maximum(labels, 0)
    inside = (labels > 0).astype(np.uint8)
    for axis in (0, 1):
        a = labels[:-1] if axis == 0 else labels[:, :-1]
        b = labels[1:] if axis == 0 else labels[:, 1:]
        meet = (a != b) & (a > 0) & (b > 0)
        if axis == 0:
            inside[:-1][meet] = 0
            inside[1:][meet] = 0
        else:
            inside[:, :-1][meet] = 0
            inside[:, 1:][meet] = 0
    padded = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    count = int(labels.max())
    largest = np.zeros(count + 1, np.float32)
    np.maximum.at(largest, labels.ravel(), distance.ravel())
    return np.asarray(255 * distance / np.maximum(largest, 1.0)[labels], np.uint8)


def object_centres(labels: NDArray[np.integer], kind: MaskKind) -> NDArray[np.float32]:
    """One point per object, for samplers that aim at objects.

    Args:
        labels: (H, W) label image.
        kind: Instances have one point each; of other kinds, some pixels of every class.

    Returns:
        (K, 2) float32 x, y in pixels; (0, 2) for an empty mask.
    """
    if not (labels > 0).any():
        return np.zeros((0, 2), np.float32)
    if kind != "instances":
        # Whole regions have far-off centroids; a few of their pixels aim better.
        chosen = []
        for value in np.unique(labels[labels > 0]).tolist():
            rows, columns = np.nonzero(labels == value)
            step = max(1, len(rows) // 64)
            chosen.append(np.stack([columns[::step], rows[::step]], axis=1))
        return np.concatenate(chosen).astype(np.float32)
    present = np.unique(labels)
    present = present[present > 0]
    found = ndimage.center_of_mass(labels > 0, labels, present)
    return np.asarray([(x, y) for y, x in found], np.float32).reshape(-1, 2)
