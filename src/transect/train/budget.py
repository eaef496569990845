"""How long training takes on this device, measured."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from transect.recipe import Member, Recipe, Stage
from transect.train.loop import updates_of
from transect.train.plan import StagePlan
from transect.train.process import kept_memory
from transect.train.update import fresh, move

__all__ = ["Pace", "measure", "shortened", "time_for"]

_DEFAULT_SECONDS = {"cpu": 1800.0, "cuda": 3600.0}  # our guess at the patience of a user


@dataclass(frozen=True)
class Pace:
    """What a stage costs on this device.

    Attributes:
        step_seconds: What a batch costs: its share of an update with everything that the stage
            asks for, clipping, averages and repeated batches included.
        batch_seconds: Building a batch, beside which the step runs.
        evaluate_seconds: An evaluation; 0 if there is none.
        startup_seconds: Making the model and the first step.
    """

    step_seconds: float
    batch_seconds: float
    evaluate_seconds: float
    startup_seconds: float

    def epoch_seconds(self, steps: int) -> float:
        """An epoch of so many batches, the building of batches being hidden where it can."""
        return steps * max(self.step_seconds, self.batch_seconds) + self.evaluate_seconds


def measure(
    build: Callable[[], nn.Module],
    plan: StagePlan,
    *,
    device: str = "cpu",
    evaluate: Callable[[nn.Module], object] | None = None,
    steps: int = 3,
    most_seconds: float = 20.0,
) -> Pace:
    """Train a few steps on a model of its own and take the time.

    Args:
        build: Makes the model.
        plan: The stage.
        device: Where.
        evaluate: Is run once, if given.
        steps: Updates measured after one that warms up; the fastest counts.
        most_seconds: No further step begins after this time.

    Returns:
        The pace. Torch's random state is changed; nothing else is.
    """
    began = time.perf_counter()
    stage, place = plan.stage, torch.device(device)
    making, training = [], []
    startup = 0.0
    with kept_memory():
        update = fresh(build, plan, place)
        endless = itertools.chain.from_iterable(plan.batches.epoch(k) for k in itertools.count())
        for k in range(steps + 1):
            start = time.perf_counter()
            group = [move(batch, place) for batch in itertools.islice(endless, stage.accumulate)]
            made = time.perf_counter()
            loss, _ = update(group, stage.optimizer.lr, 0.0)
            float(loss)  # waits for the device
            end = time.perf_counter()
            if k == 0:
                startup = end - began
            if k > 0 or end - began > most_seconds:
                making.append((made - start) / len(group))
                training.append(end - made)
            if end - began > most_seconds:
                break
        seconds = 0.0
        if evaluate is not None:
            update.raw.eval()
            start = time.perf_counter()
            with torch.no_grad():
                evaluate(update.raw)
            seconds = time.perf_counter() - start
    # The fastest: what else the machine does in these few seconds says nothing of the next hour.
    per_batch = updates_of(stage, plan.batches.steps) / plan.batches.steps
    return Pace(min(training) * per_batch, min(making), seconds, startup)


def time_for(budget_seconds: float | None, device: str) -> tuple[float, list[str]]:
    """How long everything may take, and what is said of it.

    Args:
        budget_seconds: As the user gave it; None takes half an hour on a CPU, an hour on a GPU.
        device: Where training will run.

    Returns:
        Seconds, and the first lines of a recipe's ``why``: none if a time was given.
    """
    if budget_seconds is not None:
        return budget_seconds, []
    seconds = _DEFAULT_SECONDS["cpu" if device == "cpu" else "cuda"]
    return seconds, [f"time: none given, so {seconds / 60:.0f} minutes on {device}"]


def shortened(
    recipe: Recipe,
    seconds: float,
    *,
    step_seconds: Callable[[Member], float],
    steps_of: Callable[[Stage], int],
) -> Recipe:
    """Shorten every stage of a recipe by one factor, so that its training fits a time.

    Args:
        recipe: Of whole images.
        seconds: That training may take.
        step_seconds: What a step of a member takes; asked of members that are trained.
        steps_of: Steps of an epoch of a stage.

    Returns:
        The recipe with fewer epochs; never with more, and at least one per stage.
    """
    folds = recipe.folds.use or recipe.folds.count
    needed = 0.0
    for member in recipe.members:
        if not member.stages:
            continue
        per_step = step_seconds(member)
        own = member.stages[0].size_hw or member.geometry.size_hw
        for stage in member.stages:
            # Rising resolution: a step costs about as much as it has pixels.
            size = stage.size_hw or member.geometry.size_hw
            factor = (size[0] * size[1]) / (own[0] * own[1])
            needed += folds * per_step * factor * stage.epochs * steps_of(stage)
    if not needed or needed <= seconds:
        return recipe
    share = seconds / needed
    members = tuple(
        dataclasses.replace(
            member,
            stages=tuple(
                dataclasses.replace(stage, epochs=max(1, round(stage.epochs * share)))
                for stage in member.stages
            ),
        )
        for member in recipe.members
    )
    line = f"budget: {share:.0%} of the recipe's epochs fit {seconds / 60:.1f} minutes of training"
    return dataclasses.replace(recipe, members=members, why=(*recipe.why, line))
