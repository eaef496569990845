"""The members of one round on all folds: one after another here, or one per device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.files import noted
from transect.launch import Job, launch_said, run_jobs
from transect.recipe import Member
from transect.run import RunFolder
from transect.task import Dataset, Task, Work
from transect.train.distributed import Team, is_main_process
from transect.train.spent import Spent
from transect.types import Quiet

__all__ = ["Reopen", "fit_job", "fit_round", "waves"]

D = TypeVar("D", bound=Dataset)


@dataclass(frozen=True)
class Reopen:
    """How another process comes to the survey of a run.

    Attributes:
        root: The survey's folder.
        question: As ``open_survey`` takes it.
        missing: As ``open_survey`` takes it.
        devices: Of this machine that jobs may run on.
    """

    root: str
    question: str
    missing: str | None
    devices: tuple[str, ...] = ()

    def elsewhere(self) -> bool:
        """Whether jobs go to other processes: on Ray, or several at a time here."""
        launch = launch_said()
        return launch.how != "local" or len(launch.places(self.devices or ("cpu",))) > 1


def fit_round(task: Task[D, Any], work: Work[D], number: int, reopen: Reopen | None) -> None:
    """Train all members of a round on all folds.

    Members that take the masks of others as channels wait for those; all else is independent.

    Args:
        task: The question.
        work: The training.
        number: 0 for labelled images alone, then the rounds of pseudo-labels.
        reopen: For jobs in processes of their own; None trains here.
    """
    spent = Spent(work.run)
    if is_main_process():
        with spent.on("labelling" if number else "preparing"):
            task.begin_round(work, number)
    Team(work.device).wait()
    for wave in waves(work.recipe.members):
        with spent.on("training"):
            if reopen is not None and reopen.elsewhere():
                _fit_elsewhere(work, wave, number, reopen)
            else:
                for member in wave:
                    for fold in work.used:
                        task.fit(work, member, fold, number)
        if is_main_process():
            with spent.on("predicting"):
                for member in wave:
                    task.after_member(work, member, number)
        Team(work.device).wait()


def waves(members: Sequence[Member]) -> list[list[Member]]:
    """Members in groups: none of a group takes the masks of another one of it as channels.

    Example:
        >>> from dataclasses import replace
        >>> from transect.recipe import Geometry, Member
        >>> second = Member("b", geometry=Geometry(channels=("image", "mask:a")))
        >>> [[m.name for m in wave] for wave in waves([Member("a"), second, Member("c")])]
        [['a'], ['b', 'c']]
    """
    found: list[list[Member]] = []
    for member in members:
        taken = {c.removeprefix("mask:") for c in member.geometry.channels if c[:5] == "mask:"}
        if not found or taken & {one.name for one in found[-1]}:
            found.append([])
        found[-1].append(member)
    return found


def fit_job(
    run: str,
    member: str,
    fold: int,
    number: int,
    device: str,
    survey: dict[str, Any],
    threads: int | None = None,
) -> None:
    """Train one member on one fold in a process of its own.

    Args:
        run: The run folder; ``recipe.json`` and ``folds.csv`` are there.
        member: Its name.
        fold: The fold to leave out.
        number: The round.
        device: As this process sees it.
        survey: root, question and missing of ``Reopen``.
        threads: CPU threads; None leaves what the process was begun with.
    """
    from transect.pipeline.tasks import task_of
    from transect.train.process import prepare_process

    prepare_process(threads)

    folder = RunFolder.open(Path(run))
    recipe = folder.recipe()
    opened = open_survey(
        Path(survey["root"]),
        question=survey["question"],
        missing=survey["missing"],
        mask_kind=folder.data()["mask_kind"],
        label_kind=folder.data().get("label_kind"),
    )
    task = task_of(opened.question)
    with tempfile.TemporaryDirectory(prefix="transect-") as scratch, noted(folder.path):
        dataset = task.dataset(opened, Path(scratch), Quiet())
        units, folds = task.divide(folder, recipe, dataset, Quiet())
        work = Work(folder, recipe, units, folds, device, Quiet())
        chosen = next(one for one in recipe.members if one.name == member)
        task.fit(work, chosen, fold, number)


def _fit_elsewhere(work: Work[Any], wave: Sequence[Member], number: int, reopen: Reopen) -> None:
    """Hand the members of a wave and their folds to ``launch``; all must succeed."""
    where = {k: v for k, v in asdict(reopen).items() if k in ("root", "question", "missing")}
    device = "cuda" if work.device.startswith("cuda") else work.device
    launch = launch_said()
    jobs = [
        Job(
            f"{member.name}, fold {fold}",
            "transect.pipeline.fitting:fit_job",
            {
                "run": str(work.run.path.resolve()),
                "member": member.name,
                "fold": fold,
                "number": number,
                "device": device,
                "survey": where,
                "threads": launch.threads,
            },
        )
        for member in wave
        for fold in work.used
    ]
    results = run_jobs(
        jobs,
        how=launch.how,
        devices=launch.places(reopen.devices or (work.device,)),
        progress=lambda done, count, result: work.progress.step("training", done, count),
    )
    failed = [result for result in results if result.error is not None]
    if failed:
        more = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        raise TransectError(
            f"training {failed[0].name} failed{more}: {failed[0].error} Mend it and go on with "
            "--resume: what is trained is kept."
        )
