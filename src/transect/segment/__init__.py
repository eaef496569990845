"""Where is it: from a folder of pictures and masks to masks of new pictures, told in order.

Read ``train`` from top to bottom for the whole story; each line is a room or a file here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.survey import fold_table, open_survey, survey_summary
from transect.errors import TransectError
from transect.folds import folds_once
from transect.recipe import Recipe
from transect.run import RunFolder
from transect.segment import auto, shortening
from transect.segment.blending import answering, gates_of
from transect.segment.choosing import choose
from transect.segment.deciding import Decisions, decide_out_of_fold
from transect.segment.demonstration import judge, simulate
from transect.segment.evidence import keep_evidence
from transect.segment.leakfree import keep_doubtful_masks, score_without
from transect.segment.neighbours import write_neighbours
from transect.segment.oof import OutOfFold, predict_held_out, weigh_emptiness, weigh_members
from transect.segment.page import write_report
from transect.segment.pictures import Pictures
from transect.segment.predicting import Predictor, answer_folder, submission
from transect.segment.rates import settle_rates
from transect.segment.rounds import train_members
from transect.segment.scoring import picture_scores, score_record
from transect.train.distributed import is_main_process
from transect.train.spent import Spent, plan_table
from transect.types import Progress, Survey

__all__ = [
    "judge",
    "plan",
    "predict",
    "prepare",
    "report",
    "score",
    "score_without",
    "settle",
    "simulate",
    "submit",
    "train",
    "within_budget",
]


def prepare(survey: Survey, scratch: Path, progress: Progress) -> Pictures:
    """Decode all training pictures and masks; broken ones are told and left out.

    Raises:
        TransectError: If nothing is left to train on.
    """
    pictures = Pictures(
        survey,
        scratch=scratch,
        progress=lambda done, total: progress.step("decoding", done, total),
    )
    for problem in (*survey.problems, *pictures.problems):
        progress.say(f"left out: {problem.name}: {problem.what}")
    if len(pictures.images) < 2:
        raise TransectError(
            f"{survey.root} has {len(pictures.images)} readable training pictures; at least 2 "
            "are needed. Add pictures with masks."
        )
    return pictures


settle = settle_rates
plan = auto.plan
within_budget = shortening.within_budget


def train(
    pictures: Pictures, recipe: Recipe, path: Path, *, progress: Progress, device: str
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
    run.write_json("inputs.json", _inputs(pictures, recipe))
    folds = _folds(run, pictures, recipe)
    used = range(recipe.folds.use or recipe.folds.count)
    for line in plan_table(recipe.plan):
        progress.say(line)
    train_members(run, recipe, pictures, folds, device=device, progress=progress)
    if not is_main_process():
        return
    spent = Spent(run)
    with spent.on("choosing"):
        choices = choose(run, recipe, pictures, folds, device=device, progress=progress)
    with spent.on("predicting"):
        for member in dict.fromkeys((*answering(recipe), *gates_of(recipe))):
            for fold in used:
                predict_held_out(
                    run, recipe, member, pictures, folds, fold,
                    choices=choices.nested, device=device, progress=progress,
                )  # fmt: skip
    with spent.on("deciding"):
        weigh_members(run, recipe, pictures, folds)
        write_neighbours(run, recipe, pictures.images, folds, progress)
        weigh_emptiness(run, recipe, pictures, folds)
        decisions = decide_out_of_fold(run, recipe, pictures, folds, progress)
    with spent.on("report"):
        if not (run.path / "metrics.json").is_file():
            out_of_fold = OutOfFold(run, recipe, pictures.images)
            metrics = _score_out_of_fold(run, out_of_fold, pictures, folds, decisions)
            keep_evidence(run, pictures, out_of_fold, decisions, next(iter(metrics)))
            keep_doubtful_masks(run, pictures, out_of_fold)
            run.write_json("facts.json", _facts(pictures, folds))
            run.write_json("metrics.json", metrics)
        report(path)
    for line in plan_table(recipe.plan, spent.seconds):
        progress.say(line)
    metrics = run.read_json("metrics.json")
    main = next(iter(metrics))
    low, high = metrics[main]["interval"]
    progress.say(f"out of fold: {main} {metrics[main]['value']:.4f} [{low:.4f}, {high:.4f}]")


def score(path: Path, truth: Path | None, *, progress: Progress) -> dict[str, Any]:
    """Scores out of fold, or against a survey with known masks.

    Returns:
        Metric name to value, interval and folds.
    """
    run = RunFolder.open(path)
    if truth is None:
        return dict(run.read_json("metrics.json"))
    survey = open_survey(truth, question="segment")
    predictor = Predictor(run, device="cpu")
    pictures = Pictures(survey)
    predictor.meet(pictures.images, progress)
    rows = []
    for i, image in enumerate(pictures.images):
        answer = predictor.labels(pictures.cache.image(i), image)
        rows.append(picture_scores(answer, pictures.labels(i), predictor.kind, predictor.classes))
        progress.step("scoring", i + 1, len(pictures.images))
    groups = [image.group for image in pictures.images]
    return score_record(rows, [-1] * len(rows), groups, predictor.kind)


def predict(
    path: Path, images: Path, out: Path, *, device: str, progress: Progress, **options: Any
) -> dict[str, Any]:
    """Write a mask for every picture of a folder; see ``predicting.answer_folder``."""
    return answer_folder(
        RunFolder.open(path), images, out, device=device, progress=progress, **options
    )


def submit(path: Path, images: Path, out: Path, *, device: str, progress: Progress) -> None:
    """Write the competition's file: image id and run-length encoded mask."""
    submission(RunFolder.open(path), images, out, device=device, progress=progress)


