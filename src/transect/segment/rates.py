"""Learning rates found on the survey, where a recipe asks for it, before anything is trained."""

from __future__ import annotations

from dataclasses import replace

from transect.recipe import Member, Recipe, Stage
from transect.segment.dataset import MaskDataset
from transect.segment.training import sweep_of

__all__ = ["settle_rates"]


def settle_rates(recipe: Recipe, dataset: MaskDataset, *, device: str) -> Recipe:
    """Replace every rate that is to be found by a number.

    Only a member's first stage is swept: it begins with the weights that the sweep begins with.
    Later stages that ask for it keep their ratio to the first.

    Args:
        recipe: Any recipe for masks.
        dataset: What it will train on.
        device: Where; the sweep takes up to 100 steps of each member that asks for it.

    Returns:
        The recipe with ``find_lr`` off everywhere, and a line of ``why`` per sweep.

    Raises:
        TransectError: If the loss never falls in a sweep.
    """
    members, why = [], []
    for member in recipe.members:
        if not any(stage.optimizer.find_lr for stage in member.stages):
            members.append(member)
            continue
        found = sweep_of(dataset, member, seed=recipe.seed, device=device).lr
        before = member.stages[0].optimizer.lr
        why.append(f"rate of {member.name}: {found:.2g} found by a sweep, {before:.2g} given")
        members.append(_scaled(member, found / before))
    return replace(recipe, members=tuple(members), why=(*recipe.why, *why))


def _scaled(member: Member, factor: float) -> Member:
    """The member with the rates that were to be found multiplied by a factor."""

    def settled(stage: Stage) -> Stage:
        optimizer = stage.optimizer
        if not optimizer.find_lr:
            return stage
        return replace(stage, optimizer=replace(optimizer, lr=optimizer.lr * factor, find_lr=False))

    return replace(member, stages=tuple(settled(stage) for stage in member.stages))
