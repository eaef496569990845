"""Runs independent jobs: one after another, one per GPU, or on Ray, with the same code."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from transect.errors import TransectError, unknown_name

__all__ = ["Job", "JobResult", "Launch", "devices_here", "launch_said", "launched", "run_jobs"]

_LOG = logging.getLogger(__name__)
ATTEMPTS = 3  # of a job whose process was killed; one that raises is not repeated


@dataclass(frozen=True)
class Launch:
    """Where independent jobs run.

    Attributes:
        how: ``local`` or ``ray``.
        workers: Processes at a time here; None takes one per GPU, and one where there is none.
        threads: CPU threads of each process; None shares the cores out.
    """

    how: str = "local"
    workers: int | None = None
    threads: int | None = None

    def places(self, devices: Sequence[str]) -> tuple[str, ...]:
        """The devices on which jobs run, one at a time on each, some of them named twice."""
        if self.workers is None:
            return tuple(devices)
        return tuple(devices[number % len(devices)] for number in range(self.workers))


_SAID: ContextVar[Launch | None] = ContextVar("launch", default=None)


@contextlib.contextmanager
def launched(
    how: str = "local", workers: int | None = None, threads: int | None = None
) -> Iterator[None]:
    """Run the independent jobs of all that is done within as the user says (``--launch``).

    Args:
        how: ``local`` or ``ray``.
        workers: Processes at a time; None takes one per GPU.
        threads: CPU threads of each; None shares the cores out.

    Raises:
        TransectError: On an unknown ``how``, or fewer workers or threads than one.
    """
    if how not in ("local", "ray"):
        raise unknown_name("launch", how, ["local", "ray"])
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None and number < 1:
            raise TransectError(f"{name} must be 1 or more; got {number}. Leave it out, or give 1.")
    token = _SAID.set(Launch(how, workers, threads))
    try:
        yield
    finally:
        _SAID.reset(token)


def launch_said() -> Launch:
    """What the user says of independent jobs."""
    return _SAID.get() or Launch()


@dataclass(frozen=True)
class Job:
    """Something to run that depends on no other job.

    Attributes:
        name: For messages, unique.
        call: ``package.module:function``, or a callable where all jobs run in this process.
        args: Keyword arguments; JSON values where the job may run in another process.
    """

    name: str
    call: str | Callable[..., Any]
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Attributes:
        name: Of the job.
        value: What it returned (from another process: as JSON carries it), or None.
        error: One sentence if it failed, else None.
        details: The traceback if it failed.
        seconds: How long it took.
    """

    name: str
    value: Any = None
    error: str | None = None
    details: str = ""
    seconds: float = 0.0


Progress = Callable[[int, int, JobResult], None]


def devices_here() -> list[str]:
    """The GPUs of this machine as ``cuda:0``, ..., or the CPU alone."""
    import torch

    return [f"cuda:{k}" for k in range(torch.cuda.device_count())] or ["cpu"]


