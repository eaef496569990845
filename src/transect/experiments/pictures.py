"""How a run did on every unit out of fold, whatever its question: what gains are made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transect.pipeline.tasks import task_of
from transect.pipeline.train import ROWS
from transect.run import RunFolder
from transect.task import Rows

__all__ = ["PictureRows", "metric_of", "picture_rows"]

PictureRows = Mapping[str, Mapping[str, float]]
"""Unit to metric to value; higher is better."""


def metric_of(folder: Path) -> str:
    """What is compared unit by unit.

    Args:
        folder: A finished run.

    Returns:
        The main metric of masks; ``error_saved`` of counts (minus the absolute error of a
        picture, all classes together); ``map@5`` of identities (1 / rank of the right one among
        the first five, else 0).
    """
    run = RunFolder.open(folder)
    return task_of(run.recipe().question).unit_values(Rows.load(run.path / ROWS))[0]


def picture_rows(folder: Path) -> PictureRows:
    """Out-of-fold scores of every unit of a run.

    Args:
        folder: A finished run.

    Raises:
        TransectError: If the run did not get so far.
    """
    run = RunFolder.open(folder)
    rows = Rows.load(run.path / ROWS)
    metric, values = task_of(run.recipe().question).unit_values(rows)
    return {name: {metric: float(v)} for name, v in zip(rows.names, values, strict=True)}
