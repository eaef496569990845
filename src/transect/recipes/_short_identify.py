"""The short twin of a recipe for individuals: every member and stage, at a size for two cores."""

from __future__ import annotations

from dataclasses import replace

from transect.recipe import Embedding, IdentifyDecide, Member, Recipe, Stage

__all__ = ["short_identify"]

_MANY = 2  # more stages than these get one epoch each
_LR = 1e-3  # learns something in a few steps; our measurement on simulated flukes


def short_identify(
    recipe: Recipe, *, pixels: int = 64 * 64, epochs: int = 2, steps: int = 6, batch: int = 16
) -> Recipe:
    """Shorten a recipe for small photos and two cores; our numbers throughout.

    All members, stages, heads, losses, sources and rules stay. What changes: backbones from a hub
    become one whose weights need no network, inputs shrink in their own shape, each stage has a few
    steps (one epoch where there are many stages), and geometry takes fewer keypoints.

    Args:
        recipe: The full recipe.
        pixels: Of the input.
        epochs: Of each stage.
        steps: Of each epoch.
        batch: Photos, or pairs, per step.

    Returns:
        The twin; two folds.
    """
    assert isinstance(recipe.decide, IdentifyDecide)
    decide = replace(
        recipe.decide,
        keypoints=min(recipe.decide.keypoints, 150),
        keypoint_side=320,
        min_matches=min(recipe.decide.min_matches, 8),
    )
    return replace(
        recipe,
        members=tuple(_short_member(m, pixels, epochs, steps, batch) for m in recipe.members),
        folds=replace(recipe.folds, count=2, use=None),
        decide=decide,
    )


def _short_member(member: Member, pixels: int, epochs: int, steps: int, batch: int) -> Member:
    """A member at a smaller size."""
    assert isinstance(member.network, Embedding)
    ours = member.network.backbone == "siamese"
    network = replace(
        member.network,
        backbone="siamese" if ours else "efficientnet_lite0",
        weights=None if ours else "auto",
        dim=min(member.network.dim, 64),
        jitter=min(member.network.jitter, 1),
    )
    height, width = member.geometry.size_hw
    factor = (pixels / (height * width)) ** 0.5
    size = _shrunk(member.geometry.size_hw, factor)
    first = member.stages[0].optimizer.lr if member.stages else _LR
    each = epochs if len(member.stages) <= _MANY else 1
    stages = tuple(
        _short_stage(stage, each, steps, batch, ours, factor, first) for stage in member.stages
    )
    return replace(
        member, network=network, geometry=replace(member.geometry, size_hw=size), stages=stages
    )


def _shrunk(size_hw: tuple[int, int], factor: float) -> tuple[int, int]:
    """A size in whole steps of 32 pixels."""
    height, width = (max(32, round(side * factor / 32) * 32) for side in size_hw)
    return height, width


def _short_stage(
    stage: Stage, epochs: int, steps: int, batch: int, siamese: bool, factor: float, first_lr: float
) -> Stage:
    """A few epochs of a few steps; rates that fall after the first stage fall here."""
    step_epochs = tuple(min(e, epochs - 1) for e in stage.schedule.step_epochs)
    return replace(
        stage,
        epochs=epochs,
        steps=None if siamese or stage.sampler == "oversample" else steps,
        batch=batch,
        per_identity=min(stage.per_identity, 2 if stage.sampler != "identity" else 4),
        keep_k=min(stage.keep_k, 2),
        patience=0,
        size_hw=_shrunk(stage.size_hw, factor) if stage.size_hw else None,
        mining_reuse=min(stage.mining_reuse, 2),
        schedule=replace(stage.schedule, step_epochs=step_epochs, warmup_epochs=1),
        optimizer=replace(stage.optimizer, lr=_LR * min(1.0, stage.optimizer.lr / first_lr)),
    )
