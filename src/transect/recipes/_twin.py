"""The short twin of a recipe: every stage and every ingredient, at a size for two cores."""

from __future__ import annotations

from dataclasses import replace

from transect.recipe import Geometry, Member, Network, Recipe, Stage

__all__ = ["quick_twin"]

_BATCH = 16
_CONFIDENCE, _LOW, _HIGH = 0.3, 0.4, 0.6  # share of sure pixels, and what is sure, so early
_LR = {"sgd": 5e-2, "adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3}
"""Rates that learn something in twenty steps; our measurement on the simulated salt survey."""


def quick_twin(
    recipe: Recipe,
    *,
    side: int = 64,
    encoder: str = "efficientnet_lite0",
    epochs: int = 1,
    steps: int = 10,
    first: int = 3,
) -> Recipe:
    """Shorten a recipe for pictures of about 100 pixels and two cores; our numbers throughout.

    All members, stages, rounds, heads, losses and rules stay. What changes: encoders from a hub
    become one whose weights need no network, inputs and decoders shrink, each cycle of a stage
    lasts a few epochs of a few steps, rates rise so that so few steps learn something,
    pseudo-labels pass a gate that so young a teacher can pass, and a member that the full recipe
    trains anew on them goes on with the weights it has: from scratch takes thousands of steps.

    Args:
        recipe: The full recipe.
        side: Input side in pixels; contents shrink by the same factor.
        encoder: Takes the place of encoders of timm.
        epochs: Of each cycle.
        steps: Of each epoch, with 16 pictures each: 10 are one pass over 160.
        first: Times as many epochs for a member's first stage that sees masks. One before it, on
            pseudo-labels alone, gets twice as many epochs as others.

    Returns:
        The twin; it trains one of two folds.
    """
    members = tuple(
        _short_member(member, side, encoder, epochs, steps, first) for member in recipe.members
    )
    pseudo = tuple(
        replace(spec, confidence=min(spec.confidence, _CONFIDENCE), low=_LOW, high=_HIGH)
        for spec in recipe.pseudo
    )
    folds = replace(recipe.folds, count=2, use=1)
    return replace(recipe, members=members, pseudo=pseudo, folds=folds)


def _short_member(
    member: Member, side: int, encoder: str, epochs: int, steps: int, first: int
) -> Member:
    """A member at a smaller size."""
    assert isinstance(member.network, Network)
    masks = next(i for i, stage in enumerate(member.stages) if stage.data != "pseudo")
    return replace(
        member,
        network=_short_network(member.network, encoder),
        geometry=_short_geometry(member.geometry, side),
        stages=tuple(
            _short_stage(
                stage,
                epochs * (first if number == masks else 2 if number < masks else 1),
                steps,
                stage.optimizer.lr / member.stages[0].optimizer.lr,
            )
            for number, stage in enumerate(member.stages)
        ),
    )


def _short_network(network: Network, encoder: str) -> Network:
    """A light encoder and narrow decoder with the same attention, centre and heads."""
    ours = network.encoder in ("resenc", "plain", "dilated", "lion")
    widths = tuple(min(width, 16) for width in network.decoder_channels)
    return replace(
        network,
        encoder=network.encoder if ours else encoder,
        weights=network.weights if ours else "auto",
        decoder_channels=widths or (16, 16, 16, 16, 16),
        width=min(network.width, 8),
        levels=min(network.levels, 4),
        # Fine stems quadruple the work; the pretrained stem of the light encoder stays as it is.
        stem_stride=None,
        stem_kernel=None,
        stem_pool=True,
        input_upsample=1,
    )


def _short_geometry(geometry: Geometry, side: int) -> Geometry:
    """The same shape of input, smaller."""
    factor = side / max(geometry.size_hw)
    content = geometry.resize_hw
    if content is not None:
        content = (round(content[0] * factor), round(content[1] * factor))
    elif geometry.fit == "whole":
        content = (round(101 * factor), round(101 * factor))
    return replace(geometry, size_hw=(side, side), resize_hw=content)


def _short_stage(stage: Stage, epochs: int, steps: int, relative_lr: float) -> Stage:
    """A few epochs of a few steps, with as many cycles as the snapshot rule needs.

    ``relative_lr`` is the stage's rate over that of the member's first stage.
    """
    cycles = min(stage.schedule.cycles, 1 + stage.drop_first) if stage.drop_first else 1
    return replace(
        stage,
        epochs=cycles * epochs,
        steps=steps,
        batch=_BATCH,
        keep_k=min(stage.keep_k, 2),
        patience=0,
        start="best" if stage.start == "scratch" else stage.start,
        schedule=replace(
            stage.schedule,
            cycles=cycles,
            warmup_epochs=1,
            patience=min(stage.schedule.patience, 2),
        ),
        optimizer=replace(stage.optimizer, lr=_LR[stage.optimizer.name] * relative_lr),
    )
