"""How many: from photos and dots to counts with intervals, told in order.

Read ``train`` from top to bottom for the whole story; each line is a room or a file here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.count import auto
from transect.count.annotate import next_to_annotate
from transect.count.annotation_queue import take_back, write_todo
from transect.count.calibrate import calibrate
from transect.count.deciding import decide_out_of_fold
from transect.count.demonstration import judge, simulate
from transect.count.leakfree import keep_doubtful_counts, score_without
from transect.count.maps import predict_held_out
from transect.count.page import write_report
from transect.count.pictures import CountPictures
from transect.count.predicting import (
    CountPredictor,
    answer_folder,
    score_survey,
    submission,
)
from transect.count.reclassify import (
    Reclassifier,
    classifier_of,
    fit_classifier,
    maps_only,
)
from transect.count.scalecheck import write_training_look
from transect.count.totals import TotalPictures, plan_totals, train_totals
from transect.count.training import Task, fit_fold
from transect.data.tiff import ArrayReader
from transect.errors import TransectError
from transect.folds import folds_once, make_folds
from transect.recipe import Folds, Member, Recipe
from transect.run import RunFolder
from transect.train.distributed import is_main_process
from transect.train.plan import told
from transect.types import Progress, Survey

__all__ = [
    "calibrate",
    "judge",
    "next_to_annotate",
    "plan",
    "predict",
    "prepare",
    "report",
    "score",
    "score_without",
    "simulate",
    "submit",
    "take_back",
    "train",
    "within_budget",
    "write_todo",
]


def prepare(survey: Survey, scratch: Path, progress: Progress) -> CountPictures | TotalPictures:
    """Decode all training photos; broken ones are told and left out.

    A survey with totals only (``counts.csv``) becomes ``TotalPictures``, which knows no dots.

    Raises:
        TransectError: If nothing is left to train on, or there is not a single dot.
    """
    if survey.points is None:
        totals = TotalPictures(survey, progress)
        for problem in (*survey.problems, *totals.problems):
            progress.say(f"left out: {problem.name}: {problem.what}")
        return totals
    pictures = CountPictures(
        survey,
        scratch=scratch,
        progress=lambda done, total: progress.step("decoding", done, total),
    )
    problems = (*survey.problems, *pictures.problems)
    for problem in problems:
        progress.say(f"left out: {problem.name}: {problem.what}")
    if not pictures.photos or pictures.counts.sum() < 2:
        first = f" (left out first: {problems[0].what})" if problems else ""
        raise TransectError(
            f"{survey.root} has {len(pictures.photos)} readable training photos with "
            f"{pictures.counts.sum():.0f} dots{first}; at least 2 dots are needed. Add dotted "
            "photos."
        )
    return pictures


def plan(
    pictures: CountPictures | TotalPictures,
    *,
    budget_seconds: float | None,
    device: str,
    seed: int,
) -> Recipe:
    """Choose a recipe; see ``auto.plan``, or ``totals.plan_totals`` where there are no dots."""
    if isinstance(pictures, TotalPictures):
        return plan_totals(pictures, seed=seed)
    return auto.plan(pictures, budget_seconds=budget_seconds, device=device, seed=seed)


def within_budget(
    recipe: Recipe,
    pictures: CountPictures | TotalPictures,
    *,
    budget_seconds: float,
    device: str,
) -> Recipe:
    """Shorten a given recipe; see ``auto.within_budget``. Totals take seconds anyway."""
    if isinstance(pictures, TotalPictures):
        return recipe
    return auto.within_budget(recipe, pictures, budget_seconds=budget_seconds, device=device)


def train(
    pictures: CountPictures | TotalPictures,
    recipe: Recipe,
    path: Path,
    *,
    progress: Progress,
    device: str,
) -> None:
    """Train every member on every fold, decide out of fold, score, report.

    Called again on the same folder, it goes on where it stopped.

    Args:
        pictures: From ``prepare``.
        recipe: With every number settled.
        path: The run folder.
        progress: Told what happens.
        device: Where.
    """
    run = RunFolder(path)
    if isinstance(pictures, TotalPictures):
        if is_main_process():
            _finish(run, train_totals(pictures, recipe, run, progress), progress)
        return
    pictures, folds = _divided(run, pictures, recipe, progress)
    task = _task_of(run, pictures, recipe)
    used = range(recipe.folds.use or recipe.folds.count)
    second = classifier_of(recipe) if task.decide.reclassify else None
    for fold in used if second else ():
        assert second is not None
        fit_classifier(
            run, pictures, second, folds, fold, seed=recipe.seed, device=device,
            progress=told(progress, second.name, fold),
        )  # fmt: skip
    for member in maps_only(recipe).members:
        for fold in used:
            fit_fold(
                pictures,
                member,
                task,
                folds,
                fold,
                folder=run.fold(member.name, fold),
                seed=recipe.seed,
                device=device,
                progress=told(progress, member.name, fold),
            )
    if not is_main_process():
        return
    for fold in used:
        predict_held_out(
            run, maps_only(recipe), task, pictures, folds, fold, device=device, progress=progress
        )
    spacing = float(run.read_json("inputs.json")["spacing"])
    metrics = decide_out_of_fold(
        run, pictures, task, folds, spacing_px=spacing, seed=recipe.seed, progress=progress,
        classify_of=_second_looks(run, pictures, recipe, folds, second, device),
    )  # fmt: skip
    held_out = sorted({pictures.blocks[i].photo for i in np.flatnonzero(folds == 0).tolist()})
    write_training_look(run, pictures, CountPredictor(run, device=device), held_out[:12])
    _finish(run, metrics, progress)


def score(path: Path, truth: Path | None, *, progress: Progress) -> dict[str, Any]:
    """Scores out of fold, or against a survey with known dots or totals.

    Returns:
        Metric name to value, interval and folds.
    """
    run = RunFolder.open(path)
    if truth is None:
        return dict(run.read_json("metrics.json"))
    return score_survey(run, truth, device="cpu", progress=progress)


def predict(
    path: Path, images: Path, out: Path, *, device: str, progress: Progress, **options: Any
) -> dict[str, Any]:
    """Count every photo of a folder; see ``predicting.answer_folder``."""
    return answer_folder(
        RunFolder.open(path), images, out, device=device, progress=progress, **options
    )


def submit(path: Path, images: Path, out: Path, *, device: str, progress: Progress) -> None:
    """Write the competition's file: one row per photo, one rounded count per class."""
    submission(RunFolder.open(path), images, out, device=device, progress=progress)


