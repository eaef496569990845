"""What the report needs beyond numbers: images with outlines, calibration; kept in the run."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.audit import doubtful_values, keep_doubts
from transect.metrics.calibration import expected_calibration_error, reliability
from transect.predict.outputs import write_picture
from transect.report.pictures import overlay
from transect.run import RunFolder
from transect.segment.dataset import MaskDataset
from transect.segment.deciding import Decisions
from transect.segment.findings import worst_and_best
from transect.segment.oof import OutOfFold
from transect.task import Rows

__all__ = ["keep_doubtful_masks", "keep_evidence"]

_SHOWN = 12  # worst and best, each
_SIDE = 384  # pixels of a shown window
_NEAR = 5  # pixels around a true object in which predictions are looked at, our choice
_SAMPLED = 4000  # pixels per image for the calibration


def keep_evidence(
    run: RunFolder,
    dataset: MaskDataset,
    out_of_fold: OutOfFold,
    decisions: Decisions,
    rows: Rows,
    metric: str,
) -> None:
    """Write the worst and best out-of-fold images with outlines, and how honest the maps are.

    Leaves ``gallery/*.jpg``, ``gallery.json`` and ``calibration.json`` in the run folder.
    """
    number = {image.name: i for i, image in enumerate(dataset.images)}
    gallery = []
    for kind, ranked in worst_and_best(rows, metric, _SHOWN).items():
        for place, (name, value) in enumerate(ranked.shown):
            i = number[name]
            answer = decisions.answer(out_of_fold, dataset, i)
            truth = np.maximum(dataset.labels(i), 0)
            window = _busiest(truth, answer)
            picture = overlay(dataset.cache.image(i)[window], truth[window], answer[window])
            file = f"{kind}{place:02d}.jpg"
            write_picture(run.path / "gallery" / file, picture)
            entry = {"kind": kind, "file": file, "name": name, "value": value, "tied": ranked.tied}
            gallery.append(entry)
    run.write_json("gallery.json", gallery)
    run.write_json("calibration.json", _calibration(dataset, out_of_fold, number))


def keep_doubtful_masks(
    run: RunFolder, dataset: MaskDataset, out_of_fold: OutOfFold, rows: Rows
) -> None:
    """Note masks that disagree with predictions which are sure of themselves, for the report.

    Args:
        run: Gets ``oof/doubts.json``.
        dataset: With masks.
        out_of_fold: Their predicted maps.
        rows: Their scores.
    """
    number = {image.name: i for i, image in enumerate(dataset.images)}
    dice = dict(zip(rows.names, rows["dice"].tolist(), strict=True))
    agreement, sure, names = [], [], []
    for image in out_of_fold.images:
        maps = out_of_fold.maps(image)
        chance = maps.max(axis=0) if dataset.kind == "classes" else maps[0]
        found = dataset.labels(number[image.name]) > 0
        here = (found | (chance > 0.5)).astype(np.uint8)
        near = cv2.dilate(here, np.ones((2 * _NEAR + 1, 2 * _NEAR + 1), np.uint8)) > 0
        agreement.append(float(dice[image.name]))
        sure.append(float(np.maximum(chance, 1 - chance)[near].mean()) if near.any() else 1.0)
        names.append(image.name)
    if names:
        keep_doubts(doubtful_values(np.array(agreement), np.array(sure), names), run.path)


def _busiest(truth: NDArray[np.integer], answer: NDArray[np.integer]) -> tuple[slice, slice]:
    """The window of a large image in which truth and answer differ most."""
    height, width = truth.shape
    if max(height, width) <= _SIDE:
        return slice(None), slice(None)
    wrong = ((truth > 0) != (answer > 0)).astype(np.float32)
    best, corner = -1.0, (0, 0)
    for top in range(0, max(1, height - _SIDE + 1), _SIDE // 4):
        for left in range(0, max(1, width - _SIDE + 1), _SIDE // 4):
            found = float(wrong[top : top + _SIDE, left : left + _SIDE].sum())
            if found > best:
                best, corner = found, (top, left)
    return slice(corner[0], corner[0] + _SIDE), slice(corner[1], corner[1] + _SIDE)


def _calibration(
    dataset: MaskDataset, out_of_fold: OutOfFold, number: dict[str, int]
) -> dict[str, Sequence[float] | float]:
    """Reliability of the foreground probability over sampled out-of-fold pixels."""
    said, true = [], []
    rng = np.random.default_rng(0)
    for image in out_of_fold.images:
        labels = dataset.labels(number[image.name]).ravel()
        maps = out_of_fold.maps(image)
        foreground = 1 - maps[0] if dataset.kind == "classes" else maps[0]
        sample = rng.integers(0, labels.size, min(_SAMPLED, labels.size))
        sample = sample[labels[sample] >= 0]
        said.append(foreground.ravel()[sample])
        true.append(labels[sample] > 0)
    p, y = np.concatenate(said).astype(np.float64), np.concatenate(true)
    bins = reliability(p, y)
    return {
        "said": bins.said.tolist(),
        "seen": bins.came.tolist(),
        "counts": bins.count.tolist(),
        "error": float(expected_calibration_error(p, y)),
    }
