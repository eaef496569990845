"""What ``auto`` decides for a survey of labels, and why."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.classify.dataset import LabelledImages
from transect.classify.rules import HEADLINES
from transect.classify.training import pace_of, vectors_of
from transect.data.inputs import suited_normalisation
from transect.recipe import (
    Augment,
    ClassifyDecide,
    Embedding,
    Folds,
    Geometry,
    Member,
    Optimizer,
    Phase,
    Recipe,
    Schedule,
    Stage,
)
from transect.tabular.linear import fit_linear
from transect.task import Limits
from transect.train.budget import shortened, time_for

__all__ = ["plan", "within_budget"]

_TRAINING = 0.6  # share of a given recipe's budget that training may take
_BESIDE = 0.15  # share that decisions and the report may take; with at least some seconds
_LEAST_BESIDE = 12.0
_TRIED = 200  # images on which mirror images are tried; our choice
_LOSS = 0.04  # of the share of right answers that a mirrored image may cost and still be valid
_LEAST_STEPS = 40  # below that, training changes next to nothing; our measurement
_MOST_EPOCHS = 30  # after which more would learn few images by heart; our guess
_LOSSES = {"single": "ce", "several": "bce", "grades": "ce"}


@dataclass(frozen=True)
class _Tried:
    """What a network that is not trained makes of some of the images.

    Attributes:
        seconds: To extract the vector of an image, one view.
        right: Share of labels that it gets right out of fold.
        views: Mirror images and turns to that share.
    """

    seconds: float
    right: float
    views: dict[str, float]

    def valid(self) -> tuple[str, ...]:
        """Views that cost next to nothing: a mirrored image is still the same."""
        return tuple(name for name, share in self.views.items() if share >= self.right - _LOSS)


def plan(dataset: LabelledImages, limits: Limits) -> Recipe:
    """Choose a recipe for a survey, a device and a time.

    Args:
        dataset: A survey with labels, decoded.
        limits: Time, device, seed.

    Returns:
        A recipe whose every number is settled; ``plan`` is the table of its time, and ``why``
        holds one line per decision.
    """
    began = time.monotonic()
    total, why = time_for(limits.seconds, limits.device)
    counts = dataset.truth.sum(axis=0)
    why.append(
        f"labels: {len(dataset)} images, {len(counts)} labels ({dataset.kind}), {int(counts.min())}"
        f" to {int(counts.max())} images each; the measure is {HEADLINES[dataset.kind]}"
    )
    geometry = _geometry(dataset, limits.device)
    frozen = Member(
        "frozen", Embedding(head="linear", neck="none", pooling="layout"), geometry, stages=()
    )
    tried = _tried(dataset, frozen, limits.device)
    flips = tried.valid()
    views = ("identity", "hflip") if "hflip" in flips else ("identity",)
    shares = ", ".join(f"{name} {share:.2f}" for name, share in tried.views.items())
    why.append(
        f"mirror images: a network that is not trained gets {tried.right:.2f} of the labels right, "
        f"of changed images {shares}: {', '.join(flips) or 'none'} belong to training"
    )
    stage = Stage(
        epochs=1,
        batch=16 if limits.device == "cpu" else 64,
        loss=_LOSSES[dataset.kind],
        sampler="frequency" if counts.max() > 4 * max(1, counts.min()) else "uniform",
        optimizer=Optimizer(name="adamw", lr=1e-3, weight_decay=1e-2, encoder_lr=0.3, clip=5.0),
        schedule=Schedule(name="cosine", warmup=0.1, floor=0.01),
        average="ema",
        ema=0.98,
    )
    trained = Member(
        "trained",
        Embedding(
            head="linear", head_start="logistic", neck="none", pooling="multilayer", dropout=0.1
        ),
        geometry,
        _augment(dataset, flips),
        (stage,),
    )
    step = pace_of(dataset, trained, device=limits.device).epoch_seconds(1)
    spent = time.monotonic() - began
    beside = max(_LEAST_BESIDE, _BESIDE * total)
    # Vectors of both members before training, then the answers of the trained one to all images.
    looking = len(dataset) * tried.seconds * (2 * len(views) + 1)
    left = total - spent - beside - looking
    folds, epochs, reason = _length(dataset, stage, left, step)
    members: tuple[Member, ...] = (frozen,)
    if epochs:
        stage = dataclasses.replace(stage, epochs=epochs)
        members += (dataclasses.replace(trained, stages=(stage,)),)
    why.append(
        f"networks: efficientnet_lite0 at {geometry.size_hw[0]} x {geometry.size_hw[1]} px "
        f"with ImageNet weights and logistic regression always answers; {reason}"
    )
    why.append("what answers: that which is best out of fold, the simplest of equals")
    training = folds * epochs * max(1, _rows(dataset, folds) // stage.batch) * step
    phases = (
        Phase("timing", round(spent, 1), "mirror images tried, a step timed"),
        Phase("preparing", round(looking / 2, 1), "vectors before training"),
        Phase("training", round(training, 1), f"{folds} folds of {epochs} epochs"),
        Phase("predicting", round(looking / 2, 1), "held-out images"),
        Phase("deciding", round(beside / 2, 1), "sources compared, rules tuned"),
        Phase("report", round(beside / 2, 1), "intervals, charts, the worst images"),
    )
    return Recipe(
        name="auto",
        question="classify",
        members=members,
        folds=Folds(count=folds, stratify=("class",), seed=limits.seed),
        views=views,
        decide=ClassifyDecide(),
        seed=limits.seed,
        notes="Chosen by auto for this survey, device and budget.",
        why=tuple(why),
        plan=phases,
    )


def within_budget(recipe: Recipe, dataset: LabelledImages, limits: Limits) -> Recipe:
    """Shorten every stage of a given recipe by one factor, so that it fits a time."""
    assert limits.seconds is not None
    rows = _rows(dataset, recipe.folds.count)
    return shortened(
        recipe,
        limits.seconds * _TRAINING,
        step_seconds=lambda m: pace_of(dataset, m, device=limits.device).epoch_seconds(1),
        steps_of=lambda stage: stage.steps or max(1, rows // stage.batch),
    )


def _length(
    dataset: LabelledImages, stage: Stage, seconds: float, step: float
) -> tuple[int, int, str]:
    """Folds and epochs that fit a time, and why; no epochs where there is too little."""
    least = int(min(n for n in dataset.truth.sum(axis=0) if n))
    most = int(np.clip(least, 2, 5))
    for folds in sorted({most, min(most, 3), 2}, reverse=True):
        per_epoch = max(1, _rows(dataset, folds) // stage.batch)
        steps = int(seconds / (folds * step))
        if steps >= max(_LEAST_STEPS, per_epoch * (4 if folds > 2 else 1)):
            epochs = int(np.clip(steps // per_epoch, 1, _MOST_EPOCHS))
            return folds, epochs, (
                f"another goes on from there, {epochs * per_epoch} steps of {step:.2f} s on "
                f"each of {folds} folds"
            )  # fmt: skip
    return most, 0, (
        f"steps of {step:.2f} s leave time for {max(0, int(seconds / step))} on all folds, too few "
        "to change it, so nothing is trained"
    )  # fmt: skip


def _rows(dataset: LabelledImages, folds: int) -> int:
    """Images that a fold trains on."""
    return max(1, int(len(dataset) * (1 - 1 / folds)))


def _tried(dataset: LabelledImages, member: Member, device: str) -> _Tried:
    """Fit on half of some images, answer the other half plain, mirrored and turned."""
    rows = np.arange(len(dataset))[:: max(1, -(-len(dataset) // _TRIED))]
    part = dataset.take(rows)
    names = ("identity", "hflip", "vflip", "rot90")
    vectors_of(part.take(np.arange(1)), member, device=device)  # warms up
    began = time.monotonic()
    vectors = vectors_of(part, member, device=device, views=names)
    seconds = (time.monotonic() - began) / (len(part) * len(names))
    held = _halves(part)
    several = dataset.kind == "several"
    found: NDArray[np.float64] = np.zeros(len(names))
    for own in (held, ~held):
        fitted = fit_linear(vectors[~own, 0], part.truth[~own], several=several, strengths=(1e-3,))
        for v in range(len(names)):
            p, truth = fitted.probabilities(vectors[own, v]), part.truth[own] > 0
            right = (
                ((p > 0.5) == truth).mean()
                if several
                else truth[p == p.max(1, keepdims=True)].mean()
            )
            found[v] += right / 2
    return _Tried(seconds, float(found[0]), dict(zip(names[1:], found[1:].tolist(), strict=True)))


def _halves(part: LabelledImages) -> NDArray[np.bool_]:
    """Every other image of each label."""
    held = np.zeros(len(part), bool)
    rarest = part.rarest
    for c in np.unique(rarest):
        held[np.flatnonzero(rarest == c)[::2]] = True
    return held


def _geometry(dataset: LabelledImages, device: str) -> Geometry:
    """About 128 x 128 pixels on a CPU, 256 x 256 on a GPU, in the shape of the usual image."""
    shapes = np.array([p.shape[:2] for p in dataset.pixels], float)
    usual = float(np.sqrt(np.median(shapes[:, 0] * shapes[:, 1])))
    side = float(np.clip(usual, 64, 128 if device == "cpu" else 256))
    aspect = float(np.clip(np.median(shapes[:, 1] / shapes[:, 0]), 0.4, 2.5))
    height, width = side / np.sqrt(aspect), side * np.sqrt(aspect)
    size_hw = (max(32, round(height / 32) * 32), max(32, round(width / 32) * 32))
    return Geometry(fit="whole", size_hw=size_hw, normalise=suited_normalisation(dataset.images))


def _augment(dataset: LabelledImages, flips: tuple[str, ...]) -> Augment:
    """Small moves and light, and the mirror images that leave a label what it is."""
    colour = dataset.channels == 3
    return Augment(
        hflip=0.5 * ("hflip" in flips),
        vflip=0.5 * ("vflip" in flips),
        rot90=1.0 * ("rot90" in flips),
        rotate=10,
        shift=0.06,
        scale=(0.85, 1.15),
        aspect=0.08,
        brightness=0.1,
        contrast=0.15,
        gamma=0.15,
        saturation=0.2 if colour else 0.0,
        cutout=0.25,
        cutout_p=0.25,
        valid=("rotate", *(name for name in ("hflip", "vflip", "rot90") if name in flips)),
    )