def report(path: Path) -> Path:
    """Write ``report.html`` from what is in the run folder."""
    return write_report(RunFolder.open(path))


def _divided(
    run: RunFolder, pictures: CountPictures, recipe: Recipe, progress: Progress
) -> tuple[CountPictures, NDArray[np.int64]]:
    """The photos, in blocks if the recipe says so or folds need it, and their folds."""
    side = getattr(recipe.decide, "block_px", None)
    spec = recipe.folds
    if side is None and len(pictures.photos) < spec.count:
        side = _block_side(pictures)
        progress.say(
            f"{len(pictures.photos)} photos are too few for {spec.count} folds: they are cut into "
            f"blocks of about {side} px, and parts of one photo are in several folds"
        )
        spec = dataclasses.replace(spec, group=False)
    if side is None and _held_out(pictures, spec) < 2:
        # Nothing can be chosen on one photo and scored on another.
        side = _block_side(pictures)
        progress.say(
            "the folds that are trained hold out a single photo: photos are cut into blocks of "
            f"about {side} px, and intervals rest on those of one photo"
        )
    if side:
        pictures = pictures.in_blocks(side)
    if _held_out(pictures, spec) < 2:
        raise TransectError(
            f"the folds that are trained (folds.use={spec.use}) hold out a single photo, too small "
            f"to be cut. Pass --set folds.use={spec.count}."
        )
    return pictures, folds_once(run.path / "folds.csv", pictures.table(), spec)


def _held_out(pictures: CountPictures, spec: Folds) -> int:
    """Photos in the folds that are trained."""
    return int((make_folds(pictures.table(), spec) < (spec.use or spec.count)).sum())


def _block_side(pictures: CountPictures) -> int:
    """A third of the smallest photo, in pixels; our choice."""
    return max(96, min(min(photo.size_hw) for photo in pictures.photos) // 3)


def _task_of(run: RunFolder, pictures: CountPictures, recipe: Recipe) -> Task:
    """Settle what is measured on the survey, once, and write what prediction must know."""
    path = run.path / "inputs.json"
    task = Task.of(recipe, len(pictures.classes))
    if not path.is_file():
        spacing = pictures.spacing()
        scale = maps_only(recipe).members[0].geometry.scale
        size = task.decide.target_px or max(1.5, 0.2 * spacing * scale)
        run.write_json(
            "inputs.json",
            {
                "classes": list(pictures.classes),
                "spacing": spacing,
                "scale": scale,
                "target_px": size,
                "members": {
                    member.name: pictures.inputs(member.geometry).to_json()
                    for member in recipe.members
                },
            },
        )
    return task.settled(run.read_json("inputs.json"))


def _second_looks(
    run: RunFolder,
    pictures: CountPictures,
    recipe: Recipe,
    folds: NDArray[np.int64],
    second: Member | None,
    device: str,
) -> Callable[[int], Callable[[NDArray[np.float64]], NDArray[np.float64]] | None]:
    """For every block the classifier that has not seen it; none without a second network."""
    loaded: dict[int, Reclassifier] = {}

    def classify_of(i: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
        if second is None:
            return None
        fold = int(folds[i])
        if fold not in loaded:
            loaded[fold] = Reclassifier(run, second, [fold], len(pictures.classes), device=device)
        reader = ArrayReader(pictures.pixels(i))
        return lambda points: loaded[fold].probabilities(reader, pictures.images[i], points)

    return classify_of


def _finish(run: RunFolder, metrics: dict[str, Any], progress: Progress) -> None:
    """Write the metrics and the report, and say how it went."""
    keep_doubtful_counts(run)
    run.write_json("metrics.json", metrics)
    write_report(run)
    _say_result(metrics, progress)


def _say_result(metrics: dict[str, Any], progress: Progress) -> None:
    """The result in two lines."""
    low, high = metrics["mae"]["interval"]
    progress.say(
        f"out of fold: mean error {metrics['mae']['value']:.2f} objects a picture "
        f"[{low:.2f}, {high:.2f}]; always answering the mean: "
        f"{metrics['mae_of_the_mean']['value']:.2f}"
    )
    if metrics["mae"]["value"] >= metrics["mae_of_the_mean"]["value"]:
        progress.say(
            "these counts are no better than always answering the mean: do not use them. Train "
            "longer (--budget), or dot more photos."
        )
    line = f"intervals held {metrics['coverage']['value']:.0%} of held-out totals"
    if "precision" in metrics:
        line += f"; points: precision {metrics['precision']['value']:.2f}, "
        line += f"recall {metrics['recall']['value']:.2f}"
    progress.say(line)
