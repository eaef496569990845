"""What a report on masks shows beyond the common frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transect.data.images import read_image
from transect.errors import listed
from transect.files import safe_join
from transect.metrics import title_of
from transect.metrics.score import spread_text
from transect.report import charts
from transect.report.page import Page
from transect.report.pictures import PREDICTED, TRUTH
from transect.run import RunFolder
from transect.segment.neighbours import WARNING
from transect.task import Section

__all__ = ["METRIC_WORDS", "card_of", "headline_of", "sections_of"]

METRIC_WORDS = {
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


def sections_of(run: RunFolder) -> Sequence[Section]:
    """What the report on masks shows beyond the common frame."""
    return (
        Section("top", lambda page: _three(page, run)),
        Section("data", lambda page: _data(page, run.read_json("facts.json"))),
        Section("score", lambda page: _calibration(page, run)),
        Section("decisions", lambda page: _decisions(page, run)),
        Section("examples", lambda page: _pictures(page, run)),
    )


def headline_of(run: RunFolder) -> list[tuple[str, str, str]]:
    """The numbers that a reader wants first."""
    metrics, facts = run.read_json("metrics.json"), run.read_json("facts.json")
    rows = []
    for name, record in list(metrics.items())[:3]:
        rows.append((title_of(name), f"{record['value']:.3f}", spread_text(record)))
    scored = max(record["pictures"] for record in metrics.values())
    return [*rows, ("images", str(len(facts["coverage"])), f"{scored} scored out of fold")]


def card_of(run: RunFolder) -> dict[str, Any]:
    """What the model card says of masks."""
    return {
        "use": f"Segments {listed(run.data()['classes']) or 'foreground'} in pictures like "
        "those it was trained on.",
        "data": run.data().get("summary", []),
        "limits": "Scores are out of fold and hold for pictures from the same source. New "
        "sites, cameras or scales need a check against masks drawn by hand: transect score.",
    }


def _data(page: Page, facts: dict[str, Any]) -> None:
    """What the survey is, and how it was divided."""
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


def _calibration(page: Page, run: RunFolder) -> None:
    """Whether the probabilities can be believed, and what was measured."""
    recipe = run.recipe()
    trained = recipe.folds.use or recipe.folds.count
    if trained > 1:
        page.text(
            f"Measured are the models of single folds. New images get the mean of all {trained}, "
            "which no image here can measure; it is as good or better as a rule."
        )
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


def _pictures(page: Page, run: RunFolder) -> None:
    """The worst and the best images with outlines."""
    main = next(iter(run.read_json("metrics.json")))
    page.section(
        "Worst and best",
        lead=f"Out-of-fold images by {title_of(main)}, with the outlines of truth and "
        "prediction. Bad masks in the data show up among the worst.",
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


def _three(page: Page, run: RunFolder) -> None:
    """One of the best, one of the less good, one of the worst, at the top of the page."""
    gallery = run.read_json("gallery.json")
    best = [entry for entry in gallery if entry["kind"] == "best"]
    worst = [entry for entry in gallery if entry["kind"] == "worst"]
    chosen = [("best", best[:1]), ("among the worst", worst[-1:]), ("worst", worst[:1])]
    page.key([(TRUTH, "truth"), (PREDICTED, "prediction, out of fold")])
    page.pictures(
        [
            (read_image(safe_join(run.path / "gallery", e["file"])), f"{word}: {_caption(e)}")
            for word, entries in chosen
            for e in entries
        ],
        large=True,
    )


def _caption(entry: dict[str, Any]) -> str:
    """Name and score below an image; long names keep their ends."""
    name = str(entry["name"])
    return f"{name if len(name) < 30 else name[:12] + '…' + name[-14:]}: {entry['value']:.3f}"


def _decisions(page: Page, run: RunFolder) -> None:
    """What was tuned, and what it brought."""
    recipe = run.recipe()
    decide = run.read_json("decide.json")
    gain, low, high = decide["honest_gain"]
    page.section(
        "Decisions",
        lead=f"Numbers tuned out of fold for {title_of(decide['metric'])}. Together "
        f"they gained {gain:+.4f} ({low:+.4f} to {high:+.4f}), measured "
        "on images that did not tune them.",
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
                y_label=title_of(decide["metric"]),
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
    if (run.path / "likeness.json").is_file():
        like = run.read_json("likeness.json")
        page.text(
            f"Unlabelled pictures are told from training pictures with AUROC {like['auroc']:.2f}; "
            f"draws by likeness leave {like['effective']:.0%} of the training pictures in effect."
        )
