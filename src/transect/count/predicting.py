"""New photos of any size: their maps, counts with intervals, and points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.count.decisions import Answer, Decisions
from transect.count.maps import Drawn, networks_of
from transect.count.measures import measure
from transect.count.reclassify import Reclassifier, classifier_of, maps_only
from transect.count.scalecheck import ScaleLook, look_at_new
from transect.count.totals import TotalsPredictor
from transect.count.training import Task
from transect.data.images import open_reader
from transect.errors import TransectError, unknown_name
from transect.predict.scaling import ScaledReader
from transect.run import RunFolder
from transect.task import NewImages, used_folds
from transect.types import Image, Problem, Progress

__all__ = ["CountAnswer", "CountPredictor", "Predicting", "predictor_of"]


class CountPredictor:
    """The networks of a run, loaded once, with the decisions for new photos.

    Attributes:
        decisions: What was fitted out of fold.
        classes: Names.
        places: True: there are points, and maps.
    """

    places = True

    def __init__(self, run: RunFolder, *, device: str, calibrated: bool = True) -> None:
        """Load every member with the snapshots of all trained folds, and a calibration if any."""
        recipe = run.recipe()
        facts = run.read_json("inputs.json")
        self.decisions = Decisions.load(run, calibrated=calibrated)
        self.classes = self.decisions.classes
        self._task = Task.of(recipe, len(self.classes)).settled(facts)
        folds = used_folds(recipe)
        self._networks = {
            fold: networks_of(run, maps_only(recipe), self._task, fold, device=device)
            for fold in folds
        }
        second = classifier_of(recipe) if self._task.decide.reclassify else None
        self._second = (
            Reclassifier(run, second, folds, len(self.classes), device=device) if second else None
        )
        self.test_scale = self._task.decide.test_scale
        self.network_scale = float(facts["scale"])

    def map(
        self, image: Image, *, scale: float = 1.0, progress: Progress | None = None
    ) -> tuple[Drawn, ...]:
        """The maps of a photo on disk, by the networks of each fold."""
        return tuple(
            networks.map(open_reader(image.path), image, scale=scale, progress=progress)
            for networks in self._networks.values()
        )

    def sure_points(
        self, reader: Any, image: Image, *, scale: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the first fold's networks see objects: (K, 2) x, y, and their heights (K,)."""
        # One fold says enough of the scale, and its held-out photos are new to it.
        cells = self._networks[0].map(reader, image, scale=scale)
        plain = replace(self._task.decide, methods=("peaks",))
        own = self.decisions
        measured = measure(cells, plain, radius=own.radius, blur=own.blur)
        return cells.to_pixels(measured.together[:, :2]), measured.together[:, 2]

    def answer(self, maps: Sequence[Drawn], image: Image, *, scale: float = 1.0) -> Answer:
        """Count a photo by its maps.

        Residuals of blocks are those of photos at the training's scale, so the area of a
        resampled photo counts as it was resampled.
        """
        classify = None
        if self._second is not None:
            second, reader = self._second, open_reader(image.path)
            seen: Any = reader if scale == 1 else ScaledReader(reader, scale)

            def classify(points: NDArray[np.float64]) -> NDArray[np.float64]:
                return second.probabilities(seen, image, (points + 0.5) * scale - 0.5)

        return self.decisions.answer(
            maps, self._task.decide, networks=tuple(self._networks), scale=scale, classify=classify
        )


def predictor_of(
    run: RunFolder, *, device: str, calibrated: bool = True
) -> CountPredictor | TotalsPredictor:
    """What counts the photos of a run: its networks, or regressors on a frozen one.

    Args:
        run: The run.
        device: Where networks run.
        calibrated: False leaves a calibration on a pilot out.
    """
    if (run.path / "totals.json").is_file():
        return TotalsPredictor(run, calibrated=calibrated)
    return CountPredictor(run, device=device, calibrated=calibrated)


@dataclass(frozen=True)
class CountAnswer:
    """What is said of one photo.

    Attributes:
        answer: Counts, intervals and points.
        maps: By the networks of each fold; none of a run on totals.
        scale: How the photo was resampled.
        places: Whether there are points and maps at all.
        look: What the scale check found over all photos; None without one.
    """

    answer: Answer
    maps: tuple[Drawn, ...]
    scale: float
    places: bool
    look: ScaleLook | None = None


class Predicting:
    """A loaded run with what was asked of it: how new photos are resampled."""

    def __init__(
        self,
        predictor: CountPredictor | TotalsPredictor,
        run: RunFolder,
        options: Mapping[str, Any],
    ) -> None:
        """Take what was asked.

        Args:
            predictor: The networks, or the regressors of totals.
            run: The run.
            options: ``scale``: a factor, ``check`` (warn), ``auto`` (repair) or ``none``; left out
                it is what the recipe's ``test_scale`` says. ``formats`` need places.

        Raises:
            TransectError: If the run knows no places and a format needs them.
        """
        formats = options.get("formats", ())
        if formats and not predictor.places:
            raise TransectError(
                f"{run.path} was trained on totals and knows no places, so {formats[0]} cannot be "
                "written. Leave --format out."
            )
        self._predictor, self._run, self._asked = predictor, run, options.get("scale")

    def answers(
        self, new: NewImages, progress: Progress
    ) -> Iterator[tuple[Image, CountAnswer | Problem]]:
        """Look at the scale of all photos, then count one after another."""
        predictor = self._predictor
        look, factor = _scale_for(self._run, predictor, new.images, self._asked, progress)
        for image in new.images:
            scale = factor(image)
            try:
                maps: Any = predictor.map(image, scale=scale, progress=progress)
            except TransectError as error:
                yield image, Problem(image.name, str(error))
                continue
            answer = predictor.answer(maps, image, scale=scale)
            drawn = maps if predictor.places else ()
            yield image, CountAnswer(answer, drawn, scale, predictor.places, look)


def _scale_for(
    run: RunFolder,
    predictor: CountPredictor | TotalsPredictor,
    listed: Sequence[Image],
    asked: float | str | None,
    progress: Progress,
) -> tuple[ScaleLook | None, Any]:
    """How photos are to be resampled: a function of the photo, and what the check found."""
    wanted: float | str = asked if asked is not None else predictor.test_scale
    if isinstance(wanted, (int, float)):
        fixed = float(wanted)
        return None, lambda image: fixed
    if wanted not in ("check", "auto", "none"):
        raise unknown_name("a scale", str(wanted), ("check", "auto", "none", "or a number"))
    if wanted == "none":
        return None, lambda image: 1.0
    if not isinstance(predictor, CountPredictor):
        raise TransectError(
            f"{run.path} was trained on totals, which say nothing of scale. Leave --scale out."
        )
    look = look_at_new(run, predictor, listed, progress)
    for line in look.lines(repair=wanted == "auto"):
        progress.say(line)
    if wanted == "check":
        return look, lambda image: 1.0
    return look, look.factor
