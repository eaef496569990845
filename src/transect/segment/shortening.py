"""A given recipe within a given time: all stages shortened by one factor."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from transect.recipe import Recipe, SegmentDecide, Stage
from transect.segment.cost import Cost, cost_of, made_affordable, windows_of
from transect.segment.dataset import MaskDataset
from transect.segment.pseudo import stages_of_round, teachers_of, unlabelled_images
from transect.segment.training import VALIDATION_WINDOWS
from transect.train.plan import watches

__all__ = ["averaging_seconds", "labelling_seconds", "training_seconds", "within_budget"]


def within_budget(
    recipe: Recipe, dataset: MaskDataset, *, budget_seconds: float, device: str
) -> Recipe:
    """Shorten every stage of a given recipe by one factor, so that it fits a time.

    Args:
        recipe: Any recipe for masks.
        dataset: What it will train on.
        budget_seconds: For everything.
        device: Where; steps are timed there.

    Returns:
        The recipe with fewer epochs; never with more, and at least one per stage. Where even
        prediction and decisions would eat up the time, with fewer views and tuned images.
    """
    assert isinstance(recipe.decide, SegmentDecide)
    began = time.monotonic()
    costs = [
        cost_of(dataset, member, recipe.decide.metric, device=device) for member in recipe.members
    ]
    seconds = budget_seconds - (time.monotonic() - began)
    slowest = max(costs, key=lambda cost: cost.window)
    most = recipe.decide.pictures
    recipe = made_affordable(recipe, slowest, dataset, seconds=seconds, most=most)
    seconds -= labelling_seconds(recipe, dataset, costs)
    seconds -= averaging_seconds(recipe, dataset, costs)
    needed = training_seconds(recipe, dataset, costs)
    factor = max(0.0, slowest.steps_within(seconds, recipe, dataset) * slowest.step / needed)
    if factor >= 1:
        return recipe
    members = tuple(
        dataclasses.replace(
            member,
            stages=tuple(
                _shortened(stage, dataset.steps_of(member, stage), factor)
                for stage in member.stages
            ),
        )
        for member in recipe.members
    )
    line = f"budget: {factor:.0%} of the recipe's epochs fit {budget_seconds / 60:.1f} minutes"
    return dataclasses.replace(recipe, members=members, why=(*recipe.why, line))


def training_seconds(recipe: Recipe, dataset: MaskDataset, costs: Sequence[Cost]) -> float:
    """All stages of all members on all folds, in all rounds, with the looks at validation.

    Args:
        recipe: With its rounds of pseudo-labels.
        dataset: What it trains on.
        costs: Of its members, in their order.

    Returns:
        Seconds.
    """
    folds = recipe.folds.use or recipe.folds.count
    total = 0.0
    for member, cost in zip(recipe.members, costs, strict=True):
        for number in range(len(recipe.pseudo) + 1):
            stages = stages_of_round(member, number)
            look = VALIDATION_WINDOWS * cost.window if watches(stages) else 0.0
            total += sum(
                stage.epochs * (dataset.steps_of(member, stage) * cost.step + look)
                for stage in stages
            )
    return folds * total


def averaging_seconds(recipe: Recipe, dataset: MaskDataset, costs: Sequence[Cost]) -> float:
    """Measuring the batch norms of averaged weights: an epoch without a way back, once a stage.

    Args:
        recipe: With its stages.
        dataset: What it trains on.
        costs: Of its members, in their order.

    Returns:
        Seconds; 0 where no stage averages weights after training (SWA).
    """
    windows = [
        cost.window * (dataset.steps_of(member, stage) * stage.batch + VALIDATION_WINDOWS)
        for member, cost in zip(recipe.members, costs, strict=True)
        for stage in member.stages
        if stage.average == "swa"
    ]
    return (recipe.folds.use or recipe.folds.count) * sum(windows)


def labelling_seconds(recipe: Recipe, dataset: MaskDataset, costs: Sequence[Cost]) -> float:
    """Predicting the unlabelled images by the teachers of every round of pseudo-labels.

    Args:
        recipe: With its rounds of pseudo-labels.
        dataset: Of a survey whose test images are unlabelled.
        costs: Of its members, in their order.

    Returns:
        Seconds; 0 without rounds or unlabelled images.
    """
    folds, views = recipe.folds.use or recipe.folds.count, len(recipe.views)
    images = unlabelled_images(dataset.survey)
    seconds = {
        member.name: cost.window * windows_of(images, member.geometry) * views * folds
        for member, cost in zip(recipe.members, costs, strict=True)
    }
    return sum(
        seconds[name]
        for number, spec in enumerate(recipe.pseudo, start=1)
        for name in teachers_of(recipe, spec, number)
    )


def _shortened(stage: Stage, steps: int, factor: float) -> Stage:
    """Fewer epochs; where too few are left for the cycles it needs, epochs of fewer steps."""
    least = min(stage.drop_first + 1, stage.epochs)
    epochs = stage.epochs * factor
    if epochs >= least:
        return dataclasses.replace(stage, epochs=round(epochs))
    return dataclasses.replace(stage, epochs=least, steps=max(1, round(steps * epochs / least)))
