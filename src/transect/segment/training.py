"""Training of one member on one fold of a survey of masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect import losses, models
from transect.data.inputs import Inputs
from transect.errors import TransectError
from transect.metrics.segment import salt_map
from transect.recipe import Augment, Member, Stage
from transect.segment.dataset import MaskDataset
from transect.segment.likeness import weighted
from transect.segment.targets import foreground_planes
from transect.task import Work
from transect.train.budget import Pace, measure
from transect.train.checkpoint import load_weights
from transect.train.dense import DenseBatches, DenseSource
from transect.train.distill import MeanTeacher
from transect.train.engine import fit
from transect.train.lr_finder import Sweep, find_lr
from transect.train.mixed import MixedBatches, UnlabelledBatches, shares_of
from transect.train.plan import (
    Batches,
    FitResult,
    StagePlan,
    Step,
    no_better_than,
    told,
    watches,
)
from transect.types import Image, MaskKind

__all__ = [
    "VALIDATION_WINDOWS",
    "Sources",
    "build_member",
    "dense_step",
    "fit_fold",
    "pace_of",
    "sweep_of",
    "validation",
]

_VALIDATION_BATCH, _VALIDATION_BATCHES = 16, 8  # our choice: enough to rank epochs
VALIDATION_WINDOWS = _VALIDATION_BATCH * _VALIDATION_BATCHES
"""Windows that a look at validation takes."""
_HOPELESS_STEPS = 1000
"""Updates after which a stage no better than all-empty masks is given up; our guess."""


def build_member(
    member: Member, inputs: Inputs, planes: int, *, pretrained: bool = True
) -> nn.Module:
    """Make a member's network for a survey's channels and planes."""
    return models.build(
        member.network,
        in_channels=inputs.network_channels,
        outputs=planes,
        pretrained_allowed=pretrained,
    )


def dense_step(
    stage: Stage, kind: MaskKind = "binary"
) -> Callable[[nn.Module, dict[str, Tensor], float], tuple[Tensor, dict[str, float]]]:
    """The loss of a stage over all heads of a dense network.

    The heads: ``logits`` with the stage's loss; ``deep`` with a loss averaged over levels, all
    compared at the image's size; ``pixel`` on non-empty images only, or on the whole batch if
    its loss leaves the empty ones out by itself; ``empty`` against whether an image holds any
    foreground.

    Args:
        stage: Its losses.
        kind: Of the masks, which says where the foreground is.

    Returns:
        The step; it raises TransectError if a loss is for a head that the network does not have.
    """
    foreground = foreground_planes(kind)
    end = losses.parse_loss(stage.loss_end) if stage.loss_end else None
    main = losses.scheduled(losses.parse_loss(stage.loss), end, stage.loss_change)
    aux = [(head, losses.parse_loss(expression)) for head, expression in stage.aux]

    def step(
        model: nn.Module, batch: dict[str, Tensor], progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        outputs = model(batch["image"])
        target, valid = batch["target"], batch["valid"]
        loss = main(outputs["logits"], target, valid=valid, progress=progress)
        parts = {"main": loss.detach()}
        present = (target[:, foreground] * valid).flatten(1)
        filled = present.amax(1, keepdim=True) > 0.5  # (N, 1)
        for head, term in aux:
            if head not in outputs:
                raise TransectError(
                    f"stage {stage.name} has a loss on the head '{head}', which its network does "
                    "not have. Set network.image_head (empty), pixel_head (pixel) or "
                    "deep_supervision (deep), or remove the loss from aux."
                )
            if head == "empty":
                value = term(outputs[head], filled.float())
            elif head == "deep":
                value = torch.stack(
                    [term(level, target, valid=valid) for level in outputs[head]]
                ).mean()
            elif term.skips_empty:
                value = term(outputs[head], target, valid=valid)
            elif filled.any():
                chosen = filled[:, 0]
                value = term(outputs[head][chosen], target[chosen], valid=valid[chosen])
            else:
                continue
            parts[head] = value.detach()
            loss = loss + value
        return loss, {name: float(value) for name, value in parts.items()}

    return step


@dataclass(frozen=True)
class Sources:
    """What a training draws from beside the labelled images of its fold.

    Attributes:
        pseudo: Pseudo-labelled images, for stages with ``data`` pseudo or mixed.
        balanced: Draw these evenly over coverage.
        unlabelled: Images for the mean teacher of stages with ``data`` teacher; their labels are
            not looked at.
        weights: Draw weight of every image for stages with the sampler ``weighted``: how much it
            looks like the ones to be answered (adversarial validation); None is even.
        channels: From any image to the predicted masks (H, W, M) that are channels of the member.
    """

    pseudo: MaskDataset | None = None
    balanced: bool = False
    unlabelled: MaskDataset | None = None
    weights: NDArray[np.float64] | None = None
    channels: Callable[[Image], NDArray[np.uint8]] | None = None


def fit_fold(
    work: Work[MaskDataset],
    member: Member,
    fold: int,
    sources: Sources,
    *,
    folder: Path,
    stages: Sequence[Stage],
    metric: str = "dice",
    begin: Path | None = None,
) -> FitResult | None:
    """Train some stages of a member on all folds but one.

    Args:
        work: The images, their folds, the seed, the device, and who is told.
        member: What to train.
        fold: The one held out.
        sources: What else there is to draw from.
        folder: Where state and snapshots go.
        stages: Of the member.
        metric: Of ``validation``, which best epochs are chosen by.
        begin: Weights to begin with, from a round before; None begins as the network says.

    Returns:
        The snapshots to predict with; None if all stages need pseudo-labels and there are none.
    """
    dataset, seed = work.dataset, work.recipe.seed * 1000 + fold
    held_out = np.flatnonzero(work.folds == fold).tolist()
    watched = watches(stages)
    # All-empty masks score the share of empty images in the competition's metric, 0 in Dice.
    trivial = float(np.mean(dataset.coverage[held_out] == 0)) if metric == "salt_map" else 0.0
    hopeless = no_better_than(trivial, after_steps=_HOPELESS_STEPS) if watched else None
    plans = []
    for stage in stages:
        drawn = _drawn(work, member, fold, stage, sources)
        if drawn is not None:
            plans.append(StagePlan(stage, *drawn, hopeless=hopeless))
    if not plans:
        return None
    fresh = begin is None or plans[0].stage.start == "scratch"
    build = _builder(dataset, member, pretrained=fresh)
    look = None
    if watched:
        look = validation(dataset, member, held_out, device=work.device, channels=sources.channels)
    return fit(
        build if fresh or begin is None else _begun(build, begin),
        plans,
        folder=folder,
        seed=seed,
        device=work.device,
        evaluate=look,
        metric=metric,
        progress=told(work.progress, member.name, fold),
    )


def _drawn(
    work: Work[MaskDataset], member: Member, fold: int, stage: Stage, sources: Sources
) -> tuple[Batches, Step] | None:
    """The batches of a stage and its step; None if it needs pseudo-labels and there are none."""
    dataset, number = work.dataset, member.stages.index(stage)
    train = np.flatnonzero(work.folds != fold).tolist()
    labelled = weighted(dataset.source(member.geometry, sources.channels), sources.weights, stage)

    def draws(which: DenseSource, pool: Sequence[int], stage: Stage, number: int) -> DenseBatches:
        return DenseBatches(
            which,
            pool,
            stage=stage,
            geometry=member.geometry,
            augment=member.augment,
            seed=work.recipe.seed * 1000 + fold * 10 + number,
        )

    step: Step = dense_step(stage, dataset.kind)
    other = sources.unlabelled if stage.data == "teacher" else sources.pseudo
    if stage.data == "train" or (other is None and stage.data in {"mixed", "teacher"}):
        return draws(labelled, train, stage, number), step
    if other is None:
        return None
    more = _source_of(other, dataset, member, sources.channels)
    pool = range(len(other.images))
    kind = "coverage" if sources.balanced else "uniform"
    if stage.data == "pseudo":
        alone = dataclasses.replace(stage, sampler=kind, curriculum="none")
        return draws(more, pool, alone, number), step
    own, theirs = shares_of(stage.batch, stage.pseudo_share)
    first = draws(labelled, train, dataclasses.replace(stage, batch=own), number)
    beside = dataclasses.replace(
        stage, batch=theirs, sampler=kind, curriculum="none", steps=first.steps
    )
    second = draws(more, pool, beside, number + 500)
    if stage.data == "mixed":
        return MixedBatches(first, second), step
    return UnlabelledBatches(first, second), MeanTeacher(step)


def _begun(build: Callable[[], nn.Module], weights: Path) -> Callable[[], nn.Module]:
    """A function that makes a network with the weights of a snapshot."""

    def make() -> nn.Module:
        model = build()
        load_weights(model, weights)
        return model

    return make


def _source_of(
    other: MaskDataset,
    dataset: MaskDataset,
    member: Member,
    channels: Callable[[Image], NDArray[np.uint8]] | None,
) -> DenseSource:
    """Further images, prepared as the survey's own: same depth range, same statistics."""
    inputs = dataset.inputs(member.geometry)
    return dataclasses.replace(
        other.source(member.geometry, channels),
        prepare=lambda pixels, i, window, *masks: inputs.prepare(
            pixels, other.images[i], window, *masks
        ),
    )


