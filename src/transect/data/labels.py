"""Mask files read as labels that mean the same in every survey."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.images import read_labels
from transect.errors import TransectError
from transect.types import Image, Survey

__all__ = ["IGNORED", "class_labels", "mask_labels", "size_sentence", "value_sentence"]

IGNORED = ("ignore", "void", "unlabelled", "unlabeled")
"""Class names in classes.csv whose pixels count for nothing."""


def mask_labels(survey: Survey, image: Image | str) -> NDArray[np.int32]:
    """Read one image's mask as numbers that mean the same in every survey.

    Args:
        survey: With masks.
        image: The image; a name is looked up in the list of all.

    Returns:
        (H, W) int32: 0 is background; for binary masks 1 is foreground, for classes 1, 2, ...
        in the order of ``survey.classes``, for instances the object's number; -1 is to be
        ignored. All 0 if the image has no mask.

    Raises:
        TransectError: If the mask cannot be read, has another size, or values of no class.
    """
    if isinstance(image, str):
        image = next(i for i in survey.images if i.name == image)
    if image.name not in survey.masks:
        return np.zeros(image.size_hw, np.int32)
    return _labels_from(survey.masks[image.name], image.size_hw, survey)


def _labels_from(path: Path, size_hw: tuple[int, int], survey: Survey) -> NDArray[np.int32]:
    """Read a mask file as ``mask_labels`` does, without looking the image up."""
    labels = read_labels(path)
    if labels.shape != tuple(size_hw):
        raise TransectError(size_sentence(path.as_posix(), labels.shape, size_hw))
    if survey.mask_kind == "instances":
        return labels
    if survey.mask_kind == "binary":
        return (labels > 0).astype(np.int32)
    top = int(labels.max(initial=0))
    values = class_labels(survey)
    if top > 1 << 20:
        raise TransectError(value_sentence(path.as_posix(), [top], values))
    table = np.full(top + 1, -2, np.int32)
    table[0] = 0
    for value, index in values.items():
        if value <= top:
            table[value] = index
    mapped = table[labels]
    if (mapped == -2).any():
        strange = np.unique(labels[mapped == -2]).tolist()
        raise TransectError(value_sentence(path.as_posix(), strange, values))
    return mapped


def class_labels(survey: Survey) -> dict[int, int]:
    """Mask value to label: 1, 2, ... by class, -1 for classes that are to be ignored."""
    pairs = zip(survey.class_values, survey.classes, strict=True)
    return {v: -1 if n.lower() in IGNORED else i for i, (v, n) in enumerate(pairs, start=1)}


def size_sentence(name: str, got: Sequence[int], want: Sequence[int]) -> str:
    """The sentence for a mask that does not fit its image."""
    turned = " It seems to be turned by 90 degrees." if tuple(got) == (want[1], want[0]) else ""
    return (
        f"{name} is {got[0]} x {got[1]} and its image {want[0]} x {want[1]} pixels (height x "
        f"width).{turned} Export the mask again at the size of the image."
    )


def value_sentence(name: str, strange: Sequence[int], known: Iterable[int]) -> str:
    """The sentence for mask values that are no classes."""
    values = ", ".join(str(v) for v in strange[:5])
    classes = ", ".join(str(v) for v in sorted({0, *known})[:12])
    return (
        f"{name} has the value {values}, which is no class (they are {classes}). Correct the mask "
        "or add the value to classes.csv."
    )
