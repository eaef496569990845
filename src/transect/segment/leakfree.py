"""Out-of-fold scores of masks without some pictures, and masks that predictions contradict."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from transect.audit import doubtful_values, keep_doubts, run_groups
from transect.folds import read_folds
from transect.run import RunFolder
from transect.segment.oof import OutOfFold
from transect.segment.pictures import Pictures
from transect.segment.scoring import score_record

__all__ = ["keep_doubtful_masks", "score_without"]

_NEAR = 5  # pixels around a true object in which predictions are looked at, our choice


def score_without(path: Path, left_out: Collection[str]) -> dict[str, Any]:
    """Scores out of fold with some pictures left aside.

    Args:
        path: The run folder.
        left_out: Names of the pictures.

    Returns:
        Metric name to value, interval and folds; empty if no picture is left.
    """
    run = RunFolder.open(path)
    rows: Mapping[str, Mapping[str, float]] = run.read_json("oof/pictures.json")
    names = [name for name in rows if name not in left_out]
    groups = run_groups(path)
    return score_record(
        [rows[name] for name in names],
        read_folds(path / "folds.csv", names).tolist(),
        [groups.get(name) for name in names],
        run.data()["mask_kind"],
    )


def keep_doubtful_masks(run: RunFolder, pictures: Pictures, out_of_fold: OutOfFold) -> None:
    """Note masks that disagree with predictions which are sure of themselves, for the report.

    Args:
        run: The run, with its out-of-fold scores written.
        pictures: With masks.
        out_of_fold: Their predicted maps.
    """
    rows = run.read_json("oof/pictures.json")
    number = {image.name: i for i, image in enumerate(pictures.images)}
    agreement, sure, names = [], [], []
    for image in out_of_fold.images:
        maps = out_of_fold.maps(image)
        chance = maps.max(axis=0) if pictures.kind == "classes" else maps[0]
        found = pictures.labels(number[image.name]) > 0
        here = (found | (chance > 0.5)).astype(np.uint8)
        near = cv2.dilate(here, np.ones((2 * _NEAR + 1, 2 * _NEAR + 1), np.uint8)) > 0
        agreement.append(float(rows[image.name]["dice"]))
        sure.append(float(np.maximum(chance, 1 - chance)[near].mean()) if near.any() else 1.0)
        names.append(image.name)
    if names:
        keep_doubts(doubtful_values(np.array(agreement), np.array(sure), names), run.path)
