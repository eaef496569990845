"""Predictions as annotations, so that every format's writer takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data import rle
from transect.data.exchange import Annotations, Instance, Picture
from transect.errors import TransectError
from transect.types import MaskKind

__all__ = ["from_identities", "from_labels", "from_points"]


def from_labels(
    masks: Iterable[tuple[str, NDArray[np.integer]]],
    kind: MaskKind,
    classes: Sequence[str],
    *,
    confidence: Mapping[str, Sequence[float]] | None = None,
) -> Annotations:
    """Predicted masks as annotations; one mask is in memory at a time.

    Args:
        masks: Picture name and (H, W) labels, 0 is background: object numbers for ``instances``,
            else class numbers from 1.
        kind: How the labels are to be read.
        classes: Names; instances are of the first.
        confidence: Picture name to one number in [0, 1] per object, in the order of the labels.

    Returns:
        The annotations.

    Raises:
        TransectError: If a label has no class.
    """
    pictures = []
    for name, labels in masks:
        found = []
        values = np.unique(labels)
        scores = confidence.get(name, ()) if confidence else ()
        for i, value in enumerate(values[values > 0].tolist()):
            if kind == "classes" and value > len(classes):
                raise TransectError(
                    f"the predicted mask of {name} has the label {value}, and there are "
                    f"{len(classes)} classes. Pass the classes of the run."
                )
            label = classes[value - 1] if kind == "classes" else classes[0]
            score = float(scores[i]) if i < len(scores) else None
            counts = tuple(rle.counts_of(labels == value))
            found.append(Instance(label, counts=counts, confidence=score))
        size_hw = labels.shape[0], labels.shape[1]
        pictures.append(Picture(name, size_hw, tuple(found)))
    return Annotations(tuple(pictures), tuple(classes))


def from_points(
    table: pd.DataFrame, sizes: Mapping[str, tuple[int, int]], classes: Sequence[str]
) -> Annotations:
    """Predicted dots as annotations.

    Args:
        table: Columns image, x, y, class and perhaps confidence.
        sizes: Every predicted picture, also those without dots, with its (height, width).
        classes: Names in order.

    Returns:
        The annotations, pictures in the order of ``sizes``.
    """
    found: dict[str, list[Instance]] = {name: [] for name in sizes}
    scores = table["confidence"] if "confidence" in table else [None] * len(table)
    columns = (table["image"], table["x"], table["y"], table["class"], scores)
    for name, x, y, label, score in zip(*columns, strict=True):
        number = None if score is None or score != score else float(score)
        found[name].append(Instance(str(label), point=(float(x), float(y)), confidence=number))
    pictures = (Picture(name, sizes[name], tuple(dots)) for name, dots in found.items())
    return Annotations(tuple(pictures), tuple(classes))


def from_identities(table: pd.DataFrame) -> Annotations:
    """Predicted identities as annotations.

    Args:
        table: Columns image, identity and perhaps confidence; the first row of a picture counts
            for formats that hold one.

    Returns:
        The annotations.
    """
    found: dict[str, list[Instance]] = {}
    scores = table["confidence"] if "confidence" in table else [None] * len(table)
    for name, identity, score in zip(table["image"], table["identity"], scores, strict=True):
        number = None if score is None or score != score else float(score)
        found.setdefault(str(name), []).append(Instance(identity=str(identity), confidence=number))
    return Annotations(tuple(Picture(n, None, tuple(i)) for n, i in found.items()))
