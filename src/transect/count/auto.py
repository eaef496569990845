"""What `auto` decides for a survey of dots, and why."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from transect.count.pictures import CountPictures
from transect.count.reclassify import maps_only
from transect.count.training import Task, pace_of
from transect.data.inputs import suited_normalisation
from transect.recipe import (
    Augment,
    CountDecide,
    Folds,
    Geometry,
    Member,
    Network,
    Optimizer,
    Recipe,
    Schedule,
    Stage,
)
from transect.train.budget import time_for

__all__ = ["plan", "within_budget"]

_OVERHEAD = 0.2  # share for reading, decisions and the report: .3 left 14 to 16 % unused
_EPOCH_STEPS = 25  # a kill loses about so many steps; our choice
_LEAST_STEPS = 20  # of a fold, however short the budget; our guess
_FEW_PHOTOS = 16  # fewer are cut into blocks for residuals; our choice
_FEW_STEPS, _SMALL_TILE = 200, 128  # our guess
_HELD_OUT, _HELD_OUT_OF_GROUPS = 16, 24  # photos that corrections and intervals rest on; our
# choice, more where photos of a site err alike: with 12 of 3 sites intervals held 62 % of 90 %
_FOLD_STEPS = 800  # a further fold is trained once each has so many steps; our guess


def plan(
    pictures: CountPictures, *, budget_seconds: float | None, device: str, seed: int
) -> Recipe:
    """Choose a recipe for a survey of dots, a device and a time.

    Args:
        pictures: Decoded photos with dots.
        budget_seconds: For everything; None takes half an hour on a CPU, an hour on a GPU.
        device: Where training will run; steps are timed there.
        seed: Of everything random.

    Returns:
        A recipe whose every number is settled; ``why`` holds one line per decision.
    """
    budget_seconds, why = time_for(budget_seconds, device)
    facts = _facts(pictures)
    scale = _scale(facts.spacing)
    spacing = facts.spacing * scale
    why.append(
        f"scale: dots are usually {facts.spacing:.0f} px from the next one, so photos are "
        + ("taken as they are" if scale == 1 else f"resampled by {scale:g}")
    )
    decide, reason = _decide(pictures, facts, spacing, scale)
    why.append(reason)
    side = int(np.clip(facts.least_side * scale // 32 * 32, 64, 256 if device != "cpu" else 192))
    batch = 8 if device == "cpu" else 32
    geometry = Geometry(
        fit="tile",
        size_hw=(side, side),
        scale=scale,
        overlap=0.25,
        normalise=suited_normalisation(pictures.photos),
    )
    augment = _augment(pictures, facts)
    network = Network(
        encoder="efficientnet_lite0",
        decoder="unet",
        decoder_channels=(128, 64, 48, 32, 16) if device == "cpu" else (),
    )
    stage = Stage(
        name="main",
        steps=_EPOCH_STEPS,
        batch=batch,
        loss="ce" if decide.target == "squares" else "bce",
        optimizer=Optimizer(name="adamw", lr=2e-3, weight_decay=1e-2, encoder_lr=0.3, clip=5.0),
        schedule=Schedule(name="cosine", warmup=0.08, floor=0.01),
        sampler="class_aware" if decide.target == "squares" else "object",
        sampler_share=0.5,  # our choice: half of the tiles around an object, half anywhere
        average="ema",
        ema=0.97,
    )
    member = Member(
        name="main", network=network, geometry=geometry, augment=augment, stages=(stage,)
    )
    why.append(
        f"network: {network.encoder} with ImageNet weights (the ones that need no network) and a "
        f"U-Net decoder on tiles of {side} px, batch {batch}; {stage.loss} on {decide.target}"
    )
    task = Task(decide, len(pictures.classes))
    units = facts.units
    count = int(min(5, max(2, units)))
    held_out = _HELD_OUT_OF_GROUPS if facts.grouped else _HELD_OUT
    least = math.ceil(count * min(1.0, held_out / len(pictures.photos)))
    use, steps, per_step = _steps(pictures, member, task, budget_seconds, device, count, least)
    if steps < _FEW_STEPS and side > _SMALL_TILE:
        # Few steps learn more from many small tiles.
        geometry = dataclasses.replace(geometry, size_hw=(_SMALL_TILE, _SMALL_TILE))
        member = dataclasses.replace(member, geometry=geometry)
        use, steps, per_step = _steps(pictures, member, task, budget_seconds, device, count, least)
        why.append(f"tiles: {_SMALL_TILE} px after all, since the budget allows few steps")
    epochs = int(np.clip(round(steps / _EPOCH_STEPS), 1, 400))
    stage = dataclasses.replace(stage, epochs=epochs, steps=max(1, min(steps, 10_000) // epochs))
    member = dataclasses.replace(member, stages=(stage,))
    why.append(
        f"folds: {count} {facts.fold_by}, of which {use} trained, {epochs * (stage.steps or 1)} "
        f"steps each: one step takes {per_step:.2f} s here and the budget is "
        f"{budget_seconds / 60:.1f} min"
    )
    if decide.block_px:
        why.append(
            f"intervals: {len(pictures.photos)} photos are few, so residuals are those of blocks "
            f"of about {decide.block_px} px, with the photo as group"
        )
    return Recipe(
        name="auto",
        question="count",
        members=(member,),
        folds=Folds(count=count, use=use, stratify=("count",), group=facts.by_photo, seed=seed),
        decide=decide,
        seed=seed,
        notes="Chosen by auto for this survey, device and budget.",
        why=tuple(why),
    )


def _steps(
    pictures: CountPictures,
    member: Member,
    task: Task,
    budget_seconds: float,
    device: str,
    count: int,
    least: int,
) -> tuple[int, int, float]:
    """Folds that are trained, the steps of each, and the seconds of one step."""
    per_step = pace_of(pictures, member, task, device=device).epoch_seconds(1)
    geometry, batch = member.geometry, member.stages[0].batch
    side = geometry.size_hw[0]
    area = sum(math.prod(photo.size_hw) for photo in pictures.photos) * geometry.scale**2
    # A third of a training step for a batch of tiles; overlapping tiles see pixels twice.
    predicting = per_step / 3 * area / (batch * side**2) / (1 - geometry.overlap) ** 2
    for use in range(count, least - 1, -1):
        left = budget_seconds * (1 - _OVERHEAD) - predicting * use / count
        total = int(max(0.2 * budget_seconds, left) / per_step)
        if total >= use * _FOLD_STEPS or use == least:
            break
    return use, max(_LEAST_STEPS, total // use), per_step


def within_budget(
    recipe: Recipe, pictures: CountPictures, *, budget_seconds: float, device: str
) -> Recipe:
    """Shorten every stage of a given recipe by one factor, so that it fits a time.

    Args:
        recipe: Any recipe that counts.
        pictures: What it will train on.
        budget_seconds: For everything.
        device: Where; steps are timed there.

    Returns:
        The recipe with fewer epochs, and where one epoch is still too long with fewer steps.
    """
    folds = recipe.folds.use or recipe.folds.count
    task = Task.of(recipe, len(pictures.classes))
    needed = 0.0
    for member in maps_only(recipe).members:
        per_step = pace_of(pictures, member, task, device=device).epoch_seconds(1)
        for stage in member.stages:
            needed += folds * per_step * stage.epochs * pictures.steps_of(member, stage)
    factor = budget_seconds * (1 - _OVERHEAD) / needed
    if factor >= 1:
        return recipe
    members = []
    for member in recipe.members:
        stages = []
        for stage in member.stages:
            steps = max(1, round(stage.epochs * pictures.steps_of(member, stage) * factor))
            epochs = max(1, min(stage.epochs, steps // 10))
            stages.append(dataclasses.replace(stage, epochs=epochs, steps=max(1, steps // epochs)))
        members.append(dataclasses.replace(member, stages=tuple(stages)))
    line = f"budget: {factor:.1%} of the recipe's steps fit {budget_seconds / 60:.1f} minutes"
    return dataclasses.replace(recipe, members=tuple(members), why=(*recipe.why, line))


@dataclass(frozen=True)
class _Facts:
    """What the decisions rest on."""

    spacing: float
    least_side: int
    units: int
    by_photo: bool
    grouped: bool
    fold_by: str
    upright: bool
    rgb: bool


def _facts(pictures: CountPictures) -> _Facts:
    """Look at the survey once."""
    photos = pictures.photos
    groups = {photo.group for photo in photos if photo.group is not None}
    by_photo = len(photos) >= 3
    units, fold_by = len(photos), "by photo"
    if groups and len(groups) >= 2:
        units, fold_by = len(groups), "by group"
    if not by_photo:
        units, fold_by = 4 * len(photos), "by block, since there are fewer than three photos"
    return _Facts(
        spacing=pictures.spacing(),
        least_side=min(min(photo.size_hw) for photo in photos),
        units=units,
        by_photo=by_photo,
        grouped=bool(groups),
        fold_by=fold_by,
        upright=any(photo.depth is not None for photo in photos),
        rgb=any(photo.channels >= 3 for photo in photos),
    )


def _scale(spacing: float) -> float:
    """Resample so that neighbours are 6 to 24 network pixels apart; powers of the root of two.

    On aerial trees 12 and 17 px did alike after 70 steps. Half as many pixels as with 24 px are
    to be predicted, and a tile holds twice as many objects. Crowds 6 px apart are no longer
    enlarged: maps have the pixels of the photo, and four times as many passes fit the budget.
    """
    if 6 <= spacing <= 24:
        return 1.0
    wanted = (16 if spacing > 24 else 8) / spacing
    return float(np.clip(2 ** (round(2 * math.log2(wanted)) / 2), 0.25, 2.0))


def _decide(
    pictures: CountPictures, facts: _Facts, spacing: float, scale: float
) -> tuple[CountDecide, str]:
    """Target, cells, windows and blocks from the dots' spacing in network pixels."""
    lone = _lone_classes(pictures)
    if len(pictures.classes) - len(lone) > 1:
        # One softmax keeps classes apart, where density maps collapse into one.
        side = 2 * round(float(np.clip(0.6 * spacing, 6, 16)) / 2)
        target, size, cell = "squares", float(side), int(np.clip(side // 4, 1, 4))
    else:
        size = float(np.clip(0.2 * spacing, 1.5, 6.0))
        target, cell = "gaussian", int(np.clip(size / 1.2, 1, 4))
    block = None
    if len(pictures.photos) < _FEW_PHOTOS:
        area = sum(math.prod(photo.size_hw) for photo in pictures.photos)
        wanted = math.sqrt(area / 48)  # about 48 residuals; our choice
        least = max(6 * facts.spacing, 96.0)
        if least < 0.7 * facts.least_side:
            block = int(max(wanted, least))
    unit = (block or facts.least_side) * scale / cell
    stride = int(np.clip(round(4 * spacing / cell), 4, max(4, unit // 4)))
    reason = (
        f"target: {target} of {size:.1f} network px around dots that are {spacing:.0f} px "
        f"apart; maps {cell}x down, windows of {2 * stride} cells"
    )
    if lone and target != "squares":
        reason += (
            f"; one map for all classes, since {', '.join(lone)} "
            f"{'is' if len(lone) == 1 else 'are'} in one {'group' if facts.grouped else 'photo'} "
            "only and cannot be told apart where it is held out"
        )
    decide = CountDecide(
        target=target,
        target_px=size,
        methods=("sum", "peaks", "line", "regressors", "mean"),
        downscale=cell,
        window=2 * stride,
        stride=stride,
        regressors=("extratrees", "lightgbm"),
        merge_classes=target != "squares" and len(pictures.classes) > 1,
        block_px=block,
    )
    return decide, reason


def _lone_classes(pictures: CountPictures) -> list[str]:
    """Classes with dots in one photo (or group) only, where there are several."""
    units = [photo.group or photo.name for photo in pictures.photos]
    if len(set(units)) < 2:
        return []
    where: dict[int, set[str]] = {kind: set() for kind in range(len(pictures.classes))}
    for number, unit in enumerate(units):
        for kind in np.unique(pictures.photo_dots(number)[1]).tolist():
            where[kind].add(unit)
    return [pictures.classes[kind] for kind, own in where.items() if len(own) < 2]


def _augment(pictures: CountPictures, facts: _Facts) -> Augment:
    """Every turn from above; left and right only where up is not down."""
    common = Augment(
        hflip=0.5,
        scale=(0.75, 1.35),
        brightness=0.12,
        contrast=0.2,
        gamma=0.25,
        noise=0.03,
        noise_p=0.15,
        blur=1.0,
        blur_p=0.1,
        border="zero",
        saturation=0.2 if facts.rgb else 0.0,
        channel_shift=0.04 if facts.rgb else 0.0,
    )
    if facts.upright:
        return dataclasses.replace(common, valid=("hflip",))
    return dataclasses.replace(common, vflip=0.5, rot90=0.5, rotate=45.0, rotate_p=0.3)
