"""Training of one member on one fold: batches of augmented cut-outs, or of mined pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.augment import augment_sample
from transect.data.inputs import Inputs
from transect.errors import TransectError
from transect.identify.embedding import embed_with
from transect.identify.photos import Photos
from transect.identify.recogniser import Recogniser, identity_step, pair_step, uses_unknown
from transect.identify.validation import recognition
from transect.models.siamese import PairHead, pair_score_matrix
from transect.recipe import Augment, Embedding, Geometry, Member, Stage
from transect.train.batches import IndexBatches
from transect.train.budget import Pace, measure
from transect.train.engine import fit
from transect.train.mining import PairBatches, Pairs, PairSchedule
from transect.train.plan import Batches, FitResult, ProgressEvent, StagePlan, watches
from transect.train.samplers import Draws, Items, sampler_for, weights_of
from transect.types import Sample

__all__ = ["build_recogniser", "fit_fold", "inputs_of", "pace_of"]


def inputs_of(photos: Photos, geometry: Geometry) -> Inputs:
    """How cut-outs become the input of a network."""
    return Inputs(geometry, photos.channels)


def embedding_of(member: Member) -> Embedding:
    """The member's network, which must be an embedding."""
    if not isinstance(member.network, Embedding):
        raise TransectError(
            f"member {member.name} has a dense network; recognising individuals needs an "
            "Embedding. Choose a whale recipe, or auto."
        )
    return member.network


def build_recogniser(
    member: Member, inputs: Inputs, counts: Sequence[int], *, pretrained: bool = True
) -> Recogniser:
    """Make a member's network and head."""
    return Recogniser(
        embedding_of(member),
        in_channels=inputs.network_channels,
        counts=counts,
        stages=member.stages,
        pretrained=pretrained,
    )


def training_labels(names: NDArray[np.str_], unknown: str) -> tuple[NDArray[np.int64], list[int]]:
    """Labels 0 .. N-1 of training photos by sorted name, -1 for the unknown, and their counts."""
    people = np.unique(names[names != unknown])
    label = np.searchsorted(people, names).astype(np.int64)
    label = np.where(names == unknown, -1, label)
    return label, np.bincount(label[label >= 0], minlength=len(people)).tolist()


def fit_fold(
    photos: Photos,
    member: Member,
    rows: NDArray[np.int64],
    *,
    folder: Path,
    seed: int,
    device: str,
    progress: Callable[[ProgressEvent], None] | None = None,
) -> FitResult:
    """Train a member on some of the photos.

    Args:
        photos: All photos.
        member: What to train; without stages its network is kept as it is.
        rows: Photos to train on.
        folder: Where state and snapshots go.
        seed: Of this fold.
        device: Where.
        progress: Told after every update.

    Returns:
        The snapshots to predict with.

    Raises:
        TransectError: If there are fewer than two individuals.
    """
    every_name = photos.classes()
    label, counts = training_labels(every_name[rows], photos.unknown)
    if len(counts) < 2 and member.stages:
        raise TransectError(
            f"training needs photos of at least two individuals; this part has {len(counts)}. Add "
            "photos, or choose fewer folds."
        )
    inputs = inputs_of(photos, member.geometry)
    plans = [
        StagePlan(
            stage,
            _batches(photos, member, stage, rows, label, seed * 100 + number, device),
            pair_step(stage) if _is_siamese(member) else identity_step(stage),
        )
        for number, stage in enumerate(member.stages)
    ]
    return fit(
        lambda: build_recogniser(member, inputs, counts),
        plans,
        folder=folder,
        seed=seed,
        device=device,
        evaluate=recognition(photos, every_name, rows, member.geometry, device=device)
        if watches(member.stages)
        else None,
        metric="map5",
        progress=progress,
    )


def pace_of(photos: Photos, member: Member, *, device: str) -> Pace:
    """Time a few training steps of a member's first stage here, on this survey."""
    rows = np.arange(len(photos))
    label, counts = training_labels(photos.classes(), photos.unknown)
    stage = dataclasses.replace(member.stages[0], mining="random")
    batches = _batches(photos, member, stage, rows, label, 0, device)
    step = pair_step(stage) if _is_siamese(member) else identity_step(stage)
    inputs = inputs_of(photos, member.geometry)
    return measure(
        lambda: build_recogniser(member, inputs, counts, pretrained=False),
        StagePlan(stage, batches, step),
        device=device,
    )


