"""From probabilities to masks: the numbers that decide, tuned out of fold and scored nested."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from transect.files import read_json
from transect.metrics.spread import bootstrap
from transect.postprocess.components import clean, remove_small
from transect.postprocess.tune import nested_search
from transect.postprocess.watershed import InstanceSplitter
from transect.recipe import Recipe, SegmentDecide
from transect.run import RunFolder
from transect.segment.blending import log_odds
from transect.segment.oof import OutOfFold, parts_of
from transect.segment.pictures import Pictures
from transect.segment.refining import refined
from transect.segment.scoring import tuned_metric
from transect.segment.settling import tuned_images
from transect.types import MaskKind, Progress

_Number = TypeVar("_Number", bound=np.generic)

__all__ = [
    "TIMES_ASKED",
    "TRIED",
    "Decisions",
    "Values",
    "answer_of",
    "decide_out_of_fold",
    "grids_of",
    "labels_of",
    "middle",
    "splitter_of",
    "try_decisions",
]

TIMES_ASKED = 2.5
"""Times that the search meets every value of the grids per picture; measured on nuclei."""

# Our choice: more of each picture changes the tuned numbers little and costs minutes.
_TUNED_SIDE = 512

# Values that are tried, in the order in which they are tuned. Nothing is changed unless the
# out-of-fold score gains, so the first of each list is where the search starts.
_GRIDS: dict[MaskKind, dict[str, tuple[float, ...]]] = {
    "binary": {
        "threshold": tuple(
            round(0.5 + s, 3) for s in (0, -0.2, -0.15, -0.1, -0.05, 0.05, 0.1, 0.15)
        ),
        "min_total": (0, 10, 20, 40, 80),
        "min_area": (0, 10, 20, 40, 80),
        "fill_holes": (0, 20, 80, 10**9),
        "empty_threshold": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    },
    "classes": {"min_area": (0, 10, 20, 40, 80), "min_total": (0, 20, 80)},
    "instances": {
        "seed_depth": (0.08, 0.03, 0.05, 0.12, 0.18, 0.25),
        "seed_threshold": (0.3, 0.0, 0.4, 0.5, 0.6),
        "threshold": (0.5, 0.3, 0.4, 0.45, 0.55, 0.6, 0.65, 0.7, 0.8),
        "min_area": (0, 10, 20, 40, 80),
    },
}


def grids_of(kind: MaskKind) -> dict[str, tuple[float, ...]]:
    """The values that are tried for a kind of mask, in the order in which they are tuned."""
    return dict(_GRIDS[kind])


@dataclass(frozen=True)
class Values:
    """The numbers of a decision; meanings as in ``recipe.SegmentDecide``."""

    threshold: float = 0.5
    min_area: int = 0
    min_total: int = 0
    fill_holes: int = 0
    empty_threshold: float = 0.0
    seed_threshold: float = 0.3
    seed_depth: float = 0.08
    flat_rule: bool = False
    use_crf: bool = False

    @staticmethod
    def of(values: Mapping[str, float]) -> Values:
        """From numbers by name; those that count pixels become whole."""
        start = dataclasses.asdict(Values())
        return Values(**{name: type(start[name])(value) for name, value in values.items()})


def labels_of(
    maps: NDArray[np.float32],
    values: Values,
    kind: MaskKind,
    *,
    filled: float = 1.0,
    flat: bool = False,
    split: InstanceSplitter | None = None,
) -> NDArray[np.int32]:
    """Turn a picture's maps into labels.

    Args:
        maps: (T, H, W) probabilities.
        values: The decision.
        kind: How masks are read: binary gives 0 and 1, classes 0 to C, instances 0 to K.
        filled: Probability of the image-level head that there is any object.
        flat: Whether the picture has one grey value.
        split: Made of the same maps, where they are asked again and again.

    Returns:
        (H, W) int32.
    """
    if filled < values.empty_threshold or (flat and values.flat_rule):
        return np.zeros(maps.shape[1:], np.int32)
    if kind == "instances":
        labels = (split or InstanceSplitter(maps[0], maps[1]))(
            threshold=values.threshold,
            seed_threshold=values.seed_threshold,
            seed_depth=values.seed_depth,
            min_area=values.min_area,
        )
    elif kind == "classes":
        labels = maps.argmax(0).astype(np.int32)
        for number in range(1, len(maps)):
            own = labels == number
            labels[own & ~remove_small(own, values.min_area)] = 0
    else:
        mask = clean(maps[0] > values.threshold, min_area=values.min_area, fill=values.fill_holes)
        labels = mask.astype(np.int32)
    if values.min_total and np.count_nonzero(labels) < values.min_total:
        labels = np.zeros_like(labels)
    return labels


def answer_of(
    maps: NDArray[np.float32],
    pixels: NDArray[Any],
    values: Values,
    kind: MaskKind,
    *,
    filled: float,
) -> NDArray[np.int32]:
    """The mask of an image, held out or new, by a decision.

    Args:
        maps: (T, H, W) blended probabilities.
        pixels: (H, W, C), for the CRF and to see whether they have one value.
        values: The decision.
        kind: How masks are read.
        filled: Probability that there is any object.

    Returns:
        (H, W) int32, as ``labels_of``.
    """
    if values.use_crf:
        maps = refined(maps, pixels, kind)
    return labels_of(maps, values, kind, filled=filled, flat=bool(np.ptp(pixels) == 0))


def splitter_of(maps: NDArray[np.float32], kind: MaskKind) -> InstanceSplitter | None:
    """What ``labels_of`` a picture's maps can share between decisions; None for kinds but one."""
    return InstanceSplitter(maps[0], maps[1]) if kind == "instances" else None


