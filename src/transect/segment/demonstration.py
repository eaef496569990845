"""The demo of this question: simulated seismic sections, trained on and scored against truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.images import read_image, read_labels
from transect.data.survey import open_survey
from transect.metrics.segment import salt_map
from transect.run import RunFolder
from transect.segment.dataset import MaskDataset
from transect.segment.predicting import Predictor
from transect.simulate.salt import write_salt_survey
from transect.types import Image, Progress

__all__ = ["judge", "simulate", "trivial_scores"]

_TRAIN, _TEST = 400, 100


def simulate(folder: Path, *, seed: int, progress: Progress) -> Path:
    """Write the demo's survey.

    Args:
        folder: Where.
        seed: Of the simulator.
        progress: Told what happens.

    Returns:
        The survey, with the truth of its test patches beside it.
    """
    root = write_salt_survey(folder, n_train=_TRAIN, n_test=_TEST, seed=seed)
    progress.say(f"wrote {_TRAIN} training and {_TEST} test patches to {root}")
    return root


def judge(path: Path, root: Path, *, device: str, progress: Progress) -> list[str]:
    """Compare a run on the demo's survey with answers that need no training.

    Args:
        path: The run folder.
        root: From ``simulate``.
        device: Where the networks answer.
        progress: Told what happens.

    Returns:
        Lines with the score on the test patches and the trivial answers' beside it.
    """
    survey = open_survey(root)
    tests = [image for image in survey.images if image.split == "test"]
    score = _test_score(RunFolder.open(path), root, tests, device, progress)
    trivial = trivial_scores(MaskDataset(survey), root, tests)
    lines = [f"score on {len(tests)} test patches (mean precision over IoU .50-.95):"]
    lines.append(f"  transect               {score:.3f}")
    lines += [f"  {name:<22} {value:.3f}" for name, value in trivial.items()]
    return lines


def trivial_scores(dataset: MaskDataset, root: Path, tests: list[Image]) -> dict[str, float]:
    """What answers without training reach on the test images.

    Returns:
        The score of all-empty masks, and of the best global grey threshold (either side of it)
        of the training images.
    """
    truth = np.stack([_truth(root, image) for image in tests])
    grey = np.stack([read_image(image.path)[..., 0] for image in tests])
    empty = float(salt_map(np.zeros_like(truth), truth).mean())
    train = np.stack([dataset.cache.image(i)[..., 0] for i in range(len(dataset.images))])
    masks = np.stack([dataset.labels(i) > 0 for i in range(len(dataset.images))])
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
    """Mean score of the run on the test images."""
    predictor = Predictor(run, device=device)
    values = []
    for done, image in enumerate(tests):
        answer = predictor.labels(read_image(image.path), image) > 0
        values.append(float(salt_map(answer[None], _truth(root, image)[None])[0]))
        progress.step("scoring the test patches", done + 1, len(tests))
    return float(np.mean(values))


def _truth(root: Path, image: Image) -> NDArray[np.bool_]:
    """The simulator's own mask of a test image."""
    path = root / "truth" / "masks" / image.name
    return np.asarray(read_labels(path) > 0)