def steps_of(photos: int, stage: Stage) -> int:
    """Steps of an epoch over about so many photos."""
    return stage.steps or max(1, photos // stage.batch)


def _is_siamese(member: Member) -> bool:
    return embedding_of(member).head == "siamese"


def _batches(
    photos: Photos,
    member: Member,
    stage: Stage,
    rows: NDArray[np.int64],
    label: NDArray[np.int64],
    seed: int,
    device: str,
) -> Batches:
    """The batches of a stage: photos with labels, or pairs."""
    inputs = inputs_of(photos, member.geometry)
    size_hw = stage.size_hw or member.geometry.size_hw
    augment = stage.augment or member.augment
    network = embedding_of(member)

    def picture(row: int, rng: np.random.Generator, fraction: float, flip: bool) -> Tensor:
        pixels = _augmented(photos, row, member.geometry, size_hw, augment, rng, fraction)
        if flip:
            pixels = pixels[:, ::-1]
        ready = inputs.prepare(np.ascontiguousarray(pixels), photos.subjects[row].image)
        return torch.from_numpy(ready).permute(2, 0, 1)

    if network.head == "siamese":
        return _pair_batches(photos, member, stage, rows, label, seed, device, picture)
    if not uses_unknown(stage):
        rows, label = rows[label >= 0], label[label >= 0]
    people = int(label.max(initial=-1)) + 1

    def make(
        draws: Draws, rngs: Sequence[np.random.Generator], fraction: float
    ) -> dict[str, Tensor]:
        images, labels = [], []
        for item, rng in zip(draws.index.tolist(), rngs, strict=True):
            own = int(label[item])
            flip = network.flip_labels and bool(rng.random() < 0.5)
            images.append(picture(int(rows[item]), rng, fraction, flip))
            labels.append(own + people if flip and own >= 0 else own)
        return {"image": torch.stack(images).contiguous(), "label": torch.tensor(labels)}

    own = weights_of([photos.subjects[row].image for row in rows.tolist()])
    items = Items(
        len(rows),
        labels=np.where(label < 0, people + np.arange(len(label)), label),
        image_weights=own,
    )
    return IndexBatches(
        sampler_for(stage, items, seed=seed),
        make,
        batch=stage.batch,
        seed=seed,
        epochs=stage.epochs,
    )


def _pair_batches(
    photos: Photos,
    member: Member,
    stage: Stage,
    rows: NDArray[np.int64],
    label: NDArray[np.int64],
    seed: int,
    device: str,
    picture: Callable[[int, np.random.Generator, float, bool], Tensor],
) -> Batches:
    """Batches of pairs of individuals that have two photos or more, as the kernel took them."""
    count = np.bincount(label[label >= 0])
    chosen = np.flatnonzero((label >= 0) & (count[np.maximum(label, 0)] > 1))
    if len(np.unique(label[chosen])) < 2:
        raise TransectError(
            "a Siamese network needs two individuals with two photos each. Add photos, or use an "
            "embedding."
        )
    own_rows, own_label = rows[chosen], label[chosen]

    def make(pairs: Pairs, rngs: list[np.random.Generator]) -> dict[str, Tensor]:
        sides = []
        for numbers in (pairs.left, pairs.right):
            sides.append(
                torch.stack(
                    [
                        picture(int(own_rows[n]), rng, 1.0, False)
                        for n, rng in zip(numbers.tolist(), rngs, strict=True)
                    ]
                ).contiguous()
            )
        return {"left": sides[0], "right": sides[1], "same": torch.from_numpy(pairs.same)}

    def scores(model: nn.Module) -> NDArray[np.float32]:
        assert isinstance(model, Recogniser)
        assert isinstance(model.head, PairHead)
        features = embed_with(
            model,
            photos,
            own_rows,
            dataclasses.replace(member.geometry, size_hw=stage.size_hw or member.geometry.size_hw),
            device=device,
            output="features",
        )
        place = next(model.parameters()).device
        return pair_score_matrix(model.head, torch.from_numpy(features[:, 0, 0]).to(place))

    schedule = PairSchedule(own_label, stage, seed=seed)
    return PairBatches(schedule, make, scores, batch=stage.batch, seed=seed)


def _augmented(
    photos: Photos,
    row: int,
    geometry: Geometry,
    size_hw: tuple[int, int],
    augment: Augment,
    rng: np.random.Generator,
    fraction: float,
) -> NDArray[np.generic]:
    """A changed cut-out at the network's size."""
    return augment_sample(
        Sample(photos.pixels(row)),
        augment,
        rng,
        out_hw=size_hw,
        window=photos.window(row, margin=geometry.margin, aspect=geometry.aspect),
        fraction=fraction,
    ).image
