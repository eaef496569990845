"""A survey of masks as the training sees it: decoded once, with what each image holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.cache import PixelCache
from transect.data.inputs import Inputs, mask_names
from transect.data.survey import fingerprint, mask_labels
from transect.recipe import Geometry, Member, Stage
from transect.segment.targets import object_centres, plane_names, planes_of
from transect.train.dense import DenseSource
from transect.train.samplers import weights_of
from transect.types import Image, MaskKind, Problem, Sample, Survey

__all__ = ["MaskDataset"]


class MaskDataset:
    """The training images of a survey with their masks; number i is the i-th by name.

    Attributes:
        survey: Where they come from.
        images: Those that could be decoded.
        problems: Those that could not, with the sentence.
        kind: How the masks are read.
    """

    def __init__(
        self,
        survey: Survey,
        *,
        scratch: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Decode all training images and their masks, so that broken files are found now.

        Args:
            survey: A survey with masks.
            scratch: Folder for decoded pixels that do not fit into memory.
            progress: Told (done, all).
        """
        self.survey = survey
        self.kind: MaskKind = survey.mask_kind or "binary"
        self.cache = PixelCache(
            survey.training(),
            scratch,
            labels_of=lambda image: mask_labels(survey, image),
            key=fingerprint(survey)["sha256"],
            progress=progress,
        )
        self.images: tuple[Image, ...] = self.cache.images
        self.problems: tuple[Problem, ...] = self.cache.problems
        self._centres: dict[int, NDArray[np.float32]] = {}

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the planes that a network draws."""
        return plane_names(self.kind, self.survey.classes)

    @cached_property
    def coverage(self) -> NDArray[np.float64]:
        """Share of foreground of every image, in [0, 1]."""
        return np.array([np.mean(self.labels(i) > 0) for i in range(len(self.images))])

    @cached_property
    def flat(self) -> NDArray[np.bool_]:
        """Which images have one grey value only."""
        return np.array([np.ptp(self.cache.image(i)) == 0 for i in range(len(self.images))])

    def labels(self, i: int) -> NDArray[np.integer]:
        """The mask of image i: (H, W), 0 is background, -1 does not count."""
        return self.cache.labels(i)

    def centres(self, i: int) -> NDArray[np.float32]:
        """Points to aim at in image i: (K, 2) x, y."""
        if i not in self._centres:
            self._centres[i] = object_centres(self.labels(i), self.kind)
        return self._centres[i]

    def inputs(self, geometry: Geometry) -> Inputs:
        """How this survey's pixels become the input of a network."""
        bare = Inputs.of(self.survey.images, geometry)
        if geometry.normalise != "survey":
            return bare
        return Inputs.of(self.survey.images, geometry, self.cache.statistics(bare.channels))

    def source(
        self, geometry: Geometry, channels: Callable[[Image], NDArray[np.uint8]] | None = None
    ) -> DenseSource:
        """What dense batches are drawn from.

        Args:
            geometry: Of the network's input.
            channels: From an image to the predicted masks (H, W, M) that are channels; None takes
                empty ones, which is good enough to take the time of a step.
        """
        inputs = self.inputs(geometry)
        count = len(mask_names(geometry))

        def sample(i: int) -> Sample:
            image, planes = self.images[i], None
            if count:
                empty = np.zeros((*image.size_hw, count), np.uint8)
                planes = channels(image) if channels else empty
            return Sample(self.cache.image(i), planes=planes, labels=self.labels(i))

        return DenseSource(
            shapes=[image.size_hw for image in self.images],
            sample=sample,
            prepare=lambda pixels, i, window, *masks: inputs.prepare(
                pixels, self.images[i], window, *masks
            ),
            target=self._target,
            centres=self.centres,
            coverage=self.coverage,
            classes=self._classes_at if self.kind == "classes" else None,
            image_weights=weights_of(self.images),
        )

    def _classes_at(self, i: int) -> NDArray[np.int64]:
        """The class at each of the points to aim at in image i: (K,)."""
        x, y = self.centres(i).astype(np.intp).T
        return self.labels(i)[y, x].astype(np.int64)

    def steps_of(self, member: Member, stage: Stage) -> int:
        """Steps of one epoch of a stage when a fifth of the images is held out."""
        if stage.steps:
            return stage.steps
        count = len(self.images) * 0.8
        if member.geometry.fit == "tile":
            height, width = stage.size_hw or member.geometry.size_hw
            scale = member.geometry.scale**2
            areas = (math.prod(image.size_hw) * scale for image in self.images)
            count = 0.8 * sum(max(1.0, area / (height * width)) for area in areas)
        return max(1, math.ceil(count / stage.batch))

    def _target(self, sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Planes of a warped mask (T, h, w) in [0, 1], and the pixels that count (1, h, w)."""
        assert sample.labels is not None
        planes = planes_of(sample.labels, self.kind, len(self.survey.classes))
        counted = (sample.labels >= 0).astype(np.float32)[None]
        return np.moveaxis(planes, -1, 0).astype(np.float32) / np.float32(255), counted
