"""Masks that need no training: all empty, all foreground, the best grey threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from transect.segment.dataset import MaskDataset
from transect.segment.scoring import METRICS_OF, tuned_metric

__all__ = ["EMPTY", "FOREGROUND", "GREY", "GreyThreshold", "fit_grey", "trivial_values"]

EMPTY, FOREGROUND, GREY = "all-empty masks", "all-foreground masks", "the best grey threshold"

_LEVELS = 31
_SAMPLED = 2000  # pixels of an image, for the levels that are tried


@dataclass(frozen=True)
class GreyThreshold:
    """A mask from brightness alone.

    Attributes:
        level: Mean of the channels, in the images' own values.
        above: Foreground is brighter than the level; else darker or equal.
        label: What foreground pixels are called, where masks have classes.
    """

    level: float
    above: bool
    label: int = 1

    def mask(self, image: NDArray[np.generic], kind: str) -> NDArray[np.int32]:
        """(H, W) labels of an (H, W, C) image."""
        grey = _grey(image)
        found = grey > self.level if self.above else grey <= self.level
        if kind == "instances":
            return np.asarray(ndimage.label(found)[0], np.int32)
        return found.astype(np.int32) * self.label

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def fit_grey(
    dataset: MaskDataset, parts: Mapping[int, int]
) -> tuple[GreyThreshold, dict[int, GreyThreshold]]:
    """The threshold with the best mean IoU, on all images and without each part.

    Args:
        dataset: Images and masks.
        parts: Image number to its part.

    Returns:
        Of all, and part to the threshold that was fitted on the other parts.
    """
    chosen = sorted(parts)
    rng = np.random.default_rng(0)
    sample = np.concatenate(
        [rng.choice(_grey(dataset.cache.image(i)).ravel(), _SAMPLED) for i in chosen]
    )
    inner = np.linspace(0, 1, _LEVELS + 2)[1:-1]
    steps = sample.min() + inner * np.ptp(sample)
    levels = np.unique(np.concatenate([np.quantile(sample, inner), steps]))
    overlaps = np.stack([_overlaps(dataset, i, levels) for i in chosen])  # (N, 2, L)
    label = _commonest(dataset, chosen)

    def best(rows: NDArray[np.bool_]) -> GreyThreshold:
        side, at = np.unravel_index(int(overlaps[rows].mean(axis=0).argmax()), overlaps.shape[1:])
        return GreyThreshold(float(levels[at]), bool(side == 0), label)

    part = np.array([parts[i] for i in chosen])
    everything = np.ones(len(chosen), bool)
    nested = {int(p): best(part != p if (part != p).any() else everything) for p in np.unique(part)}
    return best(everything), nested


def trivial_values(
    dataset: MaskDataset, numbers: Sequence[int], grey: Sequence[GreyThreshold]
) -> dict[str, NDArray[np.float64]]:
    """The main metric that answers without training get.

    Args:
        dataset: Images and masks.
        numbers: (N,) of the images.
        grey: (N,) each image's threshold, fitted without it.

    Returns:
        Name to (N,) values.
    """
    kind, classes = dataset.kind, len(dataset.survey.classes)
    metric = METRICS_OF[kind][0]
    found: dict[str, list[float]] = {EMPTY: [], FOREGROUND: [], GREY: []}
    for i, threshold in zip(numbers, grey, strict=True):
        labels = dataset.labels(i)
        ignored, truth = labels < 0, np.maximum(labels, 0)
        answers = {
            EMPTY: np.zeros(truth.shape, np.int32),
            FOREGROUND: np.full(truth.shape, threshold.label, np.int32),
            GREY: threshold.mask(dataset.cache.image(i), kind),
        }
        for name, answer in answers.items():
            answer[ignored] = 0
            found[name].append(tuned_metric(metric, answer, truth, kind, classes))
    return {name: np.array(values, np.float64) for name, values in found.items()}


def _overlaps(dataset: MaskDataset, i: int, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, L) IoU of an image's foreground with what is brighter, and darker, than each level."""
    labels, grey = dataset.labels(i), _grey(dataset.cache.image(i))
    known = labels >= 0
    real = labels[known] > 0
    place = np.searchsorted(levels, grey[known], side="left")  # levels below the pixel
    pixels = np.bincount(place, minlength=len(levels) + 1).astype(np.float64)
    hits = np.bincount(place, real.astype(np.float64), minlength=len(levels) + 1)
    below, hit = pixels.cumsum()[:-1], hits.cumsum()[:-1]
    sides = [(pixels.sum() - below, hits.sum() - hit), (below, hit)]
    rows = []
    for size, right in sides:
        union = size + hits.sum() - right
        rows.append(np.where(union > 0, right / np.maximum(union, 1), 1.0))
    return np.stack(rows)


def _commonest(dataset: MaskDataset, chosen: Sequence[int]) -> int:
    """The class with most pixels; 1 where masks have no classes."""
    if dataset.kind != "classes":
        return 1
    counts = np.zeros(len(dataset.survey.classes) + 2, np.int64)
    for i in chosen:
        own = np.bincount(np.maximum(dataset.labels(i), 0).ravel(), minlength=len(counts))
        counts += own[: len(counts)]
    return int(counts[1:].argmax()) + 1


def _grey(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """(H, W) mean of the channels."""
    return np.asarray(image, np.float64).mean(axis=2)
