"""The demo of this question: simulated plankton, trained on and scored against the truth."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transect.classify.oof import decision_of
from transect.run import RunFolder
from transect.simulate.plankton import write_plankton_survey
from transect.types import Progress

__all__ = ["judge", "simulate"]

_TRAIN, _TEST = 360, 120


def simulate(folder: Path, *, seed: int, progress: Progress) -> Path:
    """Write the demo's survey.

    Args:
        folder: Where.
        seed: Of the simulator.
        progress: Told what happens.

    Returns:
        The survey, with the truth of its test pictures beside it.
    """
    root = write_plankton_survey(folder, n_train=_TRAIN, n_test=_TEST, seed=seed)
    progress.say(f"wrote {_TRAIN + _TEST} pictures of simulated plankton to {root}")
    return root


def judge(run: RunFolder, root: Path, predict: Callable[..., dict[str, Any]]) -> list[str]:
    """Compare a run on the demo's survey with its sources, and with the commonest label.

    Args:
        run: The run.
        root: From ``simulate``.
        predict: Answers a folder: (images, out, options).

    Returns:
        Lines with the share of right labels on pictures of other stations, and out of fold.
    """
    out = run.path.parent / "answers"
    predict(root / "images", out, {})
    said, truth = _column(out / "labels.csv"), _column(root / "truth" / "labels.csv")
    known = _column(root / "labels.csv")
    common, _ = Counter(known.values()).most_common(1)[0]
    right = sum(said[name] == label for name, label in truth.items()) / len(truth)
    trivial = sum(label == common for label in truth.values()) / len(truth)
    scores = decision_of(run).scores
    width = max(len(name) for name in (*scores, "on new stations"))
    return [
        f"share of right labels, {len(truth)} pictures of stations that were not trained on:",
        f"  {'on new stations':<{width}} {right:.3f}",
        f"  {'always ' + common:<{width}} {trivial:.3f}",
        f"out of fold, by source ({decision_of(run).source} answers):",
        *(f"  {name:<{width}} {score:.3f}" for name, score in scores.items()),
    ]


def _column(path: Path) -> dict[str, str]:
    """Image to label of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["image"]: row["label"] for row in csv.DictReader(file)}
