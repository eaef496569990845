"""The facts that a report on masks shows, read from the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transect.recipe import Recipe, Stage
from transect.run import RunFolder
from transect.task import Rows

__all__ = ["Ranked", "advice", "worst_and_best"]


@dataclass(frozen=True)
class Ranked:
    """The out-of-fold images that a report shows first.

    Attributes:
        shown: (name, score), the most telling first.
        tied: How many images have the score of the first one.
    """

    shown: tuple[tuple[str, float], ...]
    tied: int


def worst_and_best(rows: Rows, metric: str, count: int) -> dict[str, Ranked]:
    """The images with the lowest and the highest score out of fold.

    Hundreds may share a score of 0 or 1. Among equals, the worst are those with the most wrong
    pixels, the best those with the most foreground: an empty mask found empty teaches little.

    Args:
        rows: Of all images, with the columns ``wrong`` and ``foreground``.
        metric: One of its columns; higher is better.
        count: How many of each at most.

    Returns:
        ``worst`` and ``best``.
    """
    rows = rows.take(np.isfinite(np.asarray(rows[metric], np.float64)))
    names, score = np.array(rows.names, np.str_), rows[metric]
    orders = {
        "worst": np.lexsort((names, -rows["wrong"], score)),
        "best": np.lexsort((names, -rows["foreground"], -score)),
    }
    return {
        kind: Ranked(
            tuple((str(names[i]), float(score[i])) for i in order[:count].tolist()),
            int((score == score[order[0]]).sum()) if len(order) else 0,
        )
        for kind, order in orders.items()
    }


def advice(run: RunFolder, recipe: Recipe, metrics: dict[str, Any]) -> list[str]:
    """What to try next for masks, from what this run shows; each line says what it rests on."""
    lines = []
    stages: Sequence[Stage] = recipe.members[0].stages
    metric = getattr(recipe.decide, "metric", "")
    if all("lovasz" not in f"{stage.loss} {stage.loss_end}" for stage in stages) and metric in {
        "salt_map",
        "iou",
    }:
        lines.append(
            "The measure is an overlap: a last stage with 0.1 * bce + 0.9 * lovasz_symmetric is "
            "worth a try (--recipe with an own stage, or a bundled salt recipe)."
        )
    dropped = run.read_json("views.json")["dropped"] if (run.path / "views.json").is_file() else []
    if dropped:
        lines.append(f"Views that did not pay were left out: {', '.join(dropped)}.")
    main = next(iter(metrics.values()), None)
    if main and main["interval"] and not lines:
        low, high = main["interval"]
        lines.append(
            f"The score lies between {low:.3f} and {high:.3f}. Look at the worst images: if their "
            "masks are wrong, mend them; if not, more images like them teach most."
        )
    return lines
