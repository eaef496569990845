"""What `auto` decides for a survey of masks, and why."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.data.inputs import suited_normalisation
from transect.errors import TransectError
from transect.recipe import (
    Augment,
    Folds,
    Geometry,
    Member,
    Network,
    Optimizer,
    Phase,
    Recipe,
    Schedule,
    SegmentDecide,
    Stage,
    set_field,
)
from transect.segment.cost import Cost, cost_of
from transect.segment.dataset import MaskDataset
from transect.segment.planning import Scale, losses_of, planned_for, units
from transect.train.budget import time_for
from transect.types import Image, Survey

__all__ = ["plan"]

_TIMING = 0.03  # of the budget, after which no further step is timed; our choice


def plan(
    dataset: MaskDataset,
    *,
    budget_seconds: float | None,
    device: str,
    seed: int,
    settings: Mapping[str, str] | None = None,
) -> Recipe:
    """Choose a recipe for a survey, a device and a time.

    Args:
        dataset: A survey with masks, decoded.
        budget_seconds: For everything; None takes half an hour on a CPU, an hour on a GPU.
        device: Where training will run; steps are timed there.
        seed: Of everything random.
        settings: The user's own fields, as ``--set`` takes them: the rest is planned around them.

    Returns:
        A recipe whose every number is settled; ``plan`` is the table of its time, and ``why``
        holds one line per decision, as it came out in the end.
    """
    seconds, why = time_for(budget_seconds, device)
    facts = _facts(dataset)
    timing = [0.0]
    known: list[Cost] = []

    def timed(member: Member) -> Cost:
        began = time.monotonic()
        cost = cost_of(
            dataset,
            member,
            metric,
            device=device,
            most_seconds=min(20.0, _TIMING * seconds),
            decision=known[0].decision if known else None,
        )
        known.append(cost)
        timing.append(time.monotonic() - began)
        return cost

    def pinned(recipe: Recipe) -> Recipe:
        return _with_settings(recipe, settings or {})

    recipe = pinned(_suited(dataset, facts, device, seed))
    assert isinstance(recipe.decide, SegmentDecide)
    metric = recipe.decide.metric
    scale = Scale(facts.usual_px, facts.large_px)
    found = planned_for(
        recipe,
        dataset,
        left=lambda: seconds - sum(timing),
        scale=scale,
        timed=timed,
        pinned=pinned,
    )
    recipe, spent = found.recipe, sum(timing)
    phases = (Phase("timing", round(spent, 1), "a step, a window and a decision"), *recipe.plan)
    reasons = (*why, *_reasons(recipe, facts, dataset, settings or {}))
    out = [f"left out: {line}" for line in found.left_out]
    return dataclasses.replace(recipe, plan=phases, why=(*reasons, *out))


def _with_settings(recipe: Recipe, settings: Mapping[str, str]) -> Recipe:
    """The recipe with the user's fields; those of a stage that is not there yet come later."""
    for path, value in settings.items():
        with contextlib.suppress(TransectError):
            recipe = set_field(recipe, path, value)
    return recipe


def _reasons(
    recipe: Recipe, facts: _Facts, dataset: MaskDataset, settings: Mapping[str, str]
) -> list[str]:
    """One line per decision, read from the recipe as it came out."""
    (member,) = recipe.members
    geometry, network, stage = member.geometry, member.network, member.stages[0]
    assert isinstance(network, Network)
    assert isinstance(recipe.decide, SegmentDecide)
    size = " x ".join(str(side) for side in geometry.size_hw)
    if geometry.fit == "whole":
        own = " x ".join(str(side) for side in dataset.images[0].size_hw)
        lines = [f"input: whole images of {own} px, as {size} px"]
    else:
        sizes = {image.size_hw for image in dataset.images}
        lines = [
            f"input: tiles of {size} px, since images measure up to {max(map(max, sizes))} px in "
            f"{len(sizes)} sizes; objects measure {facts.usual_px:.0f} px as a rule and up to "
            f"{facts.large_px:.0f} px in some images"
        ]
    lines.append(
        "augmentation: left-right flips only, since a depth column says that up is not down; mild "
        "zoom, grey values"
        if facts.upright
        else "augmentation: all flips and quarter turns, zoom, colour"
    )
    lines.append(
        f"network: {network.encoder} with a {network.decoder} decoder, batches of {stage.batch}, "
        f"{dataset.inputs(geometry).network_channels} input channels, output "
        f"{', '.join(dataset.planes)}"
    )
    trained = recipe.folds.use or recipe.folds.count
    held_out = len(dataset.images) * trained / recipe.folds.count
    lines.append(
        f"folds: {recipe.folds.count}, of which {trained} trained; the {held_out:.0f} images that "
        "they hold out decide and score"
    )
    losses = ", then ".join(losses_of(one) for one in member.stages)
    lines.append(
        f"decisions: tuned out of fold for {recipe.decide.metric}; views "
        f"{', '.join(recipe.views)}; losses {losses}"
    )
    if dataset.images and recipe.pseudo:
        lines.append("pseudo-labels: images without masks are labelled once and learnt from")
    return lines + [f"set by you: {path}={value}" for path, value in settings.items()]


