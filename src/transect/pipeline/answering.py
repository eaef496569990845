"""New images: answered one after another, written, listed where they cannot be read, scored."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from transect.audit import leaks_of
from transect.data.folder import list_new
from transect.data.manifest import read_manifest
from transect.data.survey import open_survey
from transect.data.void import holding_data
from transect.errors import TransectError, unknown_name
from transect.files import atomic_path, spreadsheet_safe, write_text
from transect.metrics.score import Score, scores_from_json
from transect.pipeline import outfolder
from transect.pipeline.train import ROWS
from transect.pipeline.verdict import scored, verdict_of
from transect.run import RunFolder
from transect.task import Dataset, NewImages, Rows, Task
from transect.types import Image, Problem, Progress

__all__ = ["VERDICT", "predict", "score", "score_without_leaks", "submit"]

VERDICT = "verdict.txt"
"""Beside the answers: whether the run that gave them is worth using."""

D = TypeVar("D", bound=Dataset)
A = TypeVar("A")


def predict(
    task: Task[D, A],
    run: RunFolder,
    images: Path,
    out: Path,
    *,
    given: Path | None = None,
    device: str,
    progress: Progress,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Answer every image of a folder; one that cannot be read is listed in ``problems.csv``.

    Args:
        task: The question.
        run: A finished run.
        images: A folder, or one image.
        out: The folder to write; ``outfolder.check`` has allowed it.
        given: What ``images`` are rescaled copies of, if they are.
        device: Where networks run.
        progress: Told what happens.
        options: Of the question, see ``task.options``.

    Returns:
        images (answered), problems (a sentence each), verdict (on the run, a sentence), files, and
        what the question adds.

    Raises:
        TransectError: On an option that the question does not have, or if there is no image.
    """
    for name in options:
        if name not in task.options:
            raise unknown_name(f"an option of predict for {task.question}", name, task.options)
    listed, problems = list_new(images)
    # Of the images as they are given: rescaled copies hold something everywhere.
    _, note, empty = holding_data(list_new(given or images)[0])
    faults = [*problems, *empty]
    gone = {problem.name for problem in empty}
    listed = tuple(image for image in listed if image.name not in gone)
    if not listed:
        raise TransectError(f"{images} has no picture with data. {empty[0].what}")
    if note:
        progress.say(note)
    predictor = task.open(run, device=device, options=options, progress=progress)
    writer = task.writer(run, images, out, options)
    outfolder.begin(out)  # last: earlier answers stay if anything above refuses
    done = 0
    answers = predictor.answers(NewImages(listed, images), progress)
    for number, (image, answer) in enumerate(answers):
        try:
            if isinstance(answer, Problem):
                faults.append(answer)
            else:
                writer.add(image, answer)
                done += 1
        except TransectError as error:
            faults.append(Problem(image.name, str(error)))
        progress.step("predicting", number + 1, max(len(listed), number + 1))
    told = writer.finish(progress)
    if faults:
        told["files"] = [*told["files"], str(_write_problems(out / "problems.csv", faults))]
    said = [f"{problem.name}: {problem.what}" for problem in faults]
    sentence = verdict_of(run).sentence
    write_text(out / VERDICT, f"{sentence}\n")
    return {"images": done, "problems": said, "verdict": sentence, **told}


def submit(
    task: Task[D, A],
    run: RunFolder,
    images: Path,
    out: Path,
    *,
    device: str,
    progress: Progress,
) -> None:
    """Write the competition's file for a folder of images.

    Raises:
        TransectError: If an image cannot be read and the file would have a hole.
    """
    listed, problems = list_new(images)

    def answers() -> Iterator[tuple[Image, A | Problem]]:
        predictor = task.open(run, device=device, options={}, progress=progress)
        found = predictor.answers(NewImages(listed, images), progress)
        for number, pair in enumerate(found):
            progress.step("predicting", number + 1, max(len(listed), number + 1))
            yield pair

    task.submit(run, answers(), problems, out)


def score(
    task: Task[D, A],
    run: RunFolder,
    truth: Path | None,
    *,
    device: str,
    progress: Progress,
) -> dict[str, Score]:
    """Every metric of a run: out of fold, or against a survey with known truth.

    Args:
        task: The question.
        run: A finished run.
        truth: A survey folder; None takes what was scored out of fold.
        device: Where networks run.
        progress: Told what happens, unreadable images too.

    Returns:
        Metric name to score, the main one first.

    Raises:
        TransectError: If no image of ``truth`` can be scored.
    """
    if truth is None:
        return scores_from_json(run.read_json("metrics.json"))
    kind = read_manifest(truth).masks or run.data()["mask_kind"]
    labels = read_manifest(truth).labels or run.data().get("label_kind")
    survey = open_survey(truth, question=task.question, mask_kind=kind, label_kind=labels)
    listed = survey.training()
    for problem in survey.problems:
        progress.say(f"left out: {problem.name}: {problem.what}")

    def readable() -> Iterator[tuple[Image, A]]:
        predictor = task.open(run, device=device, options={}, progress=progress)
        found = predictor.answers(NewImages(listed, truth, survey), progress)
        for number, (image, answer) in enumerate(found):
            progress.step("scoring", number + 1, max(len(listed), number + 1))
            if isinstance(answer, Problem):
                progress.say(f"left out: {answer.name}: {answer.what}")
            else:
                yield image, answer

    rows = task.truth_rows(run, survey, readable())
    if not len(rows):
        raise TransectError(f"{truth} has no image that can be scored. Mend what was left out.")
    return scored(task, rows, run)


def score_without_leaks(task: Task[D, A], run: RunFolder) -> dict[str, Any]:
    """The scores out of fold, as split and without units that another fold gave away.

    Returns:
        as_split and leak_free (metric to score), removed (unit to kind), leaks (kind to pairs).

    Raises:
        TransectError: If the run was trained without an audit.
    """
    leaks = leaks_of(run.path)
    rows = Rows.load(run.path / ROWS)
    return {
        "as_split": scores_from_json(run.read_json("metrics.json")),
        "leak_free": scored(task, rows.without(leaks.units), run),
        "removed": dict(leaks.units),
        "leaks": dict(leaks.pairs),
    }


def _write_problems(path: Path, problems: Sequence[Problem]) -> Path:
    """A table that a spreadsheet may open safely: image, problem."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "problem"])
        for problem in problems:
            writer.writerow([spreadsheet_safe(problem.name), spreadsheet_safe(problem.what)])
    return path
