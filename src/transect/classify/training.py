"""Training of one member on one fold: batches of changed images, and the loss on their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.augment import augment_sample
from transect.classify.dataset import LabelledImages
from transect.classify.forward import asked, ready, whole_window
from transect.classify.network import (
    Classifier,
    embedding_of,
    label_step,
    probabilities,
    regresses,
)
from transect.metrics.classify import log_loss
from transect.predict.views import view
from transect.recipe import Augment, Member, Stage
from transect.tabular.linear import LinearClassifier, fit_linear
from transect.train.batches import IndexBatches
from transect.train.budget import Pace, measure
from transect.train.engine import fit
from transect.train.plan import FitResult, ProgressEvent, StagePlan, watches
from transect.train.samplers import Draws, Items, sampler_for, weights_of
from transect.types import Sample

__all__ = ["build_classifier", "fit_fold", "fit_logistic", "outputs_of", "pace_of", "vectors_of"]

_WATCHED = 512  # held-out images that rank epochs; our choice


def outputs_of(member: Member, classes: int) -> int:
    """Outputs of a member's network: one for every label, or the grade itself."""
    return 1 if regresses(member.stages) else classes


def build_classifier(
    member: Member,
    dataset_channels: int,
    outputs: int,
    *,
    pretrained: bool = True,
    start: LinearClassifier | None = None,
) -> Classifier:
    """Make a member's network.

    Args:
        member: Of the recipe.
        dataset_channels: Of its input.
        outputs: Of its last layer.
        pretrained: False if trained weights are going to be loaded.
        start: What its last layer begins as.
    """
    return Classifier(
        embedding_of(member),
        in_channels=dataset_channels,
        outputs=outputs,
        pretrained=pretrained,
        start=start,
    )


def fit_fold(
    dataset: LabelledImages,
    member: Member,
    rows: NDArray[np.int64],
    *,
    folder: Path,
    seed: int,
    device: str,
    start: LinearClassifier | None = None,
    progress: Callable[[ProgressEvent], None] | None = None,
) -> FitResult:
    """Train a member on some of the images.

    Args:
        dataset: All images.
        member: What to train.
        rows: Images to train on.
        folder: Where state and snapshots go.
        seed: Of this fold.
        device: Where.
        start: What the last layer begins as.
        progress: Told after every update.

    Returns:
        The snapshots to predict with.
    """
    outputs = outputs_of(member, len(dataset.classes))
    plans = [
        StagePlan(
            stage, _batches(dataset, member, stage, rows, seed * 100 + number), label_step(stage)
        )
        for number, stage in enumerate(member.stages)
    ]
    channels = dataset.inputs(member.geometry).network_channels
    return fit(
        lambda: build_classifier(member, channels, outputs, start=start),
        plans,
        folder=folder,
        seed=seed,
        device=device,
        evaluate=_evaluator(dataset, member, rows, device) if watches(member.stages) else None,
        metric="score",
        progress=progress,
    )