def _suited(dataset: MaskDataset, facts: _Facts, device: str, seed: int) -> Recipe:
    """What suits the survey and the device, whatever the time; epochs are not settled yet."""
    kind = dataset.kind
    geometry = _geometry(dataset.images, facts)
    augment = _augment(facts)
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
        optimizer=Optimizer(name="adamw", lr=1e-3, weight_decay=1e-2),
        schedule=Schedule(name="cosine", warmup=0.05, floor=0.01),
        sampler="foreground" if geometry.fit == "tile" else "uniform",
        sampler_share=0.33,  # nnU-Net's share of foreground-centred patches
        average="ema",
        ema=0.98,
        # What lies mirrored around a whole image is learnt from, too: simulated salt, 400 steps of
        # 16 patches of 64 px: .732 against .708 and .710, empty patches .84 against .76 and .77.
        loss_on="padded",
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
            count=min(5, max(2, units(dataset.images))),
            use=1,
            stratify=_strata(dataset.survey),
            seed=seed,
        ),
        views=("identity", "hflip", "vflip", "hvflip") if augment.vflip else ("identity", "hflip"),
        decide=decide,
        seed=seed,
        notes="Chosen by auto for this survey, device and budget.",
    )


@dataclass(frozen=True)
class _Facts:
    """What the decisions rest on."""

    upright: bool
    rgb: bool
    empty_share: float
    flat_are_empty: bool
    usual_px: float
    large_px: float


def _facts(dataset: MaskDataset) -> _Facts:
    """Look at the annotations once."""
    coverage, flat, images = dataset.coverage, dataset.flat, dataset.images
    upright = any(image.depth is not None for image in images)
    usual_px, large_px = _object_px(dataset)
    return _Facts(
        upright=upright,
        rgb=any(image.channels >= 3 for image in images),
        empty_share=float(np.mean(coverage == 0)),
        flat_are_empty=bool(flat.any() and (coverage[flat] == 0).all()),
        usual_px=usual_px,
        large_px=large_px,
    )


def _object_px(dataset: MaskDataset, looked_at: int = 64) -> tuple[float, float]:
    """Side of the object that the usual foreground pixel belongs to, and in the fullest twentieth.

    Returns:
        Over all images, and the side that the same measure of one image in twenty exceeds; 0
        without objects.
    """
    found = []
    for i in range(0, len(dataset.images), max(1, len(dataset.images) // looked_at)):
        labels = np.maximum(dataset.labels(i), 0)
        if dataset.kind != "instances":
            labels = cv2.connectedComponents((labels > 0).astype(np.uint8))[1]
        areas = np.bincount(labels.ravel())[1:]
        if areas.any():
            found.append(np.sort(areas[areas > 0]))
    if not found:
        return 0.0, 0.0
    usual = _usual_side(np.sort(np.concatenate(found)))
    return usual, float(np.quantile([_usual_side(areas) for areas in found], 0.95))


def _usual_side(areas: NDArray[np.int64]) -> float:
    """Side of the object that holds the middle pixel of all, from sorted areas."""
    return float(np.sqrt(areas[np.searchsorted(areas.cumsum(), areas.sum() / 2)]))


def _geometry(images: Sequence[Image], facts: _Facts) -> Geometry:
    """Whole images if all are small and alike, else tiles."""
    sizes = {image.size_hw for image in images}
    largest = max(max(size) for size in sizes)
    channels: tuple[str, ...] = ("image", "row", "depth") if facts.upright else ("image",)
    normalise = suited_normalisation(images)
    if all(image.depth is None for image in images):
        channels = ("image",)
    if len(sizes) == 1 and largest <= 192:
        height, width = next(iter(sizes))
        size = (-(-height // 32) * 32, -(-width // 32) * 32)
        return Geometry(
            fit="whole", size_hw=size, border="reflect", channels=channels, normalise=normalise
        )
    sides = np.median([min(image.size_hw) for image in images])
    side = 256 if sides >= 224 else max(64, int(sides) // 32 * 32)
    return Geometry(fit="tile", size_hw=(side, side), channels=channels, normalise=normalise)


def _augment(facts: _Facts) -> Augment:
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
        return dataclasses.replace(
            common, valid=("hflip",), scale=(0.85, 1.2), shift=0.08, affine_p=0.5
        )
    return dataclasses.replace(
        common,
        vflip=0.5,
        rot90=0.5,
        rotate=45.0,
        rotate_p=0.3,
        channel_shift=0.05 if facts.rgb else 0.0,
        saturation=0.3 if facts.rgb else 0.0,
        invert=0.0,
    )


def _batch(geometry: Geometry, device: str) -> int:
    """As many images as half a megapixel on a CPU (at most 16), two on a GPU; at least 4."""
    pixels, most = (2**19, 16) if device == "cpu" else (2**21, 32)
    area = geometry.size_hw[0] * geometry.size_hw[1]
    return int(np.clip(2 ** int(np.log2(pixels / area)), 4, most))


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
