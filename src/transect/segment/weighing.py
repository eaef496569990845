"""What is settled on out-of-fold maps before decisions: members' weights, stacks, emptiness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transect.recipe import Member, Recipe, SegmentDecide
from transect.run import RunFolder
from transect.segment.blending import (
    BY_SCORE,
    answering,
    log_odds,
    write_stacks,
    write_weights,
)
from transect.segment.dataset import MaskDataset
from transect.segment.emptiness import evidence_of, fit_emptiness
from transect.segment.oof import OutOfFold, held_out_parts, map_path, parts_of, read_map
from transect.segment.scoring import tuned_metric
from transect.segment.targets import planes_of
from transect.types import MaskKind

__all__ = ["weigh_emptiness", "weigh_members"]

_STACKED_PIXELS = 200_000  # our choice: enough for a handful of coefficients


def weigh_members(
    run: RunFolder, recipe: Recipe, dataset: MaskDataset, folds: NDArray[np.int64]
) -> None:
    """Settle the blend out of fold: weights by score, or a stack; other blends need nothing.

    Weights come from the score of every member alone at one half. Like a stack they are settled
    once on all images, for new ones, and once without each part, for its own score.
    """
    members = answering(recipe)
    if recipe.blend == "stack" and len(members) > 1 and not (run.path / "stack.json").is_file():
        _stack_members(run, recipe, dataset, folds)
    if recipe.blend not in BY_SCORE or len(members) < 2 or (run.path / "blend.json").is_file():
        return
    part_of = held_out_parts(recipe, folds)
    scores = {member.name: _scores_alone(run, recipe, member, dataset) for member in members}
    names = {dataset.images[i].name: part for i, part in part_of.items()}
    write_weights(run, recipe, scores, names)


def _scores_alone(
    run: RunFolder, recipe: Recipe, member: Member, dataset: MaskDataset
) -> dict[str, float]:
    """The score of every held-out image by one member at one half."""
    assert isinstance(recipe.decide, SegmentDecide)
    kind: MaskKind = "classes" if dataset.kind == "classes" else "binary"
    metric = recipe.decide.metric if kind == "binary" else "dice"
    metric = metric if metric in {"salt_map", "dice", "iou"} else "dice"
    scores = {}
    for i, image in enumerate(dataset.images):
        if not map_path(run, member.name, image).is_file():
            continue
        maps = read_map(run, member.name, image)
        labels = maps.argmax(0) if dataset.kind == "classes" else maps[0] > 0.5
        truth = np.maximum(dataset.labels(i), 0)
        if dataset.kind == "instances":
            truth = truth > 0
        classes = len(dataset.survey.classes)
        scores[image.name] = tuned_metric(metric, labels, truth, kind, classes)
    return scores


def weigh_emptiness(
    run: RunFolder, recipe: Recipe, dataset: MaskDataset, folds: NDArray[np.int64]
) -> None:
    """Weigh what tells empty images from filled ones, where whole binary masks are drawn."""
    whole = all(member.geometry.fit == "whole" for member in recipe.members)
    if dataset.kind != "binary" or not whole or (run.path / "empty.json").is_file():
        return
    parts = held_out_parts(recipe, folds)
    found = OutOfFold(run, recipe, dataset.images)
    number = {image.name: i for i, image in enumerate(dataset.images)}
    evidence = {
        image.name: evidence_of(found.head(image), found.maps(image)) for image in found.images
    }
    filled = {name: bool(dataset.coverage[number[name]] > 0) for name in evidence}
    fit_emptiness(run, evidence, filled, {name: parts[number[name]] for name in evidence})


def _stack_members(
    run: RunFolder, recipe: Recipe, dataset: MaskDataset, folds: NDArray[np.int64]
) -> None:
    """Draw pixels of every out-of-fold image and fit the stacks on them."""
    members = answering(recipe)
    chosen = [
        i
        for i, image in enumerate(dataset.images)
        if all(map_path(run, member.name, image).is_file() for member in members)
    ]
    parts = parts_of(folds, chosen)
    each = int(np.clip(_STACKED_PIXELS // len(chosen), 16, 1024))
    features, truths, rows = [], [], []
    for i in chosen:
        image, labels = dataset.images[i], dataset.labels(i)
        counted = np.flatnonzero(labels.ravel() >= 0)
        if not len(counted):
            continue
        pixels = np.random.default_rng([recipe.seed, i]).choice(counted, each)
        planes = planes_of(labels, dataset.kind, len(dataset.survey.classes))
        truths.append(planes.reshape(labels.size, -1)[pixels].astype(np.float32) / 255)
        odds = [log_odds(read_map(run, member.name, image)) for member in members]
        features.append(np.stack([o.reshape(len(o), -1)[:, pixels].T for o in odds], axis=1))
        rows += [parts[i]] * each
    part_of = {dataset.images[i].name: part for i, part in parts.items()}
    write_stacks(run, np.concatenate(features), np.concatenate(truths), np.array(rows), part_of)
