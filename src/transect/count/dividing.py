"""The units of a counting survey: photos, or blocks where photos are few, and their folds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.count.pictures import CountPictures
from transect.count.reclassify import maps_only
from transect.count.training import Task
from transect.errors import TransectError
from transect.folds import folds_once, make_folds
from transect.recipe import Folds, Recipe
from transect.run import RunFolder
from transect.types import Progress

__all__ = ["divided", "inputs_of", "settled"]


def divided(
    run: RunFolder, pictures: CountPictures, recipe: Recipe, progress: Progress
) -> tuple[CountPictures, NDArray[np.int64]]:
    """The photos, in blocks if the recipe says so or folds need it, and their folds."""
    side = getattr(recipe.decide, "block_px", None)
    spec = recipe.folds
    if side is None and len(pictures.photos) < spec.count:
        side = _block_side(pictures)
        progress.say(
            f"{len(pictures.photos)} photos are too few for {spec.count} folds: they are cut into "
            f"blocks of about {side} px, and parts of one photo are in several folds"
        )
        spec = dataclasses.replace(spec, group=False)
    if side is None and _held_out(pictures, spec) < 2:
        # Nothing can be chosen on one photo and scored on another.
        side = _block_side(pictures)
        progress.say(
            "the folds that are trained hold out a single photo: photos are cut into blocks of "
            f"about {side} px, and intervals rest on those of one photo"
        )
    if side:
        pictures = pictures.in_blocks(side)
    if _held_out(pictures, spec) < 2:
        raise TransectError(
            f"the folds that are trained (folds.use={spec.use}) hold out a single photo, too small "
            f"to be cut. Pass --set folds.use={spec.count}."
        )
    return pictures, folds_once(run.path / "folds.csv", pictures.table(), spec)


def _held_out(pictures: CountPictures, spec: Folds) -> int:
    """Photos in the folds that are trained."""
    return int((make_folds(pictures.table(), spec) < (spec.use or spec.count)).sum())


def _block_side(pictures: CountPictures) -> int:
    """A third of the smallest photo, in pixels; our choice."""
    return max(96, min(min(photo.size_hw) for photo in pictures.photos) // 3)


def inputs_of(pictures: CountPictures, recipe: Recipe) -> dict[str, Any]:
    """What is measured on the survey, once: what prediction must know."""
    spacing = pictures.spacing()
    scale = maps_only(recipe).members[0].geometry.scale
    task = Task.of(recipe, len(pictures.classes))
    usual = max(1.5, 0.2 * spacing * scale)
    if task.detects:  # anchors of three octaves a level reach from the small ones up; our choice
        usual = float(np.clip(0.8 * pictures.box_side(0.1) * scale, 4, 64))
    return {
        "classes": list(pictures.classes),
        "spacing": spacing,
        "scale": scale,
        "target_px": task.decide.target_px or usual,
        "members": {
            member.name: pictures.inputs(member.geometry).to_json() for member in recipe.members
        },
    }


def settled(run: RunFolder, recipe: Recipe) -> Task:
    """What the networks of a run draw, with the sizes that its survey gave."""
    facts = run.read_json("inputs.json")
    return Task.of(recipe, len(facts["classes"])).settled(facts)
