"""Everything between maps and answers of a run: the counter, intervals, points, and their file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.count.counters import Counter
from transect.count.detections import Detections
from transect.count.maps import Drawn, mean_map
from transect.count.measures import Measured, measure
from transect.ensemble.conformal import Intervals, intervals_from_json
from transect.errors import TransectError
from transect.recipe import CountDecide
from transect.run import RunFolder

_SITE_DEVIATION, _ENOUGH_SITES = 0.4, 5  # our guesses

Classify = Callable[[NDArray[np.float64]], NDArray[np.float64]]

__all__ = ["Answer", "Classify", "Decisions", "unseen_factor"]


@dataclass(frozen=True)
class Answer:
    """What is said of one picture.

    Attributes:
        counts: (C,) not rounded.
        intervals: (C + 1, 2) of each class and of the total.
        points: (K, 2) x, y in pixels of the picture, one per object.
        kinds: (K,) class of each point; -1 where classes are not told apart.
        confidence: (K,) height of the map there, in [0, 1].
        area: Pixels of the picture at the training's scale.
        boxes: (K, 4) x0, y0, x1, y1 in pixels, one per point, or None where networks draw maps.
    """

    counts: NDArray[np.float64]
    intervals: NDArray[np.float64]
    points: NDArray[np.float64]
    kinds: NDArray[np.int64]
    confidence: NDArray[np.float64]
    area: float
    boxes: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Decisions:
    """Everything between maps and answers.

    Attributes:
        classes: Names.
        counter: From measured maps to counts.
        intervals: Of each class, then of the total.
        coverage: What was measured of the total's interval, or None.
        height: Least height of a point.
        match_radius: In pixels of the picture.
        radius: In cells; two peaks are at least so far apart.
        blur: In cells.
        block_px: Side of the blocks that the residuals are of, or None for whole pictures.
        sites: Photos (or groups) that the residuals of blocks are of; 0 where it does not matter.
    """

    classes: tuple[str, ...]
    counter: Counter
    intervals: tuple[Intervals, ...]
    coverage: dict[str, Any] | None
    height: float
    match_radius: float
    radius: int
    blur: float
    block_px: float | None = None
    sites: int = 0

    def answer(
        self,
        maps: Sequence[Drawn],
        decide: CountDecide,
        *,
        networks: Sequence[int],
        scale: float = 1.0,
        classify: Classify | None = None,
    ) -> Answer:
        """Count one picture that was resampled by ``scale``.

        Args:
            maps: By each network.
            decide: What is measured.
            networks: Numbers of the networks (folds) that drew the maps.
            scale: Of the picture that they drew.
            classify: As in ``measure``.
        """

        def measured(cells: Drawn) -> Measured:
            return measure(cells, decide, radius=self.radius, blur=self.blur, classify=classify)

        decide = replace(decide, methods=self.counter.methods)  # no features that nobody asks for
        each = [measured(cells) for cells in maps]
        counts = self.counter.mean(each, networks)
        whole = mean_map(maps)
        seen = each[0] if len(maps) == 1 else measured(whole)
        points, kinds, confidence = self.points(whole, seen)
        area = whole.size_hw[0] * whole.size_hw[1] * scale**2
        boxes = self.boxes(whole, seen)
        return Answer(counts, self.interval(counts, area), points, kinds, confidence, area, boxes)

    def interval(self, counts: NDArray[np.float64], area_px: float) -> NDArray[np.float64]:
        """Intervals (C + 1, 2) of the classes and of the total of one picture.

        Where residuals are those of blocks, a picture is the sum of as many blocks as fit it,
        whose errors rise and fall together.
        """
        values = [*counts.tolist(), float(counts.sum())]
        ends = np.zeros((len(values), 2))
        for k, (value, fitted) in enumerate(zip(values, self.intervals, strict=True)):
            if self.block_px is None:
                low, high = fitted(np.array([value]))[0]
                ends[k] = min(low, value), max(high, value)  # biased residuals may leave it out
                continue
            blocks = max(1, round(area_px / self.block_px**2))
            _, low, high = fitted.total(np.full(blocks, value / blocks), np.zeros(blocks))
            ends[k] = self._widened(value, low, high)
        return ends

    def _widened(self, value: float, low: float, high: float) -> tuple[float, float]:
        """Ends around a count, no narrower than a new site deserves after very few."""
        factor = unseen_factor(self.sites, self.intervals[-1].nominal)
        return min(low, value / factor), max(high, value * factor)

    def survey_total(
        self, counts: NDArray[np.float64], groups: Sequence[str | None], areas: Sequence[float]
    ) -> list[tuple[float, float, float]]:
        """Sum over pictures with its interval, for each class and for all: (sum, low, high).

        Args:
            counts: (N, C).
            groups: (N,) site or flight of each picture.
            areas: (N,) pixels of each picture.
        """
        table = np.column_stack([counts, counts.sum(axis=1)])
        names = [group if group is not None else f"#{i}" for i, group in enumerate(groups)]
        found = []
        for k, fitted in enumerate(self.intervals):
            values, owners = table[:, k], names
            if self.block_px is not None:
                sizes = [max(1, round(area / self.block_px**2)) for area in areas]
                owners = [name for name, n in zip(names, sizes, strict=True) for _ in range(n)]
                values = np.repeat(table[:, k] / np.array(sizes), sizes)
            total = float(table[:, k].sum())
            _, low, high = fitted.total(values, np.array(owners))
            found.append((total, *self._widened(total, low, high)))
        return found

    def points(
        self, cells: Drawn, measured: Measured
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """One point per object: positions (K, 2), classes (K,), confidence (K,)."""
        kept = measured.together[measured.together[:, 2] >= self.height]
        kinds = kept[:, 3].astype(np.int64)
        if self.counter.merged:
            kinds = np.full(len(kept), -1, np.int64)
        return cells.to_pixels(kept[:, :2]), kinds, np.clip(kept[:, 2], 0, 1)

    def boxes(self, cells: Drawn, measured: Measured) -> NDArray[np.float64] | None:
        """The box of every one of ``points``, where detectors looked: (K, 4)."""
        if not isinstance(cells, Detections):
            return None
        return cells.boxes[measured.together[:, 2] >= self.height]

    def save(self, run: RunFolder) -> None:
        """Write ``decide.json`` and the regressors."""
        run.write_json(
            "decide.json",
            {
                "classes": list(self.classes),
                "counter": self.counter.save(run.path / "regressors"),
                "intervals": [fitted.to_json() for fitted in self.intervals],
                "coverage": self.coverage,
                "height": self.height,
                "match_radius": self.match_radius,
                "radius": self.radius,
                "blur": self.blur,
                "block_px": self.block_px,
                "sites": self.sites,
            },
        )

    @staticmethod
    def load(run: RunFolder, *, calibrated: bool = True) -> Decisions:
        """Read what ``save`` wrote; a calibration on a pilot goes before it.

        Args:
            run: The run.
            calibrated: False leaves the calibration out.

        Raises:
            TransectError: If the files are missing or damaged.
        """
        value = run.read_json("decide.json")
        if calibrated and (run.path / "calibration.json").is_file():
            value = {**value, **run.read_json("calibration.json")}
        try:
            counter = Counter.load(
                {**value["counter"], "scale": value.get("scale", value["counter"]["scale"])},
                run.path / "regressors",
            )
            side = value["block_px"]
            return Decisions(
                tuple(str(name) for name in value["classes"]),
                counter,
                tuple(intervals_from_json(entry) for entry in value["intervals"]),
                value["coverage"],
                float(value["height"]),
                float(value["match_radius"]),
                int(value["radius"]),
                float(value["blur"]),
                None if side is None else float(side),
                int(value["sites"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TransectError(
                f"{run.path / 'decide.json'} is not complete ({error!r}). Restore it or train "
                "again."
            ) from error


def unseen_factor(sites: int, nominal: float) -> float:
    """By what factor a new place may differ when so few were seen that none can be measured.

    Effects of places are taken as log-normal with a deviation of 0.4, known as well as two places
    more would tell: our guess. From five places on the residuals speak for themselves.

    Args:
        sites: Photos or groups that residuals come from; 0 where whole photos have residuals.
        nominal: Coverage of the interval.

    Example:
        >>> [round(unseen_factor(n, 0.9), 1) for n in (0, 1, 3, 5)]
        [1.0, 3.2, 2.3, 1.0]
    """
    if not 0 < sites < _ENOUGH_SITES:
        return 1.0
    from scipy.special import stdtrit  # Student's quantile, without the weight of scipy.stats

    return math.exp(_SITE_DEVIATION * float(stdtrit(sites + 1, (1 + nominal) / 2)))
