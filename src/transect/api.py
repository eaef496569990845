"""The five words as functions: what the command line does is one call from here."""

from __future__ import annotations

import contextlib
import math
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from transect.commands import place_of
from transect.errors import TransectError, unknown_name
from transect.files import noted
from transect.network import downloads
from transect.recipe import Recipe, set_field
from transect.run import RunFolder, data_record, locked
from transect.types import Expecting, LabelKind, MaskKind, Progress, Quiet, Survey

if TYPE_CHECKING:
    from transect.audit import AuditReport
    from transect.data.convert import ConvertResult
    from transect.predictions import Predictions
    from transect.scores import Scores
    from transect.task import Task

__all__ = ["Run", "audit", "calibrate", "catalogue", "convert", "export", "predict", "report"]
__all__ += ["review", "score", "submit", "train"]


@dataclass(frozen=True)
class Run:
    """A trained run: the folder, and what can be asked of it.

    Attributes:
        path: The run folder.

    Example:
        >>> import transect
        >>> run = transect.train("nuclei/", out="runs/nuclei")  # doctest: +SKIP
        >>> run.predict("new/", "out/")  # doctest: +SKIP
    """

    path: Path

    @property
    def recipe(self) -> Recipe:
        """The recipe that this run was trained with."""
        return RunFolder.open(self.path).recipe()

    @property
    def verdict(self) -> str:
        """One sentence: whether to use this run, beside answers that need no training."""
        from transect.pipeline.verdict import verdict_of

        return verdict_of(RunFolder.open(self.path)).sentence

    @property
    def problems(self) -> list[str]:
        """Files of the survey that were left out, each with its sentence."""
        left_out = RunFolder.open(self.path).data()["problems"]
        return [f"{problem['name']}: {problem['what']}" for problem in left_out]

    @overload
    def score(self, truth: Path | str | None = None) -> Scores: ...
    @overload
    def score(self, truth: None = None, *, leak_free: Literal[True]) -> dict[str, Any]: ...
    def score(
        self, truth: Path | str | None = None, *, leak_free: bool = False
    ) -> Scores | dict[str, Any]:
        """See ``transect.score``."""
        return score(self.path, truth, leak_free=True) if leak_free else score(self.path, truth)

    def predict(
        self, images: Path | str, out: Path | str | None = None, **options: Any
    ) -> Predictions:
        """See ``transect.predict``; without ``out``, answers go to ``answers-NAME`` by the run."""
        own = self.path.parent / f"{self.path.name}-answers-{Path(images).resolve().stem}"
        return predict(self.path, images, own if out is None else out, **options)

    def submit(self, images: Path | str, out: Path | str) -> Path:
        """See ``transect.submit``."""
        return submit(self.path, images, out)

    def report(self) -> Path:
        """See ``transect.report``."""
        return report(self.path)


