"""One recipe with several seeds: how far its scores are apart when nothing but chance differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transect import api
from transect.errors import TransectError
from transect.recipe import Recipe, to_json
from transect.run import RunFolder
from transect.types import Progress

__all__ = ["runs_in", "score_seeds", "train_seeds"]


def train_seeds(
    data: Path | str,
    seeds: Sequence[int],
    *,
    recipe: str | Recipe,
    out: Path,
    budget: str | float | None = None,
    resume: bool = False,
    progress: Progress,
    **options: Any,
) -> list[Path]:
    """Train one recipe once for every seed.

    What ``auto`` decides for the first seed, and what its budget allows, holds for the others.

    Args:
        data: The survey.
        seeds: Two or more.
        recipe: As ``api.train`` takes it.
        out: Gets one run folder per seed, ``seed0`` and so on.
        budget: Of the first run; the others have as many steps.
        resume: Go on with the runs that are there.
        progress: Told what happens.
        **options: As in ``api.train``.

    Returns:
        The run folders.
    """
    runs = []
    for seed in seeds:
        path = out / f"seed{seed}"
        progress.say(f"== seed {seed}")
        begun = resume and RunFolder(path).exists()
        api.train(
            data, recipe=recipe, out=path, budget=budget, seed=seed, resume=begun,
            progress=progress, **options,
        )  # fmt: skip
        runs.append(path)
        if seed == seeds[0]:
            recipe, budget = RunFolder(path).recipe(), None
            options = {**options, "settings": None, "quick": False}
    return runs


def runs_in(folder: Path) -> list[Path]:
    """The run folders in a folder of seeds.

    Args:
        folder: As ``train_seeds`` filled it.

    Returns:
        Their paths, by name.
    """
    return sorted(path.parent for path in folder.glob("*/recipe.json"))


def score_seeds(runs: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Out-of-fold scores of runs that differ by their seed alone.

    Args:
        runs: Two or more.

    Returns:
        Metric name to the mean ``value``, the value of each seed (``seeds``), their standard
        deviation (``deviation``) and the ``interval`` of the first run, which holds the chance of
        the pictures and not that of the seed.

    Raises:
        TransectError: If recipes or data differ by more than a seed.
    """
    folders = [RunFolder.open(path) for path in runs]
    first, seen = folders[0], set()
    for folder in folders:
        recipe = folder.recipe()
        if recipe.seed in seen:
            raise TransectError(
                f"{folder.path} has the seed {recipe.seed} of another run. Give runs of different "
                "seeds."
            )
        seen.add(recipe.seed)
        if _but_seed(recipe) != _but_seed(first.recipe()):
            raise TransectError(
                f"{folder.path} and {first.path} differ by more than their seed, so their spread "
                "is not that of chance. Train one recipe with --seeds N."
            )
        if not first.same_data(folder.data().get("fingerprint", {})):
            raise TransectError(
                f"{folder.path} and {first.path} were trained on different data. Score them apart."
            )
    scores = [dict(folder.read_json("metrics.json")) for folder in folders]
    found = {}
    for name, record in scores[0].items():
        values = [float(score[name]["value"]) for score in scores if name in score]
        found[name] = {
            "value": float(np.mean(values)),
            "seeds": values,
            "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "interval": record["interval"],
        }
    return found


def _but_seed(recipe: Recipe) -> Any:
    """A recipe as JSON without its seed, its reasons and its name."""
    return to_json(dataclasses.replace(recipe, seed=0, why=(), name=""))
