"""What ``auto`` decides for a survey of individuals, and why."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from transect.identify.costs import MatchingCosts, matching_costs
from transect.identify.geometry import cores
from transect.identify.looks import first_look, frozen_looks, seconds_per_photo
from transect.identify.photos import Photos
from transect.identify.training import pace_of, steps_of
from transect.recipe import (
    Augment,
    Embedding,
    Folds,
    IdentifyDecide,
    Member,
    Optimizer,
    Phase,
    Recipe,
    Schedule,
    Stage,
)
from transect.train.budget import shortened, time_for

__all__ = ["plan", "within_budget"]

_TRAINING = (
    0.5  # share of the free time that training may take; embeddings and pairs share the rest
)
_EPOCH = 25  # steps; short, so that a killed run loses little
_LEAST_STEPS = 250  # fewer leave a fresh margin head worse than a projection: our measurement
_LIGHTEST_STEP = 1.5  # times a view of its photos: where that is too much, no step is timed
_LEAST_LISTED = 10  # photos of a shortlist; with fewer, matching is left out
_FUSING = 0.03  # seconds per photo: fusions compared, policies, calibration; measured
_REPORT = 0.035  # seconds per photo: pages, thumbnails, catalogue; measured
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
        A recipe whose every number is settled; ``why`` holds one line per decision, ``plan`` the
        time of each phase.
    """
    began = time.perf_counter()
    seconds, why = time_for(budget_seconds, device)
    names = photos.named()
    people, counts = np.unique(names[names != photos.unknown], return_counts=True)
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
    encounters = len({s.group or s.key for s in photos.subjects})
    folds, training = int(np.clip(encounters // 10, 2, 5)), 0.0
    fusing, report = _FUSING * len(names), _REPORT * len(names)
    free = max(seconds - fusing - report, seconds / 2)
    first = first_look(photos, augment(photos), device)
    trained: tuple[Member, ...] = ()
    of_training = "no individual has two photos, so nothing is trained"
    if len(people) >= 2 and (counts > 1).any():
        trained, folds, training, of_training = _trained(
            photos, first, free * _TRAINING, folds, device
        )
    share_of_each = (free - training) / 2
    looks, embedding, reason = frozen_looks(photos, first, share_of_each, device)
    why.append(reason)
    decide = IdentifyDecide(
        fuse="best",
        to_identity="max",
        # Asked only where no rate is to be held (decide.false_new=null). Not the stack of
        # classifiers: on two splits of drawings it promised .004 and .011 more than a constant
        # out of fold, and gave .005 and .007 less on new drawings.
        policies=("constant", "temperature", "override"),
        share_new=share,
        false_new=_FALSE_NEW,
        sides="separate" if flanks > 1 else "together",
    )
    shortlist, matching, reason = _shortlist(
        len(names), share_of_each, matching_costs(photos, decide)
    )
    why.append(reason)
    sources = ("embedding",) if shortlist is None else ("embedding", "geometry", "lnbnn")
    decide = dataclasses.replace(decide, sources=sources, shortlist=shortlist or 0)
    why.append(
        "networks: ImageNet weights, vectors projected by what photos of one individual share; "
        f"{of_training}"
    )
    why.append(f"scores: {', '.join(sources)}, alone or fused, by what wins out of fold")
    why.append(
        f"new ones: a level that calls at most {_FALSE_NEW:.0%} of known individuals new, whatever "
        "the share of new photos; decide.false_new sets it, decide.false_match the other rate"
    )
    phases = (
        Phase("timing", round(time.perf_counter() - began, 1), "of embeddings, pairs and steps"),
        Phase("training", round(training, 1), of_training),
        Phase("predicting", round(embedding, 1), "embeddings of all photos"),
        Phase(
            "deciding",
            round(matching + fusing, 1),
            f"keypoints, pairs and votes ({matching:.0f} s), fusions compared out of fold",
        ),
        Phase("report", round(report, 1), "scores, pages of photos, catalogue"),
    )
    return Recipe(
        name="auto",
        question="identify",
        members=(*looks, *trained),
        folds=Folds(count=folds, seed=seed),
        decide=decide,
        seed=seed,
        notes="Chosen by auto for this survey, device and budget.",
        why=tuple(why),
        plan=phases,
    )


def _trained(
    photos: Photos, look: Member, seconds: float, folds: int, device: str
) -> tuple[tuple[Member, ...], int, float, str]:
    """A network with a margin head, if enough steps fit.

    Args:
        photos: All photos.
        look: The smallest frozen one, whose input it shares.
        seconds: For its steps and its embeddings.
        folds: Wanted; fewer where each would get too few steps.
        device: Where.

    Returns:
        The member, or nothing; the folds; the seconds; and why.
    """
    stage = Stage(
        name="main",
        steps=_EPOCH,
        batch=32 if device == "cpu" else 64,
        loss="ce",
        sampler="identity",
        per_identity=2,
        optimizer=Optimizer(name="adamw", lr=2e-3, weight_decay=1e-2, encoder_lr=0.3),
        schedule=Schedule(name="cosine", warmup=0.1, floor=0.01),
        average="ema",
        ema=0.98,
    )
    network = Embedding(
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
    )
    member = Member("trained", network, look.geometry, look.augment, (stage,))
    view = seconds_per_photo(photos, look, device=device)
    # Of every fold's network: two flips, a plain view and two random ones of each photo.
    each = 6 * view * len(photos)
    # Fewer than three folds cost the networks that are only projected more than training brings,
    # and rates carry over the worse the more the whole gallery is larger than that of a fold.
    counts = tuple(dict.fromkeys((folds, min(folds, 3))))
    least = _LIGHTEST_STEP * stage.batch * view
    if seconds < counts[-1] * (each + _LEAST_STEPS * least):
        return (), folds, 0.0, "there is no time to train one"
    per_step = pace_of(photos, member, device=device).epoch_seconds(1)
    for count in counts:
        steps = int((seconds - count * each) / per_step)
        if steps >= count * _LEAST_STEPS:
            most = _most_epochs(len(photos), stage.batch)
            epochs = int(np.clip(steps // (count * _EPOCH), 1, most))
            ready = dataclasses.replace(member, stages=(dataclasses.replace(stage, epochs=epochs),))
            reason = (
                f"one is trained by ArcFace, {epochs * _EPOCH} steps on each of {count} "
                f"folds: a step takes {per_step:.2f} s here"
            )
            return (ready,), count, count * (each + epochs * _EPOCH * per_step), reason
    steps = max(0, int((seconds - counts[-1] * each) / per_step))
    reason = (
        f"{steps} training steps of {per_step:.2f} s fit, too few to better a network that is only "
        "projected, so none is trained"
    )
    return (), folds, 0.0, reason


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


def _shortlist(count: int, seconds: float, costs: MatchingCosts) -> tuple[int | None, float, str]:
    """How many gallery photos per query are matched and voted on: 0 is all, None is nobody.

    Returns:
        The number, the seconds that it takes, and why.
    """
    fixed = count * costs.photo / cores()
    each = costs.pair / cores() + costs.vote
    keep = int((seconds - fixed) / max(count * each, 1e-12))
    if keep >= count:
        return 0, fixed + count * count * each, f"geometry: a photo is matched with all {count}"
    if keep < _LEAST_LISTED:
        needed = fixed + count * _LEAST_LISTED * each
        return (
            None,
            0.0,
            f"geometry: left out, {needed:.0f} s would be needed and {seconds:.0f} fit",
        )
    reason = f"geometry: the {keep} nearest of {count} photos are matched for each, for time"
    return keep, fixed + count * keep * each, reason


def _most_epochs(photos: int, batch: int) -> int:
    """Epochs of 25 steps after which more would only learn the photos by heart; our guess."""
    return max(12, int(60 * photos / batch / 25))
