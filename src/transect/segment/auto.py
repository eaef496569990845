"""What `auto` decides for a survey of masks, and why."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from transect.data.inputs import suited_normalisation
from transect.recipe import (
    Augment,
    Folds,
    Geometry,
    Member,
    Network,
    Optimizer,
    Recipe,
    Schedule,
    SegmentDecide,
    Stage,
)
from transect.segment.cost import cost_of, made_affordable
from transect.segment.pictures import Pictures
from transect.train.budget import time_for
from transect.types import Image, Survey

__all__ = ["plan"]

_EPOCH_STEPS = 50  # our choice: a kill loses about this many steps
_LONG_STEPS = 1500  # from here on the usual rate and strong augmentation will do; our guess
_FEW_STEPS = 1000  # fewer are worth less than more at a smaller input, see `_cheaper`; our guess
_AROUND = 4  # sides of a usual object that a tile must hold, our guess
_LEAST_STEPS = 20  # fewer teach nothing: a budget that is too short for them is overrun
_HELD_OUT = 40  # pictures that one fold must keep for its decisions and its score; our choice


def plan(pictures: Pictures, *, budget_seconds: float | None, device: str, seed: int) -> Recipe:
    """Choose a recipe for a survey, a device and a time.

    Args:
        pictures: A survey with masks, decoded.
        budget_seconds: For everything; None takes half an hour on a CPU, an hour on a GPU.
        device: Where training will run; steps are timed there.
        seed: Of everything random.

    Returns:
        A recipe whose every number is settled; ``why`` holds one line per decision.
    """
    seconds, why = time_for(budget_seconds, device)
    facts = _facts(pictures)
    recipe = _suited(pictures, facts, device, seed)
    why += recipe.why
    (member,) = recipe.members
    assert isinstance(recipe.decide, SegmentDecide)
    metric = recipe.decide.metric
    began = time.monotonic()
    cost = cost_of(pictures, member, metric, device=device)
    seconds -= time.monotonic() - began
    recipe = made_affordable(recipe, cost, pictures, seconds=seconds)
    total = cost.steps_within(seconds, recipe, pictures)
    (member,) = recipe.members
    cheaper = _cheaper(member, pictures.images[0].size_hw, facts.object_px, total)
    if cheaper:
        member, cost = cheaper[0], cost.times(step=cheaper[1], window=cheaper[2])
        recipe = dataclasses.replace(recipe, members=(member,))
        total = cost.steps_within(seconds, recipe, pictures)
        height, width = member.geometry.size_hw
        why.append(
            f"input after all: {height} x {width} px and batches of {member.stages[0].batch}, "
            "since the budget allows few steps"
        )
    recipe = dataclasses.replace(recipe, folds=_folds(pictures, recipe.folds, total))
    total = max(_LEAST_STEPS, cost.steps_within(seconds, recipe, pictures))
    use = recipe.folds.use or recipe.folds.count
    epochs = int(np.clip(round(total / (use * _EPOCH_STEPS)), 1, 400))
    steps = min(total // (use * epochs), 2 * _EPOCH_STEPS)
    why.append(
        f"folds: {recipe.folds.count}, of which {use} trained, {epochs * steps} steps each: a step "
        f"takes {cost.step:.2f} s here and {max(seconds, 0) / 60:.1f} min are left of the budget"
    )
    why.append(
        f"decisions: tuned out of fold for {metric}; views {', '.join(recipe.views)}; "
        f"loss {member.stages[0].loss}"
    )
    member = _trained_for(member, epochs, steps)
    return dataclasses.replace(recipe, members=(member,), why=tuple(why))


def _suited(pictures: Pictures, facts: _Facts, device: str, seed: int) -> Recipe:
    """What suits the survey and the device, whatever the time; epochs are not settled yet."""
    kind = pictures.kind
    geometry, of_input = _geometry(pictures.images, facts)
    augment, of_changes = _augment(facts)
    network = Network(
        encoder="efficientnet_lite0",
        decoder="unet",
        decoder_attention="scse" if device != "cpu" else None,
        image_head=facts.empty_share > 0.2,
        final_kernel=3,
    )
    stage = Stage(
        name="main",
        batch=_batch(geometry, device),
        loss="ce + dice" if kind == "classes" else "bce + dice",
        aux=(("empty", "0.05 * bce"),) if network.image_head else (),
        optimizer=Optimizer(name="adamw", lr=1e-3, weight_decay=1e-2, encoder_lr=0.33),
        schedule=Schedule(name="cosine", warmup=0.05, floor=0.01),
        sampler="foreground" if geometry.fit == "tile" else "uniform",
        sampler_share=0.33,  # nnU-Net's share of foreground-centred patches
        average="ema",
        ema=0.98,
    )
    of_network = (
        f"network: {network.encoder} with ImageNet weights (the ones that need no network) and "
        f"a U-Net decoder, batch {stage.batch}, "
        f"{pictures.inputs(geometry).network_channels} input channels, "
        f"output {', '.join(pictures.planes)}"
    )
    decide = SegmentDecide(
        metric="ap50" if kind == "instances" else "salt_map" if facts.empty_share > 0.2 else "dice",
        flat_rule=facts.flat_are_empty,
    )
    return Recipe(
        name="auto",
        question="segment",
        members=(
            Member(
                name="main", network=network, geometry=geometry, augment=augment, stages=(stage,)
            ),
        ),
        folds=Folds(
            count=min(5, max(2, _units(pictures.images))),
            use=1,
            stratify=_strata(pictures.survey),
            seed=seed,
        ),
        views=("identity", "hflip", "vflip", "hvflip") if augment.vflip else ("identity", "hflip"),
        decide=decide,
        seed=seed,
        notes="Chosen by auto for this survey, device and budget.",
        why=(of_input, of_changes, of_network),
    )


def _folds(pictures: Pictures, folds: Folds, steps: int) -> Folds:
    """As many folds as the steps are worth; one alone holds out no more than it needs."""
    # Our guess: a model needs some 700 steps before a second one is worth more than going on.
    if steps >= 1000:
        return dataclasses.replace(folds, use=int(np.clip(steps // 700, 2, folds.count)))
    enough = min(len(pictures.images) // _HELD_OUT, _units(pictures.images) // 10)
    return dataclasses.replace(folds, use=1, count=int(np.clip(enough, folds.count, 10)))


def _trained_for(member: Member, epochs: int, steps: int) -> Member:
    """The member with its epochs, and with the rate and the augmentation that suit so many steps.

    A short training must take longer steps: after 35, loss .90 with 3e-3, 1.17 with 1e-3. And it
    meets too few pictures to profit from strong changes. Nuclei, Dice with all of them and with a
    third: 120 steps of 256 px .852 and .865, 480 steps of 128 px .880 and .889.
    """
    share = float(np.clip(epochs * steps / _LONG_STEPS, 1 / 3, 1))
    (stage,) = member.stages
    optimizer = dataclasses.replace(stage.optimizer, lr=stage.optimizer.lr / share)
    stage = dataclasses.replace(stage, epochs=epochs, steps=steps, optimizer=optimizer)
    return dataclasses.replace(member, stages=(stage,), augment=_milder(member.augment, share))


@dataclass(frozen=True)
class _Facts:
    """What the decisions rest on."""

    upright: bool
    rgb: bool
    empty_share: float
    flat_are_empty: bool
    object_px: float


def _facts(pictures: Pictures) -> _Facts:
    """Look at the annotations once."""
    coverage, flat, images = pictures.coverage, pictures.flat, pictures.images
    upright = any(image.depth is not None for image in images)
    return _Facts(
        upright=upright,
        rgb=any(image.channels >= 3 for image in images),
        empty_share=float(np.mean(coverage == 0)),
        flat_are_empty=bool(flat.any() and (coverage[flat] == 0).all()),
        object_px=_object_px(pictures),
    )


def _object_px(pictures: Pictures, looked_at: int = 32) -> float:
    """Side of the object that the usual foreground pixel belongs to; 0 without any."""
    found = []
    for i in range(0, len(pictures.images), max(1, len(pictures.images) // looked_at)):
        labels = np.maximum(pictures.labels(i), 0)
        if pictures.kind != "instances":
            labels = cv2.connectedComponents((labels > 0).astype(np.uint8))[1]
        areas = np.bincount(labels.ravel())[1:]
        found.append(areas[areas > 0])
    areas = np.sort(np.concatenate(found))
    if not len(areas):
        return 0.0
    middle = np.searchsorted(areas.cumsum(), areas.sum() / 2)
    return float(np.sqrt(areas[middle]))


def _geometry(images: Sequence[Image], facts: _Facts) -> tuple[Geometry, str]:
    """Whole pictures if all are small and alike, else tiles."""
    sizes = {image.size_hw for image in images}
    largest = max(max(size) for size in sizes)
    channels: tuple[str, ...] = ("image", "row", "depth") if facts.upright else ("image",)
    normalise = suited_normalisation(images)
    if all(image.depth is None for image in images):
        channels = ("image",)
    if len(sizes) == 1 and largest <= 192:
        height, width = next(iter(sizes))
        size = (-(-height // 32) * 32, -(-width // 32) * 32)
        geometry = Geometry(
            fit="whole", size_hw=size, border="reflect", channels=channels, normalise=normalise
        )
        return geometry, (
            f"input: whole pictures of {height} x {width} px, reflected to {size[0]} x {size[1]}"
        )
    sides = np.median([min(image.size_hw) for image in images])
    side = 256 if sides >= 224 else max(64, int(sides) // 32 * 32)
    geometry = Geometry(fit="tile", size_hw=(side, side), channels=channels, normalise=normalise)
    return geometry, (
        f"input: tiles of {side} px, since pictures measure up to {largest} px "
        f"in {len(sizes)} sizes"
    )


def _augment(facts: _Facts) -> tuple[Augment, str]:
    """Geometry that is physically possible, and moderate colour."""
    common = Augment(
        hflip=0.5,
        scale=(0.7, 1.4),  # nnU-Net's range
        brightness=0.15,
        contrast=0.25,
        gamma=0.3,
        noise=0.03,
        noise_p=0.15,
        blur=1.0,
        blur_p=0.1,
    )
    if facts.upright:
        upright = dataclasses.replace(
            common, valid=("hflip",), scale=(0.85, 1.2), shift=0.08, affine_p=0.5
        )
        return upright, (
            "augmentation: left-right flips only, since a depth column says that up is not down; "
            "mild zoom, grey values"
        )
    turned = dataclasses.replace(
        common,
        vflip=0.5,
        rot90=0.5,
        rotate=45.0,
        rotate_p=0.3,
        channel_shift=0.05 if facts.rgb else 0.0,
        saturation=0.3 if facts.rgb else 0.0,
        invert=0.0,
    )
    return turned, "augmentation: all flips and quarter turns, zoom 0.7 to 1.4, colour"


def _milder(augment: Augment, share: float) -> Augment:
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


def _cheaper(
    member: Member, picture_hw: tuple[int, int], object_px: float, steps: int
) -> tuple[Member, float, float] | None:
    """Trade pixels per step for steps, where a budget allows too few of them.

    Small whole pictures get smaller, tiles get smaller unless they would no longer hold an object
    and its surroundings. Measured with the same seconds of training. Simulated salt, two surveys of
    198 patches of 101 px: 40 steps of 16 at 128 px .546 and .523, 80 of 8 .559 and .504, 300 of 8
    at 64 px .623 and .624 (salt metric). Nuclei: 120 steps of 8 tiles of 256 px Dice .865, instance
    AP at .5 .71; 212 of 192 px .880, .73; 480 of 128 px .889, .74.

    Returns:
        The member, and the factors by which a step and a window become cheaper; None if there
        are steps enough.
    """
    if steps >= _FEW_STEPS:
        return None
    (stage,), full = member.stages, member.geometry.size_hw
    whole = member.geometry.fit == "whole"
    batch = max(8, stage.batch // 2) if whole else stage.batch
    least = 1.0 if whole else _AROUND * object_px
    size, cheaper = full, 1.0
    for part in (1.0, 0.75, 0.5):
        smaller = (_of_32(full[0] * part), _of_32(full[1] * part))
        if part < 1 and min(smaller) < least:
            break
        size, cheaper = smaller, smaller[0] * smaller[1] / (full[0] * full[1])
        if steps * stage.batch / batch / cheaper >= _FEW_STEPS:
            break
    if size == full and batch == stage.batch:
        return None
    geometry = dataclasses.replace(member.geometry, size_hw=size)
    if whole and size != full:
        content = (picture_hw[0] * size[0] // full[0], picture_hw[1] * size[1] // full[1])
        geometry = dataclasses.replace(geometry, resize_hw=content)
    changed = dataclasses.replace(
        member, geometry=geometry, stages=(dataclasses.replace(stage, batch=batch),)
    )
    return changed, cheaper * batch / stage.batch, cheaper


def _of_32(side: float) -> int:
    """The nearest multiple of 32, at least 32."""
    return max(32, round(side / 32) * 32)


def _batch(geometry: Geometry, device: str) -> int:
    """As many pictures as half a megapixel on a CPU (at most 16), two on a GPU; at least 4."""
    pixels, most = (2**19, 16) if device == "cpu" else (2**21, 32)
    area = geometry.size_hw[0] * geometry.size_hw[1]
    return int(np.clip(2 ** int(np.log2(pixels / area)), 4, most))


def _units(images: Sequence[Image]) -> int:
    """How many pictures or groups can be divided among folds."""
    groups = {image.group for image in images if image.group is not None}
    return len(groups) if groups else len(images)


def _strata(survey: Survey) -> tuple[str, ...]:
    """What the folds should have in common."""
    strata = ["coverage"]
    if survey.mask_kind == "classes" and len(survey.classes) > 1:
        strata.append("class")
    if any(image.depth is not None for image in survey.images):
        strata.append("depth")
    if any(image.kind is not None for image in survey.images):
        strata.append("kind")
    return tuple(strata)
