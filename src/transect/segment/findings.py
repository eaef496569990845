"""The facts that a report on masks shows, read from the run folder."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transect.errors import TransectError
from transect.recipe import Recipe, Stage
from transect.run import RunFolder

__all__ = ["Ranked", "advice", "curves", "seconds_by_fold", "worst_and_best"]


def curves(run: RunFolder, recipe: Recipe) -> dict[str, tuple[list[float], list[float]]]:
    """Training loss of every member and fold over its epochs: name to (epoch, loss)."""
    found = {}
    for member in recipe.members:
        for fold in range(recipe.folds.count):
            rows = _history(run.fold(member.name, fold))
            losses = [float(row["loss"]) for row in rows]
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


@dataclass(frozen=True)
class Ranked:
    """The out-of-fold images that a report shows first.

    Attributes:
        shown: (name, score), the most telling first.
        tied: How many images have the score of the first one.
    """

    shown: tuple[tuple[str, float], ...]
    tied: int


def worst_and_best(run: RunFolder, metric: str, count: int) -> dict[str, Ranked]:
    """The images with the lowest and the highest score out of fold.

    Hundreds may share a score of 0 or 1. Among equals, the worst are those with the most wrong
    pixels, the best those with the most foreground: an empty mask found empty teaches little.

    Args:
        run: With ``oof/pictures.json``.
        metric: Of its rows; higher is better.
        count: How many of each at most.

    Returns:
        ``worst`` and ``best``.
    """
    rows = {
        name: row
        for name, row in run.read_json("oof/pictures.json").items()
        if math.isfinite(row[metric])
    }
    orders = {
        "worst": sorted(rows, key=lambda n: (rows[n][metric], -rows[n]["wrong"], n)),
        "best": sorted(rows, key=lambda n: (-rows[n][metric], -rows[n]["foreground"], n)),
    }
    return {
        kind: Ranked(
            tuple((name, float(rows[name][metric])) for name in order[:count]),
            sum(rows[name][metric] == rows[order[0]][metric] for name in order),
        )
        for kind, order in orders.items()
    }


def advice(run: RunFolder, recipe: Recipe, metrics: dict[str, Any]) -> list[str]:
    """What to try next, from what this run shows; each line says what it rests on."""
    lines = []
    main = next(iter(metrics.values()), None)
    trained = recipe.folds.use or recipe.folds.count
    if trained < recipe.folds.count:
        lines.append(
            f"Only {trained} of {recipe.folds.count} folds were trained to fit the budget. A "
            "longer --budget trains more of them, and their mean predicts better."
        )
    if main and main["interval"][1] - main["interval"][0] > 0.1:
        lines.append(
            f"The interval of the main score is wide ({main['pictures']} pictures): label more "
            "before comparing recipes."
        )
    losses = [loss for _, loss in curves(run, recipe).values()]
    if any(_still_falling(loss) for loss in losses):
        lines.append("The training loss was still falling at the end: a longer budget will help.")
    low, high = main["interval"] if main else (0.0, 0.0)
    if main and not lines:
        lines.append(
            f"The score is stable ({low:.3f} to {high:.3f}). Look at the worst pictures below: if "
            "their masks are wrong, mend them; if not, more pictures like them teach most."
        )
    stages: Sequence[Stage] = recipe.members[0].stages
    metric = getattr(recipe.decide, "metric", "")
    if all("lovasz" not in stage.loss for stage in stages) and metric in {"salt_map", "iou"}:
        lines.append(
            "The measure is an overlap: a last stage with 0.1 * bce + 0.9 * lovasz_symmetric is "
            "worth a try (--recipe with an own stage, or a bundled salt recipe)."
        )
    dropped = run.read_json("views.json")["dropped"] if (run.path / "views.json").is_file() else []
    if dropped:
        lines.append(f"Views that did not pay were left out: {', '.join(dropped)}.")
    return lines


def _still_falling(losses: Sequence[float]) -> bool:
    """Whether the last fifth of the curve fell by more than 3 % against the fifth before it."""
    fifth = max(1, len(losses) // 5)
    if len(losses) < 5:
        return False
    before, after = np.mean(losses[-2 * fifth : -fifth]), np.mean(losses[-fifth:])
    return bool(after < 0.97 * before)


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
