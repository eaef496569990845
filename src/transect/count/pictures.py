"""A survey of dots as the training sees it: decoded once, whole or in blocks, with its counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.count.targets import spacing_of
from transect.data.cache import PixelCache
from transect.data.inputs import Inputs
from transect.data.survey import fingerprint
from transect.errors import TransectError
from transect.recipe import Geometry, Member, Stage
from transect.types import Image, Problem, Sample, Survey

__all__ = ["Block", "CountPictures"]

_REACH_PX = 64  # dots so far outside a block are still drawn where they reach into it; our choice


@dataclass(frozen=True)
class Block:
    """A part of a photo, or all of it: the unit of folds, residuals and sampling.

    Attributes:
        photo: Number of the photo.
        top: First row in the photo.
        left: First column.
        size_hw: (height, width).
    """

    photo: int
    top: int
    left: int
    size_hw: tuple[int, int]


class CountPictures:
    """The training photos of a survey with their dots; number i is the i-th block.

    Attributes:
        survey: Where they come from.
        photos: The photos that could be decoded.
        problems: Those that could not, with the sentence.
        blocks: The units; whole photos unless ``in_blocks`` divided them.
        images: One per block, with its size; of a part, the name tells its place.
        classes: Names.
    """

    def __init__(
        self,
        survey: Survey,
        *,
        scratch: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Decode all training photos, so that broken files are found now.

        Args:
            survey: A survey with dots.
            scratch: Folder for decoded pixels that do not fit into memory.
            progress: Told (done, all).

        Raises:
            TransectError: If the survey has totals only.
        """
        if survey.points is None:
            raise TransectError(
                f"{survey.root} has totals only (counts.csv), and no dots. Use count.prepare, or "
                "write points.csv (image,x,y,class)."
            )
        self.survey = survey
        self.classes: tuple[str, ...] = survey.classes
        self.cache = PixelCache(
            survey.training(), scratch, key=fingerprint(survey)["sha256"], progress=progress
        )
        self.photos: tuple[Image, ...] = self.cache.images
        self.problems: tuple[Problem, ...] = self.cache.problems
        number = {name: i for i, name in enumerate(self.classes)}
        table = survey.points
        self._dots: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []
        rows = {str(name): part for name, part in table.groupby("image", sort=False)}
        for photo in self.photos:
            part = rows.get(photo.name, table.iloc[:0])
            kinds = np.array([number[str(c)] for c in part["class"]], np.int64)
            self._dots.append((part[["x", "y"]].to_numpy(np.float32).reshape(-1, 2), kinds))
        self._boxes: list[tuple[NDArray[np.float32], NDArray[np.int64]]] | None = None
        self._set_blocks([Block(i, 0, 0, photo.size_hw) for i, photo in enumerate(self.photos)])

    def in_blocks(self, side_px: int) -> CountPictures:
        """The same photos divided into blocks of about ``side_px``; pixels are shared."""
        other = object.__new__(CountPictures)
        other.__dict__.update(self.__dict__)
        blocks = []
        for number, photo in enumerate(self.photos):
            rows, columns = (max(1, round(size / side_px)) for size in photo.size_hw)
            tops = np.round(np.linspace(0, photo.size_hw[0], rows + 1)).astype(int)
            lefts = np.round(np.linspace(0, photo.size_hw[1], columns + 1)).astype(int)
            for i in range(rows):
                for j in range(columns):
                    size = (int(tops[i + 1] - tops[i]), int(lefts[j + 1] - lefts[j]))
                    blocks.append(Block(number, int(tops[i]), int(lefts[j]), size))
        other._set_blocks(blocks)
        return other

    @property
    def divided(self) -> bool:
        """Whether photos are in blocks."""
        return len(self.blocks) != len(self.photos)

    def _set_blocks(self, blocks: list[Block]) -> None:
        """Take up a division."""
        self.blocks = tuple(blocks)
        whole = len(blocks) == len(self.photos)
        images, inside = [], []
        for block in blocks:
            photo = self.photos[block.photo]
            # A part keeps its photo as group, so that folds by group never split a photo.
            images.append(
                photo
                if whole
                else replace(
                    photo,
                    name=f"{photo.name}@{block.top},{block.left}",
                    size_hw=block.size_hw,
                    group=photo.group or photo.name,
                )
            )
            points, _ = self._dots[block.photo]
            cell = np.floor(points + 0.5) - (block.left, block.top)
            height, width = block.size_hw
            inside.append(
                (cell[:, 0] >= 0) & (cell[:, 0] < width) & (cell[:, 1] >= 0) & (cell[:, 1] < height)
            )
        self.images: tuple[Image, ...] = tuple(images)
        self._inside = inside
        self.counts: NDArray[np.float64] = np.array(
            [np.bincount(self.dots(i)[1], minlength=len(self.classes)) for i in range(len(blocks))],
            np.float64,
        ).reshape(len(blocks), len(self.classes))

    def pixels(self, i: int) -> NDArray[Any]:
        """The pixels of block i: (H, W, C), a read-only view."""
        block = self.blocks[i]
        (height, width), top, left = block.size_hw, block.top, block.left
        return self.cache.image(block.photo)[top : top + height, left : left + width]

    def dots(self, i: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Positions (K, 2) x, y in block i and classes (K,) of the dots inside it."""
        block, inside = self.blocks[i], self._inside[i]
        points, kinds = self._dots[block.photo]
        return points[inside] - np.array([block.left, block.top], np.float32), kinds[inside]

    def photo_dots(self, photo: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Positions (K, 2) x, y and classes (K,) of a photo's dots."""
        return self._dots[photo]

    def photo_boxes(self, photo: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Boxes (K, 4) x0, y0, x1, y1 of a photo's objects and their classes (K,).

        Objects that have a dot and no box get a square of the usual size: the median of the
        survey's boxes, or without any 0.7 of the dots' spacing, which is our guess.
        """
        if self._boxes is None:
            self._boxes = self._all_boxes()
        return self._boxes[photo]

    def boxes(self, i: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Boxes (K, 4) in pixels of block i, and their classes: those whose middle is inside."""
        block = self.blocks[i]
        boxes, kinds = self.photo_boxes(block.photo)
        moved = boxes - np.array([block.left, block.top] * 2, np.float32)
        middle = (moved[:, :2] + moved[:, 2:]) / 2
        size = np.array(block.size_hw[::-1]) - 0.5
        inside = ((middle >= -0.5) & (middle < size)).all(axis=1)
        return moved[inside], kinds[inside]

    def boxed(self, i: int, *, merge: bool = False) -> Sample:
        """Block i with columns x0, y0, x1, y1, class of all boxes that reach into it."""
        block = self.blocks[i]
        boxes, kinds = self.photo_boxes(block.photo)
        moved = boxes - np.array([block.left, block.top] * 2, np.float32)
        size = np.array(block.size_hw[::-1])
        near = ((moved[:, 2:] > 0) & (moved[:, :2] < size)).all(axis=1)
        classes = kinds[near, None].astype(np.float32) * (not merge)
        rows = np.concatenate([moved[near], classes], axis=1)
        return Sample(self.pixels(i), boxes=rows)

    @property
    def most_boxes(self) -> int:
        """Boxes of the fullest photo."""
        return max(1, *(len(self.photo_boxes(i)[0]) for i in range(len(self.photos))))

    def box_side(self, share: float) -> float:
        """A quantile of the boxes' sides (square root of area), in pixels of the photos."""
        boxes = np.concatenate([self.photo_boxes(i)[0] for i in range(len(self.photos))])
        sides = np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6), axis=1))
        return float(np.quantile(sides, share)) if len(sides) else 16.0

    def _all_boxes(self) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """The survey's boxes by photo, and squares around dots that no box of their class holds."""
        table, number = self.survey.boxes, {name: i for i, name in enumerate(self.classes)}
        side, rows = 0.7 * self.spacing(), {}
        if table is not None and len(table):
            rows = {str(name): part for name, part in table.groupby("image", sort=False)}
            sides = table[["x1", "y1"]].to_numpy(float) - table[["x0", "y0"]].to_numpy(float)
            side = float(np.median(np.sqrt(sides.prod(axis=1))))
        found = []
        for i, photo in enumerate(self.photos):
            points, kinds = self._dots[i]
            boxes, own = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
            if photo.name in rows:
                part = rows[photo.name]
                boxes = part[["x0", "y0", "x1", "y1"]].to_numpy(np.float32)
                own = np.array([number[str(c)] for c in part["class"]], np.int64)
            bare = ~_held(points, kinds, boxes, own)
            squares = np.concatenate([points[bare] - side / 2, points[bare] + side / 2], axis=1)
            found.append((np.concatenate([boxes, squares]), np.concatenate([own, kinds[bare]])))
        return found

    def spacing(self) -> float:
        """Usual distance of neighbouring dots in pixels; see ``targets.spacing_of``."""
        points = np.concatenate([dots for dots, _ in self._dots])
        owner = np.repeat(np.arange(len(self._dots)), [len(dots) for dots, _ in self._dots])
        return spacing_of(points, owner)

    def inputs(self, geometry: Geometry) -> Inputs:
        """How this survey's pixels become the input of a network."""
        bare = Inputs.of(self.survey.images, geometry)
        if geometry.normalise != "survey":
            return bare
        return Inputs.of(self.survey.images, geometry, self.cache.statistics(bare.channels))

    def sample(self, i: int) -> Sample:
        """Block i with columns x, y, class of its dots and of those close around it."""
        block = self.blocks[i]
        points, kinds = self._dots[block.photo]
        moved = points - np.array([block.left, block.top], np.float32)
        height, width = block.size_hw
        near = (
            (moved > -_REACH_PX) & (moved < np.array([width, height], np.float32) + _REACH_PX)
        ).all(1)
        rows = np.concatenate([moved[near], kinds[near, None].astype(np.float32)], axis=1)
        return Sample(self.pixels(i), points=rows)

    def table(self) -> pd.DataFrame:
        """One row per block for making folds: image, group, count, class (the main one)."""
        main = [self.classes[int(row.argmax())] if row.sum() else "" for row in self.counts]
        return pd.DataFrame(
            {
                "image": [image.name for image in self.images],
                "group": [image.group for image in self.images],
                "kind": [image.kind for image in self.images],
                "depth": [image.depth for image in self.images],
                "count": self.counts.sum(axis=1),
                "class": main,
            }
        )

    def steps_of(self, member: Member, stage: Stage) -> int:
        """Steps of one epoch of a stage when a fifth of the photos is held out."""
        if stage.steps:
            return stage.steps
        height, width = stage.size_hw or member.geometry.size_hw
        scale = member.geometry.scale**2
        areas = (math.prod(photo.size_hw) * scale for photo in self.photos)
        count = 0.8 * sum(max(1.0, area / (height * width)) for area in areas)
        return max(1, math.ceil(count / stage.batch))


def _held(
    points: NDArray[np.float32],
    kinds: NDArray[np.int64],
    boxes: NDArray[np.float32],
    own: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which dots (K,) lie in a box of their class."""
    held = np.zeros(len(points), bool)
    order = np.argsort(points[:, 0], kind="stable")
    across = points[order, 0]
    firsts = np.searchsorted(across, boxes[:, 0], side="left")
    lasts = np.searchsorted(across, boxes[:, 2], side="right")
    for box, kind, first, last in zip(boxes, own, firsts, lasts, strict=True):
        some = order[first:last]
        inside = (points[some, 1] >= box[1]) & (points[some, 1] <= box[3])
        held[some[inside & (kinds[some] == kind)]] = True
    return held
