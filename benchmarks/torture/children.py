"""Commands in forked children that tell which stage they are in, and can be killed there."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import mmap
import os
import pkgutil
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.torture.surveys import Question

__all__ = ["Child", "Kill", "bytes_of", "differences", "load_everything", "train_words"]

RESULTS = ("metrics.json", "decide.json", "folds.csv", "oof", "members", "regressors")
"""What must be the same bytes; logs, audit and report carry times."""
_MOST = 32  # stages
_LONGEST = 300.0  # seconds that a child may take


@dataclass(frozen=True)
class Kill:
    """When a child is sent a signal.

    Attributes:
        how: ``time`` (seconds after its start), ``stage`` (seconds into a visit of a stage) or
            ``write`` (in the middle of a write: the bytes are there, the name is not).
        seconds: After the start, or after the stage was entered.
        stage: Its number, from 1.
        visit: Which visit of the stage, or which write, from 1.
        sent: The signal.
    """

    how: str
    seconds: float = 0.0
    stage: int = 0
    visit: int = 1
    sent: int = signal.SIGKILL


class Child:
    """One command line run in a fork.

    Attributes:
        code: Exit code; negative for a signal.
        text: What it printed.
        stage: The name of the stage that it was in at the end, or "between".
        visits: Stage to number of visits.
        seconds: Stage to seconds in all visits.
        writes: Files that were flushed.
    """

    def __init__(
        self,
        question: Question,
        words: list[str],
        log: Path,
        *,
        kill: Kill | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        shared = mmap.mmap(-1, 16 * (_MOST + 2))
        table = np.frombuffer(shared, np.float64).reshape(_MOST + 2, 2)
        # Row 0: the present stage, the moment to die; last row: writes; others: visits, seconds.
        child = os.fork()
        if child == 0:
            _run(question, words, log, table, kill, before)
        self.code = _waited(child, table, kill)
        self.text = log.read_text() if log.exists() else ""
        names = ["between", *(name for name, _ in question.stages)]
        self.stage = names[int(table[0, 0])]
        self.visits = {n: int(table[i, 0]) for i, n in enumerate(names) if i}
        self.seconds = {n: float(table[i, 1]) for i, n in enumerate(names) if i}
        self.writes = int(table[-1, 0])


def _run(
    question: Question,
    words: list[str],
    log: Path,
    table: Any,
    kill: Kill | None,
    before: Callable[[], None] | None,
) -> None:
    """The child's part; it never returns."""
    code = 3
    try:
        with log.open("w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            _watch(question, table, kill)
            if before:
                before()
            from transect.cli import main as command

            code = command(words)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch(question: Question, table: Any, kill: Kill | None) -> None:
    """Wrap the functions of every stage, wherever they were imported to; count the writes."""
    for number, (_, places) in enumerate(question.stages, start=1):
        for place in places:
            _wrap(place, functools.partial(_entered, number=number, table=table, kill=kill))
    real = os.fsync

    def sync(handle: int) -> None:
        table[-1, 0] += 1
        if kill and kill.how == "write" and table[-1, 0] == kill.visit:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = sync


@contextlib.contextmanager
def _entered(number: int, table: Any, kill: Kill | None) -> Any:
    """Note a visit of a stage, and the moment to die if it is the one."""
    outer = table[0, 0]
    table[0, 0] = number
    table[number, 0] += 1
    if kill and kill.how == "stage" and (kill.stage, kill.visit) == (number, table[number, 0]):
        table[0, 1] = time.monotonic() + kill.seconds
    began = time.monotonic()
    try:
        yield
    finally:
        table[number, 1] += time.monotonic() - began
        table[0, 0] = outer


def _wrap(place: str, entered: Callable[[], Any]) -> None:
    """Replace one function, ``module:name`` or ``module:Class.name``, by one that is watched."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    real = getattr(owner, name)

    @functools.wraps(real)
    def watched(*words: Any, **options: Any) -> Any:
        with entered():
            return real(*words, **options)

    setattr(owner, name, watched)
    for other in [m for n, m in sys.modules.items() if n.startswith("transect")]:
        for key, value in list(vars(other).items()):
            if value is real:
                setattr(other, key, watched)


def _waited(child: int, table: Any, kill: Kill | None) -> int:
    """Wait for a child, and send it the signal when its moment has come."""
    begun = time.monotonic()
    sent = False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        moment = begun + kill.seconds if kill and kill.how == "time" else table[0, 1]
        if kill and not sent and moment and now >= moment:
            os.kill(child, kill.sent)
            sent = True
        if now - begun > _LONGEST:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)


def load_everything() -> None:
    """Import all that is heavy before the first fork; no thread pool may start here."""
    import cv2
    import matplotlib.pyplot  # noqa: F401
    import skimage.measure  # noqa: F401
    import sklearn.ensemble  # noqa: F401
    import torch

    import transect

    # All of the package, so that an edit of the source during the run changes no child.
    for module in pkgutil.walk_packages(transect.__path__, "transect."):
        with contextlib.suppress(ImportError):
            importlib.import_module(module.name)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def train_words(survey: Path, recipe: Path, run: Path) -> list[str]:
    """The words of the command; it goes on if there is something to go on with."""
    words = ["train", str(survey), "--recipe", str(recipe), "--out", str(run), "--threads", "1"]
    return [*words, "--resume"] if (run / "recipe.json").exists() else words


def bytes_of(run: Path) -> dict[str, str]:
    """Digest of every result file."""
    out = {}
    for name in RESULTS:
        path = run / name
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            if file.name == "history.csv":
                continue  # it tells how long each epoch took, as done.json does
            data = file.read_bytes()
            if file.name == "done.json":
                data = re.sub(rb'"seconds": [0-9.e-]+', b"", data)
            out[file.relative_to(run).as_posix()] = hashlib.sha256(data).hexdigest()
    return out


def differences(want: dict[str, str], run: Path) -> list[str]:
    """Files that are missing, or not the same bytes."""
    got = bytes_of(run)
    return [n for n in sorted(want.keys() | got.keys()) if want.get(n) != got.get(n)]
