"""The demo of this question: a simulated colony, trained on and counted against truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.count.pictures import CountPictures
from transect.data.images import read_image
from transect.data.survey import open_survey
from transect.metrics.count import rmse
from transect.run import RunFolder
from transect.simulate.colony import CLASSES, write_colony_survey
from transect.types import Progress

__all__ = ["judge", "result_lines", "simulate", "true_counts"]

_TRAIN, _TEST = 48, 16


def simulate(folder: Path, *, seed: int, progress: Progress) -> Path:
    """Write the demo's survey.

    Args:
        folder: Where.
        seed: Of the simulator.
        progress: Told what happens.

    Returns:
        The survey, with the truth of its test photos beside it.
    """
    root = write_colony_survey(folder, n_train=_TRAIN, n_test=_TEST, seed=seed)
    progress.say(f"wrote {_TRAIN} training and {_TEST} test photos to {root}")
    return root


def judge(
    run: RunFolder, root: Path, predict: Callable[..., Any], *, device: str, progress: Progress
) -> list[str]:
    """Compare a run on the demo's survey with always answering the mean.

    Args:
        run: The run; the counts of the test photos are written beside it: as they are, and
            resampled, with and without the scale check.
        root: From ``simulate``.
        predict: Answers a folder: (images, out, options).
        device: Where the networks answer.
        progress: Told what happens.

    Returns:
        Lines with the score on the test photos and the trivial answer's beside it.
    """
    survey, folder = open_survey(root), run.path.parent
    names = [image.name for image in survey.images if image.split == "test"]
    lines = [f"score on {_TEST} test photos (RMSE per class, averaged: the competition's):"]
    for factor, words in ((1.0, "as they are"), (2.0, "at twice the size"), (0.5, "at half")):
        photos = _resampled(root, names, folder / f"photos-{factor:g}", factor)
        for scale in ("none",) if factor == 1 else ("none", "auto"):
            out = folder / f"counts-{factor:g}-{scale}"
            predict(photos, out, {"scale": scale})
            checked = ", scale checked" if scale == "auto" else ""
            lines += result_lines(out, root, names, f"photos {words}{checked}")
        if factor == 1:
            lines.append(_trivial_line(root, names, CountPictures(survey)))
    return lines


def _resampled(root: Path, names: Sequence[str], folder: Path, factor: float) -> Path:
    """The test photos alone, at another size."""
    for name in names:
        pixels = read_image(root / "images" / name)
        if factor != 1:
            how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
            pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=how)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), pixels[..., ::-1])
    return folder


def result_lines(out: Path, root: Path, names: Sequence[str], words: str) -> list[str]:
    """The score of written counts, and how many intervals hold."""
    truth = true_counts(root, names)
    table = pd.read_csv(out / "counts.csv").set_index("image").loc[list(names)]
    said = table[list(CLASSES)].to_numpy(float)
    inside = (table["all low"] <= truth.sum(1)) & (truth.sum(1) <= table["all high"])
    totals = pd.read_csv(out / "totals.csv").set_index("class").loc["all"]
    return [
        f"  {words:<36} {rmse(said, truth):6.2f}   total {totals['count']:.0f} "
        f"[{totals['low']:.0f}, {totals['high']:.0f}], truly {truth.sum():.0f}; "
        f"{inside.mean():.0%} of the intervals hold",
    ]


def _trivial_line(root: Path, names: Sequence[str], pictures: CountPictures) -> str:
    """The score of always answering the training's mean."""
    mean = np.tile(pictures.counts.mean(axis=0), (len(names), 1))
    return f"  {'always the mean of the training':<36} {rmse(mean, true_counts(root, names)):6.2f}"


def true_counts(root: Path, names: Sequence[str]) -> NDArray[np.float64]:
    """The simulator's own counts of its test photos: (N, C)."""
    dots = pd.read_csv(root / "truth" / "points.csv")
    table = pd.crosstab(dots["image"], dots["class"])
    return np.asarray(
        table.reindex(index=list(names), columns=list(CLASSES), fill_value=0), np.float64
    )