def validation(
    dataset: MaskDataset,
    member: Member,
    held_out: Sequence[int],
    *,
    device: str,
    channels: Callable[[Image], NDArray[np.uint8]] | None = None,
) -> Callable[[nn.Module], Mapping[str, float]]:
    """A quick measure of a model on fixed windows of held-out images.

    It ranks epochs; scores that are reported come from whole images. The windows lie where a
    seeded draw puts them and are not augmented.

    Returns:
        From a model to ``dice`` (pooled over pixels, planes averaged), ``salt_map`` of the
        first foreground plane at one half, and ``accuracy``.
    """
    stage = Stage(batch=_VALIDATION_BATCH, steps=_VALIDATION_BATCHES, epochs=1, sampler="uniform")
    batches = list(
        DenseBatches(
            dataset.source(member.geometry, channels),
            held_out,
            stage=stage,
            geometry=member.geometry,
            augment=Augment(),
            seed=7,
        ).epoch(0)
    )
    softmax = dataset.kind == "classes"
    plane = 1 if softmax else 0

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        shared = total = correct = pixels = 0.0
        per_image = []
        with torch.inference_mode():
            for batch in batches:
                logits = model(batch["image"].to(device))["logits"].float().cpu()
                target = batch["target"] > 0.5
                valid = batch["valid"] > 0
                found = logits.argmax(1, keepdim=True) == plane if softmax else logits[:, :1] > 0
                found, truth = found & valid, target[:, plane : plane + 1] & valid
                shared += float((found & truth).sum())
                total += float(found.sum() + truth.sum())
                correct += float(((found == truth) & valid).sum())
                pixels += float(valid.sum())
                per_image.append(salt_map(found[:, 0].numpy(), truth[:, 0].numpy()))
        return {
            "dice": 2 * shared / total if total else 1.0,
            "salt_map": float(np.concatenate(per_image).mean()),
            "accuracy": correct / pixels,
        }

    return evaluate


