"""How the members of a recipe become one answer: by weights, votes, or a stack of their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transect.ensemble.blend import blend, weights_from_scores
from transect.ensemble.stacking import Stack, fit_stack, load_stack, save_stack
from transect.errors import TransectError, unknown_name
from transect.files import safe_join
from transect.recipe import Member, Recipe
from transect.run import RunFolder

__all__ = [
    "BY_SCORE",
    "Blend",
    "answering",
    "check_blend",
    "check_gate",
    "gates_of",
    "log_odds",
    "write_stacks",
    "write_weights",
]

BY_SCORE = ("weighted", "weighted_vote")
"""Blends whose weights follow the members' out-of-fold scores."""

_KNOWN = ("mean", "weighted", "rank", "vote", "weighted_vote", "stack")
_LEAST = 1 / 512  # probabilities are stored in steps of 1/255


def answering(recipe: Recipe) -> tuple[Member, ...]:
    """The members whose predictions are blended; the others only teach."""
    return tuple(member for member in recipe.members if member.weight > 0)


def gates_of(recipe: Recipe) -> tuple[Member, ...]:
    """The members whose image-level heads say whether an image holds any object."""
    named = getattr(recipe.decide, "gate", "")
    if named:
        return tuple(member for member in recipe.members if member.name == named)
    return tuple(m for m in answering(recipe) if getattr(m.network, "image_head", False))


def check_gate(recipe: Recipe) -> None:
    """Refuse a gate that cannot tell, before anything is trained.

    Raises:
        TransectError: If it names no member, or one without a trained image-level head on whole
            images.
    """
    named = getattr(recipe.decide, "gate", "")
    if not named:
        return
    if not gates_of(recipe):
        raise unknown_name("decide.gate", named, [member.name for member in recipe.members])
    (member,) = gates_of(recipe)
    trained = any(head == "empty" for stage in member.stages for head, _ in stage.aux)
    if not (getattr(member.network, "image_head", False) and trained):
        raise TransectError(
            f"decide.gate names {named}, which has no trained head that says empty. Set its "
            'network.image_head, and aux = [["empty", "bce"]] in its stages.'
        )
    if member.geometry.fit != "whole":
        raise TransectError(
            f"decide.gate names {named}, which sees tiles; whether a picture is empty is asked of "
            "the whole. Set its geometry.fit to whole."
        )


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


def write_weights(
    run: RunFolder,
    recipe: Recipe,
    scores: Mapping[str, Mapping[str, float]],
    part_of: Mapping[str, int],
) -> None:
    """Note the weights of the members, by their out-of-fold scores times the recipe's weights.

    Args:
        run: The run.
        recipe: Its members.
        scores: Answering member to image to its score, higher is better.
        part_of: Image to its part; each part gets weights that its own scores took no part in.
    """
    members = answering(recipe)

    def weights(images: Sequence[str]) -> list[float]:
        means = [float(np.mean([scores[m.name][image] for image in images])) for m in members]
        by_score = weights_from_scores([max(mean, 0.0) for mean in means])
        raw = by_score * np.array([member.weight for member in members])
        return [float(weight) for weight in raw / raw.sum()]

    images = list(scores[members[0].name])
    nested = {}
    for part in sorted({part_of[image] for image in images}):
        others = [image for image in images if part_of[image] != part]
        nested[str(part)] = weights(others or images)
    own = {name: float(np.mean(list(found.values()))) for name, found in scores.items()}
    run.write_json(
        "blend.json",
        {
            "scores": own,
            "weights": weights(images),
            "nested": nested,
            "part_of": {image: part_of[image] for image in images},
        },
    )


