"""How far two readings of the same images agree: two people, or a run and who corrected it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.review.marks import Mark, Surface

__all__ = ["MEASURES", "Pair", "agreement"]

MEASURES = {
    "iou": "pixels that both gave to one class, over those that either did",
    "difference": "mean difference of the counts of an image",
    "same": "images on which both say the same",
    "kappa": "agreement beyond chance: 0 is chance, 1 is perfect (Cohen 1960)",
}


@dataclass(frozen=True)
class Pair:
    """One image read twice.

    Attributes:
        size_hw: (height, width) of the image.
        one: The one reading.
        other: The other one.
    """

    size_hw: tuple[int, int]
    one: Sequence[Mark]
    other: Sequence[Mark]


def agreement(pairs: Iterable[Pair], surface: Surface, classes: Sequence[str]) -> dict[str, float]:
    """Compare two readings.

    Args:
        pairs: Images read twice.
        surface: How they are drawn.
        classes: Of masks and places.

    Returns:
        By the names of ``MEASURES``: of masks ``iou`` over all pixels and ``kappa`` over pixels; of
        dots and boxes ``difference``, mean over images and classes of the absolute difference of
        the counts; of individuals and labels ``same`` and ``kappa`` over images. What cannot be
        said (kappa if both only ever say one thing) is left out; empty without images.

    References:
        Cohen 1960, A coefficient of agreement for nominal scales.
    """
    found = list(pairs)
    if not found:
        return {}
    if surface == "areas":
        number = {name: k for k, name in enumerate(classes, start=1)}
        table = sum(_table(pair, number) for pair in found)
        assert not isinstance(table, int)
        same = np.diag(table)[1:].sum()
        either = table.sum() - table[0, 0]
        # A pixel that the two gave to different classes is in the union of both classes.
        either += table[1:, 1:].sum() - same
        return {"iou": float(same / either) if either else 1.0, **_kappa(table)}
    if surface == "places":
        gaps = [
            abs(_count(pair.one, name) - _count(pair.other, name))
            for pair in found
            for name in classes
        ]
        return {"difference": float(np.mean(gaps))}
    said = [(_word(pair.one), _word(pair.other)) for pair in found]
    words = {word: k for k, word in enumerate(sorted({w for pair in said for w in pair}))}
    table = np.zeros((len(words), len(words)))
    for a, b in said:
        table[words[a], words[b]] += 1
    return {"same": float(np.trace(table) / table.sum()), **_kappa(table)}


def _table(pair: Pair, number: Mapping[str, int]) -> NDArray[np.float64]:
    """(C + 1, C + 1) pixels of an image by what the two say, background first."""
    drawn = []
    for marks in (pair.one, pair.other):
        labels = np.zeros(pair.size_hw, np.uint16)
        for mark in marks:
            if mark.area is not None:
                labels[mark.area.place][mark.area.mask()] = number.get(mark.label, 0)
        drawn.append(labels)
    count = len(number) + 1
    both = drawn[0].astype(np.int32) * count + drawn[1]
    return np.bincount(both.ravel(), minlength=count**2).reshape(count, count).astype(np.float64)


def _kappa(table: NDArray[np.float64]) -> dict[str, float]:
    """Cohen's kappa of a table of joint counts, if chance leaves room for it."""
    share = table / table.sum()
    chance = float(share.sum(axis=0) @ share.sum(axis=1))
    if chance >= 1:
        return {}
    return {"kappa": (float(np.trace(share)) - chance) / (1 - chance)}


def _count(marks: Sequence[Mark], label: str) -> int:
    return sum(mark.label == label for mark in marks)


def _word(marks: Sequence[Mark]) -> str:
    """All that is said of an image, in one word."""
    return "; ".join(sorted(mark.label for mark in marks))
