"""What ``auto`` decides for a survey of individuals, and why."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from transect.identify.embedding import BATCH, embed_with
from transect.identify.geometry import cores
from transect.identify.photos import Photos
from transect.identify.training import (
    build_recogniser,
    embedding_of,
    inputs_of,
    pace_of,
    steps_of,
)
from transect.models.weights import LITE2
from transect.recipe import (
    Augment,
    Embedding,
    Folds,
    Geometry,
    IdentifyDecide,
    Member,
    Optimizer,
    Recipe,
    Schedule,
    Stage,
)
from transect.train.budget import shortened, time_for

__all__ = ["plan", "within_budget"]

_TRAINING = 0.5  # share of the budget that training may take; the rest decides
_EXTRACTING = 0.2  # share that embeddings of networks that are not trained may take
_MATCHING = 0.2  # share that matching may take
_PAIR_SECONDS = 0.0014  # measured: .55 ms to match 250 keypoints, .6 ms for their votes, and slack
_SIDES_PX = (160, 224, 320, 448)  # of a finer look; larger photos of flanks were not measured
_RANDOM_VIEWS = 8  # of a photo, whose mean stands for it; 2 in a finer look
_LEAST_STEPS = 250  # fewer leave a fresh margin head worse than a projection: our measurement
_FALSE_NEW = 0.1  # of known individuals that may be called new: a choice, not a measurement
_SHARE_NEW = 0.2  # our guess, where the table says nothing of unknown individuals


def plan(photos: Photos, *, budget_seconds: float | None, device: str, seed: int) -> Recipe:
    """Choose a recipe for a survey, a device and a time.

    Args:
        photos: A survey of individuals, decoded.
        budget_seconds: For everything; None takes half an hour on a CPU, an hour on a GPU.
        device: Where training will run; steps are timed there.
        seed: Of everything random.

    Returns:
        A recipe whose every number is settled; ``why`` holds one line per decision.
    """
    budget_seconds, why = time_for(budget_seconds, device)
    names = photos.named()
    known = names[names != photos.unknown]
    people, counts = np.unique(known, return_counts=True)
    share = float((names == photos.unknown).mean()) or _SHARE_NEW
    why.append(
        f"survey: {len(names)} photos, {len(people)} individuals, {int((counts == 1).sum())} of "
        f"them on one photo; {share:.0%} of new photos are expected to show none of them"
    )
    flanks = len(set(photos.sides().tolist()) - {""})
    if flanks > 1:
        why.append(
            f"sides: {flanks} are told, so each is trained, projected and compared by itself; "
            "decide.sides=together does not part them"
        )
    geometry = _geometry(photos, device)
    frozen, seconds = _frozen(photos, geometry, budget_seconds, device)
    finer, reason = _finer(photos, geometry, budget_seconds * _EXTRACTING - seconds, device)
    why.append(reason)
    batch = 32 if device == "cpu" else 64
    stage = Stage(
        name="main",
        steps=25,
        batch=batch,
        loss="ce",
        sampler="identity",
        per_identity=2,
        optimizer=Optimizer(name="adamw", lr=2e-3, weight_decay=1e-2, encoder_lr=0.3),
        schedule=Schedule(name="cosine", warmup=0.1, floor=0.01),
        average="ema",
        ema=0.98,
    )
    member = Member(
        "trained",
        Embedding(
            backbone="efficientnet_lite0",
            pooling="gem",
            dim=256,
            neck="fc_bn",
            head="arcface",
            scale=24.0,
            margin=0.3,
            flip_labels=True,
            neutral_twin=True,
            project="lda",
            jitter=2,
        ),
        geometry,
        augment(photos),
        (stage,),
    )
    shortlist, reason = _shortlist(len(names), budget_seconds)
    why.append(reason)
    encounters = len({s.group or s.key for s in photos.subjects})
    count = int(np.clip(encounters // 10, 2, 5))
    trainable = len(people) >= 2 and (counts > 1).any()
    members: tuple[Member, ...] = (frozen, *finer)
    reason = "no individual has two photos, so nothing is trained"
    if trainable:
        pace = pace_of(photos, member, device=device)
        per_step = pace.epoch_seconds(1)
        # Of every fold's network: two flips, a plain view and two random ones of each photo.
        each = 6 * seconds / (1 + embedding_of(frozen).jitter)
        total = max(0, int((budget_seconds * _TRAINING - 2 * each) / per_step))
        reason = (
            f"{total} training steps of {per_step:.2f} s fit {budget_seconds / 60:.1f} min, too "
            "few to better a network that is only projected, so none is trained"
        )
        for folds in (count, 3, 2):
            total = int((budget_seconds * _TRAINING - folds * each) / per_step)
            if folds <= count and total >= folds * _LEAST_STEPS:
                epochs = int(np.clip(total // (folds * 25), 1, _most_epochs(len(names), batch)))
                members += (
                    dataclasses.replace(
                        member, stages=(dataclasses.replace(stage, epochs=epochs),)
                    ),
                )
                count = folds
                reason = (
                    f"a second one is trained by ArcFace, {epochs * 25} steps on each of {folds} "
                    f"folds: a step takes {per_step:.2f} s here and the budget is "
                    f"{budget_seconds / 60:.1f} min"
                )
                break
    why.append(
        "networks: efficientnet_lite0 with ImageNet weights, its vectors projected by what photos "
        f"of one individual share; {reason}"
    )
    why.append("scores: networks, geometry and votes of keypoints, fused by what wins out of fold")
    why.append(
        f"new ones: a level that calls at most {_FALSE_NEW:.0%} of known individuals new, whatever "
        "the share of new photos; decide.false_new sets it, decide.false_match the other rate"
    )
    return Recipe(
        name="auto",
        question="identify",
        members=members,
        folds=Folds(count=count, seed=seed),
        decide=IdentifyDecide(
            sources=("embedding", "geometry", "lnbnn"),
            fuse="best",
            to_identity="max",
            # Asked only where no rate is to be held (decide.false_new=null). Not the stack of
            # classifiers: on two splits of drawings it promised .004 and .011 more than a constant
            # out of fold, and gave .005 and .007 less on new drawings.
            policies=("constant", "temperature", "override"),
            share_new=share,
            false_new=_FALSE_NEW,
            shortlist=shortlist,
            sides="separate" if flanks > 1 else "together",
        ),
        seed=seed,
        notes="Chosen by auto for this survey, device and budget.",
        why=tuple(why),
    )


def augment(photos: Photos) -> Augment:
    """Changes that keep an individual what it is: views, light, dirt; never a mirror image."""
    colour = photos.channels == 3
    return Augment(
        rotate=12,
        shift=0.06,
        scale=(0.85, 1.15),
        aspect=0.1,
        shear=0.1,
        perspective=0.08,
        perspective_p=0.5,
        brightness=0.15,
        contrast=0.2,
        gamma=0.2,
        saturation=0.3 if colour else 0.0,
        hue=0.03 if colour else 0.0,
        grey=0.2 if colour else 0.0,
        blur=1.0,
        blur_p=0.2,
        cutout=0.25,
        cutout_p=0.3,
        valid=("rotate",),
    )


def within_budget(recipe: Recipe, photos: Photos, *, budget_seconds: float, device: str) -> Recipe:
    """Shorten every stage of a given recipe by one factor, so that it fits a time.

    Returns:
        The recipe with fewer epochs; never with more, and at least one per stage.
    """
    return shortened(
        recipe,
        budget_seconds * _TRAINING,
        step_seconds=lambda member: pace_of(photos, member, device=device).epoch_seconds(1),
        steps_of=lambda stage: steps_of(len(photos), stage),
    )


def _frozen(
    photos: Photos, geometry: Geometry, budget_seconds: float, device: str
) -> tuple[Member, float]:
    """A network that is only projected, and the seconds that its embeddings will take."""
    member = Member(
        "frozen",
        Embedding(head="none", neck="none", pooling="layout", project="lda", jitter=_RANDOM_VIEWS),
        geometry,
        augment(photos),
        stages=(),
    )
    each = seconds_per_photo(photos, member, device=device) * len(photos)
    views = int(np.clip(budget_seconds * _EXTRACTING / max(each, 1e-9) - 1, 1, _RANDOM_VIEWS))
    network = dataclasses.replace(embedding_of(member), jitter=views)
    return dataclasses.replace(member, network=network), each * (1 + views)


def _finer(
    photos: Photos, geometry: Geometry, seconds: float, device: str
) -> tuple[tuple[Member, ...], str]:
    """A larger network with a larger input, if there is time; the fusion decides what it is worth.

    Args:
        photos: All photos.
        geometry: Of the smaller look.
        seconds: That its embeddings may take.
        device: Where.

    Returns:
        The member, or nothing; and why.
    """
    found: tuple[Member, ...] = ()
    largest = _usual_side(photos)
    reason = "photos are no larger than that, or there is no time, so nobody looks closer"
    for side in _SIDES_PX:
        if side > 1.15 * largest or side <= max(geometry.size_hw):
            continue
        member = Member(
            "finer",
            Embedding(
                backbone=LITE2, head="none", neck="none", pooling="layout", project="lda", jitter=2
            ),
            dataclasses.replace(geometry, size_hw=_size(photos, side)),
            augment(photos),
            stages=(),
        )
        needed = seconds_per_photo(photos, member, device=device) * len(photos) * 3
        if needed > seconds:
            break
        found = (member,)
        height, width = member.geometry.size_hw
        reason = (
            f"a second, {LITE2}, looks at {height} x {width} px for {needed:.0f} s: whether it "
            "answers, alone or with others, is settled out of fold"
        )
    return found, f"input: {geometry.size_hw[0]} x {geometry.size_hw[1]} px; {reason}"


def seconds_per_photo(photos: Photos, member: Member, *, device: str) -> float:
    """Time the embedding of some photos by a member's network, in one view."""
    rows = np.arange(min(len(photos), 2 * BATCH))
    model = build_recogniser(member, inputs_of(photos, member.geometry), (), pretrained=False)
    model = model.to(device).eval()
    embed_with(model, photos, rows[:1], member.geometry, device=device)  # warms up
    started = time.perf_counter()
    embed_with(model, photos, rows, member.geometry, device=device)
    return (time.perf_counter() - started) / max(len(rows), 1)


