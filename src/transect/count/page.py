"""What a report on counts shows beyond the common frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from transect.data.images import read_image
from transect.errors import listed
from transect.files import safe_join
from transect.report import charts
from transect.report.page import Page
from transect.report.pictures import INVENTED, MISSED, RIGHT
from transect.run import RunFolder
from transect.task import Section

__all__ = ["METRIC_WORDS", "card_of", "headline_of", "sections_of"]

METRIC_WORDS = {
    "mae": "mean error of a picture, in objects",
    "mae_classes": "mean error of a class in a picture",
    "rmse": "root of the mean squared error, classes averaged: the sea lion competition's score",
    "bias": "mean of predicted minus true totals of a picture",
    "relative_error": "error of the survey's total, as a share of the truth",
    "mae_of_the_mean": "what always answering the training's mean would err",
    "rmse_of_the_mean": "the same for the root of the mean squared error",
    "coverage": "share of held-out totals inside their interval",
    "interval_width": "mean width of the intervals of totals",
    "naive_width": "distance of the two plain quantiles of these errors, for comparison",
    "precision": "share of predicted points that are objects",
    "recall": "share of objects that have a predicted point",
    "f1": "balance of the two",
    "box_ap": "average precision of boxes, mean over IoU .50 to .95 and classes",
    "box_ap50": "average precision of boxes at IoU .50",
}


def sections_of(run: RunFolder) -> Sequence[Section]:
    """What the report on counts shows beyond the common frame."""
    found = [
        Section("top", lambda page: _three(page, run)),
        Section("data", lambda page: _totals_note(page, run)),
        Section("score", lambda page: _counts(page, run)),
        Section("decisions", lambda page: _choice(page, run.read_json("oof/choice.json"))),
        Section("decisions", lambda page: _confusion(page, run)),
    ]
    if "f1" in run.read_json("metrics.json"):
        found.append(Section("examples", lambda page: _worst(page, run)))
        found.append(Section("examples", lambda page: _scale(page, run)))
    return found


def headline_of(run: RunFolder) -> list[tuple[str, str, str]]:
    """Error beside that of the mean, coverage, F1 of points."""
    metrics, decided = run.read_json("metrics.json"), run.read_json("decide.json")
    nominal = decided["intervals"][-1]["nominal"]
    rows = [
        ("mae", f"objects a {_unit(decided)}, out of fold"),
        ("mae_of_the_mean", "what no training errs"),
        ("coverage", f"of intervals that promise {nominal:.0%}"),
        ("f1", f"of points within {decided['match_radius']:.0f} px"),
        ("box_ap50", "average precision of boxes at IoU .50"),
    ]
    named = {
        "box_ap50": "AP@.5",
        "mae": "mean error",
        "mae_of_the_mean": "always the mean",
        "f1": "F1 of points",
    }
    return [
        (named.get(name, name), f"{metrics[name]['value']:.4g}", small)
        for name, small in rows
        if name in metrics
    ]


def card_of(run: RunFolder) -> dict[str, Any]:
    """What the model card says of counts."""
    metrics, decided = run.read_json("metrics.json"), run.read_json("decide.json")
    nominal = decided["intervals"][-1]["nominal"]
    return {
        "use": f"Counts {listed(decided['classes'])} in photos like those it was trained on.",
        "intervals": f"Intervals of {nominal:.0%} held {metrics['coverage']['value']:.0%} of "
        "held-out totals.",
        "limits": "Photos from another height or camera need the scale check of transect predict "
        "and a few counts by hand: transect calibrate.",
    }


def _unit(decided: dict[str, Any]) -> str:
    """What a row of the counts is."""
    return "block" if decided["block_px"] else "photo"


def _totals_note(page: Page, run: RunFolder) -> None:
    """What a run on totals cannot say."""
    if "f1" not in run.read_json("metrics.json"):
        page.note(
            "Trained on totals: a frozen network describes photos and regressors count. Nothing "
            "says where objects are.",
            kind="warn",
        )


def _counts(page: Page, run: RunFolder) -> None:
    """Predicted against true, with intervals."""
    decided = run.read_json("decide.json")
    table, unit = pd.read_csv(run.oof() / "counts.csv"), _unit(decided)
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


def _confusion(page: Page, run: RunFolder) -> None:
    """True class by predicted class of points."""
    decided = run.read_json("decide.json")
    path = run.oof() / "confusion.json"
    if not path.is_file() or len(decided["classes"]) < 2:
        return
    page.section("Confusion", lead="Points matched to dots: rows are the truth.")
    labels = [*decided["classes"], "nothing"]
    page.figure(charts.matrix(run.read_json("oof/confusion.json"), labels, title="confusion"))


def _three(page: Page, run: RunFolder) -> None:
    """The largest error, a middling one and the least of those that are shown, at the top."""
    path = run.oof() / "worst.json"
    kept = run.read_json("oof/worst.json") if path.is_file() else []
    if not kept:
        return
    page.key([(RIGHT, "right"), (MISSED, "missed"), (INVENTED, "invented")])
    chosen = sorted({0, len(kept) // 2, len(kept) - 1})
    page.pictures(
        [
            (read_image(safe_join(run.oof(), str(kept[i]["file"]))), str(kept[i]["caption"]))
            for i in chosen
        ],
        large=True,
    )


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
