"""The demo of this question: simulated seismic sections, trained on and scored against truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.images import read_image, read_labels
from transect.data.survey import fingerprint, open_survey, survey_summary
from transect.data.synthetic_salt import write_salt_survey
from transect.metrics.segment import salt_map
from transect.recipe import Recipe
from transect.run import RunFolder, data_record
from transect.segment import auto
from transect.segment.pictures import Pictures
from transect.segment.predicting import Predictor
from transect.types import Image, Progress

__all__ = ["demonstrate", "trivial_scores"]

_TRAIN, _TEST = 400, 100
_SECONDS = 130.0  # of training and what follows; the whole demo takes about three minutes


def demonstrate(
    folder: Path, *, seed: int, device: str, threads: int | None, progress: Progress
) -> list[str]:
    """Simulate a survey, train on it, and compare with answers that need no training.

    Args:
        folder: Gets ``survey/`` and ``run/``.
        seed: Of both.
        device: auto or as torch names it.
        threads: CPU threads.
        progress: Told what happens.

    Returns:
        Lines with the score on the test pictures and the trivial answers' beside it.
    """
    from transect import segment
    from transect.train.process import prepare_process

    prepare_process(threads)
    device = "cpu" if device == "auto" else device
    root = write_salt_survey(folder / "survey", n_train=_TRAIN, n_test=_TEST, seed=seed)
    progress.say(f"wrote {_TRAIN} training and {_TEST} test patches to {root}")
    survey = open_survey(root)
    for line in survey_summary(survey):
        progress.say(line)
    run = RunFolder(folder / "run")
    pictures = segment.prepare(survey, run.path / "cache", progress)
    recipe: Recipe = auto.plan(pictures, budget_seconds=_SECONDS, device=device, seed=seed)
    for line in recipe.why:
        progress.say(line)
    run.begin(recipe, data_record(survey, fingerprint(survey)))
    segment.train(pictures, recipe, run.path, progress=progress, device=device)
    tests = [image for image in survey.images if image.split == "test"]
    score = _test_score(run, root, tests, device, progress)
    trivial = trivial_scores(pictures, root, tests)
    lines = [f"score on {len(tests)} test patches (mean precision over IoU .50-.95):"]
    lines.append(f"  transect               {score:.3f}")
    lines += [f"  {name:<22} {value:.3f}" for name, value in trivial.items()]
    return lines


def trivial_scores(pictures: Pictures, root: Path, tests: list[Image]) -> dict[str, float]:
    """What answers without training reach on the test pictures.

    Returns:
        The score of all-empty masks, and of the best global grey threshold (either side of it)
        of the training pictures.
    """
    truth = np.stack([_truth(root, image) for image in tests])
    grey = np.stack([read_image(image.path)[..., 0] for image in tests])
    empty = float(salt_map(np.zeros_like(truth), truth).mean())
    train = np.stack([pictures.cache.image(i)[..., 0] for i in range(len(pictures.images))])
    masks = np.stack([pictures.labels(i) > 0 for i in range(len(pictures.images))])
    best, chosen = -1.0, (0, 1)
    for level in range(0, 256, 8):
        for side in (1, -1):
            found = float(salt_map(side * train.astype(int) > side * level, masks).mean())
            if found > best:
                best, chosen = found, (level, side)
    level, side = chosen
    threshold = float(salt_map(side * grey.astype(int) > side * level, truth).mean())
    return {"all empty": empty, "best grey threshold": threshold}


def _test_score(
    run: RunFolder, root: Path, tests: list[Image], device: str, progress: Progress
) -> float:
    """Mean score of the run on the test pictures."""
    predictor = Predictor(run, device=device)
    values = []
    for done, image in enumerate(tests):
        answer = predictor.labels(read_image(image.path), image) > 0
        values.append(float(salt_map(answer[None], _truth(root, image)[None])[0]))
        progress.step("scoring the test patches", done + 1, len(tests))
    return float(np.mean(values))


def _truth(root: Path, image: Image) -> NDArray[np.bool_]:
    """The simulator's own mask of a test picture."""
    path = root / "truth" / "masks" / image.name
    return np.asarray(read_labels(path) > 0)
