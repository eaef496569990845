"""Label images, a number per object or class: objects read from them, and painted into them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from transect.data import rle
from transect.data.exchange import Instance
from transect.data.outlines import box_ring
from transect.data.shapes import centre_of, window_of
from transect.data.tally import Tally

__all__ = ["instances_of", "painted", "visible"]

Window = tuple[NDArray[np.bool_], int, int]


def instances_of(labels: NDArray[np.integer], classes: Sequence[str]) -> Iterable[Instance]:
    """The objects, or the classes, of one label image: one per number above 0.

    Args:
        labels: (H, W).
        classes: The class of each number from 1, or the one class of them all.

    Yields:
        An object with the mask of each number.
    """
    from scipy.ndimage import find_objects

    size_hw = labels.shape[0], labels.shape[1]
    dense = np.maximum(labels, 0)
    values = np.arange(1, int(dense.max(initial=0)) + 1) if dense.max(initial=0) < 1 << 20 else None
    if values is None:  # find_objects makes a list as long as the largest number
        values, index = np.unique(dense, return_inverse=True)
        dense = index.reshape(size_hw) + (0 if values[0] == 0 else 1)
        values = values[values > 0]
    for i, place in enumerate(find_objects(dense), start=1):
        if place is None:
            continue
        top, left = int(place[0].start), int(place[1].start)
        counts = rle.counts_of(dense[place] == i, top=top, left=left, size_hw=size_hw)
        label = classes[0 if len(classes) == 1 else int(values[i - 1]) - 1]
        yield Instance(label, counts=tuple(counts))


def visible(
    instances: Sequence[Instance], size_hw: tuple[int, int], several: bool, tally: Tally
) -> list[Instance]:
    """The objects that will have pixels in a mask, and those without an area.

    Args:
        instances: Of one picture.
        size_hw: (height, width) of the picture.
        several: Whether there are several classes, so that masks will hold classes.
        tally: Is told of objects that are hidden, thinner than a pixel, or not told apart.

    Returns:
        The objects in their order, thin ones as one pixel each.
    """
    kept = []
    for i in instances:
        if i.has_area and not window_of(i, size_hw)[0].any():
            middle = centre_of(i, size_hw)
            if middle is None:
                tally.tell("empty mask", objects=1)
                continue
            tally.tell("thinner than a pixel, drawn as one pixel", lost=False, objects=1)
            x = min(max(round(middle[0]), 0), size_hw[1] - 1)
            y = min(max(round(middle[1]), 0), size_hw[0] - 1)
            ring = box_ring(x - 0.5, y - 0.5, x + 0.5, y + 0.5)
            i = replace(i, parts=((ring,),), counts=None)
        kept.append(i)
    solid = [i for i in kept if i.has_area]
    image, windows = painted(solid, size_hw, range(1, len(solid) + 1))
    shown, areas = [], []
    for k, (window, top, left) in enumerate(windows, start=1):
        there = image[top : top + window.shape[0], left : left + window.shape[1]]
        shown.append(int((there == k).sum()))
        areas.append(int(window.sum()))
    if hidden := sum(n == 0 for n in shown):
        tally.tell("wholly under smaller objects in the masks", objects=hidden)
    if partly := sum(0 < n < area for n, area in zip(shown, areas, strict=True)):
        tally.tell("partly under smaller objects in the masks", lost=False, objects=partly)
    if several:
        labels = Counter(i.label for i in solid)
        if merged := sum(n for n in labels.values() if n > 1):
            why = "of one class on one picture: class masks do not number them"
            tally.tell(why, lost=False, objects=merged)
    seen = iter(shown)
    return [i for i in kept if not i.has_area or next(seen) > 0]


def painted(
    solid: Sequence[Instance], size_hw: tuple[int, int], numbers: Sequence[int]
) -> tuple[NDArray[np.int32], list[Window]]:
    """Numbers painted over one another, large objects first so that small ones end on top.

    Args:
        solid: Objects with an area.
        size_hw: (height, width) of their picture.
        numbers: One per object.

    Returns:
        (H, W), and the window of each object's own mask (see ``shapes.window_of``).
    """
    image = np.zeros(size_hw, np.int32)
    windows = [window_of(i, size_hw) for i in solid]
    areas = [int(window.sum()) for window, _, _ in windows]
    for k in sorted(range(len(solid)), key=lambda k: (-areas[k], k)):
        window, top, left = windows[k]
        image[top : top + window.shape[0], left : left + window.shape[1]][window] = numbers[k]
    return image, windows
