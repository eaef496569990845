"""Label images, a number per object or class: objects read from them, and painted into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Instance
from transect.data.outlines import box_ring
from transect.data.runs import counts_of_labels, paint, runs_of
from transect.data.shapes import centre_of
from transect.data.tally import Tally

__all__ = ["instances_of", "painted", "visible"]


def instances_of(labels: NDArray[np.integer], classes: Sequence[str]) -> Iterable[Instance]:
    """The objects, or the classes, of one label image: one per number above 0.

    Args:
        labels: (H, W).
        classes: The class of each number from 1, or the one class of them all.

    Yields:
        An object with the mask of each number.
    """
    for value, counts in counts_of_labels(labels):
        yield Instance(classes[0 if len(classes) == 1 else value - 1], counts=counts)


def visible(
    instances: Sequence[Instance], size_hw: tuple[int, int], tally: Tally
) -> list[Instance]:
    """The objects that will have pixels in a mask, and those without an area.

    Args:
        instances: Of one picture.
        size_hw: (height, width) of the picture.
        tally: Is told of objects that are hidden, or thinner than a pixel.

    Returns:
        The objects in their order, thin ones as one pixel each.
    """
    areas = runs_of(instances, size_hw).areas.tolist()
    kept = []
    for i, area in zip(instances, areas, strict=True):
        if i.has_area and not area:
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
    runs = runs_of(solid, size_hw)
    areas, shown = runs.areas.tolist(), paint(runs, range(1, len(solid) + 1))[1].tolist()
    if hidden := sum(n == 0 for n in shown):
        tally.tell("wholly under smaller objects in the masks", objects=hidden)
    if partly := sum(0 < n < area for n, area in zip(shown, areas, strict=True)):
        tally.tell("partly under smaller objects in the masks", lost=False, objects=partly)
    seen = iter(shown)
    return [i for i in kept if not i.has_area or next(seen) > 0]


def painted(
    solid: Sequence[Instance], size_hw: tuple[int, int], numbers: Sequence[int]
) -> NDArray[np.int32]:
    """Numbers painted over one another, large objects first so that small ones end on top.

    Args:
        solid: Objects with an area.
        size_hw: (height, width) of their picture.
        numbers: One per object.

    Returns:
        (H, W), 0 where nothing is.
    """
    return paint(runs_of(solid, size_hw), numbers)[0]
