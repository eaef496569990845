"""`transect demo`: a simulated survey, written to disk, trained on, scored against its truth."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from transect import api
from transect.commands import command
from transect.errors import TransectError
from transect.pipeline.tasks import task_of
from transect.run import RunFolder
from transect.types import Progress

__all__ = ["demo"]

_SECONDS = {"segment": 130.0, "count": 100.0, "identify": 100.0, "classify": 120.0}  # then tests
_SETTINGS = {"identify": {"decide.share_new": "0.3"}}  # a field worker would guess it, too


def demo(
    question: str,
    out: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress,
) -> list[str]:
    """Run the main job of a question on its simulator, in about three minutes on two cores.

    Args:
        question: segment, count, identify or classify.
        out: Folder for the survey and the run; an earlier demo there is replaced.
        seed: Of the simulator and the training.
        device: As in ``transect.train``.
        threads: As in ``transect.train``.
        progress: Told what happens.

    Returns:
        The lines that tell how it went, beside the trivial answers.

    Raises:
        TransectError: If ``out`` holds something that is no demo.
    """
    started = time.monotonic()
    folder = out / question
    if folder.exists():
        if not (folder / "survey").is_dir():
            raise TransectError(f"{folder} exists and is no demo. Choose another --out.")
        shutil.rmtree(folder)
    task = task_of(question)
    root = task.simulate(folder / "survey", seed=seed, progress=progress)
    run = api.train(
        root,
        out=folder / "run",
        budget=_SECONDS[question],
        settings=_SETTINGS.get(question),
        seed=seed,
        device=device,
        threads=threads,
        progress=progress,
    )
    device = "cpu" if device == "auto" else device

    def predict(images: Path, answers: Path, options: dict[str, Any]) -> dict[str, Any]:
        return run.predict(images, answers, device=device, progress=progress, **options)

    lines = task.judge(RunFolder(run.path), root, predict, device=device, progress=progress)
    seconds = time.monotonic() - started
    return [
        *lines,
        f"time:    {seconds / 60:.1f} minutes",
        f"look at: {folder / 'run' / 'report.html'}",
        run.verdict,
        f"next:    {command('demo', _other(question))}",
    ]


def _other(question: str) -> str:
    """The question to try next."""
    return {"segment": "count", "count": "identify", "identify": "classify"}.get(
        question, "segment"
    )
