"""The records that travel between the rooms: what a survey is, what a sample is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "Expecting",
    "Image",
    "LabelKind",
    "MaskKind",
    "Problem",
    "Progress",
    "Question",
    "Quiet",
]
__all__ += ["Sample", "Survey"]

Question = Literal["segment", "count", "identify", "classify"]
MaskKind = Literal["binary", "classes", "instances"]
LabelKind = Literal["single", "several", "grades"]


IMAGE_COLUMNS = ("group", "depth", "date", "side", "scale", "split", "kind", "weight")
"""What ``images.csv`` may say of an image; each is an attribute of ``Image``."""


@dataclass(frozen=True)
class Image:
    """One picture of a survey: where it is and what the table says of it.

    Attributes:
        name: The key of the image everywhere: its path below ``images/``, forward slashes.
        path: Where the file is.
        size_hw: (height, width) in pixels, after EXIF orientation.
        channels: Stored channels; alpha does not count.
        dtype: ``uint8``, ``uint16``, ``float32``: what decoding gives.
        group: Site, flight, encounter or slide; images of one group never part in folds.
        depth: A number per image (metres below surface, altitude), or None.
        date: As written in the table, or None.
        side: The flank or view (``left``), or None.
        scale: Ground size of one pixel, or None. The unit is the survey's own.
        split: ``train``; ``test`` for images that no training may see; or ``external`` for images
            of another survey (labels only), which every fold trains on and none scores.
        kind: What sort of picture it is (stain, camera, habitat), or None; folds may balance it.
        weight: How much it counts in training beside others, at least 0: images that come from
            elsewhere may count less. Scores do not ask for it.
        void: Share of its pixels that hold no data, in [0, 1].
        output: How files made from it are called, if not as ``stem`` would say: where images
            share a stem.
    """

    name: str
    path: Path
    size_hw: tuple[int, int]
    channels: int
    dtype: str = "uint8"
    group: str | None = None
    depth: float | None = None
    date: str | None = None
    side: str | None = None
    scale: float | None = None
    split: str = "train"
    kind: str | None = None
    weight: float = 1.0
    void: float = 0.0
    output: str = ""

    @property
    def stem(self) -> str:
        """How files made from it are called: its name without suffix, unless that is shared."""
        return self.output or PurePosixPath(self.name).with_suffix("").as_posix()


@dataclass(frozen=True)
class Problem:
    """Something wrong with one file of a survey; the file is left out and listed.

    Attributes:
        name: The image or annotation file, relative to the survey.
        what: One sentence: what is wrong and what to do.
        unsure: Images of which something may be missing because of it; they are not to be taken
            for empty.
    """

    name: str
    what: str
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """A folder of pictures with their annotations, checked once when opened.

    Attributes:
        root: The folder.
        question: What is asked of it.
        images: All readable images, sorted by name; ``split`` says which are for training.
        classes: Foreground classes of masks, classes of dots, identities, or labels, in a fixed
            order; grades from the lowest.
        class_values: The number that stands for each class in the mask files; empty if there
            are no masks or they are of instances. ``data.survey.mask_labels`` maps them.
        mask_kind: How ``masks`` are to be read; None if the survey has none.
        masks: Image name to mask file; label images, 0 is background. A training image without
            an entry has an empty mask; unlabelled images have the split ``test``.
        points: Columns image, x, y, class (x right, y down, pixel centres at integers), or None.
        counts: Columns image, then one per class, non-negative numbers, or None.
        identities: Columns image, identity and, where given, x0, y0, x1, y1, side, group,
            date; or None.
        boxes: Columns image, x0, y0, x1, y1, class; or None.
        labels: Columns image, then 0 or 1 for every class, one row per image; or None.
        label_kind: single (one label each), several, or grades (one each, ordered); None without
            labels.
        unknown: The identity that stands for "none we know".
        problems: Files that were left out, each with its sentence.
        notes: How files were read that could be read otherwise, and how to say so; one sentence
            each.
        void_values: Numbers in the mask files whose pixels count for nothing.
        background_values: Numbers besides 0 that mean background.
        objects: Image name to the class, from 1 in the order of ``classes``, of each numbered
            object of its mask, where objects.csv says it: the masks are then read as classes.
    """

    root: Path
    question: Question
    images: tuple[Image, ...]
    classes: tuple[str, ...]
    mask_kind: MaskKind | None = None
    class_values: tuple[int, ...] = ()
    masks: Mapping[str, Path] = field(default_factory=dict)
    points: pd.DataFrame | None = None
    counts: pd.DataFrame | None = None
    identities: pd.DataFrame | None = None
    boxes: pd.DataFrame | None = None
    labels: pd.DataFrame | None = None
    label_kind: LabelKind | None = None
    unknown: str = "unknown"
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    void_values: tuple[int, ...] = ()
    background_values: tuple[int, ...] = ()
    objects: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def training(self) -> tuple[Image, ...]:
        """The images that training and folds may use."""
        return tuple(image for image in self.images if image.split != "test")


@dataclass(frozen=True)
class Sample:
    """One picture with whatever must move with it when it is warped.

    Attributes:
        image: (H, W, C) uint8, uint16 or float32.
        planes: (H, W, T) float32 or uint8 soft targets, warped linearly; or None.
        labels: (H, W) integer labels, warped to the nearest; or None.
        points: (K, 2) float32 x, y; or None.
        boxes: (K, 4) float32 x0, y0, x1, y1; or None.
    """

    image: NDArray[np.generic]
    planes: NDArray[np.generic] | None = None
    labels: NDArray[np.integer] | None = None
    points: NDArray[np.float32] | None = None
    boxes: NDArray[np.float32] | None = None


class Progress(Protocol):
    """What long work tells while it runs; the command line shows it, a library caller may not."""

    def say(self, line: str) -> None:
        """Tell one line that the user should read: a finding, a decision, a result."""

    def step(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Tell how far a phase is; a new phase name begins a new bar."""


@runtime_checkable
class Expecting(Protocol):
    """A progress that shows how much of the whole time is left."""

    def expect(self, seconds: float) -> None:
        """Tell how long all of it will take from now on."""


class Quiet:
    """A progress that tells nothing."""

    def say(self, line: str) -> None:
        """Drop the line."""

    def step(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Drop the step."""
