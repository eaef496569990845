"""The report of a run: one frame for all questions, which add their own sections to it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transect import __version__
from transect.audit import fill_report
from transect.errors import TransectError
from transect.files import write_text
from transect.metrics.score import Score, scores_from_json, scores_to_json
from transect.recipe import Recipe
from transect.report import charts
from transect.report.card import model_card
from transect.report.page import Page
from transect.run import RunFolder, recipe_digest
from transect.task import Rows, Task
from transect.train.spent import Spent

__all__ = ["loss_curves", "seconds_by_fold", "write_report"]

_TITLES = {"segment": "Where is it", "count": "How many", "identify": "Which one is it"}


def write_report(task: Task[Any, Any], run: RunFolder) -> Path:
    """Write ``report.html`` and ``card.md`` from what is in the run folder.

    Args:
        task: The question.
        run: A finished run.

    Returns:
        The path of the page.
    """
    recipe, data = run.recipe(), run.data()
    metrics = scores_from_json(run.read_json("metrics.json"))
    page = Page(
        f"{_TITLES.get(task.question, task.question)}: {data['folder']}",
        subtitle=f"Recipe {recipe.name} ({recipe_digest(recipe)}), seed {recipe.seed}",
        footer=f"transect {__version__}. This page needs no network and runs no script.",
    )
    page.facts(task.headline(run))
    sections = task.sections(run)

    def add(place: str) -> None:
        for section in sections:
            if section.place == place:
                section.fill(page)

    page.section("The survey", lead="What was found in the folder, and how folds divide it.")
    for line in data.get("summary", []):
        page.text(str(line))
    for problem in data["problems"]:
        page.note(f"Left out: {problem['name']}: {problem['what']}", kind="warn")
    add("data")
    _scores(page, metrics, task.metric_words())
    add("score")
    add("decisions")
    add("examples")
    _training(page, run, recipe)
    rows = Rows.load(run.path / "oof" / "rows.npz")
    fill_report(
        page,
        run.path,
        scores_to_json(metrics),
        lambda path, left_out: scores_to_json(task.scores(rows.without(left_out), run)),
    )
    page.section("What to try next", lead="Each line rests on what this run shows.")
    for line in (*_advice(run, recipe, metrics), *task.advice(run)):
        page.note(line)
    page.section("Doing it again", lead="The resolved recipe holds every number.")
    page.code(
        f"transect train {data['folder']} --recipe {run.path.name}/recipe.json --out again\n"
        f"transect predict {run.path.name} NEW_IMAGES --out OUT\n"
        f"transect score {run.path.name} SURVEY_WITH_TRUTH"
    )
    packages = run.read_json("environment.json")["packages"]
    page.table(["package", "version"], sorted(packages.items()), folded="Versions used")
    write_text(run.path / "card.md", _card(task, run, recipe, data, metrics))
    return page.write(run.path / "report.html")


def _scores(page: Page, metrics: Mapping[str, Score], words: Mapping[str, str]) -> None:
    """Every metric with its spread."""
    page.section(
        "Score",
        lead="Out of fold: each unit was predicted by models that never saw it, with decisions "
        "tuned on others. The interval resamples groups (or units).",
    )
    rows = [
        [
            name,
            f"{score.value:.4f}",
            _interval(score),
            _meaning(name, words),
        ]
        for name, score in metrics.items()
    ]
    page.table(["metric", "value", "95 % interval", "meaning"], rows, best=0)
    main = next(iter(metrics), None)
    if main is not None and len(metrics[main].folds) > 1:
        page.figure(
            charts.fold_dots({main: list(metrics[main].folds)}, title=f"{main} of every fold"),
            "One dot per trained fold.",
        )


def _interval(score: Score) -> str | None:
    """The interval in words; None for a figure that has none of any width."""
    low, high = score.interval
    return f"{low:.4f} to {high:.4f}" if high > low else None


def _meaning(name: str, words: Mapping[str, str]) -> str:
    """What a metric says; one of a class is named ``metric:class``."""
    kind, _, one = name.partition(":")
    return words.get(name) or (f"{words.get(kind, kind)}: {one} alone" if one else "")


def _training(page: Page, run: RunFolder, recipe: Recipe) -> None:
    """Curves, time by step, members, and what auto decided."""
    page.section("Training", lead="Loss by epoch of every member and fold, and where time went.")
    series = loss_curves(run, recipe)
    if series:
        page.figure(
            charts.lines(series, title="Training loss", x_label="epoch", y_label="loss"),
            f"{_falling(series)} of {len(series)} curves still fell over their last fifth.",
        )
    seconds = seconds_by_fold(run, recipe)
    if seconds:
        page.figure(
            charts.bars(seconds, title="Training time", unit=" s"),
            "Seconds of training of every member and fold, summed over its epochs and rounds.",
        )
    spent, planned = Spent(run).seconds, {phase.name: phase for phase in recipe.plan}
    page.table(
        ["phase", "planned (s)", "spent (s)", "why"],
        [
            [
                name,
                f"{planned[name].seconds:.0f}" if name in planned else None,
                f"{spent[name]:.0f}" if name in spent else None,
                planned[name].why if name in planned else "",
            ]
            for name in dict.fromkeys((*planned, *spent))
        ],
        caption="Wall-clock time by phase, over all times that the run was gone on with.",
    )
    for line in recipe.why:
        page.text(line)
    rows: list[Sequence[Any]] = [
        [
            member.name,
            getattr(member.network, "encoder", getattr(member.network, "backbone", "")),
            getattr(member.network, "decoder", getattr(member.network, "head", "")),
            f"{member.geometry.size_hw[0]} x {member.geometry.size_hw[1]}",
            " then ".join(f"{stage.loss} ({stage.epochs} epochs)" for stage in member.stages),
        ]
        for member in recipe.members
    ]
    if rows:
        page.table(["member", "encoder", "decoder or head", "input", "stages"], rows)


def loss_curves(run: RunFolder, recipe: Recipe) -> dict[str, tuple[list[float], list[float]]]:
    """Training loss of every member and fold over its epochs: name to (epoch, loss)."""
    found = {}
    for member in recipe.members:
        for fold in range(recipe.folds.count):
            losses = [float(row["loss"]) for row in _history(run.fold(member.name, fold))]
            if losses:
                name = f"{member.name}, fold {fold}"
                found[name] = ([float(k + 1) for k in range(len(losses))], losses)
    return found


def seconds_by_fold(run: RunFolder, recipe: Recipe) -> dict[str, float]:
    """Seconds of training of every member and fold: the sum over its epochs, of all rounds."""
    found = {}
    for member in recipe.members:
        for fold in range(recipe.folds.count):
            rows = _history(run.fold(member.name, fold))
            times = [float(row["seconds"]) for row in rows if row.get("seconds")]
            if times:
                found[f"{member.name}, fold {fold}"] = sum(times)
    return found


def _advice(run: RunFolder, recipe: Recipe, metrics: Mapping[str, Score]) -> list[str]:
    """What to try next, whatever the question."""
    lines = []
    main = next(iter(metrics.values()), None)
    trained = recipe.folds.use or recipe.folds.count
    if trained < recipe.folds.count:
        lines.append(
            f"Only {trained} of {recipe.folds.count} folds were trained. --set folds.use=null "
            "trains all, and their mean predicts better."
        )
    if main is not None and main.interval[1] - main.interval[0] > 0.1 * max(1.0, abs(main.value)):
        lines.append(
            f"The interval of the main score is wide ({main.count} units): annotate more before "
            "comparing recipes."
        )
    if _falling(loss_curves(run, recipe)):
        lines.append("The training loss was still falling at the end: a longer budget will help.")
    return lines


def _falling(series: Mapping[str, tuple[list[float], list[float]]]) -> int:
    """How many curves fell by more than 3 % from their last fifth but one to their last fifth."""
    count = 0
    for _, losses in series.values():
        fifth = max(1, len(losses) // 5)
        if len(losses) >= 5:
            before = float(np.mean(losses[-2 * fifth : -fifth]))
            count += float(np.mean(losses[-fifth:])) < before - 0.03 * abs(before)
    return count


def _history(folder: Path) -> list[dict[str, str]]:
    """Rows of the history of a fit, over its rounds; none if it did not run."""
    rows: list[dict[str, str]] = []
    for path in [folder / "history.csv", *sorted(folder.glob("round*/history.csv"))]:
        if not path.is_file():
            continue
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows += list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise TransectError(f"{path} cannot be read ({error}). Restore it.") from error
    return rows


def _card(
    task: Task[Any, Any],
    run: RunFolder,
    recipe: Recipe,
    data: Mapping[str, Any],
    metrics: Mapping[str, Score],
) -> str:
    """The run on one page of text."""
    networks = sorted(
        {
            str(getattr(m.network, "encoder", getattr(m.network, "backbone", "")))
            for m in recipe.members
        }
    )
    scores = {
        name: f"{score.value:.4f} ({score.interval[0]:.4f} to {score.interval[1]:.4f}; "
        f"{score.count} units)"
        for name, score in metrics.items()
    }
    common = {
        "recipe": {"name": recipe.name, "networks": ", ".join(networks), "seed": recipe.seed},
        "scores": scores,
        "environment": f"transect {__version__}; versions stand in environment.json.",
    }
    return model_card(f"{recipe.name} on {data['folder']}", {**task.card(run), **common})
