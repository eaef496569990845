"""The verbs of one question as tests call them: on a prepared dataset and a run's folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from transect.metrics.score import scores_to_json
from transect.pipeline import answering
from transect.pipeline.report import write_report
from transect.pipeline.tasks import task_of
from transect.pipeline.train import ROWS
from transect.pipeline.train import train as train_all
from transect.run import RunFolder
from transect.task import Rows


class Verbs:
    def __init__(self, question: str) -> None:
        self.task = task_of(question)

    def prepare(self, survey, scratch, progress):
        return self.task.dataset(survey, scratch, progress)

    def train(self, dataset, recipe, path: Path, *, progress, device: str) -> None:
        train_all(self.task, dataset, recipe, RunFolder(path), device=device, progress=progress)

    def score(self, path: Path, truth: Path | None, *, progress, device: str = "cpu"):
        run = RunFolder.open(path)
        return scores_to_json(
            answering.score(self.task, run, truth, device=device, progress=progress)
        )

    def score_without(self, path: Path, left_out: Collection[str]) -> dict[str, Any]:
        run = RunFolder(path)
        rows = Rows.load(run.path / ROWS)
        return scores_to_json(self.task.scores(rows.without(left_out), run))

    def predict(self, path: Path, images: Path, out: Path, *, device: str, progress, **options):
        run = RunFolder.open(path)
        return answering.predict(
            self.task, run, images, out, device=device, progress=progress, options=options
        )

    def submit(self, path: Path, images: Path, out: Path, *, device: str, progress) -> None:
        run = RunFolder.open(path)
        answering.submit(self.task, run, images, out, device=device, progress=progress)

    def report(self, path: Path) -> Path:
        return write_report(self.task, RunFolder.open(path))


segment, count, identify = (Verbs(name) for name in ("segment", "count", "identify"))
