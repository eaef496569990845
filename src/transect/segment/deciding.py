"""From probabilities to masks: the numbers that decide, tuned out of fold and scored nested."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.files import read_json
from transect.metrics.spread import bootstrap
from transect.postprocess.tune import nested_search
from transect.recipe import Recipe, SegmentDecide
from transect.run import RunFolder
from transect.segment.blending import log_odds
from transect.segment.dataset import MaskDataset
from transect.segment.masks import (
    TIMES_ASKED,
    TRIED,
    Values,
    answer_of,
    grids_of,
    labels_of,
    middle,
    splitter_of,
    try_decisions,
)
from transect.segment.oof import OutOfFold, parts_of
from transect.segment.refining import refined
from transect.segment.scoring import tuned_metric
from transect.segment.settling import tuned_images
from transect.types import MaskKind, Progress

__all__ = ["Decisions", "decide_out_of_fold"]

# Half of the rule of one standard error (Breiman and others, Classification and Regression Trees,
# 1984). Simulated salt, 319 held-out patches: nested, the search lost .015 [.005, .026] without
# such a rule and nothing with it; on 800 new patches the search on all 319 gave +.005 without it,
# +.003 with half an error, 0 with one (standard error .003).
_ERRORS = 0.5


@dataclass(frozen=True)
class Decisions:
    """What was tuned: one decision for new images, and one per fold that never saw the fold.

    Attributes:
        kind: How masks are read.
        final: Tuned on all out-of-fold images; for new images.
        nested: Per part, the decision tuned on the other parts; for honest scores.
        part_of: Image name to its part: its fold, or its half where one fold was trained.
        curve: (threshold, score) with all else as in ``final``; for the report.
        gain: Parameter to the (optimistic) gain it brought when it was tuned on everything.
        honest_gain: (mean, low, high) of what all tuning brought, nested.
        metric: What was maximised.
        own: Fold to the threshold that suits its own held-out images best, for the maps of its
            models on new images (``SegmentDecide.per_fold``); empty if that was not asked for.
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

    def answer(self, out_of_fold: OutOfFold, dataset: MaskDataset, i: int) -> NDArray[np.int32]:
        """The labels of an out-of-fold image, by a decision that was tuned without it."""
        image = dataset.images[i]
        return answer_of(
            out_of_fold.maps(image),
            dataset.cache.image(i),
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
    dataset: MaskDataset,
    folds: NDArray[np.int64],
    progress: Progress,
) -> Decisions:
    """Tune every open number on out-of-fold predictions and write ``decide.json``.

    The final decision uses all of them. For the reported score each fold gets a decision that was
    tuned on the other folds; where only one fold was trained, its images are halved, and each
    half gets the decision tuned on the other, so that no score saw its own tuning.
    """
    path = run.path / "decide.json"
    if path.is_file():
        return Decisions.from_json(read_json(path))
    spec = recipe.decide
    assert isinstance(spec, SegmentDecide)
    out_of_fold = OutOfFold(run, recipe, dataset.images)
    number = {image.name: i for i, image in enumerate(dataset.images)}
    chosen = [number[image.name] for image in out_of_fold.images]
    parts = parts_of(folds, chosen)
    grids = grids_of(dataset.kind)
    if not out_of_fold.tells_empty:
        grids.pop("empty_threshold", None)
    classes = len(dataset.survey.classes)

    def once(i: int) -> None:
        truth = np.maximum(middle(dataset.labels(i)), 0)
        found = middle(out_of_fold.maps(dataset.images[i]))
        try_decisions(found, truth, spec.metric, dataset.kind, classes)

    asked = TIMES_ASKED * sum(len(grid) for grid in grids.values()) / len(TRIED)
    looked_at = tuned_images(run, recipe, chosen, once=once, asked=asked)
    fixed = {
        field.name: float(getattr(spec, field.name))
        for field in dataclasses.fields(Values)
        if getattr(spec, field.name, None) is not None
    }
    maps = {i: middle(out_of_fold.maps(dataset.images[i])) for i in looked_at}
    smooth = {}
    if spec.crf != "never" and dataset.kind == "binary":
        smooth = {i: _middle_refined(out_of_fold, dataset, i) for i in looked_at}
        if spec.crf == "always":
            fixed["use_crf"] = 1.0
        else:
            grids["use_crf"] = (0, 1)
    truths = {i: np.maximum(middle(dataset.labels(i)), 0) for i in looked_at}
    splitters = {i: splitter_of(found, dataset.kind) for i, found in maps.items()}
    done, guess = 0, max(2, round(asked * len(TRIED) * len(looked_at)))

    def score(values: Mapping[str, float], row: int) -> float:
        nonlocal done
        done += 1
        progress.step("deciding", min(done, guess - 1), guess)
        i = looked_at[row]
        decision = Values.of(values)
        answer = labels_of(
            smooth[i] if decision.use_crf else maps[i],
            decision,
            dataset.kind,
            filled=out_of_fold.filled(dataset.images[i]),
            flat=bool(dataset.flat[i]),
            split=splitters[i],
        )
        return tuned_metric(spec.metric, answer, truths[i], dataset.kind, classes)

    tuned = nested_search(
        score,
        {name: grid for name, grid in grids.items() if name not in fixed},
        np.array([parts[i] for i in looked_at]),
        fixed=fixed,
        errors=_ERRORS,
        per_fold="threshold" if spec.per_fold else None,
        interval=bootstrap,
    )
    decisions = Decisions(
        kind=dataset.kind,
        final=Values.of(tuned.values),
        nested={part: Values.of(values) for part, values in tuned.nested.items()},
        part_of={dataset.images[i].name: part for i, part in parts.items()},
        curve=_curve(score, tuned.values, len(looked_at), dataset.kind),
        gain=tuned.gains,
        honest_gain=tuned.gain,
        metric=spec.metric,
        own=_own_thresholds(tuned.own, folds, chosen, dataset.kind) if spec.per_fold else {},
    )
    progress.step("deciding", guess, guess)
    run.write_json("decide.json", decisions.to_json())
    return decisions


def _middle_refined(out_of_fold: OutOfFold, dataset: MaskDataset, i: int) -> NDArray[np.float32]:
    """The middle of an image's maps after the CRF, which sees only that middle."""
    pixels = middle(np.moveaxis(dataset.cache.image(i), 2, 0))
    maps = middle(out_of_fold.maps(dataset.images[i]))
    return refined(maps, np.moveaxis(pixels, 0, 2), dataset.kind)


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
