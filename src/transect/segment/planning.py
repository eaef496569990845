"""The plan of a time: folds, stages and steps of what suits a survey, as a table with reasons."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from transect.models.weights import missing_weights
from transect.recipe import (
    Augment,
    Member,
    Network,
    Phase,
    PseudoRound,
    Recipe,
    SegmentDecide,
    Stage,
)
from transect.segment.cost import PAGE_SECONDS, Cost, made_affordable, windows_of
from transect.segment.dataset import MaskDataset
from transect.segment.pseudo import unlabelled_images
from transect.types import Image

__all__ = ["Planned", "Scale", "cheaper", "losses_of", "milder", "planned_for", "units"]

EPOCH_STEPS = 50
"""Steps of an epoch: our choice, a kill loses about this many."""

_LEAST_STEPS = 20  # fewer teach nothing: a budget that is too short for them is overrun
_FEW_STEPS = 500  # fewer are worth less than more at a smaller input, see `cheaper`
_FULL_STEPS = (1000, 3000)  # a training until a second one pays, few and many images; our guess
_FULL_PASSES = 60  # so many passes over the images, within these; our guess
_LONG_STEPS = 1500  # from here on the usual rate and strong augmentation will do; our guess
_HANDOVER_STEPS = 400  # the second half goes to the overlap loss from so many steps on
_OVERLAP = "0.1 * bce + 0.9 * lovasz_symmetric"
_PSEUDO_STEPS = 1000  # a weaker teacher labels nothing well; our guess
_LARGER = "efficientnet_lite2"  # 20 % more CPU a step of 8 patches of 128 px than lite0
_LARGER_STEPS = 2500  # of lite0 in one training, from which lite2 is taken: our guess
_HELD_OUT = 40  # images that one fold must keep for its decisions and its score; our choice
_DECIDING = 12  # held-out images that decisions need at least; our choice
_SHORTEST = 200  # steps that each of several trainings must have at least; our guess
_TUNED = 400  # images that decisions look at, at most: more change no threshold; our guess


@dataclass(frozen=True)
class Planned:
    """A recipe that fits a time, with what its reasons need.

    Attributes:
        recipe: With its folds, stages, steps, and the table of the plan.
        left_out: What cannot pay at this budget, each with its reason.
    """

    recipe: Recipe
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """How large the objects of a survey are.

    Attributes:
        usual_px: Side of the object that the usual foreground pixel belongs to; 0 without any.
        large_px: The same of the images with the largest objects: one in twenty is above it.
    """

    usual_px: float
    large_px: float


def planned_for(
    recipe: Recipe,
    dataset: MaskDataset,
    *,
    left: Callable[[], float],
    scale: Scale,
    timed: Callable[[Member], Cost],
    pinned: Callable[[Recipe], Recipe],
) -> Planned:
    """Fit a recipe of one member and one stage into a time.

    Args:
        recipe: What suits the survey and the device.
        dataset: The survey.
        left: Seconds for everything from now on.
        scale: Of its objects.
        timed: Measures what a member costs here.
        pinned: Puts the user's own settings back after every decision.

    Returns:
        The recipe and what was left out.
    """
    recipe = pinned(recipe)
    cost = timed(recipe.members[0])
    left_out: list[str] = []

    def afforded(recipe: Recipe) -> Recipe:
        fitted = made_affordable(recipe, cost, dataset, seconds=left(), most=_TUNED)
        return pinned(fitted)

    wanted = recipe.views
    recipe = afforded(recipe)
    smaller = cheaper(
        recipe.members[0],
        dataset.images[0].size_hw,
        scale,
        cost.steps_within(left(), recipe, dataset),
    )
    changed = pinned(dataclasses.replace(recipe, members=(smaller,)))
    if changed.members != recipe.members:
        height, width = changed.members[0].geometry.size_hw
        if changed.members[0].geometry.size_hw != recipe.members[0].geometry.size_hw:
            full = " x ".join(str(side) for side in recipe.members[0].geometry.size_hw)
            left_out.append(f"inputs of {full} px: too few steps, {height} x {width} px give more")
        recipe, cost = changed, timed(changed.members[0])
        recipe = afforded(dataclasses.replace(recipe, views=wanted))
    total = cost.steps_within(left(), recipe, dataset)
    recipe = afforded(pinned(_with_folds(recipe, dataset, total, left_out)))
    larger = pinned(dataclasses.replace(recipe, members=(_larger(recipe.members[0]),)))
    if larger.members != recipe.members:
        use = recipe.folds.use or recipe.folds.count
        if total >= _LARGER_STEPS * use:
            recipe, cost = larger, timed(larger.members[0])
            recipe = afforded(recipe)
        else:
            left_out.append(f"encoder {_LARGER}: from {_LARGER_STEPS} steps a training on")
    if len(recipe.views) < len(wanted):
        missing = ", ".join(view for view in wanted if view not in recipe.views)
        left_out.append(f"views {missing}: training would get less than its share")
    recipe, rounds = _with_stages(recipe, dataset, cost, left(), left_out, pinned)
    steps = sum(stage.epochs * (stage.steps or 0) for stage in recipe.members[0].stages)
    return Planned(
        dataclasses.replace(recipe, plan=_table(recipe, dataset, cost, steps, rounds)),
        tuple(left_out),
    )


def _larger(member: Member) -> Member:
    """The member with the larger of the encoders whose weights need no network."""
    network = member.network
    if not isinstance(network, Network) or missing_weights(_LARGER):
        return member
    return dataclasses.replace(member, network=dataclasses.replace(network, encoder=_LARGER))


def _with_folds(recipe: Recipe, dataset: MaskDataset, total: int, left_out: list[str]) -> Recipe:
    """One long training before a second: a fold more only where the steps fill it.

    On 4,000 seismic patches of 101 px one fold of ten with 1,176 steps scored .774, two folds of
    588 steps .757. One fold alone holds out no more than its decisions need.
    """
    member, images = recipe.members[0], dataset.images
    passes = _FULL_PASSES * dataset.steps_of(member, member.stages[0])
    full = int(np.clip(passes, *_FULL_STEPS))
    enough = min(len(images) // _HELD_OUT, units(images) // 10)
    count = int(np.clip(enough, recipe.folds.count, 10))
    # Few images need several folds before any decision or score means something.
    least = math.ceil(_DECIDING * count / len(images))
    least = min(least, count) if total >= least * _SHORTEST else 1
    use = int(np.clip(total // full, least, max(least, min(5, count))))
    if use < min(5, count):
        left_out.append(
            f"training on {use + 1} folds: from {(use + 1) * full} steps on, one training is worth "
            f"more until it has {full}"
        )
    return dataclasses.replace(
        recipe, folds=dataclasses.replace(recipe.folds, count=count, use=use)
    )


def _with_stages(
    recipe: Recipe,
    dataset: MaskDataset,
    cost: Cost,
    seconds: float,
    left_out: list[str],
    pinned: Callable[[Recipe], Recipe],
) -> tuple[Recipe, float]:
    """Stages and their steps: the main one, which hands over to an overlap loss; pseudo-labels."""
    use = recipe.folds.use or recipe.folds.count
    (member,) = recipe.members
    assert isinstance(recipe.decide, SegmentDecide)
    each = cost.steps_within(seconds, recipe, dataset) // use
    pseudo = False
    if dataset.kind == "binary" and each >= _HANDOVER_STEPS:
        main = dataclasses.replace(member.stages[0], loss_end=_OVERLAP, loss_change="switch")
        member = dataclasses.replace(member, stages=(main,))
    elif dataset.kind == "binary":
        left_out.append(f"a second half with the Lovász loss: from {_HANDOVER_STEPS} steps on")
    unlabelled = unlabelled_images(dataset.survey)
    rounds = 0.0
    if unlabelled:
        windows = windows_of(unlabelled, member.geometry) * len(recipe.views)
        rounds = use * cost.window * windows
        if each >= _PSEUDO_STEPS and rounds < 0.1 * seconds:
            pseudo = True
            recipe = dataclasses.replace(recipe, pseudo=(PseudoRound(),))
        else:
            rounds = 0.0
            left_out.append(
                f"pseudo-labels of the {len(unlabelled)} images without masks: from "
                f"{_PSEUDO_STEPS} steps on, and where labelling them takes a tenth of the time"
            )
    recipe = dataclasses.replace(recipe, drop_stages=pseudo)
    # A first look at the stages, so that comparing them is counted; then their steps.
    for _ in range(2):
        total = max(_LEAST_STEPS, cost.steps_within(seconds - rounds, recipe, dataset) // use)
        staged = dataclasses.replace(recipe, members=(_staged(member, total, pseudo=pseudo),))
        recipe = pinned(staged)
    return recipe, rounds


def _staged(member: Member, total: int, *, pseudo: bool) -> Member:
    """The member with its stages, of so many steps together, and what suits their length.

    A short training must take longer steps: after 35, loss .90 with 3e-3, 1.17 with 1e-3. And it
    meets too few images to profit from strong changes. Nuclei, Dice with all of them and with a
    third: 120 steps of 256 px .852 and .865, 480 steps of 128 px .880 and .889.
    """
    share = float(np.clip(total / _LONG_STEPS, 1 / 3, 1))
    main = member.stages[0]
    # What is pretrained learns at one rate however short the training; the rest catches up.
    optimizer = dataclasses.replace(
        main.optimizer,
        lr=main.optimizer.lr / share,
        encoder_lr=main.optimizer.encoder_lr * share,
    )
    main = dataclasses.replace(main, optimizer=optimizer, weight=1.0 if pseudo else None)
    stages = [_of_steps(main, round(total * 2 / 3) if pseudo else total)]
    if pseudo:
        gentler = dataclasses.replace(optimizer, lr=optimizer.lr * 0.3)  # our guess
        mixed = dataclasses.replace(
            main, name="pseudo", optimizer=gentler, loss=main.loss_end or main.loss, loss_end=None,
            data="mixed", pseudo_share=1 / 3,
        )  # fmt: skip
        stages.append(_of_steps(mixed, round(total / 3)))
    return dataclasses.replace(member, stages=tuple(stages), augment=milder(member.augment, share))


def losses_of(stage: Stage) -> str:
    """The losses of a stage in words."""
    return f"{stage.loss}, from half on {stage.loss_end}" if stage.loss_end else stage.loss


def _of_steps(stage: Stage, steps: int) -> Stage:
    """A stage of so many steps, in epochs of about fifty."""
    epochs = int(np.clip(round(steps / EPOCH_STEPS), 1, 400))
    return dataclasses.replace(stage, epochs=epochs, steps=max(1, steps // epochs))


def _table(
    recipe: Recipe, dataset: MaskDataset, cost: Cost, steps: int, rounds: float
) -> tuple[Phase, ...]:
    """The parts of the run with their seconds."""
    use = recipe.folds.use or recipe.folds.count
    (member,) = recipe.members
    assert isinstance(recipe.decide, SegmentDecide)
    held_out = use * math.ceil(len(dataset.images) / recipe.folds.count)
    stages = " then ".join(
        f"{stage.epochs * (stage.steps or 0)} of {losses_of(stage)}" for stage in member.stages
    )
    phases = [
        Phase(
            "training",
            use * steps * cost.step,
            f"{use} of {recipe.folds.count} folds, steps of {cost.step:.2f} s each: {stages}",
        ),
        Phase("labelling", rounds, "images without masks, by the models of each fold"),
        Phase(
            "choosing",
            cost.choosing(recipe, dataset),
            "which stages and views pay, on held-out images",
        ),
        Phase(
            "predicting",
            cost.predicting(recipe, dataset),
            f"{held_out} held-out images, views {', '.join(recipe.views)}",
        ),
        Phase(
            "deciding",
            cost.deciding(recipe, dataset),
            f"{recipe.decide.metric} of {min(held_out, recipe.decide.pictures)} images, nested",
        ),
        Phase("report", PAGE_SECONDS, "scores, charts, images"),
    ]
    return tuple(
        dataclasses.replace(phase, seconds=round(phase.seconds, 1))
        for phase in phases
        if phase.seconds
    )


def cheaper(member: Member, picture_hw: tuple[int, int], scale: Scale, steps: int) -> Member:
    """Trade pixels per step for steps, where a budget allows too few of them.

    Small whole images get smaller, tiles get smaller unless they would no longer hold an object
    and its surroundings, be it the usual or a large one. Measured with the same seconds of
    training. Simulated salt, two surveys of 198 patches of 101 px: 40 steps of 16 at 128 px .546
    and .523, 80 of 8 .559 and .504, 300 of 8 at 64 px .623 and .624 (salt metric). Nuclei: 120
    steps of 8 tiles of 256 px Dice .865, instance AP at .5 .71; 212 of 192 px .880, .73; 480 of
    128 px .889, .74, where nuclei above 40 px were shattered.

    Returns:
        The member; itself if there are steps enough.
    """
    if steps >= _FEW_STEPS:
        return member
    stage, full = member.stages[0], member.geometry.size_hw
    whole = member.geometry.fit == "whole"
    batch = max(8, stage.batch // 2) if whole else stage.batch
    least = 1.0 if whole else max(4 * scale.usual_px, 3 * scale.large_px)  # our guess
    size = full
    for part in (1.0, 0.75, 0.5):
        smaller = (_of_32(full[0] * part), _of_32(full[1] * part))
        if part < 1 and min(smaller) < least:
            break
        size, share = smaller, smaller[0] * smaller[1] / (full[0] * full[1])
        if steps * stage.batch / batch / share >= _FEW_STEPS:
            break
    geometry = dataclasses.replace(member.geometry, size_hw=size)
    if whole and size != full:
        content = (picture_hw[0] * size[0] // full[0], picture_hw[1] * size[1] // full[1])
        geometry = dataclasses.replace(geometry, resize_hw=content)
    return dataclasses.replace(
        member, geometry=geometry, stages=(dataclasses.replace(stage, batch=batch),)
    )


def milder(augment: Augment, share: float) -> Augment:
    """Smaller changes of size and tone, and rarer ones of angle."""
    low, high = augment.scale
    return dataclasses.replace(
        augment,
        scale=(low**share, high**share),
        rotate_p=augment.rotate_p * share,
        brightness=augment.brightness * share,
        contrast=augment.contrast * share,
        gamma=augment.gamma * share,
        saturation=augment.saturation * share,
    )


def units(images: Sequence[Image]) -> int:
    """How many images or groups can be divided among folds."""
    groups = {image.group for image in images if image.group is not None}
    return len(groups) if groups else len(images)


def _of_32(side: float) -> int:
    """The nearest multiple of 32, at least 32."""
    return max(32, round(side / 32) * 32)
