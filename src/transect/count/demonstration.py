"""The demo of this question: a simulated colony, trained on and counted against truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.count import auto
from transect.count.pictures import CountPictures
from transect.count.predicting import answer_folder
from transect.data.survey import fingerprint, open_survey, survey_summary
from transect.data.synthetic_colony import CLASSES, write_colony_survey
from transect.metrics.count import rmse
from transect.recipe import CountDecide, Recipe
from transect.run import RunFolder, data_record
from transect.types import Progress

__all__ = ["demonstrate", "result_lines", "true_counts"]

_TRAIN, _TEST = 48, 16
_SECONDS = 110.0  # of training and what follows; the whole demo takes about three minutes


def demonstrate(
    folder: Path, *, seed: int, device: str, threads: int | None, progress: Progress
) -> list[str]:
    """Simulate a colony, train on its dots, and compare with answers that need no training.

    Args:
        folder: Gets ``survey/``, ``run/`` and ``counts/``.
        seed: Of both.
        device: auto or as torch names it.
        threads: CPU threads.
        progress: Told what happens.

    Returns:
        Lines with the score on the test photos and the trivial answer's beside it.
    """
    from transect import count
    from transect.train.process import prepare_process

    prepare_process(threads)
    device = "cpu" if device == "auto" else device
    root = write_colony_survey(folder / "survey", n_train=_TRAIN, n_test=_TEST, seed=seed)
    progress.say(f"wrote {_TRAIN} training and {_TEST} test photos to {root}")
    survey = open_survey(root)
    for line in survey_summary(survey):
        progress.say(line)
    run = RunFolder(folder / "run")
    pictures = count.prepare(survey, run.path / "cache", progress)
    recipe: Recipe = auto.plan(pictures, budget_seconds=_SECONDS, device=device, seed=seed)
    assert isinstance(recipe.decide, CountDecide)
    # The test photos are known to be of the training's scale; the check would take its time.
    recipe = replace(recipe, decide=replace(recipe.decide, test_scale=1.0))
    for line in recipe.why:
        progress.say(line)
    run.begin(recipe, data_record(survey, fingerprint(survey)))
    count.train(pictures, recipe, run.path, progress=progress, device=device)
    names = [image.name for image in survey.images if image.split == "test"]
    for name in names:  # only the test photos are to be counted
        target = folder / "counts" / "photos" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((root / "images" / name).read_bytes())
    photos = folder / "counts" / "photos"
    answer_folder(run, photos, folder / "counts", device=device, progress=progress)
    return result_lines(folder / "counts", root, names, pictures)


def result_lines(out: Path, root: Path, names: Sequence[str], pictures: CountPictures) -> list[str]:
    """The score of written counts beside that of always answering the training's mean."""
    truth = true_counts(root, names)
    table = pd.read_csv(out / "counts.csv").set_index("image").loc[list(names)]
    said = table[list(CLASSES)].to_numpy(float)
    mean = np.tile(pictures.counts.mean(axis=0), (len(names), 1))
    inside = (table["all low"] <= truth.sum(1)) & (truth.sum(1) <= table["all high"])
    totals = pd.read_csv(out / "totals.csv").set_index("class").loc["all"]
    return [
        f"score on {len(names)} test photos (RMSE per class, averaged: the competition's):",
        f"  transect               {rmse(said, truth):.2f}",
        f"  always the mean        {rmse(mean, truth):.2f}",
        f"total: {totals['count']:.0f} [{totals['low']:.0f}, {totals['high']:.0f}], truly "
        f"{truth.sum():.0f}; {inside.mean():.0%} of the photos' intervals hold the truth",
    ]


def true_counts(root: Path, names: Sequence[str]) -> NDArray[np.float64]:
    """The simulator's own counts of its test photos: (N, C)."""
    dots = pd.read_csv(root / "truth" / "points.csv")
    table = pd.crosstab(dots["image"], dots["class"])
    return np.asarray(
        table.reindex(index=list(names), columns=list(CLASSES), fill_value=0), np.float64
    )
