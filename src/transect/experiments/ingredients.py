"""A recipe with one ingredient taken out, by the ingredient's name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from transect.errors import TransectError, unknown_name
from transect.recipe import (
    Augment,
    Embedding,
    Member,
    Network,
    Recipe,
    Schedule,
    SegmentDecide,
    Stage,
)

__all__ = ["INGREDIENTS", "needs_training", "without"]

INGREDIENTS = (
    "augment", "augment.KIND", "loss.NAME", "network.FIELD", "decoder.FIELD", "encoder.FIELD",
    "channels.NAME", "members.NAME", "stages.NAME", "schedule", "sampler", "curriculum",
    "snapshots", "average", "pseudo", "views", "views.NAME", "blend", "decide", "decide.FIELD",
)  # fmt: skip
"""What can be taken out, as ``--ablate`` takes it."""

_AFTER_TRAINING = {"views", "blend", "decide"}
_NEUTRAL: dict[str, Any] = {
    "threshold": 0.5,
    "min_area": 0,
    "min_total": 0,
    "fill_holes": 0,
    "empty_threshold": 0.0,
    "crf": "never",
    "flat_rule": False,
    "per_fold": False,
    "neighbours": False,
    "gate": "",
}
"""What stands for "not decided by that": fixed, not tuned."""


def needs_training(ingredient: str) -> bool:
    """Whether a model must be trained anew to see what an ingredient brought.

    Example:
        >>> needs_training("augment.elastic"), needs_training("views.hflip")
        (True, False)
    """
    return ingredient.partition(".")[0] not in _AFTER_TRAINING


def without(recipe: Recipe, ingredient: str) -> Recipe:
    """Take one ingredient out of a recipe; everything else stays.

    Args:
        recipe: Any recipe.
        ingredient: As in ``INGREDIENTS``, e.g. ``augment.elastic``, ``loss.lovasz`` (all losses
            whose names begin so), ``decoder.hypercolumn``, ``channels.depth``, ``pseudo``.

    Returns:
        The poorer recipe.

    Raises:
        TransectError: On an unknown ingredient, or one that the recipe does not have.

    Example:
        >>> recipe = Recipe(members=(Member(augment=Augment(hflip=0.5)),))
        >>> without(recipe, "augment.hflip").members[0].augment.hflip
        0.0
    """
    kind, _, name = ingredient.partition(".")
    if kind not in _TAKERS:
        raise unknown_name("an ingredient", kind, {word.partition(".")[0] for word in INGREDIENTS})
    poorer = _TAKERS[kind](recipe, name)
    if poorer == recipe:
        raise TransectError(
            f"recipe {recipe.name} does not use {ingredient}, so nothing can be learned by taking "
            "it out. `transect recipes NAME` shows what it uses."
        )
    trained = {member.name for member in recipe.members if member.stages}
    if not poorer.members or any(not m.stages for m in poorer.members if m.name in trained):
        raise TransectError(f"nothing is left of recipe {recipe.name} without {ingredient}.")
    return poorer


def _members(recipe: Recipe, change: Callable[[Member], Member]) -> Recipe:
    return replace(recipe, members=tuple(change(member) for member in recipe.members))


def _stages(recipe: Recipe, change: Callable[[Stage], Stage]) -> Recipe:
    return _members(
        recipe, lambda member: replace(member, stages=tuple(change(s) for s in member.stages))
    )


def _augment(recipe: Recipe, name: str) -> Recipe:
    """Without one kind of augmentation, or all."""
    fields: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(Augment)}
    kept = {"valid", "border"}
    if name and name not in fields:
        raise unknown_name("a kind of augmentation", name, fields)

    def poorer(augment: Augment) -> Augment:
        if not name:
            return Augment(valid=augment.valid, border=augment.border)
        off: dict[str, Any] = {
            n: fields[n] for n in (name, f"{name}_p") if n in fields and n not in kept
        }
        return replace(augment, **off)

    changed = _members(recipe, lambda member: replace(member, augment=poorer(member.augment)))
    return _stages(
        changed, lambda stage: replace(stage, augment=stage.augment and poorer(stage.augment))
    )


def _loss(recipe: Recipe, name: str) -> Recipe:
    """Without the losses whose names begin so; what would have none left gets ``bce``."""
    if not name:
        raise TransectError("say which loss: loss.lovasz, loss.dice.")

    def poorer(text: str) -> str:
        from transect.losses import parse_loss

        terms = parse_loss(text).terms
        if not any(term.name.startswith(name) for term in terms):
            return text
        left = [term for term in terms if not term.name.startswith(name)]
        return " + ".join(_written(term) for term in left) or "bce"

    return _stages(
        recipe,
        lambda stage: replace(
            stage,
            loss=poorer(stage.loss),
            loss_end=stage.loss_end and poorer(stage.loss_end),
            aux=tuple((head, poorer(text)) for head, text in stage.aux),
        ),
    )


def _written(term: Any) -> str:
    """A term of a loss as text."""
    inside = ", ".join(f"{key}={value!r}" for key, value in term.parameters.items())
    return f"{term.weight:g} * {term.name}" + (f"({inside})" if inside else "")


def _network(recipe: Recipe, name: str, prefix: str = "") -> Recipe:
    """Without one addition of the network; losses on a head that is gone go, too."""
    if any(isinstance(member.network, Embedding) for member in recipe.members):
        return _embedding(recipe, name)
    fields: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(Network)}
    for candidate in (f"{prefix}_{name}", name):
        if candidate in fields:
            name = candidate
            break
    else:
        raise unknown_name("a field of the network", name, fields)
    off: Any = None if name == "weights" else fields[name]
    head = {"image_head": "empty", "pixel_head": "pixel", "deep_supervision": "deep"}.get(name)

    def poorer(member: Member) -> Member:
        if not isinstance(member.network, Network):
            return member
        stages = tuple(
            replace(stage, aux=tuple(pair for pair in stage.aux if pair[0] != head))
            for stage in member.stages
        )
        network: Network = replace(member.network, **{name: off})
        return replace(member, network=network, stages=stages)

    return _members(recipe, poorer)


def _embedding(recipe: Recipe, name: str) -> Recipe:
    """Without one addition of the networks that turn pictures into vectors."""
    fields: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(Embedding)}
    if name not in fields:
        raise unknown_name("a field of the network", name, fields)
    off: Any = None if name == "weights" else fields[name]

    def poorer(member: Member) -> Member:
        if not isinstance(member.network, Embedding):
            return member
        network: Embedding = replace(member.network, **{name: off})
        return replace(member, network=network)

    return _members(recipe, poorer)


def _channels(recipe: Recipe, name: str) -> Recipe:
    def poorer(member: Member) -> Member:
        left = tuple(channel for channel in member.geometry.channels if channel != name)
        if not left:
            return member
        return replace(member, geometry=replace(member.geometry, channels=left))

    return _members(recipe, poorer)


def _member(recipe: Recipe, name: str) -> Recipe:
    """Without a member, its masks as channels of others, its labels, and its word as the gate."""
    left = tuple(member for member in recipe.members if member.name != name)
    pseudo = tuple(
        replace(spec, teachers=tuple(t for t in spec.teachers if t != name))
        for spec in recipe.pseudo
    )
    poorer = replace(recipe, members=left, pseudo=pseudo)
    if isinstance(recipe.decide, SegmentDecide) and recipe.decide.gate == name:
        poorer = replace(poorer, decide=replace(recipe.decide, gate=""))
    return _channels(poorer, f"mask:{name}")


def _stage(recipe: Recipe, name: str) -> Recipe:
    return _members(
        recipe,
        lambda member: replace(member, stages=tuple(s for s in member.stages if s.name != name)),
    )


def _schedule(recipe: Recipe, name: str) -> Recipe:
    """A constant rate."""
    del name
    constant = Schedule(name="constant", warmup=0.0)
    return _stages(recipe, lambda stage: replace(stage, schedule=constant, drop_first=0))


def _sampler(recipe: Recipe, name: str) -> Recipe:
    del name
    return _stages(recipe, lambda stage: replace(stage, sampler="uniform", sampler_share=1.0))


def _curriculum(recipe: Recipe, name: str) -> Recipe:
    del name
    return _stages(recipe, lambda stage: replace(stage, curriculum="none"))


def _snapshots(recipe: Recipe, name: str) -> Recipe:
    """The last weights of the last stage alone."""
    del name
    return _stages(
        recipe,
        lambda stage: replace(
            stage, keep="last", keep_k=1, drop_first=0, weight=None, average="none"
        ),
    )


def _average(recipe: Recipe, name: str) -> Recipe:
    del name
    return _stages(recipe, lambda stage: replace(stage, average="none"))


def _pseudo(recipe: Recipe, name: str) -> Recipe:
    """Labelled pictures only; stages that needed others are gone, mixed ones keep their own."""
    del name
    bare = _members(
        recipe,
        lambda member: replace(
            member,
            stages=tuple(
                replace(stage, data="train" if stage.data == "mixed" else stage.data, round=None)
                for stage in member.stages
                if stage.data != "pseudo"
            ),
        ),
    )
    return replace(bare, pseudo=())


def _views(recipe: Recipe, name: str) -> Recipe:
    left = tuple(v for v in recipe.views if v == "identity" or (name and v != name))
    return replace(recipe, views=left)


def _blend(recipe: Recipe, name: str) -> Recipe:
    del name
    return replace(recipe, blend="mean")


def _decide(recipe: Recipe, name: str) -> Recipe:
    """One number of the decision, or all, at its neutral value instead of tuned."""
    if not isinstance(recipe.decide, SegmentDecide):
        raise TransectError("decide can be taken out of recipes for masks only.")
    if name and name not in _NEUTRAL:
        raise unknown_name("a part of decide", name, _NEUTRAL)
    off: dict[str, Any] = {name: _NEUTRAL[name]} if name else _NEUTRAL
    return replace(recipe, decide=replace(recipe.decide, **off))


_TAKERS: dict[str, Callable[[Recipe, str], Recipe]] = {
    "augment": _augment,
    "average": _average,
    "blend": _blend,
    "channels": _channels,
    "curriculum": _curriculum,
    "decide": _decide,
    "decoder": lambda recipe, name: _network(recipe, name, "decoder"),
    "encoder": lambda recipe, name: _network(recipe, name, "encoder"),
    "loss": _loss,
    "members": _member,
    "network": _network,
    "pseudo": _pseudo,
    "sampler": _sampler,
    "schedule": _schedule,
    "snapshots": _snapshots,
    "stages": _stage,
    "views": _views,
}


def folder_name(ingredient: str) -> str:
    """A folder for the run without an ingredient.

    Example:
        >>> folder_name("channels.row*image")
        'without-channels.row_image'
    """
    return "without-" + re.sub(r"[^A-Za-z0-9._-]", "_", ingredient)