TRIED = (Values(), Values(threshold=0.6), Values(seed_threshold=0.5), Values(min_area=20))
"""Decisions whose time is taken: a search shares what they have in common, so several are."""


def try_decisions(
    maps: NDArray[np.float32],
    truth: NDArray[np.integer],
    metric: str,
    kind: MaskKind,
    classes: int,
) -> None:
    """Decide on a picture as a search does, ``TRIED`` one after another, to take the time.

    Args:
        maps: (T, H, W) probabilities.
        truth: (H, W) labels, none below 0.
        metric: That scores each answer.
        kind: How masks are read.
        classes: Number of classes.
    """
    shared = splitter_of(maps, kind)
    for values in TRIED:
        tuned_metric(metric, labels_of(maps, values, kind, split=shared), truth, kind, classes)


@dataclass(frozen=True)
class Decisions:
    """What was tuned: one decision for new pictures, and one per fold that never saw the fold.

    Attributes:
        kind: How masks are read.
        final: Tuned on all out-of-fold pictures; for new pictures.
        nested: Per part, the decision tuned on the other parts; for honest scores.
        part_of: Picture name to its part: its fold, or its half where one fold was trained.
        curve: (threshold, score) with all else as in ``final``; for the report.
        gain: Parameter to the (optimistic) gain it brought when it was tuned on everything.
        honest_gain: (mean, low, high) of what all tuning brought, nested.
        metric: What was maximised.
        own: Fold to the threshold that suits its own held-out pictures best, for the maps of its
            models on new pictures (``SegmentDecide.per_fold``); empty if that was not asked for.
    """

    kind: MaskKind
    final: Values
    nested: Mapping[int, Values]
    part_of: Mapping[str, int]
    curve: tuple[tuple[float, float], ...]
    gain: Mapping[str, float]
    honest_gain: tuple[float, float, float]
    metric: str
    own: Mapping[int, float] = dataclasses.field(default_factory=dict)

    def levelled(self, maps: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """Move the first map of a fold's models so that the fold's threshold is the common one.

        In log-odds, so that order and range stay: the mean over folds can then be cut at one
        threshold, which for a single fold is the same as cutting at its own.

        Args:
            maps: (T, H, W) probabilities by the models of one fold.
            fold: Which one; a key of ``own``.

        Returns:
            (T, H, W).
        """
        ends = np.array([self.final.threshold, self.own[fold]], np.float64)
        shift = float(np.diff(-np.log(ends / (1 - ends)))[0])
        out = maps.copy()
        out[0] = 1 / (1 + np.exp(-(log_odds(maps[0]) + np.float32(shift))))
        return out

    def answer(self, out_of_fold: OutOfFold, pictures: Pictures, i: int) -> NDArray[np.int32]:
        """The labels of an out-of-fold picture, by a decision that was tuned without it."""
        image = pictures.images[i]
        return answer_of(
            out_of_fold.maps(image),
            pictures.cache.image(i),
            self.nested[self.part_of[image.name]],
            self.kind,
            filled=out_of_fold.filled(image),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values, read back by ``from_json``."""
        return {
            "kind": self.kind,
            "final": dataclasses.asdict(self.final),
            "nested": {str(fold): dataclasses.asdict(v) for fold, v in self.nested.items()},
            "part_of": dict(self.part_of),
            "curve": [list(point) for point in self.curve],
            "gain": dict(self.gain),
            "honest_gain": list(self.honest_gain),
            "metric": self.metric,
            "own": {str(fold): threshold for fold, threshold in self.own.items()},
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Decisions:
        """Read what ``to_json`` gave."""
        mean, low, high = (float(x) for x in value["honest_gain"])
        return Decisions(
            value["kind"],
            Values(**value["final"]),
            {int(fold): Values(**v) for fold, v in value["nested"].items()},
            {str(name): int(part) for name, part in value["part_of"].items()},
            tuple((float(x), float(y)) for x, y in value["curve"]),
            {str(name): float(gain) for name, gain in value["gain"].items()},
            (mean, low, high),
            str(value["metric"]),
            {int(fold): float(level) for fold, level in value.get("own", {}).items()},
        )


def decide_out_of_fold(
    run: RunFolder,
    recipe: Recipe,
    pictures: Pictures,
    folds: NDArray[np.int64],
    progress: Progress,
) -> Decisions:
    """Tune every open number on out-of-fold predictions and write ``decide.json``.

    The final decision uses all of them. For the reported score each fold gets a decision that was
    tuned on the other folds; where only one fold was trained, its pictures are halved, and each
    half gets the decision tuned on the other, so that no score saw its own tuning.
    """
    path = run.path / "decide.json"
    if path.is_file():
        return Decisions.from_json(read_json(path))
    spec = recipe.decide
    assert isinstance(spec, SegmentDecide)
    out_of_fold = OutOfFold(run, recipe, pictures.images)
    number = {image.name: i for i, image in enumerate(pictures.images)}
    chosen = [number[image.name] for image in out_of_fold.images]
    parts = parts_of(folds, chosen)
    grids = grids_of(pictures.kind)
    if not out_of_fold.tells_empty:
        grids.pop("empty_threshold", None)
    classes = len(pictures.survey.classes)

    def once(i: int) -> None:
        truth = np.maximum(middle(pictures.labels(i)), 0)
        found = middle(out_of_fold.maps(pictures.images[i]))
        try_decisions(found, truth, spec.metric, pictures.kind, classes)

    asked = TIMES_ASKED * sum(len(grid) for grid in grids.values()) / len(TRIED)
    looked_at = tuned_images(run, recipe, chosen, once=once, asked=asked)
    fixed = {
        field.name: float(getattr(spec, field.name))
        for field in dataclasses.fields(Values)
        if getattr(spec, field.name, None) is not None
    }
    maps = {i: middle(out_of_fold.maps(pictures.images[i])) for i in looked_at}
    smooth = {}
    if spec.crf != "never" and pictures.kind == "binary":
        smooth = {i: _middle_refined(out_of_fold, pictures, i) for i in looked_at}
        if spec.crf == "always":
            fixed["use_crf"] = 1.0
        else:
            grids["use_crf"] = (0, 1)
    truths = {i: np.maximum(middle(pictures.labels(i)), 0) for i in looked_at}
    splitters = {i: splitter_of(found, pictures.kind) for i, found in maps.items()}
    done = 0

    def score(values: Mapping[str, float], row: int) -> float:
        nonlocal done
        done += 1
        progress.step("deciding", done % 1000, 1000)
        i = looked_at[row]
        decision = Values.of(values)
        answer = labels_of(
            smooth[i] if decision.use_crf else maps[i],
            decision,
            pictures.kind,
            filled=out_of_fold.filled(pictures.images[i]),
            flat=bool(pictures.flat[i]),
            split=splitters[i],
        )
        return tuned_metric(spec.metric, answer, truths[i], pictures.kind, classes)

    tuned = nested_search(
        score,
        {name: grid for name, grid in grids.items() if name not in fixed},
        np.array([parts[i] for i in looked_at]),
        fixed=fixed,
        per_fold="threshold" if spec.per_fold else None,
        interval=bootstrap,
    )
    decisions = Decisions(
        kind=pictures.kind,
        final=Values.of(tuned.values),
        nested={part: Values.of(values) for part, values in tuned.nested.items()},
        part_of={pictures.images[i].name: part for i, part in parts.items()},
        curve=_curve(score, tuned.values, len(looked_at), pictures.kind),
        gain=tuned.gains,
        honest_gain=tuned.gain,
        metric=spec.metric,
        own=_own_thresholds(tuned.own, folds, chosen, pictures.kind) if spec.per_fold else {},
    )
    run.write_json("decide.json", decisions.to_json())
    return decisions


def _middle_refined(out_of_fold: OutOfFold, pictures: Pictures, i: int) -> NDArray[np.float32]:
    """The middle of a picture's maps after the CRF, which sees only that middle."""
    pixels = middle(np.moveaxis(pictures.cache.image(i), 2, 0))
    maps = middle(out_of_fold.maps(pictures.images[i]))
    return refined(maps, np.moveaxis(pixels, 0, 2), pictures.kind)


def middle(planes: NDArray[_Number]) -> NDArray[_Number]:
    """The middle window of large maps (..., H, W); small ones whole."""
    top, left = (max(0, (size - _TUNED_SIDE) // 2) for size in planes.shape[-2:])
    return planes[..., top : top + _TUNED_SIDE, left : left + _TUNED_SIDE]


def _own_thresholds(
    own: Mapping[int, Mapping[str, float]],
    folds: NDArray[np.int64],
    chosen: Sequence[int],
    kind: MaskKind,
) -> dict[int, float]:
    """The threshold of every trained fold; none where one fold was trained, or of classes."""
    trained = {int(folds[i]) for i in chosen}
    if kind == "classes" or len(trained) < 2:
        return {}
    return {fold: float(own[fold]["threshold"]) for fold in sorted(trained) if fold in own}


def _curve(
    score: Callable[[Mapping[str, float], int], float],
    values: Mapping[str, float],
    count: int,
    kind: MaskKind,
) -> tuple[tuple[float, float], ...]:
    """Score against threshold, all else equal."""
    if kind == "classes":
        return ()
    levels = [round(0.1 * k, 1) for k in range(1, 10)]
    return tuple(
        (level, float(np.mean([score({**values, "threshold": level}, i) for i in range(count)])))
        for level in levels
    )
