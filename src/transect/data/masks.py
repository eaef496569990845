"""Masks: what is in one, and whether a survey's masks are binary, classes or instances."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.images import read_labels
from transect.errors import TransectError
from transect.types import MaskKind

__all__ = ["MaskFacts", "centroids", "mask_facts", "mask_kind_of"]

_COMPARED = 32
"""Masks that are looked at piece by piece to tell instances from classes; our guess."""


@dataclass(frozen=True)
class MaskFacts:
    """What a mask holds.

    Attributes:
        size_hw: (height, width).
        values: (V,) the distinct numbers, ascending.
        pixels: (V,) how many pixels have each.
    """

    size_hw: tuple[int, int]
    values: NDArray[np.int64]
    pixels: NDArray[np.int64]

    @property
    def foreground(self) -> NDArray[np.int64]:
        """The values other than 0."""
        return self.values[self.values != 0]

    @property
    def coverage(self) -> float:
        """Share of pixels other than 0, in [0, 1]."""
        return float(self.pixels[self.values != 0].sum() / max(self.pixels.sum(), 1))


def mask_facts(path: Path) -> MaskFacts:
    """Decode a mask and count its values; remembered until the file changes.

    Raises:
        TransectError: If it cannot be read as labels.
    """
    status = path.stat()
    return _mask_facts(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1 << 17)
def _mask_facts(path: Path, modified_ns: int, size: int) -> MaskFacts:
    """Count the values of one version of a file."""
    labels = read_labels(path)
    if labels.size and labels.max() < 1 << 20:
        counts = np.bincount(labels.ravel())
        values = np.flatnonzero(counts)
        return MaskFacts((labels.shape[0], labels.shape[1]), values, counts[values])
    values, counts = np.unique(labels, return_counts=True)
    return MaskFacts((labels.shape[0], labels.shape[1]), values.astype(np.int64), counts)


def mask_kind_of(paths: Sequence[Path], facts: Sequence[MaskFacts]) -> MaskKind:
    """Tell how masks are to be read from what they hold.

    One foreground value in all masks (or 1 in some and 255 in others) is binary. Otherwise
    labels that count 1, 2, 3 ... to a different number in each mask, each in one piece, are
    instances; a small set of values that recurs is classes.

    Args:
        paths: The mask files.
        facts: What each holds, in the same order.

    Returns:
        ``binary``, ``classes`` or ``instances``.

    Raises:
        TransectError: If the values look like a drawing with soft edges.
    """
    union: set[int] = set()
    most = 0
    for fact in facts:
        union.update(fact.foreground.tolist())
        most = max(most, len(fact.foreground))
    if most <= 1 and (len(union) <= 1 or union <= {1, 255}):
        return "binary"
    _refuse_soft_edges(paths, facts, union)
    filled = [i for i, fact in enumerate(facts) if len(fact.foreground)]
    counted = [
        bool(np.array_equal(facts[i].foreground, np.arange(1, len(facts[i].foreground) + 1)))
        for i in filled
    ]
    numbers_differ = len({len(facts[i].foreground) for i in filled}) > 1 or len(filled) == 1
    in_order = float(np.mean(counted)) >= 0.9
    if not numbers_differ or not (in_order or len(union) > 64):
        return "instances" if len(union) > 256 else "classes"
    chosen = sorted(filled, key=lambda i: -len(facts[i].foreground))[:_COMPARED]
    whole = [_share_in_one_piece(read_labels(paths[i])) for i in chosen]
    return "instances" if float(np.mean(whole)) >= 0.8 else "classes"


def centroids(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """The centre of every object of a label image.

    Args:
        labels: (H, W), 0 is background.

    Returns:
        (K, 2) x, y in ascending order of the labels.

    Example:
        >>> centroids(np.array([[0, 5, 5], [2, 0, 0]]))
        array([[0. , 1. ],
               [1.5, 0. ]])
    """
    rows, columns = np.nonzero(labels)
    _, index = np.unique(labels[rows, columns], return_inverse=True)
    area = np.bincount(index)
    x = np.bincount(index, columns) / area
    y = np.bincount(index, rows) / area
    return np.stack([x, y], axis=1)


def _share_in_one_piece(labels: NDArray[np.int32]) -> float:
    """Share of the labels whose pixels hang together."""
    from skimage.measure import label

    pieces = label(labels, background=0, connectivity=2)
    _, first = np.unique(pieces, return_index=True)
    owners = labels.ravel()[first]
    _, counts = np.unique(owners[owners != 0], return_counts=True)
    return float(np.mean(counts == 1)) if len(counts) else 1.0


def _refuse_soft_edges(paths: Sequence[Path], facts: Sequence[MaskFacts], union: set[int]) -> None:
    """A binary mask that went through JPEG or a resize has all greys along its edges."""
    if len(union) <= 8 or max(union) > 255 or (255 not in union and 254 not in union):
        return
    total = sum(int(f.pixels.sum()) for f in facts)
    ends = sum(int(f.pixels[(f.values <= 12) | (f.values >= 243)].sum()) for f in facts)
    bright = sum(int(f.pixels[f.values >= 243].sum()) for f in facts)
    greys = [i for i, f in enumerate(facts) if len(f.foreground) > 8]
    if greys and ends > 0.85 * total and bright > 0.25 * (total - ends):
        worst = max(greys, key=lambda i: len(facts[i].values))
        raise TransectError(
            f"masks must have one number per class; {len(facts[worst].values)} greys are in "
            f"{paths[worst]}, as JPEG or resizing leaves them. Save masks as PNG with only 0 and "
            "255."
        )
