"""From the maps of an image to its mask, by a few numbers; and what a search tries for these."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from transect.postprocess.components import clean, remove_small
from transect.postprocess.watershed import InstanceSplitter
from transect.segment.refining import refined
from transect.segment.scoring import tuned_metric
from transect.types import MaskKind

__all__ = [
    "TIMES_ASKED",
    "TRIED",
    "Values",
    "answer_of",
    "grids_of",
    "labels_of",
    "middle",
    "splitter_of",
    "try_decisions",
]

_Number = TypeVar("_Number", bound=np.generic)

TIMES_ASKED = 2.5
"""Times that the search meets every value of the grids per image; measured on nuclei."""

# Our choice: more of each image changes the tuned numbers little and costs minutes.
_TUNED_SIDE = 512

# Values that are tried, in the order in which they are tuned. Nothing is changed unless the
# out-of-fold score gains, so the first of each list is where the search starts.
_GRIDS: dict[MaskKind, dict[str, tuple[float, ...]]] = {
    "binary": {
        "threshold": tuple(
            round(0.5 + s, 3) for s in (0, -0.2, -0.15, -0.1, -0.05, 0.05, 0.1, 0.15)
        ),
        "min_total": (0, 10, 20, 40, 80),
        "min_area": (0, 10, 20, 40, 80),
        "fill_holes": (0, 20, 80, 10**9),
        "empty_threshold": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    },
    "classes": {"min_area": (0, 10, 20, 40, 80), "min_total": (0, 20, 80)},
    "instances": {
        "seed_depth": (0.08, 0.03, 0.05, 0.12, 0.18, 0.25),
        "seed_threshold": (0.3, 0.0, 0.4, 0.5, 0.6),
        "threshold": (0.5, 0.3, 0.4, 0.45, 0.55, 0.6, 0.65, 0.7, 0.8),
        "min_area": (0, 10, 20, 40, 80),
    },
}


def grids_of(kind: MaskKind) -> dict[str, tuple[float, ...]]:
    """The values that are tried for a kind of mask, in the order in which they are tuned."""
    return dict(_GRIDS[kind])


@dataclass(frozen=True)
class Values:
    """The numbers of a decision; meanings as in ``recipe.SegmentDecide``."""

    threshold: float = 0.5
    min_area: int = 0
    min_total: int = 0
    fill_holes: int = 0
    empty_threshold: float = 0.0
    seed_threshold: float = 0.3
    seed_depth: float = 0.08
    flat_rule: bool = False
    use_crf: bool = False

    @staticmethod
    def of(values: Mapping[str, float]) -> Values:
        """From numbers by name; those that count pixels become whole."""
        start = dataclasses.asdict(Values())
        return Values(**{name: type(start[name])(value) for name, value in values.items()})


def labels_of(
    maps: NDArray[np.float32],
    values: Values,
    kind: MaskKind,
    *,
    filled: float = 1.0,
    flat: bool = False,
    split: InstanceSplitter | None = None,
) -> NDArray[np.int32]:
    """Turn an image's maps into labels.

    Args:
        maps: (T, H, W) probabilities.
        values: The decision.
        kind: How masks are read: binary gives 0 and 1, classes 0 to C, instances 0 to K.
        filled: Probability of the image-level head that there is any object.
        flat: Whether the image has one grey value.
        split: Made of the same maps, where they are asked again and again.

    Returns:
        (H, W) int32.
    """
    if filled < values.empty_threshold or (flat and values.flat_rule):
        return np.zeros(maps.shape[1:], np.int32)
    if kind == "instances":
        labels = (split or InstanceSplitter(maps[0], maps[1]))(
            threshold=values.threshold,
            seed_threshold=values.seed_threshold,
            seed_depth=values.seed_depth,
            min_area=values.min_area,
        )
    elif kind == "classes":
        labels = maps.argmax(0).astype(np.int32)
        for number in range(1, len(maps)):
            own = labels == number
            labels[own & ~remove_small(own, values.min_area)] = 0
    else:
        mask = clean(maps[0] > values.threshold, min_area=values.min_area, fill=values.fill_holes)
        labels = mask.astype(np.int32)
    if values.min_total and np.count_nonzero(labels) < values.min_total:
        labels = np.zeros_like(labels)
    return labels


def answer_of(
    maps: NDArray[np.float32],
    pixels: NDArray[Any],
    values: Values,
    kind: MaskKind,
    *,
    filled: float,
) -> NDArray[np.int32]:
    """The mask of an image, held out or new, by a decision.

    Args:
        maps: (T, H, W) blended probabilities.
        pixels: (H, W, C), for the CRF and to see whether they have one value.
        values: The decision.
        kind: How masks are read.
        filled: Probability that there is any object.

    Returns:
        (H, W) int32, as ``labels_of``.
    """
    if values.use_crf:
        maps = refined(maps, pixels, kind)
    return labels_of(maps, values, kind, filled=filled, flat=bool(np.ptp(pixels) == 0))


def splitter_of(maps: NDArray[np.float32], kind: MaskKind) -> InstanceSplitter | None:
    """What ``labels_of`` an image's maps can share between decisions; None for kinds but one."""
    return InstanceSplitter(maps[0], maps[1]) if kind == "instances" else None


TRIED = (Values(), Values(threshold=0.6), Values(seed_threshold=0.5), Values(min_area=20))
"""Decisions whose time is taken: a search shares what they have in common, so several are."""


def try_decisions(
    maps: NDArray[np.float32],
    truth: NDArray[np.integer],
    metric: str,
    kind: MaskKind,
    classes: int,
) -> None:
    """Decide on an image as a search does, ``TRIED`` one after another, to take the time.

    Args:
        maps: (T, H, W) probabilities.
        truth: (H, W) labels, none below 0.
        metric: That scores each answer.
        kind: How masks are read.
        classes: Number of classes.
    """
    shared = splitter_of(maps, kind)
    for values in TRIED:
        tuned_metric(metric, labels_of(maps, values, kind, split=shared), truth, kind, classes)


def middle(planes: NDArray[_Number]) -> NDArray[_Number]:
    """The middle window of large maps (..., H, W); small ones whole."""
    top, left = (max(0, (size - _TUNED_SIDE) // 2) for size in planes.shape[-2:])
    return planes[..., top : top + _TUNED_SIDE, left : left + _TUNED_SIDE]
