"""The report of a run on masks: what the data is, how well it went, where it fails, what next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transect import __version__
from transect.audit import fill_report
from transect.data.images import read_image
from transect.files import safe_join, write_text
from transect.recipe import Recipe
from transect.report import charts
from transect.report.card import model_card
from transect.report.page import Page
from transect.report.pictures import PREDICTED, TRUTH
from transect.run import RunFolder, recipe_digest
from transect.segment.findings import advice, curves, seconds_by_fold
from transect.segment.leakfree import score_without
from transect.segment.neighbours import WARNING
from transect.train.spent import Spent

__all__ = ["write_report"]

_WORDS = {
    "salt_map": "mean precision over IoU .50 to .95; empty on both sides is 1",
    "dice": "twice the overlap over both areas",
    "iou": "overlap over union",
    "boundary_distance": "mean distance of outlines in pixels, lower is better",
    "ap50": "objects right over right, missed and invented, at IoU .5",
    "ap": "the same, averaged over IoU .50 to .95",
    "pq": "panoptic quality",
    "f1": "balance of missed and invented objects at IoU .5",
    "accuracy": "share of pixels with the right class",
}


def write_report(run: RunFolder) -> Path:
    """Write ``report.html`` and ``card.md`` from what is in the run folder.

    Returns:
        The path of the page.
    """
    recipe = run.recipe()
    metrics, facts, data = run.read_json("metrics.json"), run.read_json("facts.json"), run.data()
    page = Page(
        f"Where is it: {data['folder']}",
        subtitle=f"Recipe {recipe.name} ({recipe_digest(recipe)}), seed {recipe.seed}",
        footer=f"transect {__version__}. This page needs no network and runs no script.",
    )
    _head(page, metrics, facts)
    _data(page, facts, data)
    _score(page, run, recipe, metrics)
    _pictures(page, run, metrics)
    _decisions(page, run, recipe)
    _training(page, run, recipe)
    fill_report(page, run.path, metrics, score_without)
    page.section("What to try next", lead="Each line rests on what this run shows.")
    for line in advice(run, recipe, metrics):
        page.note(line)
    page.section("Doing it again", lead="The resolved recipe holds every number.")
    page.code(
        f"transect train {data['folder']} --recipe {run.path.name}/recipe.json --out again\n"
        f"transect predict {run.path.name} NEW_PICTURES --out OUT"
    )
    packages = run.read_json("environment.json")["packages"]
    page.table(["package", "version"], sorted(packages.items()), folded="Versions used")
    write_text(run.path / "card.md", _card(recipe, metrics, facts, data))
    return page.write(run.path / "report.html")


def _head(page: Page, metrics: dict[str, Any], facts: dict[str, Any]) -> None:
    """The numbers that a reader wants first."""
    rows = []
    for name, record in list(metrics.items())[:3]:
        low, high = record["interval"]
        rows.append((name, f"{record['value']:.3f}", f"95 % interval {low:.3f} to {high:.3f}"))
    scored = max(record["pictures"] for record in metrics.values())
    rows.append(("pictures", str(len(facts["coverage"])), f"{scored} scored out of fold"))
    page.facts(rows)


def _data(page: Page, facts: dict[str, Any], data: dict[str, Any]) -> None:
    """What the survey is, and how it was divided."""
    page.section("The survey", lead="What was found in the folder, and how folds divide it.")
    for line in facts["summary"]:
        page.text(line)
    for problem in data["problems"]:
        page.note(f"Left out: {problem['name']}: {problem['what']}", kind="warn")
    page.figure(
        charts.histogram(
            {"training pictures": facts["coverage"]},
            title="Share of foreground per picture",
            x_label="share of foreground",
            y_label="images",
        ),
        "Pictures by the share of their pixels that is foreground.",
    )
    rows = [
        [fold["fold"], fold["pictures"], f"{fold['coverage']:.3f}", f"{fold['empty']:.3f}"]
        for fold in facts["folds"]
    ]
    page.table(
        ["fold", "pictures", "mean foreground", "share empty"],
        rows,
        caption="Folds should look alike.",
    )


def _score(page: Page, run: RunFolder, recipe: Recipe, metrics: dict[str, Any]) -> None:
    """Every metric with its spread, and whether the probabilities can be believed."""
    page.section(
        "Score",
        lead="Out of fold: each picture was predicted by models that never saw it, with decisions "
        "tuned on other pictures. The interval resamples pictures (or groups).",
    )
    trained = recipe.folds.use or recipe.folds.count
    if trained > 1:
        page.text(
            f"Measured are the models of single folds. New images get the mean of all {trained}, "
            "which no image here can measure; it is as good or better as a rule."
        )
    rows = [
        [
            name,
            f"{record['value']:.4f}",
            f"{record['interval'][0]:.4f} to {record['interval'][1]:.4f}",
            _WORDS.get(name, ""),
        ]
        for name, record in metrics.items()
    ]
    page.table(["metric", "value", "95 % interval", "meaning"], rows, best=0)
    shares = {name: record["folds"] for name, record in metrics.items() if name in _SHARES}
    page.figure(charts.fold_dots(shares, title="Score of every fold"), "One dot per trained fold.")
    calibration = run.read_json("calibration.json")
    page.figure(
        charts.reliability_diagram(
            calibration["said"],
            calibration["seen"],
            calibration["counts"],
            title="Predicted probability against what came true",
        ),
        f"On the diagonal, probabilities are true; mean gap {calibration['error']:.3f}.",
    )


_SHARES = {"salt_map", "dice", "iou", "ap50", "ap", "pq", "f1", "accuracy"}


def _pictures(page: Page, run: RunFolder, metrics: dict[str, Any]) -> None:
    """The worst and the best pictures with outlines."""
    main = next(iter(metrics))
    page.section(
        "Worst and best",
        lead=f"Out-of-fold pictures by {main}, with the outlines of truth and prediction. Bad "
        "masks in the data show up among the worst.",
    )
    page.key([(TRUTH, "truth"), (PREDICTED, "prediction")])
    gallery = run.read_json("gallery.json")
    for kind in ("worst", "best"):
        page.heading(f"The {kind}")
        entries = [entry for entry in gallery if entry["kind"] == kind]
        tied = max((entry.get("tied", 0) for entry in entries), default=0)
        if tied > len(entries):
            page.text(
                f"{tied} images have the score {entries[0]['value']:.3f}; shown are those of them "
                f"with the most {'wrong pixels' if kind == 'worst' else 'foreground'}."
            )
        page.pictures(
            (read_image(safe_join(run.path / "gallery", entry["file"])), _caption(entry))
            for entry in entries
        )


def _caption(entry: dict[str, Any]) -> str:
    """Name and score below a picture; long names keep their ends."""
    name = str(entry["name"])
    return f"{name if len(name) < 30 else name[:12] + '…' + name[-14:]}: {entry['value']:.3f}"


def _decisions(page: Page, run: RunFolder, recipe: Recipe) -> None:
    """What was tuned, and what it brought."""
    decide = run.read_json("decide.json")
    gain, low, high = decide["honest_gain"]
    page.section(
        "Decisions",
        lead=f"Numbers tuned out of fold for {decide['metric']}. Together they gained {gain:+.4f} "
        f"({low:+.4f} to {high:+.4f}), measured on pictures that did not tune them.",
    )
    final, gains = decide["final"], decide["gain"]
    page.table(
        ["number", "value", "gain when tuned"],
        [[name, final[name], f"{gains[name]:+.4f}"] for name in gains],
        caption="The gains of single numbers are optimistic; the sum above is not.",
    )
    if decide["curve"]:
        levels, scores = zip(*decide["curve"], strict=True)
        page.figure(
            charts.threshold_curve(
                levels,
                scores,
                final["threshold"],
                title="Score against threshold",
                y_label=decide["metric"],
            ),
            "All else as decided.",
        )
    if getattr(recipe.decide, "neighbours", False):
        page.note(WARNING, kind="warn")
    if decide.get("own"):
        own = ", ".join(f"{fold}: {level:g}" for fold, level in decide["own"].items())
        page.text(f"On new pictures each fold's maps are levelled by its own threshold ({own}).")
    views = run.read_json("views.json")
    page.text(f"Test-time views kept: {', '.join(views['kept'])}.")
    if views["dropped"]:
        page.text(f"Left out, since they did not pay: {', '.join(views['dropped'])}.")


def _training(page: Page, run: RunFolder, recipe: Recipe) -> None:
    """Curves, time, and what auto decided."""
    page.section("Training", lead="Loss by epoch of every member and fold, and where time went.")
    series = curves(run, recipe)
    if series:
        page.figure(
            charts.lines(series, title="Training loss", x_label="epoch", y_label="loss"),
            "Falling to the end: a longer budget helps.",
        )
    seconds = seconds_by_fold(run, recipe)
    if seconds:
        page.figure(charts.bars(seconds, title="Training time", unit=" s"), "Time by fold.")
    for line in recipe.why:
        page.text(line)
    if recipe.plan:
        spent = Spent(run).seconds
        page.table(
            ["phase", "planned (s)", "spent (s)", "why"],
            [
                [one.name, f"{one.seconds:.0f}", f"{spent.get(one.name, 0.0):.0f}", one.why]
                for one in recipe.plan
            ],
            caption="Where the budget was planned to go, and where it went.",
        )
    if (run.path / "likeness.json").is_file():
        like = run.read_json("likeness.json")
        page.text(
            f"Unlabelled pictures are told from training pictures with AUROC {like['auroc']:.2f}; "
            f"draws by likeness leave {like['effective']:.0%} of the training pictures in effect."
        )
    rows: list[Sequence[Any]] = [
        [
            member.name,
            getattr(member.network, "encoder", ""),
            getattr(member.network, "decoder", ""),
            f"{member.geometry.size_hw[0]} x {member.geometry.size_hw[1]}",
            " then ".join(f"{stage.loss} ({stage.epochs} epochs)" for stage in member.stages),
        ]
        for member in recipe.members
    ]
    page.table(["member", "encoder", "decoder", "input", "stages"], rows)


def _card(
    recipe: Recipe, metrics: dict[str, Any], facts: dict[str, Any], data: dict[str, Any]
) -> str:
    """A model card: what it is for, what it was trained on, how well it did, what it cannot."""
    scores = {
        name: f"{record['value']:.4f} ({record['interval'][0]:.4f} to "
        f"{record['interval'][1]:.4f}; {record['pictures']} pictures)"
        for name, record in metrics.items()
    }
    encoders = sorted({str(getattr(m.network, "encoder", "")) for m in recipe.members})
    return model_card(
        f"{recipe.name} on {data['folder']}",
        {
            "use": f"Segments {', '.join(data['classes']) or 'foreground'} in pictures like those "
            "it was trained on.",
            "data": facts["summary"],
            "recipe": {"name": recipe.name, "encoders": ", ".join(encoders), "seed": recipe.seed},
            "scores": scores,
            "limits": "Scores are out of fold and hold for pictures from the same source. New "
            "sites, cameras or scales need a check against masks drawn by hand: transect score.",
            "environment": f"transect {__version__}; versions stand in environment.json.",
        },
    )
