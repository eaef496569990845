"""A finished run adjusted to a new site by a few dotted photos of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.count.predicting import predictor_of
from transect.count.scoring import true_counts
from transect.data.survey import open_survey
from transect.ensemble.conformal import fit_intervals
from transect.run import RunFolder
from transect.types import Progress

__all__ = ["calibrate", "factors_of"]

_HOLD = 10.0  # objects worth of trust in the run as it is; our guess
_FEW = 5  # fewer photos leave the intervals as they are


def calibrate(
    path: Path,
    pilot: Path,
    *,
    device: str = "cpu",
    scale: float = 1.0,
    progress: Progress,
) -> dict[str, Any]:
    """Fit one factor per class on a pilot survey, and new intervals if it has five photos or more.

    The factors are kept only if they pay on the pilot's photos when each is left out in turn.
    ``calibration.json`` in the run folder is used by every later prediction; remove it to go back.

    Args:
        path: The run.
        pilot: A survey with dots or totals.
        device: Where.
        scale: Resampling of the pilot's photos, as later in ``predict``.
        progress: Told what was found.

    Returns:
        factors (class to number), error before and after, photos, kept.

    Raises:
        TransectError: If the pilot has a class that the run does not know.
    """
    run = RunFolder.open(path)
    survey = open_survey(pilot, question="count")
    predictor = predictor_of(run, device=device, calibrated=False)
    real_of = true_counts(survey, predictor.classes)
    listed = survey.training()
    counted = []
    for number, image in enumerate(listed):
        maps: Any = predictor.map(image, scale=scale)
        counted.append(predictor.answer(maps, image, scale=scale).counts)
        progress.step("counting the pilot", number + 1, len(listed))
    said, real = np.array(counted), np.array([real_of[image.name] for image in listed])
    left_out = np.array(
        [
            said[i] * factors_of(np.delete(said, i, 0), np.delete(real, i, 0))
            for i in range(len(said))
        ]
    )
    before = float(np.abs(said - real).mean())
    after = float(np.abs(left_out - real).mean())
    kept = after < before
    factors = factors_of(said, real) if kept else np.ones(said.shape[1])
    record: dict[str, Any] = {"scale": factors.tolist(), "coverage": None}
    if len(said) >= _FEW:
        used = left_out if kept else said
        table = np.column_stack([used, used.sum(axis=1)])
        wanted = np.column_stack([real, real.sum(axis=1)])
        nominal = predictor.decisions.intervals[-1].nominal
        fitted = [
            fit_intervals(table[:, k], wanted[:, k], nominal=nominal) for k in range(table.shape[1])
        ]
        record["intervals"] = [entry.to_json() for entry in fitted]
        record |= {"block_px": None, "sites": 0}
    run.write_json("calibration.json", record)
    named = dict(zip(predictor.classes, factors.tolist(), strict=True))
    shown = ", ".join(f"{name} x {factor:.2f}" for name, factor in named.items())
    progress.say(
        f"calibration {'kept' if kept else 'dropped'}: mean error on left-out pilot photos "
        f"{before:.2f} -> {after:.2f} ({shown})"
    )
    return {"factors": named, "before": before, "after": after, "photos": len(said), "kept": kept}


def factors_of(said: NDArray[np.float64], real: NDArray[np.float64]) -> NDArray[np.float64]:
    """Truth over count for every class, drawn towards 1 where there is little to go by: (C,).

    Example:
        >>> factors_of(np.array([[40.0, 0.0]]), np.array([[65.0, 0.0]]))
        array([1.5, 1. ])
    """
    return np.asarray((real.sum(axis=0) + _HOLD) / (said.sum(axis=0) + _HOLD))
