"""What a run says of images that it did not see: the order of doubt, and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from transect.pipeline.tasks import task_of
from transect.review.marks import Mark, of_instance
from transect.run import RunFolder
from transect.task import Reviewable, Rows
from transect.types import Image, Survey

__all__ = ["HeldOut"]


class HeldOut:
    """A run's out-of-fold answers beside a survey; without a run there are none.

    Attributes:
        there: Whether there is a run.
    """

    def __init__(self, run: Path | None, survey: Survey) -> None:
        """Look a run up.

        Raises:
            TransectError: If it is no run.
        """
        self._run = None if run is None else RunFolder.open(run)
        self._survey = survey
        self.there = self._run is not None

    @cached_property
    def _values(self) -> tuple[str, dict[str, float]]:
        """What images are compared by, and its value for each; of several units the lowest."""
        from transect.pipeline.train import ROWS  # loads torch, which a survey alone does not need

        if self._run is None or not (self._run.path / ROWS).is_file():
            return "", {}
        rows = Rows.load(self._run.path / ROWS)
        name, values = task_of(self._run.recipe().question).unit_values(rows)
        lowest: dict[str, float] = {}
        for unit, value in zip(rows.names, values.tolist(), strict=True):
            image = unit if unit in self._names else unit.rpartition("#")[0]
            if np.isfinite(value):
                lowest[image] = min(value, lowest.get(image, np.inf))
        return name, lowest

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(image.name for image in self._survey.images)

    def order(self, names: Sequence[str]) -> list[str]:
        """Images, those first where annotation and answer are furthest apart.

        Images that the run never held out (not annotated) come after them, in their order.
        """
        values = self._values[1]
        return sorted(names, key=lambda name: values.get(name, np.inf))

    def reason(self, name: str) -> str:
        """Why an image is where it is, in a few letters; "" if nothing is known."""
        metric, values = self._values
        return f"{metric} {values[name]:.2f}" if name in values else ""

    def held(self, name: str) -> bool:
        """Whether an image was held out, so that its answer is by networks that did not see it."""
        return name in self._values[1]

    def answer(self, image: Image) -> list[tuple[Mark, float | None]]:
        """What the run answers for an image by networks that did not see it, with confidence.

        Of individuals these are the candidates, the likeliest first.
        """
        if self._run is None:
            return []
        task = task_of(self._run.recipe().question)
        if not isinstance(task, Reviewable):
            return []
        return [
            (of_instance(instance, f"r{n}", image.size_hw), instance.confidence)
            for n, instance in enumerate(task.held_out(self._run, self._survey, image))
        ]
