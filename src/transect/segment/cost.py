"""What a run on masks takes beside training steps, measured on the survey before it begins."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from transect.predict.tiling import tile_starts
from transect.recipe import Geometry, Member, Recipe, SegmentDecide
from transect.segment.deciding import Values, grids_of, labels_of, middle, splitter_of
from transect.segment.pictures import Pictures
from transect.segment.pseudo import stages_of_round
from transect.segment.scoring import tuned_metric
from transect.segment.targets import planes_of
from transect.segment.training import pace_of
from transect.segment.views import LOOKED_AT
from transect.types import Image

__all__ = ["Cost", "cost_of", "made_affordable", "snapshots_of", "windows_of"]

_PREDICTING, _DECIDING = 0.15, 0.1  # most of a budget that each may take, if there is a choice
_LEAST_PICTURES = 12  # our choice: fewer cannot tell one threshold from another
_ROUNDS = 2.5  # times that a picture meets every value of the grids; measured on nuclei
_SCORE_DECISIONS = 2  # all metrics and the gallery, per picture; measured on nuclei
_PAGE_SECONDS = 5.0  # charts and report; measured on one busy core
_TRIED: tuple[dict[str, Any], ...] = ({"threshold": 0.6}, {"seed_threshold": 0.5}, {"min_area": 20})
_SLACK = 1.1  # validation, snapshots, a busier machine; our guess


@dataclass(frozen=True)
class Cost:
    """Seconds that the parts of a run take on this device and survey.

    Attributes:
        step: A training step.
        window: One window through the network, one view.
        decision: Deciding on one picture and scoring the answer by the tuned metric.
    """

    step: float
    window: float
    decision: float

    def times(self, *, step: float, window: float) -> Cost:
        """The same with cheaper or dearer steps and windows."""
        return dataclasses.replace(self, step=self.step * step, window=self.window * window)

    def steps_within(self, seconds: float, recipe: Recipe, pictures: Pictures) -> int:
        """Training steps that fit beside all else; negative if the rest alone is too long."""
        aside = self.predicting(recipe, pictures) + self.deciding(recipe, pictures) + _PAGE_SECONDS
        return int((seconds - aside) / (_SLACK * self.step))

    def predicting(self, recipe: Recipe, pictures: Pictures) -> float:
        """Comparing views on a few pictures, then all held-out ones by every member."""
        share, views = _held_out(recipe), len(recipe.views)
        compared = min(LOOKED_AT / len(pictures.images), share) if views > 1 else 0.0
        each = sum(
            windows_of(pictures.images, member.geometry) * snapshots_of(recipe, member)
            for member in recipe.members
            if member.weight
        )
        return each * self.window * views * (share + compared)

    def deciding(self, recipe: Recipe, pictures: Pictures) -> float:
        """Tuning on some held-out pictures, then scoring all of them."""
        assert isinstance(recipe.decide, SegmentDecide)
        held_out = round(_held_out(recipe) * len(pictures.images))
        values = sum(len(grid) for grid in grids_of(pictures.kind).values())
        tuned = min(recipe.decide.pictures, held_out)
        return self.decision * (tuned * values * _ROUNDS + held_out * _SCORE_DECISIONS)


def cost_of(pictures: Pictures, member: Member, metric: str, *, device: str) -> Cost:
    """Time a few training steps, a forward pass and a few decisions here, on this survey."""
    pace = pace_of(pictures, member, device=device)
    return Cost(
        step=max(pace.step_seconds, pace.batch_seconds),
        window=pace.evaluate_seconds / member.stages[0].batch,
        decision=_decision_seconds(pictures, metric),
    )


def made_affordable(recipe: Recipe, cost: Cost, pictures: Pictures, *, seconds: float) -> Recipe:
    """Spend less on prediction and decisions where they would eat up a short budget.

    Views go first, then the overlap of tiles, then pictures that decisions are tuned on.
    """
    views = recipe.views
    while cost.predicting(recipe, pictures) > _PREDICTING * seconds and len(views) > 1:
        views = views[: len(views) // 2]
        recipe = dataclasses.replace(recipe, views=views)
    if cost.predicting(recipe, pictures) > _PREDICTING * seconds:
        recipe = dataclasses.replace(
            recipe,
            members=tuple(
                dataclasses.replace(
                    member, geometry=dataclasses.replace(member.geometry, overlap=0.25)
                )
                for member in recipe.members
            ),
        )
    decide = recipe.decide
    assert isinstance(decide, SegmentDecide)
    while cost.deciding(recipe, pictures) > _DECIDING * seconds and decide.pictures > (
        _LEAST_PICTURES
    ):
        decide = dataclasses.replace(decide, pictures=max(_LEAST_PICTURES, decide.pictures // 2))
        recipe = dataclasses.replace(recipe, decide=decide)
    return recipe


def _held_out(recipe: Recipe) -> float:
    """Share of the pictures that some trained fold holds out."""
    return (recipe.folds.use or recipe.folds.count) / recipe.folds.count


def windows_of(images: Sequence[Image], geometry: Geometry) -> int:
    """How many windows a network looks at to see all pictures once.

    Args:
        images: The pictures.
        geometry: Whole pictures, or tiles with their overlap.

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


def _decision_seconds(pictures: Pictures, metric: str, shown: int = 4) -> float:
    """One decision of a search: the fastest of a few rounds over pictures of typical annotation."""
    order = np.argsort(pictures.coverage)
    chosen: Sequence[int] = order[len(order) // (2 * shown) :: max(1, len(order) // shown)].tolist()
    classes = len(pictures.survey.classes)
    pairs = []
    for i in chosen[:shown]:
        labels = np.maximum(middle(pictures.labels(i)), 0)
        planes = planes_of(labels, pictures.kind, classes).astype(np.float32) / np.float32(255)
        blurred = np.atleast_3d(cv2.GaussianBlur(planes, (0, 0), 2.0))
        pairs.append((np.moveaxis(blurred, -1, 0).astype(np.float32), labels))
    # A search shares what a picture's decisions have in common, so a few different ones are timed.
    tried = [Values(), *(Values(**change) for change in _TRIED)]
    rounds = []
    for _ in range(2):  # the first imports what it needs
        began = time.perf_counter()
        for maps, truth in pairs:
            shared = splitter_of(maps, pictures.kind)
            for values in tried:
                answer = labels_of(maps, values, pictures.kind, split=shared)
                tuned_metric(metric, answer, truth, pictures.kind, classes)
        rounds.append((time.perf_counter() - began) / (len(pairs) * len(tried)))
    return min(rounds)