def log_odds(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """Log-odds of probabilities, those of 0 and 1 being moved inside by 1/512.

    Example:
        >>> log_odds(np.array([0.5, 1.0])).round(2).tolist()
        [0.0, 6.239999771118164]
    """
    p = np.clip(np.asarray(probability, np.float32), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(p) - np.log1p(-p), np.float32)


def write_stacks(
    run: RunFolder,
    features: NDArray[np.float32],
    truth: NDArray[np.float32],
    parts: NDArray[np.int64],
    part_of: Mapping[str, int],
) -> None:
    """Fit logistic regressions from the members' log-odds to the truth, one per plane.

    One fit takes all pixels, for new images; one per part leaves the part out, for honest
    scores. Planes whose truth is neither 0 nor 1 (the centres of instances) are averaged.

    Args:
        run: Gets ``stack/*.json`` and, last, ``stack.json``.
        features: (N, M, T) log-odds of N pixels by M members.
        truth: (N, T) in [0, 1].
        parts: (N,) the part of every pixel: its image's fold, or its half.
        part_of: Image name to part.
    """
    names: dict[str, list[str | None]] = {}
    for part in (None, *np.unique(parts).tolist()):
        rows = np.ones(len(parts), np.bool_) if part is None else parts != part
        kind = "all" if part is None else f"without{part}"
        files: list[str | None] = []
        for plane in range(truth.shape[1]):
            if not np.isin(truth[:, plane], (0, 1)).all():
                files.append(None)
                continue
            fitted = fit_stack(features[rows, :, plane], truth[rows, plane], "logistic")
            files.append(save_stack(fitted, run.path / "stack" / f"{kind}-{plane}").name)
        names[kind] = files
    run.write_json("stack.json", {"files": names, "part_of": dict(part_of)})


class Blend:
    """One set of maps from those of the answering members, as a run's recipe says."""

    def __init__(self, run: RunFolder, recipe: Recipe) -> None:
        """Read weights or stacks, if the blend has any."""
        self._how = "vote" if recipe.blend == "weighted_vote" else recipe.blend
        self._weights = [member.weight for member in answering(recipe)]
        self._nested: dict[str, list[float]] = {}
        self._stacks: dict[str, list[Stack | None]] = {}
        self._part_of: dict[str, int] = {}
        if recipe.blend in BY_SCORE and (run.path / "blend.json").is_file():
            noted = run.read_json("blend.json")
            self._weights = [float(weight) for weight in noted["weights"]]
            self._nested = dict(noted["nested"])
            self._part_of = {str(name): int(part) for name, part in noted["part_of"].items()}
        if recipe.blend == "stack" and len(self._weights) > 1:
            noted = run.read_json("stack.json")
            self._part_of = {str(name): int(part) for name, part in noted["part_of"].items()}
            for kind, files in noted["files"].items():
                self._stacks[kind] = [
                    None if name is None else load_stack(safe_join(run.path / "stack", name))
                    for name in files
                ]

    def of(
        self, maps: Sequence[NDArray[np.float32]], *, held_out: str | None = None
    ) -> NDArray[np.float32]:
        """Blend the maps of one image, or of some of its rows.

        Args:
            maps: (T, H, W) probabilities of each answering member, in the recipe's order.
            held_out: Name of an image whose part must have had no say in weights or stack.

        Returns:
            (T, H, W).
        """
        if len(maps) == 1:
            return maps[0]
        if not self._stacks:
            weights = self._weights
            if self._nested and held_out is not None:
                weights = self._nested[str(self._part_of[held_out])]
            return blend(list(maps), self._how, weights=weights)
        kind = "all" if held_out is None else f"without{self._part_of[held_out]}"
        out: NDArray[np.float32] = np.mean(maps, axis=0, dtype=np.float32)
        for plane, stack in enumerate(self._stacks[kind]):
            if stack is not None:
                pixels = np.stack([log_odds(one[plane]).ravel() for one in maps], axis=1)
                out[plane] = stack.predict(pixels).reshape(out[plane].shape)
        if len(out) > 2:  # classes exclude one another
            out /= np.maximum(out.sum(0), 1e-6)
        return out
