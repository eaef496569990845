"""From probabilities to masks: the numbers that decide, tuned out of fold and scored nested."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.files import read_json
from transect.postprocess.components import clean, remove_small
from transect.postprocess.watershed import split_instances
from transect.recipe import Recipe, SegmentDecide
from transect.run import RunFolder
from transect.segment.oof import OutOfFold
from transect.segment.pictures import Pictures
from transect.segment.scoring import tuned_metric
from transect.types import MaskKind, Progress

__all__ = ["Decisions", "Values", "decide_out_of_fold", "labels_of"]

_TUNED_PICTURES = 150  # our choice: more change the tuned numbers little and cost minutes

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
        "seed_threshold": (0.5, 0.35, 0.4, 0.45, 0.55, 0.6, 0.65, 0.7),
        "threshold": (0.5, 0.3, 0.4, 0.45, 0.55, 0.6, 0.7),
        "min_area": (0, 10, 20, 40, 80),
        "seed_distance": (3, 1, 5, 8),
    },
}


@dataclass(frozen=True)
class Values:
    """The numbers of a decision; meanings as in ``recipe.SegmentDecide``."""

    threshold: float = 0.5
    min_area: int = 0
    min_total: int = 0
    fill_holes: int = 0
    empty_threshold: float = 0.0
    seed_threshold: float = 0.5
    seed_distance: int = 3
    flat_rule: bool = False


def labels_of(
    maps: NDArray[np.float32],
    values: Values,
    kind: MaskKind,
    *,
    filled: float = 1.0,
    flat: bool = False,
) -> NDArray[np.int32]:
    """Turn a picture's maps into labels.

    Args:
        maps: (T, H, W) probabilities.
        values: The decision.
        kind: How masks are read: binary gives 0 and 1, classes 0 to C, instances 0 to K.
        filled: Probability of the image-level head that there is any object.
        flat: Whether the picture has one grey value.

    Returns:
        (H, W) int32.
    """
    if filled < values.empty_threshold or (flat and values.flat_rule):
        return np.zeros(maps.shape[1:], np.int32)
    if kind == "instances":
        labels = split_instances(
            maps[0],
            maps[1],
            threshold=values.threshold,
            seed_threshold=values.seed_threshold,
            seed_distance=values.seed_distance,
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


@dataclass(frozen=True)
class Decisions:
    """What was tuned: one decision for new pictures, and one per fold that never saw the fold.

    Attributes:
        kind: How masks are read.
        final: Tuned on all out-of-fold pictures; for new pictures.
        nested: Per part, the decision tuned on the other parts; for honest scores.
        part_of: Picture name to its part: its fold, or its half where one fold was trained.
        curve: (threshold, score) with all else as in ``final``; for the report.
        gain: Parameter to the out-of-fold gain it brought when it was tuned.
        metric: What was maximised.
    """

    kind: MaskKind
    final: Values
    nested: Mapping[int, Values]
    part_of: Mapping[str, int]
    curve: tuple[tuple[float, float], ...]
    gain: Mapping[str, float]
    metric: str

    def answer(self, out_of_fold: OutOfFold, pictures: Pictures, i: int) -> NDArray[np.int32]:
        """The labels of an out-of-fold picture, by a decision that was tuned without it."""
        image = pictures.images[i]
        return labels_of(
            out_of_fold.maps(image),
            self.nested[self.part_of[image.name]],
            self.kind,
            filled=out_of_fold.filled(image),
            flat=bool(pictures.flat[i]),
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
            "metric": self.metric,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Decisions:
        """Read what ``to_json`` gave."""
        return Decisions(
            value["kind"],
            Values(**value["final"]),
            {int(fold): Values(**v) for fold, v in value["nested"].items()},
            {str(name): int(part) for name, part in value["part_of"].items()},
            tuple((float(x), float(y)) for x, y in value["curve"]),
            {str(name): float(gain) for name, gain in value["gain"].items()},
            str(value["metric"]),
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
    assert isinstance(recipe.decide, SegmentDecide)
    out_of_fold = OutOfFold(run, recipe, pictures.images)
    number = {image.name: i for i, image in enumerate(pictures.images)}
    chosen = [number[image.name] for image in out_of_fold.images]
    table = _Table(out_of_fold, pictures, recipe.decide, np.array(chosen))
    parts = _parts(folds, chosen)
    progress.step("deciding", 0, len(parts) + 1)
    final, gain = table.tune(chosen)
    progress.step("deciding", 1, len(parts) + 1)
    nested = {}
    for done, (part, members) in enumerate(parts.items()):
        others = [i for i in chosen if i not in members]
        nested[part] = table.tune(others)[0]
        progress.step("deciding", done + 2, len(parts) + 1)
    decisions = Decisions(
        kind=pictures.kind,
        final=final,
        nested=nested,
        part_of={pictures.images[i].name: part for part, own in parts.items() for i in own},
        curve=table.curve(chosen, final),
        gain=gain,
        metric=recipe.decide.metric,
    )
    run.write_json("decide.json", decisions.to_json())
    return decisions


def _parts(folds: NDArray[np.int64], chosen: Sequence[int]) -> dict[int, set[int]]:
    """Which pictures share a decision that was tuned without them, by number of the part."""
    present = sorted({int(folds[i]) for i in chosen})
    if len(present) > 1:
        return {fold: {i for i in chosen if folds[i] == fold} for fold in present}
    return {0: set(chosen[::2]), 1: set(chosen[1::2])}


class _Table:
    """Scores of decisions on out-of-fold pictures, remembered by decision and picture."""

    def __init__(
        self,
        out_of_fold: OutOfFold,
        pictures: Pictures,
        spec: SegmentDecide,
        chosen: NDArray[np.int64],
    ) -> None:
        self._out_of_fold, self._pictures, self._spec = out_of_fold, pictures, spec
        self._scores: dict[tuple[Values, int], float] = {}
        self._maps: dict[int, NDArray[np.float32]] = {}
        open_names = {name for name in _GRIDS[pictures.kind] if getattr(spec, name, None) is None}
        if not out_of_fold.has_image_head:
            open_names.discard("empty_threshold")
        self._grid = {n: g for n, g in _GRIDS[pictures.kind].items() if n in open_names}
        fixed = {
            field.name: getattr(spec, field.name)
            for field in dataclasses.fields(Values)
            if getattr(spec, field.name, None) is not None
        }
        self._start = Values(**fixed)

    def tune(self, chosen: Sequence[int]) -> tuple[Values, dict[str, float]]:
        """Search one number after another, twice round; ties keep the earlier value."""
        chosen = _thinned(chosen)
        best, gains = self._start, dict.fromkeys(self._grid, 0.0)
        if not chosen:
            return best, gains
        score = self.mean(best, chosen)
        for _ in range(2):
            before = best
            for name, grid in self._grid.items():
                for value in grid:
                    kind = type(getattr(best, name))
                    trial = dataclasses.replace(best, **{name: kind(value)})
                    if trial == best:
                        continue
                    found = self.mean(trial, chosen)
                    # A gain below a ten-thousandth is noise; the simpler rule stays.
                    if found > score + 1e-4:
                        gains[name] += found - score
                        best, score = trial, found
            if best == before:
                break
        return best, gains

    def curve(self, chosen: Sequence[int], values: Values) -> tuple[tuple[float, float], ...]:
        """Score against threshold, all else equal."""
        chosen = _thinned(chosen)
        if self._pictures.kind == "classes" or not chosen:
            return ()
        levels = [round(0.1 + 0.05 * k, 2) for k in range(17)]
        return tuple(
            (level, self.mean(dataclasses.replace(values, threshold=level), chosen))
            for level in levels
        )

    def mean(self, values: Values, chosen: Sequence[int]) -> float:
        """Mean of the tuned metric over pictures."""
        return float(np.mean([self._score(values, i) for i in chosen]))

    def _score(self, values: Values, i: int) -> float:
        key = (values, i)
        if key not in self._scores:
            pictures = self._pictures
            image = pictures.images[i]
            answer = labels_of(
                self._map(i),
                values,
                pictures.kind,
                filled=self._out_of_fold.filled(image),
                flat=bool(pictures.flat[i]),
            )
            truth = np.maximum(pictures.labels(i), 0)
            classes = len(pictures.survey.classes)
            self._scores[key] = tuned_metric(
                self._spec.metric, answer, truth, pictures.kind, classes
            )
        return self._scores[key]

    def _map(self, i: int) -> NDArray[np.float32]:
        """Maps of picture i; small ones stay in memory while they are tuned on."""
        if i not in self._maps:
            if len(self._maps) > _TUNED_PICTURES:
                self._maps.clear()
            self._maps[i] = self._out_of_fold.maps(self._pictures.images[i])
        return self._maps[i]


def _thinned(chosen: Sequence[int]) -> list[int]:
    """At most ``_TUNED_PICTURES`` of them, evenly spread."""
    step = max(1, -(-len(chosen) // _TUNED_PICTURES))
    return list(chosen)[::step]
