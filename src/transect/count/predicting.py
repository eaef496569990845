"""New photos of any size: counts with intervals, points, maps, and the competition's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.count.decisions import Answer, Decisions
from transect.count.maps import CellMap, Networks
from transect.count.measures import measure
from transect.count.reclassify import Reclassifier, classifier_of, maps_only
from transect.count.scalecheck import ScaleLook, look_at_new
from transect.count.scoring import count_record, point_record
from transect.count.tables import write_table
from transect.count.totals import TotalsPredictor
from transect.count.training import Task
from transect.count.writing import (
    totals_of,
    write_density,
    write_overlay,
    write_places,
    write_tables,
)
from transect.data.folder import list_complete, list_new
from transect.data.images import open_reader
from transect.data.survey import open_survey
from transect.errors import TransectError, unknown_name
from transect.files import write_json
from transect.metrics.count import match_points
from transect.predict.scaling import ScaledReader
from transect.run import RunFolder
from transect.types import Image, Progress

__all__ = ["FORMATS", "CountPredictor", "answer_folder", "score_survey", "submission"]

FORMATS = ("density", "geojson", "gpkg")
_OVERLAYS = 50  # photos that are shown with their dots; our choice


class CountPredictor:
    """The networks of a run, loaded once, with the decisions for new photos.

    Attributes:
        decisions: What was fitted out of fold.
        classes: Names.
        places: True: there are points, and maps.
    """

    places = True

    def __init__(self, run: RunFolder, *, device: str) -> None:
        """Load every member with the snapshots of all trained folds."""
        recipe = run.recipe()
        facts = run.read_json("inputs.json")
        self.decisions = Decisions.load(run)
        self.classes = self.decisions.classes
        self._task = Task.of(recipe, len(self.classes)).settled(facts)
        folds = range(recipe.folds.use or recipe.folds.count)
        self._networks = Networks(run, maps_only(recipe), self._task, folds, device=device)
        # One fold says enough of the scale, and its held-out photos are new to it.
        self._build_first = lambda: Networks(run, maps_only(recipe), self._task, [0], device=device)
        second = classifier_of(recipe) if self._task.decide.reclassify else None
        self._second = (
            Reclassifier(run, second, folds, len(self.classes), device=device) if second else None
        )
        self.test_scale = self._task.decide.test_scale
        self.network_scale = float(facts["scale"])

    def map(self, image: Image, *, scale: float = 1.0, progress: Progress | None = None) -> CellMap:
        """The maps of a photo on disk."""
        return self._networks.map(open_reader(image.path), image, scale=scale, progress=progress)

    @cached_property
    def _first(self) -> Networks:
        """The networks of the first fold."""
        return self._build_first()

    def sure_points(
        self, reader: Any, image: Image, *, scale: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the first fold's networks see objects: (K, 2) x, y, and their heights (K,)."""
        cells = self._first.map(reader, image, scale=scale)
        plain = replace(self._task.decide, methods=("peaks",))
        own = self.decisions
        measured = measure(cells, plain, radius=own.radius, blur=own.blur)
        return cells.to_pixels(measured.together[:, :2]), measured.together[:, 2]

    def answer(self, cells: CellMap, image: Image, *, scale: float = 1.0) -> Answer:
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

        return self.decisions.answer(cells, self._task.decide, scale=scale, classify=classify)


def predictor_of(run: RunFolder, *, device: str) -> CountPredictor | TotalsPredictor:
    """What counts the photos of a run: its networks, or regressors on a frozen one."""
    if (run.path / "totals.json").is_file():
        return TotalsPredictor(run)
    return CountPredictor(run, device=device)