def _geometry(photos: Photos, device: str) -> Geometry:
    """About 128 x 128 pixels on a CPU, 256 x 256 on a GPU, in the shape of the usual box."""
    side = 128 if device == "cpu" else 256
    side = int(min(side, max(_usual_side(photos), 64)))
    return Geometry(fit="whole", size_hw=_size(photos, side), margin=0.05)


def _usual_side(photos: Photos) -> float:
    """The longer side of the usual box, in pixels."""
    return float(np.median([max(photos.window(i)[2:]) for i in range(len(photos))]))


def _size(photos: Photos, side: int) -> tuple[int, int]:
    """Height and width of as many pixels as a square of this side has, shaped like usual boxes."""
    ratios = [w / h for _, _, h, w in (photos.window(i) for i in range(len(photos)))]
    aspect = float(np.clip(np.median(ratios), 0.4, 2.5))
    height, width = side / np.sqrt(aspect), side * np.sqrt(aspect)
    return max(32, round(height / 32) * 32), max(32, round(width / 32) * 32)


def _shortlist(count: int, budget_seconds: float) -> tuple[int, str]:
    """How many gallery photos per query geometry can look at."""
    affordable = budget_seconds * _MATCHING * cores() / _PAIR_SECONDS
    if count * count <= affordable:
        return 0, f"geometry: every photo is matched with all {count} others"
    keep = max(10, int(affordable / count))
    return keep, f"geometry: the {keep} nearest of {count} photos are matched for each, for time"


def _most_epochs(photos: int, batch: int) -> int:
    """Epochs of 25 steps after which more would only learn the photos by heart; our guess."""
    return max(12, int(60 * photos / batch / 25))
