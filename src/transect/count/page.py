"""The report of a counting run: counts with intervals, what was compared, where it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from transect import __version__
from transect.audit import fill_report
from transect.count.leakfree import score_without
from transect.data.images import read_image
from transect.files import safe_join, write_text
from transect.recipe import Recipe
from transect.report import charts
from transect.report.page import Page
from transect.report.pictures import INVENTED, MISSED, RIGHT
from transect.run import RunFolder, recipe_digest

__all__ = ["write_report"]

_WORDS = {
    "mae": "mean error of a picture's total, in objects",
    "mae_classes": "mean error of a class in a picture",
    "rmse": "root of the mean squared error, classes averaged: the sea lion competition's score",
    "relative_error": "error of the survey's total, as a share of the truth",
    "mae_of_the_mean": "what always answering the training's mean would err",
    "rmse_of_the_mean": "the same for the root of the mean squared error",
    "coverage": "share of held-out totals inside their interval",
    "interval_width": "mean width of the intervals of totals",
    "precision": "share of predicted points that are objects",
    "recall": "share of objects that have a predicted point",
    "f1": "balance of the two",
}


def write_report(run: RunFolder) -> Path:
    """Write ``report.html`` and ``card.md`` from what is in the run folder.

    Returns:
        The path of the page.
    """
    recipe, metrics, data = run.recipe(), run.read_json("metrics.json"), run.data()
    decided, choice = run.read_json("decide.json"), run.read_json("oof/choice.json")
    table = pd.read_csv(run.oof() / "counts.csv")
    page = Page(
        f"How many: {data['folder']}",
        subtitle=f"Recipe {recipe.name} ({recipe_digest(recipe)}), seed {recipe.seed}",
        footer=f"transect {__version__}. This page needs no network and runs no script.",
    )
    unit = "block" if decided["block_px"] else "photo"
    page.facts(
        [
            ("mean error", metrics["mae"]["value"], f"objects a {unit}, out of fold"),
            ("always the mean", metrics["mae_of_the_mean"]["value"], "what no training errs"),
            (
                "coverage",
                metrics["coverage"]["value"],
                f"of intervals that promise {decided['intervals'][-1]['nominal']:.0%}",
            ),
            *(
                [
                    (
                        "F1 of points",
                        metrics["f1"]["value"],
                        f"within {decided['match_radius']:.0f} px",
                    )
                ]
                if "f1" in metrics
                else []
            ),
        ]
    )
    if "f1" not in metrics:
        page.note(
            "Trained on totals: a frozen network describes photos and regressors count. Nothing "
            "says where objects are.",
            kind="warn",
        )
    for problem in data["problems"]:
        page.note(f"left out: {problem['name']}: {problem['what']}", kind="warn")
    _counts(page, run, table, decided, unit)
    _scores(page, metrics)
    _choice(page, choice)
    _confusion(page, run, decided)
    if "f1" in metrics:
        _worst(page, run)
        _scale(page, run)
    _training(page, run, recipe)
    fill_report(page, run.path, metrics, score_without)
    page.section("Doing it again", lead="The resolved recipe holds every number.")
    page.code(
        f"transect train {data['folder']} --recipe {run.path.name}/recipe.json --out again\n"
        f"transect predict {run.path.name} NEW_PHOTOS --out OUT\n"
        f"transect score {run.path.name} DOTTED_SURVEY"
    )
    _card(run, recipe, metrics, decided)
    return page.write(run.path / "report.html")


def _counts(
    page: Page, run: RunFolder, table: pd.DataFrame, decided: dict[str, Any], unit: str
) -> None:
    """Predicted against true, with intervals."""
    page.section(
        "Counts",
        lead=f"Every dot is a {unit} that the networks had not seen, with its interval; on the "
        "line, count and truth agree.",
    )
    page.figure(
        charts.scatter(
            table["true"],
            table["predicted"],
            title="predicted against true counts",
            x_label=f"true objects in a {unit}",
            y_label="predicted",
            names=table["image"].tolist(),
            low=table["low"],
            high=table["high"],
        ),
        f"{len(table)} {unit}s out of fold.",
    )
    page.figure(
        charts.histogram(
            {"predicted - true": (table["predicted"] - table["true"]).to_numpy(float)},
            title="residuals",
            x_label="objects too many",
        ),
        "Right of zero: too many.",
    )
    if (run.oof() / "totals.json").is_file():
        page.table(
            ["class", "true", "predicted", "low", "high"],
            [[str(row[0]), *map(float, row[1:])] for row in run.read_json("oof/totals.json")],
        )
        page.text(f"Sums over all held-out {unit}s, with the intervals that prediction would give.")
    coverage = decided["coverage"]
    if coverage is None:
        page.note("Too few groups to measure how often intervals hold.", kind="warn")
        return
    page.text(
        f"Intervals promise {coverage['nominal']:.0%} and held {coverage['measured']:.0%} of "
        f"{coverage['count']} held-out totals (95 % interval of that share: "
        f"{coverage['low']:.0%} to {coverage['high']:.0%}), with groups left out whole. Their mean "
        f"width is {coverage['width']:.1f} objects. The promise is for photos that come as these "
        "did; the scale check of transect predict says when they do not."
    )
    if not decided["intervals"][-1]["exact"]:
        page.note(
            "There are too few groups for the promised coverage; the interval is the widest "
            "residual seen.",
            kind="warn",
        )


def _scores(page: Page, metrics: dict[str, Any]) -> None:
    """All metrics."""
    page.section("Scores", lead="Out of fold; intervals are 95 % by bootstrap over groups.")
    order = [name for name in _WORDS if name in metrics]
    order += [name for name in metrics if name not in _WORDS]
    rows = [
        [name, metrics[name]["value"], *metrics[name]["interval"], _meaning(name)] for name in order
    ]
    page.table(["metric", "value", "low", "high", "meaning"], rows)


def _meaning(name: str) -> str:
    """What a metric says."""
    kind, sign, one = name.partition(":")
    if not sign:
        return _WORDS.get(name, "")
    what = {"rmse": "root of the mean squared error", "mae": "mean error"}.get(kind, kind)
    return f"{what} of {one}"


def _choice(page: Page, choice: dict[str, Any]) -> None:
    """What was compared per class."""
    page.section(
        "From maps to counts",
        lead="Mean error of a class out of fold for each way of counting; the kept one is named.",
    )
    methods = sorted({name for row in choice["errors"].values() for name in row})
    rows = [
        [name, *(row.get(method) for method in methods), choice["kept"][name]]
        for name, row in choice["errors"].items()
    ]
    page.table(["class", *methods, "kept"], rows)
    if choice["confusion_error"]:
        before, after = choice["confusion_error"]
        what = "kept" if choice["unmixed"] else "dropped, for it did not pay"
        page.text(f"Correction of confused classes: {before:.2f} to {after:.2f}; {what}.")
    for name, shares in choice["importance"].items():
        if shares:
            page.figure(
                charts.bars(
                    dict(zip(choice["features"], shares, strict=True)),
                    title=f"what the trees look at: {name}",
                ),
                name,
            )


def _confusion(page: Page, run: RunFolder, decided: dict[str, Any]) -> None:
    """True class by predicted class of points."""
    path = run.oof() / "confusion.json"
    if not path.is_file() or len(decided["classes"]) < 2:
        return
    page.section("Confusion", lead="Points matched to dots: rows are the truth.")
    labels = [*decided["classes"], "nothing"]
    page.figure(charts.matrix(run.read_json("oof/confusion.json"), labels, title="confusion"))


def _worst(page: Page, run: RunFolder) -> None:
    """The blocks with the largest errors, with their dots."""
    page.section("Where it fails", lead="The largest errors first, where most went wrong in each.")
    page.key([(RIGHT, "right"), (MISSED, "missed"), (INVENTED, "invented")])
    kept = run.read_json("oof/worst.json")
    shown = [
        (read_image(safe_join(run.oof(), str(entry["file"]))), str(entry["caption"]))
        for entry in kept
    ]
    page.pictures(shown, large=True)


def _scale(page: Page, run: RunFolder) -> None:
    """How strange held-out photos would look at another size."""
    look = run.read_json("look.json")
    page.section(
        "Scale check",
        lead="Photos from another height are the usual way for counts to go wrong, so transect "
        "predict compares the texture of new photos, and the objects found, with those of the "
        "training.",
    )
    shifted = sorted((float(scale), value) for scale, value in look["shifted"].items())
    page.figure(
        charts.lines(
            {"held-out photos": ([scale for scale, _ in shifted], [v for _, v in shifted])},
            title="distance from the training",
            x_label="resampled by",
            y_label="distance",
        ),
        f"What the check would see if held-out photos came resampled. As they are, halves of them "
        f"are {look['usual']:.2f} apart.",
    )


def _training(page: Page, run: RunFolder, recipe: Recipe) -> None:
    """Loss curves, and why the recipe is what it is."""
    page.section("Training", lead="Loss per epoch of every fold, and why the recipe is as it is.")
    series = {}
    for member in recipe.members:
        for fold in range(recipe.folds.use or recipe.folds.count):
            path = run.fold(member.name, fold) / "history.csv"
            if path.is_file():
                history = pd.read_csv(path)
                if "loss" in history:
                    values = history["loss"].to_numpy(float)
                    series[f"{member.name}, fold {fold}"] = (np.arange(1, len(values) + 1), values)
    if series:
        page.figure(charts.lines(series, title="loss", x_label="epoch", y_label="loss"))
    for line in recipe.why:
        page.text(line)


def _card(run: RunFolder, recipe: Recipe, metrics: dict[str, Any], decided: dict[str, Any]) -> None:
    """The same in a few lines of Markdown."""
    low, high = metrics["mae"]["interval"]
    lines = [
        f"# {recipe.name}: counts of {', '.join(decided['classes'])}",
        "",
        f"- mean error out of fold: {metrics['mae']['value']:.2f} [{low:.2f}, {high:.2f}]; always "
        f"the mean: {metrics['mae_of_the_mean']['value']:.2f}",
        f"- intervals of {decided['intervals'][-1]['nominal']:.0%} held "
        f"{metrics['coverage']['value']:.0%}",
        f"- recipe {recipe_digest(recipe)}, seed {recipe.seed}",
    ]
    write_text(run.path / "card.md", "\n".join(lines) + "\n")