def answer_folder(
    run: RunFolder,
    images: Path,
    out: Path,
    *,
    device: str,
    progress: Progress,
    formats: Sequence[str] = (),
    scale: float | str | None = None,
) -> dict[str, Any]:
    """Count every photo of a folder.

    Writes ``counts.csv`` (a row per photo: count, low and high end of each class and of the
    total), ``totals.csv`` (the survey's sums with their intervals), ``groups.csv`` (those of each
    site or flight, if an ``images.csv`` names them), ``points.csv`` (a row per object),
    ``points.geojson`` if the photos lie on the ground, ``overlays/`` for the first 50,
    ``scale.json`` with what the scale check found. A photo that cannot be read is listed in
    ``problems.csv`` and the others are counted.

    Args:
        run: A trained run.
        images: A folder of photos, or one.
        out: The folder to write.
        device: Where.
        progress: Told what happens.
        formats: Further files: ``density`` (TIFF of objects per cell, on the ground if the photo
            is), ``gpkg``, ``geojson`` (then it is an error if photos have no position).
        scale: Resampling of the photos: a factor, ``check`` (warn), ``auto`` (repair) or ``none``;
            None does what the recipe's ``test_scale`` says.

    Returns:
        images, problems, files, scale, total (name to sum, low, high).

    Raises:
        TransectError: On an unknown format, or if there is no photo at all.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("a format", name, FORMATS)
    listed, problems = list_new(images)
    predictor = predictor_of(run, device=device)
    if formats and not predictor.places:
        raise TransectError(
            f"{run.path} was trained on totals and knows no places, so {formats[0]} cannot be "
            "written. Leave --format out."
        )
    look, factor = _scale_for(run, predictor, listed, scale, progress)
    faults = [f"{p.name}: {p.what}" for p in problems]
    done: list[tuple[Image, Answer]] = []
    files: list[Path] = []
    for number, image in enumerate(listed):
        try:
            cells: Any = predictor.map(image, scale=factor(image), progress=progress)
        except TransectError as error:
            faults.append(f"{image.name}: {error}")
            continue
        answer = predictor.answer(cells, image, scale=factor(image))
        done.append((image, answer))
        if "density" in formats and isinstance(cells, CellMap):
            files.append(write_density(out, image, cells))
        if number < _OVERLAYS:
            write_overlay(out, image, answer)
        progress.step("counting", number + 1, len(listed))
    files += write_tables(out, predictor.decisions, done)
    files += write_places(out, images, predictor.decisions, done, formats)
    if look is not None:
        run_file = out / "scale.json"
        write_json(run_file, look.to_json())
        files.append(run_file)
    if faults:
        files.append(write_table(out / "problems.csv", ("problem",), [(f,) for f in faults]))
    totals = totals_of(predictor.decisions, done)
    for name, value, low, high in totals:
        progress.say(f"{name}: {value:.0f} [{low:.0f}, {high:.0f}]")
    measured = predictor.decisions.coverage
    if measured is not None:
        progress.say(
            f"intervals promise {measured['nominal']:.0%}; they held {measured['measured']:.0%} of "
            f"{measured['count']} held-out totals of the training"
        )
    return {
        "images": len(done),
        "problems": faults,
        "files": [str(file) for file in files],
        "scale": None if look is None else look.to_json(),
        "total": {name: [value, low, high] for name, value, low, high in totals},
    }


def score_survey(
    run: RunFolder, truth: Path, *, device: str, progress: Progress, scale: float | None = None
) -> dict[str, Any]:
    """Score a run against a survey with known dots or totals.

    Returns:
        As ``scoring.count_record``; points too where there are dots.

    Raises:
        TransectError: If the survey has no class of the run.
    """
    survey = open_survey(truth, question="count")
    predictor = predictor_of(run, device=device)
    listed = survey.training()
    strange = set(survey.classes) - set(predictor.classes)
    if strange:
        raise TransectError(
            f"{truth} has the class {sorted(strange)[0]!r}, which this run was not trained on "
            f"({', '.join(predictor.classes)}). Rename it."
        )
    _, factor = _scale_for(run, predictor, listed, scale, progress)
    counts, ends, matches = [], [], []
    real: list[list[float]] = []
    for number, image in enumerate(listed):
        cells: Any = predictor.map(image, scale=factor(image))
        answer = predictor.answer(cells, image, scale=factor(image))
        counts.append(answer.counts)
        ends.append(answer.intervals[-1])
        if survey.points is not None:
            own = survey.points[survey.points["image"] == image.name]
            real.append([float((own["class"] == name).sum()) for name in predictor.classes])
            radius = predictor.decisions.match_radius / factor(image)
            if predictor.places:
                at = own[["x", "y"]].to_numpy(float)
                matches.append(match_points(answer.points, at, radius))
        else:
            assert survey.counts is not None
            row = survey.counts[survey.counts["image"] == image.name].iloc[0]
            real.append([float(row.get(name, 0.0)) for name in predictor.classes])
        progress.step("scoring", number + 1, len(listed))
    folds = [-1] * len(listed)
    record = count_record(
        np.array(counts),
        np.array(real, np.float64),
        predictor.classes,
        folds=folds,
        groups=[image.group for image in listed],
        intervals=np.array(ends),
    )
    return record | (point_record(matches, folds) if matches else {})


def submission(run: RunFolder, images: Path, out: Path, *, device: str, progress: Progress) -> None:
    """Write ``test_id`` and one rounded count per class.

    Raises:
        TransectError: If a photo cannot be read: a submission with holes would be refused.
    """
    listed = list_complete(images)
    predictor = predictor_of(run, device=device)
    _, factor = _scale_for(run, predictor, listed, None, progress)
    rows = []
    for number, image in enumerate(listed):
        cells: Any = predictor.map(image, scale=factor(image))
        answer = predictor.answer(cells, image, scale=factor(image))
        name = str(Path(image.name).with_suffix(""))
        rows.append((name, *(int(np.floor(count + 0.5)) for count in answer.counts)))
        progress.step("counting", number + 1, len(listed))
    write_table(out, ("test_id", *predictor.classes), rows)


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
