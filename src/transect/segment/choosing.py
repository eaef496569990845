"""Which snapshots and which views answer: chosen out of fold, for each part by the other parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.recipe import Member, Recipe, SegmentDecide
from transect.run import RunFolder
from transect.segment.blending import answering
from transect.segment.dataset import MaskDataset
from transect.segment.masks import Values, labels_of
from transect.segment.oof import Choice, held_out_parts, loaded_member, stages_trained
from transect.segment.scoring import tuned_metric
from transect.segment.targets import planes_of
from transect.types import Progress

__all__ = ["Choices", "choose", "compared_on"]

_VIEWS_ON = 24  # our choice: enough pixels to rank views
_LEAST_GAIN = 1e-3  # our choice: what a costlier choice must bring


@dataclass(frozen=True)
class Choices:
    """What answers new images, and what answers each part of the held-out ones.

    Attributes:
        final: By all images that were compared.
        nested: Part to the choice that was made without it.
    """

    final: Choice
    nested: Mapping[int, Choice]

    @staticmethod
    def of(run: RunFolder) -> Choices:
        """Read ``views.json``."""
        noted = run.read_json("views.json")
        final = Choice.from_json(noted)
        nested = {int(part): Choice.from_json(one) for part, one in noted["nested"].items()}
        return Choices(final, nested)


def compared_on(recipe: Recipe) -> int:
    """How many held-out images snapshots and views are compared on.

    Args:
        recipe: Its views, and whether it leaves out stages or views.

    Returns:
        As many as the decisions are tuned on where stages are compared by score, which is noisy;
        24 for views, which are compared by the cross-entropy of pixels; 0 if nothing is compared.
    """
    assert isinstance(recipe.decide, SegmentDecide)
    if recipe.drop_stages and any(_several(member) for member in answering(recipe)):
        return recipe.decide.pictures
    return _VIEWS_ON if recipe.drop_views and len(recipe.views) > 1 else 0


def choose(
    run: RunFolder,
    recipe: Recipe,
    dataset: MaskDataset,
    folds: NDArray[np.int64],
    *,
    device: str,
    progress: Progress,
) -> Choices:
    """Leave out stages and views that do not pay on held-out images.

    A member's stages are compared by the metric of the decisions at one half: each stage alone,
    and the means of the last two, three and so on. Then, with the first member, a view stays if
    its mean with the identity has a lower cross-entropy than the identity alone. Images of two
    parts are compared; the choice for a part's own held-out images leaves that part out, so no
    score saw its own choice.

    Returns:
        The choices; read back from ``views.json`` on a resumed run.
    """
    if (run.path / "views.json").is_file():
        return Choices.of(run)
    parts = held_out_parts(recipe, folds)
    looked_at = _looked_at(parts, compared_on(recipe))
    own = np.array([parts[i] for i in looked_at], np.int64)
    sets: dict[str, NDArray[np.bool_]] = {"": np.ones(len(own), np.bool_)}
    sets |= {str(part): own != part for part in sorted(set(own.tolist()))} if len(own) else {}
    compare = _Compare(run, recipe, dataset, folds, looked_at, device)
    stages, gains = _stages(compare, sets, progress)
    views, view_gains = _views(compare, sets, stages, progress)
    kept = {name: Choice(views[name], stages[name]) for name in sets}
    nested = {str(p): kept.get(str(p), kept[""]).to_json() for p in sorted(set(parts.values()))}
    final = kept[""]
    dropped = [name for name in recipe.views if name not in final.views]
    noted: dict[str, Any] = {
        **final.to_json(),
        "dropped": dropped,
        "gain": view_gains,
        "stage_gain": gains,
        "nested": nested,
    }
    run.write_json("views.json", noted)
    if dropped:
        progress.say(f"views that do not pay out of fold: {', '.join(dropped)}")
    for member, names in final.stages.items():
        told = ", ".join(f"{name} {gain:+.4f}" for name, gain in gains[member].items())
        progress.say(f"{member} answers with {' and '.join(names)} (against its first: {told})")
    return Choices.of(run)


@dataclass(frozen=True)
class _Compare:
    """What is compared: the models of the fold that held an image out, on some of these."""

    run: RunFolder
    recipe: Recipe
    dataset: MaskDataset
    folds: NDArray[np.int64]
    looked_at: Sequence[int]
    device: str

    def maps(
        self, member: Member, choices: Sequence[Choice], place: int, loaded: dict[Any, Any]
    ) -> list[NDArray[np.float32]]:
        """Maps of one image under several choices; models are loaded once."""
        i = self.looked_at[place]
        fold = int(self.folds[i])
        found = []
        for choice in choices:
            key = (fold, choice.views, choice.stages.get(member.name))
            if key not in loaded:
                loaded[key] = loaded_member(
                    self.run, self.recipe, member, [fold], device=self.device, choice=choice
                )
            found.append(loaded[key].maps(self.dataset.cache.image(i), self.dataset.images[i]))
        return found


def _several(member: Member) -> bool:
    """Whether more than one stage of a member has a weight."""
    return sum(bool(stage.weight) for stage in member.stages) > 1


def _looked_at(parts: Mapping[int, int], count: int) -> list[int]:
    """Evenly taken images of the first two parts."""
    chosen: list[int] = []
    for part in sorted(set(parts.values()))[:2]:
        own = [i for i in sorted(parts) if parts[i] == part]
        chosen += own[:: max(1, -(-2 * len(own) // max(1, count)))] if count else []
    return sorted(chosen)


def _stages(
    compare: _Compare, sets: Mapping[str, NDArray[np.bool_]], progress: Progress
) -> tuple[dict[str, dict[str, tuple[str, ...]]], dict[str, dict[str, float]]]:
    """For every set of images, the stages of every member that answer best on it."""
    recipe, dataset = compare.recipe, compare.dataset
    kept: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in sets}
    gains: dict[str, dict[str, float]] = {}
    for member in answering(recipe) if recipe.drop_stages else ():
        names = stages_trained(compare.run, recipe, member)
        if len(names) < 2:
            continue
        alone = [Choice(("identity",), {member.name: (name,)}) for name in names]
        options = [*((name,) for name in names), *(names[i:] for i in range(len(names) - 1))]
        loaded: dict[Any, Any] = {}
        scores = np.zeros((len(compare.looked_at), len(options)))
        for place, i in enumerate(compare.looked_at):
            maps = dict(zip(names, compare.maps(member, alone, place, loaded), strict=True))
            scores[place] = [
                _score(recipe, dataset, i, _mean([maps[name] for name in option]))
                for option in options
            ]
            progress.step("comparing stages", place + 1, len(compare.looked_at))
        costs = [len(option) for option in options]
        for key, rows in sets.items():
            best = _best(scores[rows].mean(0), costs) if rows.any() else len(names) - 1
            kept[key][member.name] = options[best]
        labels = [" and ".join(option) for option in options]
        means = scores.mean(0) - scores[:, 0].mean()
        gains[member.name] = dict(zip(labels, np.round(means, 5).tolist(), strict=True))
    return kept, gains


def _mean(maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of several maps."""
    return np.asarray(np.mean(maps, axis=0), np.float32)