def train(
    data: Path | str,
    *,
    recipe: str | Recipe = "auto",
    out: Path | str | None = None,
    budget: str | float | None = None,
    settings: Mapping[str, str] | None = None,
    question: str | None = None,
    missing: str | None = None,
    masks: MaskKind | None = None,
    labels: LabelKind | None = None,
    quick: bool = False,
    resume: bool = False,
    seed: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    audit: bool = True,
    download: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train on a survey and leave a run folder with everything in it, the report included.

    Args:
        data: The survey's folder.
        recipe: A bundled name, a file, a ``Recipe``, or ``auto``: then the data, the device and
            the budget decide, and ``recipe.why`` says how.
        out: The run folder; the default is ``runs/<name of the data>``.
        budget: Time for all of it: a number of seconds, or text such as ``15m``, ``2h``.
        settings: Fields to change: path to JSON text, as ``--set`` takes them.
        question: segment, count, identify or classify, if the folder could answer several.
        missing: ``empty`` if an image without a mask has no objects.
        masks: What the numbers in the masks are: binary, classes or instances; None asks the
            survey.
        labels: What ``labels.csv`` holds: single, several or grades; None asks the survey.
        quick: The recipe's short twin.
        resume: Go on with the run in ``out``; another recipe, seed, setting or budget than it was
            begun with is refused.
        seed: Of everything random; None keeps the recipe's.
        device: auto, cpu, cuda, cuda:1, mps.
        threads: CPU threads; None takes the physical cores.
        audit: Look for faults and leaks first; the report and ``score --leak-free`` need it.
        download: Pretrained weights may be fetched from the hub; nothing else is ever fetched.
            ``TRANSECT_DOWNLOAD=1`` in the environment says the same.
        progress: Told what happens.

    Returns:
        The run.

    Raises:
        TransectError: On bad data, an unknown recipe or field, or a folder in use.
    """
    from transect.data.ranges import range_of
    from transect.data.survey import fingerprint, open_survey, survey_summary
    from transect.pipeline import outfolder
    from transect.pipeline.fitting import Reopen
    from transect.pipeline.kept import MANIFEST, check_files, note_files
    from transect.pipeline.resolve import check_settings, refuse_unread, resolve
    from transect.pipeline.resuming import asked, refuse_other_data, refuse_other_words
    from transect.pipeline.tasks import task_of
    from transect.pipeline.train import train as train_all
    from transect.review.effect import effect_lines
    from transect.task import Limits
    from transect.train.distributed import Team, is_main_process
    from transect.train.process import prepare_process

    began = time.monotonic()
    root = Path(data)
    folder = RunFolder(Path(out) if out else Path("runs") / root.resolve().name)
    progress = _Logged(progress or Quiet(), folder)
    seconds = seconds_of(budget)
    given = _given(recipe, settings or {}, quick=quick)
    outfolder.refuse_inside(folder.path, root)
    if not is_main_process():
        meant = {
            "question": question, "missing": missing, "mask_kind": masks, "label_kind": labels
        }  # fmt: skip
        return _train_along(root, folder, _device(device), threads, meant)
    if folder.exists() and not resume:
        raise TransectError(
            f"{folder.path} already holds a run. Add --resume to go on with it, "
            "or choose another --out."
        )
    if seconds is not None:
        progress.expect(seconds)
    with locked(folder.path), noted(folder.path), downloads(download):
        chosen_device = _device(device)
        prepare_process(threads)
        if resume and folder.exists():
            check_files(folder.path, lost_ok=True)
            refuse_other_words(folder, given, settings or {}, seed=seed, seconds=seconds)
            question = folder.recipe().question
            missing = folder.data().get("missing", missing)
            masks, labels = folder.data()["mask_kind"], folder.data().get("label_kind")
        survey = open_survey(
            root,
            question=question,
            missing=missing,
            mask_kind=masks,
            label_kind=labels,
            progress=lambda done, total: progress.step("reading", done, total),
        )
        task = task_of(survey.question)
        if given is None:
            check_settings(task, settings or {})
        elif given.question == survey.question:
            refuse_unread(task, given)
        for line in survey_summary(survey):
            progress.say(line)
        prepared = task.dataset(survey, folder.path / "cache", progress)
        if resume and folder.exists():
            resolved = folder.recipe()
            refuse_other_data(folder, survey)
            (folder.path / MANIFEST).unlink(missing_ok=True)  # until it is finished again
            progress.say(f"going on with {folder.path}")
            if audit:
                _audited(survey, folder, None, threads, progress)
        else:
            if audit:
                _audited(survey, folder, seconds, threads, progress)
            left = None if seconds is None else max(1.0, seconds - (time.monotonic() - began))
            own_seed = (given.seed if given is not None else 0) if seed is None else seed
            limits = Limits(left, chosen_device, own_seed)
            resolved = resolve(task, given, survey, prepared, limits, settings or {})
            problems = (*survey.problems, *prepared.problems)
            record = data_record(survey, fingerprint(survey), problems, missing=missing)
            record["place"] = place_of(survey.root, folder.path.resolve().parent)
            record["asked"] = asked(given, settings or {}, seconds)
            record["summary"] = list(survey_summary(survey))
            values = range_of(survey.training())
            folder.begin(resolved, {**record, "values": values and values.to_json()})
        for line in resolved.why:
            progress.say(line)
        Team(chosen_device).wait()
        reopen = Reopen(str(root.resolve()), survey.question, missing, _devices(device))
        train_all(
            task,
            prepared,
            resolved,
            folder,
            device=chosen_device,
            progress=progress,
            reopen=reopen,
        )
        if is_main_process():
            for line in effect_lines(survey, folder):
                progress.say(line)
        note_files(folder.path)
    return Run(folder.path)


@overload
def score(
    run: Path | str,
    truth: Path | str | None = None,
    *,
    leak_free: Literal[False] = False,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Scores: ...
@overload
def score(
    run: Path | str,
    truth: Path | str | None = None,
    *,
    leak_free: bool,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]: ...
def score(
    run: Path | str,
    truth: Path | str | None = None,
    *,
    leak_free: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Scores | dict[str, Any]:
    """Every metric of a run with its spread over folds, or against a survey with known truth.

    Args:
        run: The run folder.
        truth: A survey folder; None takes the out-of-fold predictions.
        leak_free: Give ``as_split`` and ``leak_free``: the latter without pictures that have a
            copy, a neighbour or a sibling in another fold; ``removed`` names them, and ``leaks``
            counts the pairs of each kind.
        device: As in ``train``; with a ``truth`` the networks run.
        threads: As in ``train``.
        progress: Told what happens.

    Returns:
        Metric name to a record with value, interval and values per fold, a table by
        ``to_frame()``; for ``leak_free`` a plain dictionary.

    Raises:
        TransectError: If leaks are asked for and not known.
    """
    from transect.metrics.score import scores_to_json
    from transect.pipeline import answering
    from transect.pipeline.verdict import verdict_of
    from transect.scores import Scores

    folder, task = _opened(run)
    if leak_free:
        if truth:
            raise TransectError(
                "--leak-free is about folds. Whether TRUTH holds pictures of the training is told "
                "by transect audit DATA TRUTH."
            )
        found = answering.score_without_leaks(task, folder)
        scores = {name: scores_to_json(found[name]) for name in ("as_split", "leak_free")}
        return {**found, **scores}
    place = "cpu"
    if truth is not None:
        from transect.train.process import prepare_process

        prepare_process(threads)
        place = _device(device)
    measured = answering.score(
        task, folder, Path(truth) if truth else None, device=place, progress=progress or Quiet()
    )
    return Scores(scores_to_json(measured), verdict=verdict_of(folder).sentence)


def predict(
    run: Path | str,
    images: Path | str,
    out: Path | str,
    *,
    rescale: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Predictions:
    """Answer the run's question for new pictures.

    Args:
        run: The run folder.
        images: A folder of pictures, or one picture.
        out: The folder to write.
        rescale: Map the range of the new pictures' values to that of the training; without it,
            pictures with quite other values are refused.
        overwrite: Remove earlier answers from ``out``; without it, a folder that holds anything is
            refused.
        device: As in ``train``.
        threads: As in ``train``.
        progress: Told what happens.
        **options: The task's own, e.g. ``formats=("coco",)``.

    Returns:
        A dictionary of images answered, problems, verdict and files, with the answers as
        ``table``, ``masks()``, ``points``, ``boxes`` and for other libraries.

    Raises:
        TransectError: If ``out`` is in use, or the pictures do not fit the run.
    """
    from transect.pipeline import answering, outfolder
    from transect.predictions import Predictions
    from transect.train.process import prepare_process

    folder, task = _opened(run)
    images = Path(images)
    if not images.exists():
        raise TransectError(f"{images} does not exist. Give a folder of pictures or one picture.")
    outfolder.check(Path(out), images, overwrite=overwrite)
    prepare_process(threads)
    told = progress or Quiet()
    with _comparable(folder, images, rescale, told) as asked:
        found = answering.predict(
            task,
            folder,
            asked,
            Path(out),
            given=images,
            device=_device(device),
            progress=told,
            options=options,
        )
    return Predictions(found, run=folder.path, source=images, out=Path(out))


def submit(
    run: Path | str,
    images: Path | str,
    out: Path | str,
    *,
    rescale: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the competition's file for a folder of pictures."""
    from transect.pipeline import answering
    from transect.train.process import prepare_process

    folder, task = _opened(run)
    prepare_process(threads)
    told = progress or Quiet()
    with _comparable(folder, Path(images), rescale, told) as given:
        answering.submit(task, folder, given, Path(out), device=_device(device), progress=told)
    return Path(out)


def calibrate(
    run: Path | str,
    pilot: Path | str,
    *,
    scale: float = 1.0,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Correct a counting run on a few dotted photos of a new place; later predictions use it.

    Args:
        run: A run that counts.
        pilot: A survey with dots.
        scale: Resampling of the pilot's photos.
        device: As in ``train``.
        progress: Told what happens.

    Returns:
        Factors per class, and the error before and after.

    Raises:
        TransectError: If the run does not count.
    """
    from transect.task import Calibratable

    folder, task = _opened(run)
    if not isinstance(task, Calibratable):
        raise TransectError(f"{folder.path} does not count, so there is nothing to calibrate.")
    with locked(folder.path), noted(folder.path):
        return task.calibrate(
            folder, Path(pilot), scale=scale, device=_device(device), progress=progress or Quiet()
        )


def catalogue(
    folder: Path | str,
    action: str = "list",
    words: Sequence[str] = (),
    *,
    who: str = "",
    run: Path | str | None = None,
    write: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Look at or change the individuals that a run knows; every change can be undone.

    Args:
        folder: A run that identifies, or its ``catalogue`` folder.
        action: new, list, log, add, ask, remove, rename, merge, split, assign, group, export,
            import or undo.
        words: What the action takes, e.g. the two names that ``merge`` joins.
        who: Person, for the log.
        run: The run whose networks make vectors, for a catalogue that lies outside of it.
        write: ``group`` names the proposed individuals, instead of only telling.
        device: As in ``train``; ``add`` runs the networks.
        threads: As in ``train``.
        progress: Told what happens.

    Returns:
        Lines that say what was found or done.

    Raises:
        TransectError: On an unknown action, or what the catalogue refuses.
    """
    from transect.identify.catalogue_commands import change
    from transect.train.process import prepare_process

    prepare_process(threads)
    return change(
        Path(folder),
        action,
        words,
        run=None if run is None else Path(run),
        who=who,
        write=write,
        device=_device(device),
        progress=progress or Quiet(),
    )


def report(run: Path | str) -> Path:
    """Write ``report.html`` of a run anew and give its path."""
    from transect.pipeline.report import write_report

    folder, task = _opened(run)
    with locked(folder.path), noted(folder.path):
        return write_report(task, folder)


def export(
    run: Path | str, out: Path | str, *, to: str = "onnx", progress: Progress | None = None
) -> dict[str, Any]:
    """Write the networks of a run for other programs: one file each, and ``export.json``.

    Args:
        run: A run on masks.
        out: The folder to write.
        to: ``onnx``, which needs the extra ``onnx``, or ``torchscript``.
        progress: Told what happens.

    Returns:
        What ``export.json`` holds.

    Raises:
        TransectError: On another format, a question without masks, or a file whose maps differ
            from the run's own by more than .001.
    """
    from transect.pipeline.export import export_run

    folder, task = _opened(run)
    return export_run(task, folder, Path(out), to=to, progress=progress or Quiet())


@contextlib.contextmanager
def review(
    data: Path | str,
    survey: Path | str | None = None,
    *,
    name: str = "me",
    out: Path | str | None = None,
    port: int = 0,
    question: str | None = None,
    missing: str | None = None,
) -> Iterator[str]:
    """Serve annotations to be looked at and corrected in a browser, on this machine alone.

    Args:
        data: A survey's folder, or a run: then what it doubts comes first.
        survey: The survey of a run, if it does not lie beside it.
        name: Who answers; several people's answers are kept apart.
        out: Where answers are kept; the default is ``reviews/<name of the survey>``.
        port: Of 127.0.0.1; 0 takes a free one.
        question: segment, count, identify or classify, if the folder could answer several.
        missing: What an image without annotation is: ``empty`` or ``unlabelled``; None is the
            run's word, or ``unlabelled``.

    Yields:
        The address to open, valid until the block is left.

    Raises:
        TransectError: If ``out`` is another review's or in use, or the port is.

    Example:
        >>> with transect.review("nuclei/") as address:  # doctest: +SKIP
        ...     input(f"open {address}; Enter ends it")
    """
    from transect.review.opening import survey_and_run
    from transect.review.serve import serving
    from transect.review.session import opened

    found, run, missing = survey_and_run(
        Path(data), Path(survey) if survey else None, question=question, missing=missing
    )
    folder = Path(out) if out else Path("reviews") / found.root.resolve().name
    with (
        opened(found, folder, name=name, run=run, missing=missing) as session,
        serving(session, port=port) as address,
    ):
        yield address


def audit(
    data: Path | str,
    new: Path | str | None = None,
    *,
    question: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Look at everything that can be wrong with a survey before training on it.

    Args:
        data: The survey's folder.
        new: A folder of new images: how they differ is told.
        question: segment, count, identify or classify, if the folder could answer several.
        threads: How many threads decode; None is one per core.
        progress: Told what happens.

    Returns:
        The findings: ``lines()`` for people, ``to_json()``; ``clean`` is False on a fault.
    """
    from transect.audit import audit as look

    return look(
        Path(data),
        None if new is None else Path(new),
        question=question,
        threads=threads,
        progress=progress,
    )


def convert(
    source: Path | str,
    target: Path | str,
    *,
    source_format: str | None = None,
    target_format: str | None = None,
    images: Path | str | None = None,
    masks: MaskKind | None = None,
) -> ConvertResult:
    """Read annotations in one format and write them in another; see ``data.convert.convert``.

    Args:
        source: A file or folder in any known format.
        target: What to write; its suffix chooses the format.
        source_format: If the content does not tell.
        target_format: If the name does not tell.
        images: The folder of the images, if it is not beside the annotations.
        masks: How masks are read, if they do not tell.

    Returns:
        What was written and what was left out.
    """
    from transect.data.convert import convert as turn

    return turn(
        Path(source),
        Path(target),
        source_format=source_format,
        target_format=target_format,
        images=None if images is None else Path(images),
        masks=masks,
    )


def seconds_of(budget: str | float | None) -> float | None:
    """Read a time: a number of seconds, or text such as ``90s``, ``15m`` or ``2h``.

    Raises:
        TransectError: If it is none.

    Example:
        >>> seconds_of("15m"), seconds_of(30), seconds_of(None)
        (900.0, 30.0, None)
    """
    if budget is None:
        return None
    if isinstance(budget, (int, float)):
        found = float(budget)
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)\s*", budget)
        if match is None:
            raise TransectError(
                f"a budget must be a number with its unit, such as 90s, 15m or 2h; got '{budget}'."
            )
        found = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2][0]]
    if not 0 < found < math.inf:
        raise TransectError(f"a budget must be longer than nothing; got '{budget}'.")
    return found


@dataclass(frozen=True)
class _Logged:
    """A progress whose lines also go to the run's ``log.txt``."""

    told: Progress
    run: RunFolder

    def say(self, line: str) -> None:
        """Tell a line and keep it."""
        self.told.say(line)
        self.run.log(line)

    def expect(self, seconds: float) -> None:
        """Pass the whole time on, to one that shows it."""
        if isinstance(self.told, Expecting):
            self.told.expect(seconds)

    def step(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Pass a step on."""
        self.told.step(phase, done, total, note)


def _given(recipe: str | Recipe, settings: Mapping[str, str], *, quick: bool) -> Recipe | None:
    """The recipe that was asked for; None for ``auto``.

    Raises:
        TransectError: On a wrong name or field, before the data is read.
    """
    if recipe == "auto":
        return None
    if isinstance(recipe, str):
        from transect import recipes

        recipe = recipes.load(recipe, quick=quick)
    for path, value in settings.items():
        set_field(recipe, path, value)
    return recipe


def _train_along(
    root: Path,
    folder: RunFolder,
    device: str,
    threads: int | None,
    meant: Mapping[str, Any],
) -> Run:
    """What all processes but the first do: read, wait for the recipe, train, write nothing."""
    from transect.data.survey import open_survey
    from transect.pipeline.tasks import task_of
    from transect.pipeline.train import train as train_all
    from transect.train.distributed import Team
    from transect.train.process import prepare_process

    prepare_process(threads)
    with tempfile.TemporaryDirectory(prefix="transect-") as scratch:
        survey = open_survey(root, **meant)
        task = task_of(survey.question)
        prepared = task.dataset(survey, Path(scratch), Quiet())
        Team(device).wait()
        train_all(task, prepared, folder.recipe(), folder, device=device, progress=Quiet())
    return Run(folder.path)


def _audited(
    survey: Survey,
    folder: RunFolder,
    seconds: float | None,
    threads: int | None,
    progress: Progress,
) -> None:
    """Audit before training; a twentieth of the budget is for looks that can be left out."""
    from transect.audit import audit_once

    limit = 600.0 if seconds is None else seconds / 20
    audit_once(survey, folder.path, seconds=limit, threads=threads, progress=progress)


def _opened(run: Path | str) -> tuple[RunFolder, Task[Any, Any]]:
    """Open a run folder, see that it is whole, and give the task of its question."""
    from transect.pipeline.kept import check_files
    from transect.pipeline.tasks import task_of

    folder = RunFolder.open(Path(run))
    check_files(folder.path)
    return folder, task_of(folder.recipe().question)


def _comparable(
    folder: RunFolder, images: Path, rescale: bool, progress: Progress
) -> contextlib.AbstractContextManager[Path]:
    """See to it that new pictures hold what the run was trained on; see ``data.ranges``."""
    from transect.data.ranges import ValueRange, comparable

    known = folder.data().get("values")
    normalise = {member.geometry.normalise for member in folder.recipe().members}
    trained = ValueRange.from_json(known) if known else None
    return comparable(trained, images, normalise, rescale=rescale, progress=progress)


def _devices(asked: str) -> tuple[str, ...]:
    """The devices that members and folds are shared out to: all GPUs, if none was named."""
    from transect.launch import devices_here

    return tuple(devices_here()) if asked in ("auto", "cuda") else ()


_DEVICES = ("auto", "cpu", "cuda", "mps")


def _device(name: str) -> str:
    """Settle ``auto``, and refuse a device that is not there."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if name in ("gpu", "GPU"):
        raise TransectError("device must be one of auto, cpu, cuda, mps; got 'gpu'. Use cuda.")
    kind, _, number = name.partition(":")
    if kind not in _DEVICES or (number and not number.isdecimal()):
        raise unknown_name("device", name, _DEVICES)
    if kind == "cuda" and not torch.cuda.is_available():
        raise TransectError("no CUDA device was found. Use --device cpu, or ask `transect doctor`.")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise TransectError(
            f"there is no device {name}: {torch.cuda.device_count()} CUDA devices were found, "
            "numbered from 0. Use --device auto."
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise TransectError("no Apple GPU was found. Use --device cpu, or ask `transect doctor`.")
    return name


def settings_of(pairs: Sequence[str]) -> dict[str, str]:
    """Read ``path=value`` words.

    Raises:
        TransectError: If one has no equals sign.
    """
    settings = {}
    for pair in pairs:
        path, sign, value = pair.partition("=")
        if not sign or not path:
            raise TransectError(f"--set takes path=value, e.g. --set folds.count=3; got '{pair}'.")
        settings[path.strip()] = value.strip()
    return settings
