"""What the parts of a run on masks take, measured on the survey before it begins."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from transect.predict.tiling import tile_starts
from transect.recipe import Geometry, Member, Recipe, SegmentDecide
from transect.segment.choosing import compared_on
from transect.segment.dataset import MaskDataset
from transect.segment.masks import TIMES_ASKED, TRIED, grids_of, middle, try_decisions
from transect.segment.pseudo import stages_of_round
from transect.segment.targets import planes_of
from transect.segment.training import pace_of
from transect.types import Image

__all__ = [
    "PAGE_SECONDS",
    "Cost",
    "cost_of",
    "made_affordable",
    "snapshots_of",
    "training_share",
    "windows_of",
]

_PREDICTING = 0.6  # most of what is not training that predicting and choosing may take; our choice
_LEAST_PICTURES = 12  # our choice: fewer cannot tell one threshold from another
_ENOUGH_PICTURES = 64  # our guess: more only where they take a twentieth of the time
_SCORE_DECISIONS = 2  # all metrics and the gallery, per image; measured on nuclei
PAGE_SECONDS = 5.0
"""Charts and report; measured on one busy core."""
_SLACK = 1.05  # snapshots and states, the first step of every stage; our guess


@dataclass(frozen=True)
class Cost:
    """Seconds that the parts of a run take on this device and survey.

    Attributes:
        step: A training step.
        window: One window through the network, one view.
        decision: Deciding on one image and scoring the answer by the tuned metric.
    """

    step: float
    window: float
    decision: float

    def steps_within(self, seconds: float, recipe: Recipe, dataset: MaskDataset) -> int:
        """Training steps that fit beside all else; negative if the rest alone is too long."""
        aside = (
            self.choosing(recipe, dataset)
            + self.predicting(recipe, dataset)
            + self.deciding(recipe, dataset)
            + PAGE_SECONDS
        )
        return int((seconds - aside) / (_SLACK * self.step))

    def choosing(self, recipe: Recipe, dataset: MaskDataset) -> float:
        """Comparing stages and views on a few held-out images."""
        share = min(compared_on(recipe) / len(dataset.images), _held_out(recipe))
        first = next(member for member in recipe.members if member.weight)
        views = len(recipe.views) if recipe.drop_views and len(recipe.views) > 1 else 0
        windows = windows_of(dataset.images, first.geometry) * views
        for member in recipe.members if recipe.drop_stages else ():
            stages = sum(bool(stage.weight) for stage in member.stages)
            windows += windows_of(dataset.images, member.geometry) * (stages if stages > 1 else 0)
        return share * windows * self.window

    def predicting(self, recipe: Recipe, dataset: MaskDataset) -> float:
        """All held-out images by every member, with all views."""
        each = sum(
            windows_of(dataset.images, member.geometry)
            * (1 if recipe.drop_stages else snapshots_of(recipe, member))
            for member in recipe.members
            if member.weight
        )
        return each * self.window * len(recipe.views) * _held_out(recipe)

    def deciding(self, recipe: Recipe, dataset: MaskDataset) -> float:
        """Tuning on some held-out images, then scoring all of them."""
        assert isinstance(recipe.decide, SegmentDecide)
        held_out = round(_held_out(recipe) * len(dataset.images))
        values = sum(len(grid) for grid in grids_of(dataset.kind).values())
        tuned = min(recipe.decide.pictures, held_out)
        return self.decision * (tuned * values * TIMES_ASKED + held_out * _SCORE_DECISIONS)


def cost_of(
    dataset: MaskDataset,
    member: Member,
    metric: str,
    *,
    device: str,
    most_seconds: float = 20.0,
    decision: float | None = None,
) -> Cost:
    """Time a few training steps, a forward pass and a few decisions here, on this survey.

    Args:
        dataset: The survey.
        member: Whose steps.
        metric: That decisions are tuned for.
        device: Where.
        most_seconds: After these no further step is timed; the first two always are.
        decision: Seconds of a decision, where they are known already.

    Returns:
        The costs.
    """
    pace = pace_of(dataset, member, device=device, most_seconds=most_seconds)
    return Cost(
        step=max(pace.step_seconds, pace.batch_seconds),
        window=pace.evaluate_seconds / member.stages[0].batch,
        decision=_decision_seconds(dataset, metric) if decision is None else decision,
    )


def training_share(seconds: float) -> float:
    """The least share of a budget that training gets: half of 3 minutes, .85 of an hour.

    Between and beyond these it goes with the logarithm of the time, up to .9.

    Args:
        seconds: Of the whole budget.

    Returns:
        In [0.4, 0.9].

    Example:
        >>> [round(training_share(60 * minutes), 2) for minutes in (3, 15, 60)]
        [0.55, 0.72, 0.87]
    """
    known = np.log([60.0, 180.0, 900.0, 3600.0])
    return float(np.interp(np.log(max(seconds, 1.0)), known, (0.42, 0.55, 0.72, 0.87)))


def made_affordable(
    recipe: Recipe, cost: Cost, dataset: MaskDataset, *, seconds: float, most: int
) -> Recipe:
    """Spend less on prediction and decisions where training would get less than its share.

    What predicting and choosing take too much of goes first: views, then the overlap of tiles.
    Decisions then look at as many held-out images as fit into what is left beside training, at
    least at 12.

    Args:
        recipe: With its folds.
        cost: Measured here.
        dataset: The survey.
        seconds: For everything from now on.
        most: Images that decisions may be tuned on.

    Returns:
        The recipe, with other views, overlap and ``decide.pictures``.
    """
    aside = (1 - training_share(seconds)) * seconds - PAGE_SECONDS
    views = recipe.views

    def too_much(part: float) -> bool:
        return cost.predicting(recipe, dataset) + cost.choosing(recipe, dataset) > part * aside

    recipe = _deciding_on(recipe, _LEAST_PICTURES)
    while too_much(_PREDICTING) and len(views) > 1:
        views = views[: len(views) // 2]
        recipe = dataclasses.replace(recipe, views=views)
    if too_much(_PREDICTING):
        members = tuple(
            dataclasses.replace(m, geometry=dataclasses.replace(m.geometry, overlap=0.25))
            for m in recipe.members
        )
        recipe = dataclasses.replace(recipe, members=members)
    held_out = round(_held_out(recipe) * len(dataset.images))
    count = max(min(most, _LEAST_PICTURES), min(most, held_out))
    while count > _LEAST_PICTURES:
        recipe = _deciding_on(recipe, count)
        parts = (cost.choosing, cost.predicting, cost.deciding)
        enough = count <= _ENOUGH_PICTURES or cost.deciding(recipe, dataset) <= 0.05 * seconds
        if enough and sum(part(recipe, dataset) for part in parts) <= aside:
            break
        count = max(_LEAST_PICTURES, int(count / 1.25))
    return _deciding_on(recipe, count)


def _deciding_on(recipe: Recipe, count: int) -> Recipe:
    """The recipe with decisions tuned on so many images."""
    assert isinstance(recipe.decide, SegmentDecide)
    return dataclasses.replace(recipe, decide=dataclasses.replace(recipe.decide, pictures=count))


def _held_out(recipe: Recipe) -> float:
    """Share of the images that some trained fold holds out."""
    return (recipe.folds.use or recipe.folds.count) / recipe.folds.count


def windows_of(images: Sequence[Image], geometry: Geometry) -> int:
    """How many windows a network looks at to see all images once.

    Args:
        images: The images.
        geometry: Whole images, or tiles with their overlap.

    Returns:
        Their number.
    """
    if geometry.fit == "whole":
        return len(images)
    return sum(
        math.prod(
            len(tile_starts(round(size * geometry.scale), tile, geometry.overlap))
            for size, tile in zip(image.size_hw, geometry.size_hw, strict=True)
        )
        for image in images
    )


def snapshots_of(recipe: Recipe, member: Member) -> int:
    """How many weights a member predicts with on one fold.

    Args:
        recipe: Its rounds; the last one that trains the member counts.
        member: One of its members.

    Returns:
        As many as the stages with a weight keep; ``best_each`` counts as one.
    """
    rounds = [stages_of_round(member, number) for number in range(len(recipe.pseudo) + 1)]
    stages = [own for own in rounds if own][-1:]
    kept = 0
    for stage in stages[0] if stages else ():
        weight = stage.weight if stage.weight is not None else float(stage is stages[0][-1])
        cycles = max(1, stage.schedule.cycles - stage.drop_first)
        many = {"best_k": stage.keep_k, "cycle_end": cycles, "cycle_best": cycles}
        kept += many.get(stage.keep, 1) if weight else 0
    return max(1, kept)


def _decision_seconds(dataset: MaskDataset, metric: str, shown: int = 4) -> float:
    """One decision of a search, over images of typical annotation; imports do not count."""
    order = np.argsort(dataset.coverage)
    chosen: Sequence[int] = order[len(order) // (2 * shown) :: max(1, len(order) // shown)].tolist()
    classes = len(dataset.survey.classes)
    pairs = []
    for i in chosen[:shown]:
        labels = np.maximum(middle(dataset.labels(i)), 0)
        planes = planes_of(labels, dataset.kind, classes).astype(np.float32) / np.float32(255)
        blurred = np.atleast_3d(cv2.GaussianBlur(planes, (0, 0), 2.0))
        pairs.append((np.moveaxis(blurred, -1, 0).astype(np.float32), labels))
    try_decisions(*pairs[0], metric, dataset.kind, classes)
    began = time.perf_counter()
    for maps, truth in pairs:
        try_decisions(maps, truth, metric, dataset.kind, classes)
    return (time.perf_counter() - began) / (len(pairs) * len(TRIED))
