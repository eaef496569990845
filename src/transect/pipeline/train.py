"""From a decoded survey and a settled recipe to a finished run; killed anywhere, it goes on."""

from __future__ import annotations

from typing import Any, TypeVar

from transect.metrics import title_of
from transect.metrics.score import interval_text, scores_from_json, scores_to_json
from transect.pipeline.fitting import Reopen, fit_round
from transect.pipeline.report import write_report
from transect.pipeline.verdict import scored, verdict_on
from transect.recipe import Recipe
from transect.run import RunFolder
from transect.task import Dataset, Task, Work
from transect.train.distributed import is_main_process
from transect.train.spent import Spent, plan_table
from transect.types import Expecting, Progress

__all__ = ["ROWS", "train"]

ROWS = "oof/rows.npz"
"""Where a run keeps what came out for every held-out unit."""

D = TypeVar("D", bound=Dataset)


def train(
    task: Task[D, Any],
    dataset: D,
    recipe: Recipe,
    run: RunFolder,
    *,
    device: str,
    progress: Progress,
    reopen: Reopen | None = None,
) -> None:
    """Train every member on every fold, predict what each fold held out, decide, score, report.

    Called again on the same folder, it goes on where it stopped and ends in the same bytes.

    Args:
        task: The question.
        dataset: From ``task.dataset``.
        recipe: With every number settled.
        run: Begun; everything is written below it.
        device: Where networks run.
        progress: Told what happens.
        reopen: How other processes come to the same survey, for several devices; None trains here.
    """
    task.check(recipe, dataset)
    units, folds = task.divide(run, recipe, dataset, progress)
    work = Work(run, recipe, units, folds, device, progress)
    for line in plan_table(recipe.plan):
        progress.say(line)
    left = sum(phase.seconds for phase in recipe.plan) - sum(Spent(run).seconds.values())
    if recipe.plan and isinstance(progress, Expecting):
        progress.expect(max(left, 0.0))
    for number in range(len(recipe.pseudo) + 1):
        fit_round(task, work, number, reopen)
    if not is_main_process():
        return
    spent = Spent(run)
    with spent.on("choosing"):
        task.choose(work)
    with spent.on("predicting"):
        task.predict_held_out(work)
    if not run.done("decide"):
        with spent.on("deciding"):
            rows = task.decide(work)
        rows.save(run.path / ROWS)
        with spent.on("report"):
            run.write_json("metrics.json", scores_to_json(scored(task, rows, run)))
            task.conclude(work, rows)
        run.mark("decide")
    with spent.on("report"):
        write_report(task, run)
    for line in plan_table(recipe.plan, spent.seconds):
        progress.say(line)
    _say_result(run, progress)


def _say_result(run: RunFolder, progress: Progress) -> None:
    """The verdict, and the main score in one line."""
    metrics = scores_from_json(run.read_json("metrics.json"))
    progress.say(verdict_on(metrics).sentence)
    for main in list(metrics)[:1]:
        score = metrics[main]
        spread = interval_text(score.interval) if score.interval else score.why
        progress.say(f"out of fold: {title_of(main)} {score.value:.4f} ({spread})")