def report(path: Path) -> Path:
    """Write ``report.html`` and ``card.md`` from what is in the run folder."""
    return write_report(RunFolder.open(path))


def _folds(run: RunFolder, pictures: Pictures, recipe: Recipe) -> NDArray[np.int64]:
    """The fold of every picture that could be decoded; written once."""
    table = fold_table(pictures.survey)
    table = table[table["image"].isin([image.name for image in pictures.images])]
    return folds_once(run.path / "folds.csv", table.reset_index(drop=True), recipe.folds)


def _inputs(pictures: Pictures, recipe: Recipe) -> dict[str, Any]:
    """What prediction must know of the survey."""
    return {
        "mask_kind": pictures.kind,
        "classes": list(pictures.survey.classes),
        "class_values": list(pictures.survey.class_values),
        "planes": list(pictures.planes),
        "members": {
            member.name: pictures.inputs(member.geometry).to_json() for member in recipe.members
        },
    }


def _facts(pictures: Pictures, folds: NDArray[np.int64]) -> dict[str, Any]:
    """What the report says of the survey and its folds."""
    return {
        "summary": list(survey_summary(pictures.survey)),
        "coverage": np.round(pictures.coverage, 5).tolist(),
        "folds": [
            {
                "fold": fold,
                "pictures": int(np.sum(folds == fold)),
                "coverage": float(pictures.coverage[folds == fold].mean()),
                "empty": float(np.mean(pictures.coverage[folds == fold] == 0)),
            }
            for fold in np.unique(folds).tolist()
        ],
    }


def _score_out_of_fold(
    run: RunFolder,
    out_of_fold: OutOfFold,
    pictures: Pictures,
    folds: NDArray[np.int64],
    decisions: Decisions,
) -> dict[str, Any]:
    """Score every out-of-fold picture with decisions that were tuned without its fold."""
    number = {image.name: i for i, image in enumerate(pictures.images)}
    rows, own_folds, groups, names = [], [], [], []
    for image in out_of_fold.images:
        i = number[image.name]
        answer = decisions.answer(out_of_fold, pictures, i)
        truth = pictures.labels(i)
        row = picture_scores(answer, truth, pictures.kind, len(pictures.survey.classes))
        wrong = ((answer > 0) != (truth > 0)) & (truth >= 0)
        rows.append({**row, "wrong": float(wrong.mean()), "foreground": float((truth > 0).mean())})
        own_folds.append(int(folds[i]))
        groups.append(image.group)
        names.append(image.name)
    run.write_json("oof/pictures.json", dict(zip(names, rows, strict=True)))
    return score_record(rows, own_folds, groups, pictures.kind)
