"""Training images drawn by how much they look like those that are to be answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transect.audit.fingerprints import take_prints
from transect.audit.shift import adversarial_validation
from transect.recipe import Recipe, Stage
from transect.run import RunFolder
from transect.train.dense import DenseSource
from transect.types import Image, Progress

__all__ = ["weighted", "write_weights_by_likeness"]


def write_weights_by_likeness(
    run: RunFolder,
    recipe: Recipe,
    training: Sequence[Image],
    unlabelled: Sequence[Image],
    *,
    progress: Progress,
) -> None:
    """Settle the weights that stages with the sampler ``weighted`` draw by.

    A classifier is asked, out of fold, which images are training images and which are
    unlabelled ones (adversarial validation); no answer to the survey's question is looked at.

    Args:
        run: Gets ``weights.json`` (image to weight, mean 1) and ``likeness.json``.
        recipe: Nothing is done unless a stage has that sampler.
        training: The labelled images.
        unlabelled: Those to be answered, of split test.
        progress: Told how different the two are.
    """
    asked = any(stage.sampler == "weighted" for m in recipe.members for stage in m.stages)
    if not asked or (run.path / "weights.json").is_file():
        return
    if not unlabelled:
        progress.say(
            "sampler weighted: no unlabelled pictures (split test in images.csv) to be like, so "
            "all training pictures are drawn alike"
        )
        return
    ours, theirs = (
        take_prints(
            images,
            progress=lambda done, total: progress.step("comparing with unlabelled", done, total),
        )
        for images in (training, unlabelled)
    )
    shift = adversarial_validation(ours, theirs, seed=recipe.seed)
    low, high = shift.interval
    progress.say(
        f"unlabelled pictures are told from training pictures with AUROC {shift.auroc:.2f} "
        f"[{low:.2f}, {high:.2f}]; weights by likeness leave {shift.effective:.0%} of the "
        "training pictures in effect"
    )
    run.write_json(
        "likeness.json",
        {"auroc": shift.auroc, "interval": list(shift.interval), "effective": shift.effective},
    )
    weights = zip(ours.names, shift.weights.tolist(), strict=True)
    run.write_json("weights.json", {name: round(weight, 4) for name, weight in weights})


def weighted(source: DenseSource, weights: NDArray[np.float64] | None, stage: Stage) -> DenseSource:
    """The source of a stage: with weights if its sampler is ``weighted``.

    Args:
        source: Of the labelled images.
        weights: One per image, or None for even ones.
        stage: Of which ``sampler_share`` of the draws follow the weights.

    Returns:
        The source to draw from.
    """
    if weights is None or stage.sampler != "weighted":
        return source
    return dataclasses.replace(source, weights=weights)
