"""Mask files read as labels that mean the same in every survey."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.images import read_labels, read_void
from transect.errors import TransectError
from transect.types import Image, Survey

__all__ = [
    "class_labels",
    "mask_labels",
    "object_numbers",
    "object_sentence",
    "size_sentence",
    "value_sentence",
]


def mask_labels(
    survey: Survey, image: Image | str, *, of_picture: bool = True
) -> NDArray[np.int32]:
    """Read one image's mask as numbers that mean the same in every survey.

    Args:
        survey: With masks.
        image: The image; a name is looked up in the list of all.
        of_picture: Whether pixels without data in the picture are to be ignored, too.

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
        labels = np.zeros(image.size_hw, np.int32)
    else:
        classes = survey.objects.get(image.name, {}) if survey.objects else None
        labels = _labels_from(survey.masks[image.name], image.size_hw, survey, classes)
    if of_picture and image.void and (void := read_void(image.path)) is not None:
        labels[void] = -1
    return labels


def object_numbers(survey: Survey, name: str) -> NDArray[np.int32]:
    """The numbers of the objects of an image's mask, where ``objects.csv`` names their classes.

    Args:
        survey: With ``objects``.
        name: An image that has a mask.

    Returns:
        (H, W), 0 where no object is.

    Raises:
        TransectError: As ``mask_labels``.
    """
    labels = read_labels(survey.masks[name])
    strange = sorted(set(np.unique(labels).tolist()) - {0, *survey.objects.get(name, {})})
    if strange:
        raise TransectError(object_sentence(survey.masks[name].as_posix(), strange))
    return labels


def _labels_from(
    path: Path,
    size_hw: tuple[int, int],
    survey: Survey,
    classes: Mapping[int, int] | None,
) -> NDArray[np.int32]:
    """Read a mask file as ``mask_labels`` does, without looking the image up."""
    labels = read_labels(path)
    if labels.shape != tuple(size_hw):
        raise TransectError(size_sentence(path.as_posix(), labels.shape, size_hw))
    if survey.mask_kind != "classes":
        meant = (labels > 0).astype(np.int32) if survey.mask_kind == "binary" else labels.copy()
        meant[labels < 0] = -1
        return _set_aside(labels, meant, survey)
    top = int(labels.max(initial=0))
    values = class_labels(survey) if classes is None else classes
    if top > 1 << 20:
        raise TransectError(value_sentence(path.as_posix(), [top], values))
    # One more for -1, which is the last from either end.
    table = np.full(top + 2, -2, np.int32)
    table[0], table[-1] = 0, -1
    for value, index in values.items():
        if 0 <= value <= top:
            table[value] = index
    mapped = table[labels]
    if (mapped == -2).any():
        strange = np.unique(labels[mapped == -2]).tolist()
        if classes is not None:
            raise TransectError(object_sentence(path.as_posix(), strange))
        raise TransectError(value_sentence(path.as_posix(), strange, values))
    return mapped


def _set_aside(
    labels: NDArray[np.int32], meant: NDArray[np.int32], survey: Survey
) -> NDArray[np.int32]:
    """Mark what counts for nothing, and what is background, by the numbers in the file."""
    for values, label in ((survey.background_values, 0), (survey.void_values, -1)):
        if values:
            meant[np.isin(labels, values)] = label
    return meant


def class_labels(survey: Survey) -> dict[int, int]:
    """Mask value to label: 1, 2, ... by class, 0 for background, -1 for what counts for nothing."""
    return {
        **{value: i for i, value in enumerate(survey.class_values, start=1)},
        **dict.fromkeys(survey.background_values, 0),
        **dict.fromkeys(survey.void_values, -1),
    }


def size_sentence(name: str, got: Sequence[int], want: Sequence[int]) -> str:
    """The sentence for a mask that does not fit its image."""
    turned = " It seems to be turned by 90 degrees." if tuple(got) == (want[1], want[0]) else ""
    return (
        f"{name} is {got[0]} x {got[1]} and its image {want[0]} x {want[1]} pixels (height x "
        f"width).{turned} Export the mask again at the size of the image."
    )


def object_sentence(name: str, strange: Sequence[int]) -> str:
    """The sentence for objects without a class."""
    values = ", ".join(str(v) for v in strange[:5])
    return f"{name} holds object {values}, which objects.csv does not name. Add its row."


def value_sentence(name: str, strange: Sequence[int], known: Iterable[int]) -> str:
    """The sentence for mask values that are no classes."""
    values = ", ".join(str(v) for v in strange[:5])
    classes = ", ".join(str(v) for v in sorted({0, *known})[:12])
    return (
        f"{name} has the value {values}, which is no class (they are {classes}). Correct the mask "
        "or add the value to classes.csv."
    )