def fit_logistic(
    dataset: LabelledImages,
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> LinearClassifier:
    """Logistic regression on the vectors of a network that is not trained.

    Args:
        dataset: All images.
        vectors: (N, D) of all images.
        rows: Images to fit on.
        folds: (N,) by which the penalty is chosen.
    """
    return fit_linear(
        vectors[rows],
        dataset.truth[rows],
        several=dataset.kind == "several",
        parts=folds[rows],
        weights=np.array([dataset.images[i].weight for i in rows.tolist()]),
    )


def vectors_of(
    dataset: LabelledImages,
    member: Member,
    *,
    device: str,
    views: Sequence[str] = ("identity",),
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """(N, V, D) vectors of all images by a member's network as it is before training."""
    inputs = dataset.inputs(member.geometry)
    torch.manual_seed(0)  # what has no weights yet is the same in every process
    model = ready(build_classifier(member, inputs.network_channels, 1), device)
    (found,) = asked(
        [lambda x: model(x)["features"]],
        dataset.pixels,
        dataset.images,
        inputs,
        device=device,
        views=[view(name).apply for name in views],
        progress=progress,
    )
    return found


def pace_of(dataset: LabelledImages, member: Member, *, device: str) -> Pace:
    """Time a few training steps of a member's last stage here, on this survey."""
    stage = member.stages[-1]
    batches = _batches(dataset, member, stage, np.arange(len(dataset)), 0)
    channels = dataset.inputs(member.geometry).network_channels
    outputs = outputs_of(member, len(dataset.classes))
    return measure(
        lambda: build_classifier(member, channels, outputs, pretrained=False),
        StagePlan(stage, batches, label_step(stage)),
        device=device,
    )


def _evaluator(
    dataset: LabelledImages, member: Member, rows: NDArray[np.int64], device: str
) -> Callable[[nn.Module], Mapping[str, float]]:
    """Minus the log loss on images that the fold holds out: what ranks epochs."""
    held = np.setdiff1d(np.arange(len(dataset)), rows)
    held = held[:: max(1, -(-len(held) // _WATCHED))]
    part, several = dataset.take(held), dataset.kind == "several"
    inputs, classes = dataset.inputs(member.geometry), len(dataset.classes)
    truth = part.truth if several else part.truth.argmax(axis=1)

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        def said(x: Tensor) -> Tensor:
            return probabilities(model(x)["logits"].float(), classes, several=several)

        (found,) = asked(
            [said], part.pixels, part.images, inputs, device=device, views=[view("identity").apply]
        )
        return {"score": -log_loss(np.clip(found[:, 0], 1e-6, 1), truth)}

    return evaluate


def _batches(
    dataset: LabelledImages, member: Member, stage: Stage, rows: NDArray[np.int64], seed: int
) -> IndexBatches:
    """The batches of a stage."""
    inputs = dataset.inputs(member.geometry)
    size_hw = stage.size_hw or member.geometry.size_hw
    augment = stage.augment or member.augment
    truth = dataset.truth[rows].astype(np.float32)
    target = truth.argmax(axis=1)[:, None].astype(np.float32) if regresses([stage]) else truth
    rarest = dataset.take(rows).rarest
    counts = np.bincount(rarest)
    chance = (counts[counts > 0].min() / counts[rarest]) ** stage.augment_rare

    def picture(item: int, rng: np.random.Generator, fraction: float) -> Tensor:
        row = int(rows[item])
        pixels = dataset.pixels[row]
        plain = stage.augment_rare > 0 and rng.random() >= chance[item]
        changed = augment_sample(
            Sample(pixels),
            _only_flips(augment) if plain else augment,
            rng,
            out_hw=size_hw,
            window=whole_window(pixels.shape[:2], member.geometry.aspect),
            fraction=fraction,
        )
        ready_made = inputs.prepare(np.ascontiguousarray(changed.image), dataset.images[row])
        return torch.from_numpy(ready_made).permute(2, 0, 1)

    def make(
        draws: Draws, rngs: Sequence[np.random.Generator], fraction: float
    ) -> dict[str, Tensor]:
        items = draws.index.tolist()
        x = torch.stack([picture(i, rng, fraction) for i, rng in zip(items, rngs, strict=True)])
        y = torch.from_numpy(target[draws.index])
        if stage.mixup > 0:
            share = float(rngs[0].beta(stage.mixup, stage.mixup))
            share = max(share, 1 - share)
            x = share * x + (1 - share) * x.roll(1, 0)
            y = share * y + (1 - share) * y.roll(1, 0)
        return {"image": x.contiguous(), "target": y}

    items = Items(
        len(rows),
        labels=rarest,
        image_weights=weights_of([dataset.images[i] for i in rows.tolist()]),
    )
    return IndexBatches(
        sampler_for(stage, items, seed=seed), make, batch=stage.batch, seed=seed,
        epochs=stage.epochs,
    )  # fmt: skip


def _only_flips(augment: Augment) -> Augment:
    """What stays of an augmentation for labels that are not rare."""
    return Augment(
        hflip=augment.hflip,
        vflip=augment.vflip,
        rot90=augment.rot90,
        valid=augment.valid,
        border=augment.border,
    )