def pace_of(
    dataset: MaskDataset, member: Member, *, device: str, most_seconds: float = 20.0
) -> Pace:
    """Time a few training steps of a member's first stage here, on this survey.

    Args:
        dataset: The survey.
        member: Whose first stage.
        device: Where.
        most_seconds: See ``measure``.

    Returns:
        The pace; its evaluation is one batch through the network.
    """
    stage = member.stages[0]
    batches = DenseBatches(
        dataset.source(member.geometry),
        range(len(dataset.images)),
        stage=stage,
        geometry=member.geometry,
        augment=member.augment,
        seed=0,
    )
    plan = StagePlan(stage, batches, dense_step(stage, dataset.kind))
    batch = next(iter(batches.epoch(0)))["image"]
    return measure(
        _builder(dataset, member, pretrained=False),
        plan,
        device=device,
        evaluate=lambda model: model(batch.to(device))["logits"].cpu(),
        most_seconds=most_seconds,
    )


def sweep_of(dataset: MaskDataset, member: Member, *, seed: int, device: str) -> Sweep:
    """Sweep the learning rate of a member's first stage on this survey."""
    stage = member.stages[0]
    batches = DenseBatches(
        dataset.source(member.geometry),
        range(len(dataset.images)),
        stage=stage,
        geometry=member.geometry,
        augment=member.augment,
        seed=seed,
    )
    plan = StagePlan(stage, batches, dense_step(stage, dataset.kind))
    return find_lr(_builder(dataset, member), plan, seed=seed, device=device)


def _builder(
    dataset: MaskDataset, member: Member, *, pretrained: bool = True
) -> Callable[[], nn.Module]:
    """A function that makes the member's network."""
    inputs = dataset.inputs(member.geometry)
    return lambda: build_member(member, inputs, len(dataset.planes), pretrained=pretrained)
