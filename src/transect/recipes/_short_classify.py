"""The short twin of a recipe for labels: every member and stage, at a size for two cores."""

from __future__ import annotations

from dataclasses import replace

from transect.recipe import Embedding, Member, Recipe, Stage

__all__ = ["short_classify"]

_LR = 1e-3  # learns something in a few steps


def short_classify(
    recipe: Recipe, *, side: int = 64, epochs: int = 2, steps: int = 6, batch: int = 8
) -> Recipe:
    """Shorten a recipe for small images and two cores; our numbers throughout.

    All members, stages, losses, poolings and rules stay. What changes: backbones become one whose
    weights need no network, inputs shrink, and each stage has a few steps.

    Args:
        recipe: The full recipe.
        side: Of the input.
        epochs: Of each stage.
        steps: Of each epoch.
        batch: Images per step.

    Returns:
        The twin; two folds.
    """
    members = tuple(_short_member(m, side, epochs, steps, batch) for m in recipe.members)
    return replace(recipe, members=members, folds=replace(recipe.folds, count=2, use=None))


def _short_member(member: Member, side: int, epochs: int, steps: int, batch: int) -> Member:
    """A member at a smaller size."""
    assert isinstance(member.network, Embedding)
    network = replace(
        member.network, backbone="efficientnet_lite0", dim=min(member.network.dim, 64)
    )
    first = member.stages[0].optimizer.lr if member.stages else _LR
    stages = tuple(_short_stage(stage, epochs, steps, batch, first) for stage in member.stages)
    geometry = replace(member.geometry, size_hw=(side, side))
    return replace(member, network=network, geometry=geometry, stages=stages)


def _short_stage(stage: Stage, epochs: int, steps: int, batch: int, first_lr: float) -> Stage:
    """A few epochs of a few steps; rates that fall after the first stage fall here."""
    return replace(
        stage,
        epochs=epochs,
        steps=steps,
        batch=batch,
        patience=0,
        optimizer=replace(stage.optimizer, lr=_LR * stage.optimizer.lr / first_lr),
    )
