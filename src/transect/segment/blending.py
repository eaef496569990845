"""How the members of a recipe become one answer: weights from out-of-fold scores, and the blend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transect.ensemble.blend import blend, weights_from_scores
from transect.errors import TransectError, unknown_name
from transect.files import read_json
from transect.recipe import Member, Recipe
from transect.run import RunFolder

__all__ = ["BY_SCORE", "answering", "blended", "check_blend", "weights_of", "write_weights"]

BY_SCORE = ("weighted", "weighted_vote")
"""Blends whose weights follow the members' out-of-fold scores."""

_KNOWN = ("mean", "weighted", "rank", "vote", "weighted_vote")


def answering(recipe: Recipe) -> tuple[Member, ...]:
    """The members whose predictions are blended; the others only teach."""
    return tuple(member for member in recipe.members if member.weight > 0)


def check_blend(recipe: Recipe) -> None:
    """Refuse a blend that masks cannot be made with, before anything is trained.

    Raises:
        TransectError: On an unknown one, or if no member has a weight.
    """
    if not answering(recipe):
        raise TransectError(
            f"no member of recipe {recipe.name} has a weight above 0. Give one member a weight."
        )
    if recipe.blend not in _KNOWN and not recipe.blend.startswith("power:"):
        raise unknown_name("blend of masks", recipe.blend, (*_KNOWN, "power:0.5"))


def write_weights(run: RunFolder, recipe: Recipe, scores: Mapping[str, float]) -> None:
    """Note the weights of the members, by their out-of-fold scores times the recipe's weights.

    Args:
        run: The run.
        recipe: Its members.
        scores: Of every answering member, higher is better.
    """
    members = answering(recipe)
    by_score = weights_from_scores([max(scores[member.name], 0.0) for member in members])
    raw = by_score * np.array([member.weight for member in members])
    weights = raw / raw.sum()
    run.write_json(
        "blend.json",
        {
            "scores": dict(scores),
            "weights": {m.name: float(w) for m, w in zip(members, weights, strict=True)},
        },
    )


def weights_of(run: RunFolder, recipe: Recipe) -> list[float]:
    """One weight per answering member: from ``blend.json`` where the blend goes by score."""
    members = answering(recipe)
    path = run.path / "blend.json"
    if recipe.blend in BY_SCORE and path.is_file():
        noted = read_json(path)["weights"]
        return [float(noted[member.name]) for member in members]
    return [member.weight for member in members]


def blended(
    run: RunFolder, recipe: Recipe, maps: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """One set of maps from those of the answering members.

    Args:
        run: Where weights by score are noted.
        recipe: The blend.
        maps: (T, H, W) probabilities of each answering member, in the recipe's order.

    Returns:
        (T, H, W).
    """
    if len(maps) == 1:
        return maps[0]
    how = "vote" if recipe.blend == "weighted_vote" else recipe.blend
    return blend(list(maps), how, weights=weights_of(run, recipe))
