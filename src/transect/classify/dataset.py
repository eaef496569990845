"""A survey with labels as training sees it: every image decoded once, at a size that fits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.buffers import in_memory_or_file
from transect.data.folder import in_threads
from transect.data.geometry import match_channels
from transect.data.images import read_image
from transect.data.inputs import Inputs, picture_channels
from transect.errors import TransectError
from transect.recipe import Geometry
from transect.types import Image, LabelKind, Problem, Survey

__all__ = ["LabelledImages", "decoded", "labelled_images"]

LONGEST = 640  # pixels: longer images are shrunk when decoded


@dataclass(frozen=True)
class LabelledImages:
    """Images with their labels; number i is the same in all of it.

    Attributes:
        images: Those that could be decoded.
        pixels: (h, w, C) of each, as stored but for its size.
        truth: (N, C) int8, 1 where an image has the label.
        classes: (C,) names; grades from the lowest.
        kind: single, several or grades.
        channels: Of the pixels.
        problems: The images that could not be decoded.
    """

    images: tuple[Image, ...]
    pixels: Sequence[NDArray[Any]]
    truth: NDArray[np.int8]
    classes: tuple[str, ...]
    kind: LabelKind
    channels: int
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.images)

    @property
    def rarest(self) -> NDArray[np.int64]:
        """(N,) of every image the label that fewest others have; C where it has none."""
        counts = self.truth.sum(axis=0, dtype=np.int64)
        rarity = np.where(self.truth > 0, counts, len(self) + 1)
        return np.where(self.truth.any(axis=1), rarity.argmin(axis=1), len(self.classes))

    @property
    def external(self) -> NDArray[np.bool_]:
        """(N,) images of another survey: every fold trains on them and none scores them."""
        return np.array([image.split == "external" for image in self.images], bool)

    def inputs(self, geometry: Geometry) -> Inputs:
        """How their pixels become the input of a network."""
        bare = Inputs.of(self.images, geometry)
        bare = dataclasses.replace(bare, channels=self.channels)
        if geometry.normalise != "survey":
            return bare
        every = np.concatenate(
            [
                part[:: max(1, part.shape[0] // 64)].reshape(-1, self.channels)
                for part in self.pixels
            ]
        ).astype(np.float64)
        statistics = tuple(every.mean(axis=0)), tuple(every.std(axis=0))
        return dataclasses.replace(bare, statistics=statistics)

    def take(self, rows: NDArray[np.integer]) -> LabelledImages:
        """Some of the images, nothing decoded again."""
        chosen = rows.tolist()
        return dataclasses.replace(
            self,
            images=tuple(self.images[i] for i in chosen),
            pixels=[self.pixels[i] for i in chosen],
            truth=self.truth[rows],
        )


def labelled_images(
    survey: Survey, scratch: Path | None, progress: Callable[[int, int], None] | None = None
) -> LabelledImages:
    """Decode the labelled training images of a survey.

    Args:
        survey: With labels.
        scratch: Folder for pixels that do not fit into memory.
        progress: Told (done, all).

    Raises:
        TransectError: If no image can be decoded.
    """
    assert survey.labels is not None
    assert survey.label_kind is not None
    labels = survey.labels.set_index("image")[list(survey.classes)]
    known = set(labels.index)
    images = [image for image in survey.training() if image.name in known]
    channels = picture_channels(images)
    made = in_threads(lambda image: _try_decoded(image, channels), images, progress)
    good = [i for i, item in enumerate(made) if not isinstance(item, str)]
    problems = tuple(
        Problem(images[i].name, item) for i, item in enumerate(made) if isinstance(item, str)
    )
    if not good:
        first = f" (first: {problems[0].what})" if problems else ""
        raise TransectError(f"{survey.root} has no labelled image that can be read{first}.")
    kept = tuple(images[i] for i in good)
    return LabelledImages(
        kept,
        in_memory_or_file(
            [item for item in made if not isinstance(item, str)],
            scratch and scratch / "images.bin",
        ),
        labels.loc[[image.name for image in kept]].to_numpy(np.int8),
        survey.classes,
        survey.label_kind,
        channels,
        problems,
    )


def decoded(image: Image, channels: int) -> NDArray[Any]:
    """Read an image, with given channels, no longer than ``LONGEST``; its type is kept.

    Raises:
        TransectError: If it cannot be read, or its channels do not fit.
    """
    import cv2

    pixels = match_channels(read_image(image.path), channels)
    factor = LONGEST / max(pixels.shape[:2])
    if factor >= 1:
        return np.ascontiguousarray(pixels)
    size_wh = tuple(max(1, round(side * factor)) for side in pixels.shape[1::-1])
    shrunk = cv2.resize(np.ascontiguousarray(pixels), size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, pixels.dtype).reshape(size_wh[1], size_wh[0], channels)


def _try_decoded(image: Image, channels: int) -> NDArray[Any] | str:
    """An image, or the sentence that says why not."""
    try:
        return decoded(image, channels)
    except TransectError as error:
        return str(error)
