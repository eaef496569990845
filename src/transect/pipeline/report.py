"""The report of a run: one frame for all questions, which add their own sections to it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transect import __version__
from transect.audit import fill_report
from transect.commands import command
from transect.errors import TransectError
from transect.files import write_text
from transect.metrics import title_of
from transect.metrics.score import Score, interval_text, scores_from_json, scores_to_json
from transect.pipeline.verdict import scored, trivial_rows, verdict_on
from transect.recipe import Recipe
from transect.report import charts
from transect.report.card import model_card
from transect.report.figures import write_figures
from transect.report.page import Page
from transect.run import RunFolder, recipe_digest
from transect.task import Rows, Task
from transect.train.spent import Spent

__all__ = ["again", "loss_curves", "seconds_by_fold", "write_report"]

_KIND_OF = {True: "good", False: "bad", None: "warn"}
_TITLES = {
    "segment": "Where is it",
    "count": "How many",
    "identify": "Which one is it",
    "classify": "What is it",
}


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
    verdict = verdict_on(metrics)
    page.note(verdict.sentence, kind=_KIND_OF[verdict.use])
    page.facts(task.headline(run))
    _gains(page, metrics)
    sections = task.sections(run)

    def add(place: str) -> None:
        for section in sections:
            if section.place == place:
                section.fill(page)

    add("top")
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
        lambda path, left_out: scores_to_json(scored(task, rows.without(left_out), run)),
    )
    page.section("What to try next", lead="Each line rests on what this run shows.")
    for line in (*_advice(run, recipe, metrics), *task.advice(run)):
        page.note(line)
    page.section(
        "Doing it again",
        lead="The resolved recipe holds every number. To be typed in the folder that holds "
        f"{run.path.resolve().name}; NEW_IMAGES stands for a folder of new images.",
    )
    page.code("\n".join(again(run)))
    packages = run.read_json("environment.json")["packages"]
    page.table(["package", "version"], sorted(packages.items()), folded="Versions used")
    write_text(run.path / "card.md", _card(task, run, recipe, data, metrics))
    write_figures(page.drawings, run.path / "figures")
    return page.write(run.path / "report.html")


def _gains(page: Page, metrics: Mapping[str, Score]) -> None:
    """The figure that the verdict rests on: the gain over every trivial answer."""
    for main, score in list(metrics.items())[:1]:
        rows = [(o.name, o.gain, *o.interval) for o in score.trivial if o.interval is not None]
        if rows:
            page.figure(
                charts.intervals(
                    rows,
                    title="Gain over answers that need no training",
                    x_label=f"gain: {title_of(main)}",
                    reference=0.0,
                    reference_word="no gain",
                ),
                f"Paired on {score.count} held-out units, with 95 % intervals from groups drawn "
                "whole. Right of the line, the run is better.",
            )


def again(run: RunFolder) -> list[str]:
    """The commands that repeat, use and check a run, for the folder that holds it."""
    name, data = run.path.resolve().name, run.data()
    survey = str(data.get("place", data["folder"]))
    return [
        command("train", survey, "--recipe", f"{name}/recipe.json", "--out", f"{name}-again"),
        command("predict", name, "NEW_IMAGES", "--out", f"{name}-answers"),
        command("score", name, survey),
    ]


def _scores(page: Page, metrics: Mapping[str, Score], words: Mapping[str, str]) -> None:
    """Every metric with its spread."""
    page.section(
        "Score",
        lead="Out of fold: each unit was predicted by models that never saw it, with decisions "
        "tuned on others. The interval resamples groups (or units).",
    )
    rows = [
        [title_of(name), f"{score.value:.4f}", interval_text(score.interval), _meaning(name, words)]
        for name, score in metrics.items()
    ]
    page.table(
        ["metric", "value", "95 % interval", "meaning"],
        rows,
        best=0,
        caption=" ".join(sorted({f"–: {s.why}." for s in metrics.values() if s.why})),
    )
    main = next(iter(metrics), None)
    if main is None:
        return
    if metrics[main].trivial:
        page.heading("Beside answers that need no training")
        page.table(
            [
                "answer",
                title_of(main),
                "gain of the run",
                "95 % interval of the gain",
                "no interval because",
            ],
            trivial_rows(metrics[main]),
            caption=f"On the same {metrics[main].count} held-out units; what is tuned of a trivial "
            "answer is tuned on other folds. A gain above 0 is for the run.",
        )
    folds = metrics[main].folds
    if len(folds) > 1:
        page.figure(
            charts.fold_dots({title_of(main): list(folds)}, title=f"{title_of(main)} by fold"),
            f"{len(folds)} trained folds, from {min(folds):.3g} to {max(folds):.3g}.",
        )


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
    ends = None if main is None else main.interval
    if main is not None and ends and ends[1] - ends[0] > 0.1 * max(1.0, abs(main.value)):
        lines.append(
            f"The interval of the main score is wide ({main.count} units): annotate more before "
            "comparing recipes."
        )
    curves = loss_curves(run, recipe)
    falling = _falling(curves)
    if falling:
        lines.append(
            f"The training loss still fell at the end of {falling} of {len(curves)} trainings: a "
            "longer --budget may help."
        )
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
        title_of(name): f"{score.value:.4f} ({interval_text(score.interval)}; {score.count} units)"
        for name, score in metrics.items()
    }
    common = {
        "recipe": {"name": recipe.name, "networks": ", ".join(networks), "seed": recipe.seed},
        "scores": scores,
        "environment": f"transect {__version__}; versions stand in environment.json.",
    }
    return model_card(
        f"{recipe.name} on {data['folder']}",
        {**task.card(run), **common, "reproduce": again(run)},
        summary=verdict_on(metrics).sentence,
    )