def _best(scores: NDArray[np.float64], costs: Sequence[int]) -> int:
    """The best score; a costlier choice must beat every cheaper one by a margin."""
    return int(np.argmax(scores - _LEAST_GAIN * (np.array(costs) - 1)))


def _score(recipe: Recipe, dataset: MaskDataset, i: int, maps: NDArray[np.float32]) -> float:
    """The metric of the decisions, before anything is tuned."""
    assert isinstance(recipe.decide, SegmentDecide)
    answer = labels_of(maps, Values(), dataset.kind, flat=bool(dataset.flat[i]))
    truth = np.maximum(dataset.labels(i), 0)
    classes = len(dataset.survey.classes)
    return tuned_metric(recipe.decide.metric, answer, truth, dataset.kind, classes)


def _views(
    compare: _Compare,
    sets: Mapping[str, NDArray[np.bool_]],
    stages: Mapping[str, Mapping[str, tuple[str, ...]]],
    progress: Progress,
) -> tuple[dict[str, tuple[str, ...]], dict[str, float]]:
    """For every set of images, the views that lower the cross-entropy on it."""
    recipe = compare.recipe
    others = [name for name in recipe.views if name != "identity"]
    if not (others and recipe.drop_views and len(compare.looked_at)):
        return dict.fromkeys(sets, ("identity", *others)), {}
    member = answering(recipe)[0]
    kept, gains, known = {}, {}, {}
    for key, rows in sets.items():
        if not rows.any():  # one held-out image: nothing else can choose for it
            kept[key] = ("identity", *others)
            continue
        wanted = stages[key].get(member.name, ())
        if wanted not in known:
            known[wanted] = _lowered(compare, member, stages[key], others, progress)
        lowered = known[wanted][rows].mean(0)
        kept[key] = ("identity", *(n for n, gain in zip(others, lowered, strict=True) if gain > 0))
        if not key:
            gains = dict(zip(others, lowered.tolist(), strict=True))
    return kept, gains


def _lowered(
    compare: _Compare,
    member: Member,
    stages: Mapping[str, tuple[str, ...]],
    others: Sequence[str],
    progress: Progress,
) -> NDArray[np.float64]:
    """By how much each further view lowers the cross-entropy of each image: (images, views)."""
    choices = [Choice((name,), stages) for name in ("identity", *others)]
    loaded: dict[Any, Any] = {}
    found = np.zeros((len(compare.looked_at), len(others)))
    for place, i in enumerate(compare.looked_at):
        first, *rest = compare.maps(member, choices, place, loaded)
        truth = _truth(compare.dataset, i)
        alone = _cross_entropy(first, truth)
        half = np.float32(0.5)
        found[place] = [alone - _cross_entropy((first + one) * half, truth) for one in rest]
        progress.step("comparing views", place + 1, len(compare.looked_at))
    return found


def _truth(dataset: MaskDataset, i: int) -> NDArray[np.float32]:
    """Target planes of an image: (T, H, W) in [0, 1]."""
    planes = planes_of(dataset.labels(i), dataset.kind, len(dataset.survey.classes))
    return np.moveaxis(planes, -1, 0).astype(np.float32) / np.float32(255)


def _cross_entropy(maps: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Mean binary cross-entropy over planes and pixels of an image."""
    p = np.clip(maps, 1e-4, 1 - 1e-4)
    return float(-(truth * np.log(p) + (1 - truth) * np.log1p(-p)).mean())