def run_jobs(
    jobs: Sequence[Job],
    *,
    how: str = "local",
    devices: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[JobResult]:
    """Run all jobs; one that fails is reported, and the others go on.

    A job whose process is killed is begun again, up to three times in all: a job finds what it
    had done, or does it again.

    Args:
        jobs: In the order in which they are begun.
        how: ``local`` or ``ray``.
        devices: One job at a time on each; None takes all GPUs. A job in a process of its own
            sees only its GPU, as ``cuda``. With one device the jobs run in this process.
        progress: Is told (jobs done, jobs, result) after each job.

    Returns:
        One result per job, in the order of the jobs.

    Raises:
        TransectError: On an unknown ``how``, equal names, jobs that cannot leave this process, or
            Ray where it is not installed.
        KeyboardInterrupt: After every child was asked to stop, and has.
    """
    names = [job.name for job in jobs]
    if len(set(names)) < len(names):
        raise TransectError(f"jobs must have different names; got {', '.join(names)}.")
    if how == "ray":
        return _on_ray(jobs, progress)
    if how != "local":
        raise unknown_name("launch", how, ["local", "ray"])
    places = list(devices) if devices is not None else devices_here()
    if len(places) > 1 and len(jobs) > 1:
        return _in_processes(jobs, places, progress)
    results: list[JobResult] = []
    for job in jobs:
        results.append(_run(job))
        _tell(progress, len(results), len(jobs), results[-1])
    return results


def _run(job: Job) -> JobResult:
    """Run a job here; what it raises becomes its result, but for Ctrl-C."""
    began = time.monotonic()
    try:
        value = _resolve(job.call)(**job.args)
    except Exception as error:  # any failure of a job is reported and must not end the others
        return JobResult(
            job.name, None, _sentence(error), traceback.format_exc(), time.monotonic() - began
        )
    return JobResult(job.name, value, None, "", time.monotonic() - began)


def _sentence(error: Exception) -> str:
    """What the user reads: our own errors as they are, others with their kind."""
    return str(error) if isinstance(error, TransectError) else f"{type(error).__name__}: {error}"


def _resolve(call: str | Callable[..., Any]) -> Callable[..., Any]:
    """The function behind an import path."""
    if callable(call):
        return call
    module, _, name = call.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TransectError(
            f"job {call!r} cannot be imported ({error}). Write it as package.module:function."
        ) from error
    return found


def _portable(job: Job) -> str:
    """A job as text for another process."""
    if not isinstance(job.call, str):
        raise TransectError(
            f"job {job.name} is a function of this process and cannot run in another. Name it as "
            "package.module:function, or use one device."
        )
    try:
        return json.dumps({"name": job.name, "call": job.call, "args": dict(job.args)})
    except TypeError as error:
        raise TransectError(
            f"the arguments of job {job.name} must be JSON values to run in another process: "
            f"{error}."
        ) from error


def _child(text: str, pipe: Connection) -> None:
    """What a process of its own does: one job, its result as JSON through the pipe."""
    result = _run(Job(**json.loads(text)))
    try:
        answer = json.dumps(vars(result))
    except TypeError as error:
        answer = json.dumps(
            {"name": result.name, "error": f"the result is not JSON: {error}", "details": ""}
        )
    pipe.send_bytes(answer.encode())
    pipe.close()


def _in_processes(
    jobs: Sequence[Job], devices: Sequence[str], progress: Progress | None
) -> list[JobResult]:
    """One process per device at a time, each seeing its own GPU only."""
    texts = [_portable(job) for job in jobs]
    context = multiprocessing.get_context("spawn")
    free = list(devices)
    waiting = list(range(len(jobs)))
    running: dict[Connection, tuple[int, str, BaseProcess, float]] = {}
    begun = [0] * len(jobs)
    results: dict[int, JobResult] = {}
    threads = str(launch_said().threads or max(1, (os.cpu_count() or 1) // len(devices)))
    try:
        while waiting or running:
            while waiting and free:
                number, device = waiting.pop(0), free.pop(0)
                begun[number] += 1
                ours, theirs = context.Pipe(duplex=False)
                process: BaseProcess = context.Process(target=_child, args=(texts[number], theirs))
                with _Environment(_variables(device, threads)):
                    process.start()
                theirs.close()
                running[ours] = (number, device, process, time.monotonic())
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                number, device, process, began = running.pop(pipe)
                seconds = time.monotonic() - began
                free.append(device)
                result = _received(jobs[number].name, pipe, process, seconds)
                if result is None and begun[number] < ATTEMPTS:
                    _LOG.warning("%s was killed and is begun again", jobs[number].name)
                    waiting.insert(0, number)
                    continue
                results[number] = result or JobResult(
                    jobs[number].name, None, f"its process ended with code {process.exitcode} "
                    f"before it was done, {ATTEMPTS} times. Was it killed, or out of memory?", "",
                    seconds,
                )  # fmt: skip
                _tell(progress, len(results), len(jobs), results[number])
    finally:
        for pipe, (_, _, process, _) in running.items():
            process.terminate()
            process.join()
            pipe.close()
    return [results[number] for number in range(len(jobs))]


def _received(
    name: str, pipe: Connection, process: BaseProcess, seconds: float
) -> JobResult | None:
    """The result that a process sent; None if it died before."""
    result = None
    with contextlib.suppress(EOFError, ConnectionResetError):
        result = JobResult(**{"name": name, "seconds": seconds, **json.loads(pipe.recv_bytes())})
    process.join()
    pipe.close()
    return result


def _variables(device: str, threads: str) -> dict[str, str]:
    """Environment of a child: its GPU, and its share of the cores."""
    variables = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": threads}
    if device.startswith("cuda"):
        number = int(device.partition(":")[2] or 0)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = visible.split(",") if visible else []
        variables["CUDA_VISIBLE_DEVICES"] = names[number] if number < len(names) else str(number)
    return variables


class _Environment:
    """Sets variables while a child starts, because it may read them on import."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._variables}
        os.environ.update(self._variables)

    def __exit__(self, *error: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _on_ray(jobs: Sequence[Job], progress: Progress | None) -> list[JobResult]:
    """The same jobs as Ray tasks, a GPU each where the cluster has any."""
    try:
        import ray
    except ImportError as error:
        raise TransectError(
            "launching on Ray needs ray, which is not installed. Run: pip install 'transect[ray]'."
        ) from error
    texts = [_portable(job) for job in jobs]
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    gpus = 1 if ray.cluster_resources().get("GPU", 0) > 0 else 0
    remote = ray.remote(num_gpus=gpus, max_retries=ATTEMPTS - 1)(_ray_task)
    pending = {remote.remote(text): number for number, text in enumerate(texts)}
    results: dict[int, JobResult] = {}
    while pending:
        (ready, *_), _ = ray.wait(list(pending), num_returns=1)
        number = pending.pop(ready)
        try:
            results[number] = JobResult(**json.loads(ray.get(ready)))
        except (ray.exceptions.RayError, TypeError, ValueError) as error:
            results[number] = JobResult(jobs[number].name, None, _sentence(error))
        _tell(progress, len(results), len(jobs), results[number])
    return [results[number] for number in range(len(jobs))]


def _ray_task(text: str) -> str:
    """A job on a Ray worker."""
    return json.dumps(vars(_run(Job(**json.loads(text)))))


def _tell(progress: Progress | None, done: int, count: int, result: JobResult) -> None:
    """Log a failure and report progress."""
    if result.error is not None:
        _LOG.error("%s failed and the others go on: %s", result.name, result.error)
        _LOG.debug("%s", result.details)
    if progress is not None:
        progress(done, count, result)
