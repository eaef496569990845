"""Kill a run again and again, starve it, lock it out, and see that it ends as if undisturbed.

    python -m benchmarks.torture [--kills 50] [--minutes 10] [--out figures.json]

A tiny survey is trained with every stage of a real run: folds, training with weight averaging and
snapshots, a round of pseudo-labels, out-of-fold prediction, decisions, report. The undisturbed run
says how its bytes look. Then the same run is killed (SIGKILL) at moments spread over its length,
each time resumed, until it ends; its answers must be the same bytes. Children are forked from a
process that has loaded everything, so that a kill costs no import.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import pkgutil
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RECIPE = '''
"""The smallest recipe that has every stage."""

from transect.recipe import (
    Folds, Geometry, Member, Network, Optimizer, PseudoRound, Recipe, Schedule, SegmentDecide, Stage
)

network = Network(encoder="plain", weights=None, decoder="unet", width=4, levels=2)
optimizer = Optimizer(lr=3e-3)
stages = (
    Stage(name="first", epochs=3, batch=8, steps=3, loss="bce + dice", keep="best_k", keep_k=2,
          optimizer=optimizer, schedule=Schedule(name="cosine")),
    Stage(name="pseudo", epochs=2, batch=8, steps=2, data="mixed", average="ema", ema=0.8,
          optimizer=optimizer),
)
recipe = Recipe(
    name="torture", question="segment",
    members=(Member(network=network, geometry=Geometry(size_hw=(32, 32)), stages=stages),),
    folds=Folds(count=2), views=("identity", "hflip"),
    pseudo=(PseudoRound(confidence=0.0),), decide=SegmentDecide(),
)
'''
RESULTS = ("metrics.json", "decide.json", "folds.csv", "oof", "members")
"""What must be the same bytes; logs and the report carry times."""


@dataclass
class Figures:
    """What the torture showed."""

    undisturbed_seconds: float = 0.0
    kills: int = 0
    resumes_to_end: int = 0
    different: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    tests: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything within a time; the exit code is 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        figures = torture(
            Path(name), kills=options.kills, seconds=60 * options.minutes, seed=options.seed
        )
    lines = report(figures)
    sys.stdout.write("\n".join(lines) + "\n")
    if options.out:
        record = dict(figures.__dict__)
        options.out.write_text(json.dumps(record, indent=2) + "\n")
    bad = figures.different or figures.refused
    return 1 if bad or any(not t.startswith("held") for t in figures.tests.values()) else 0


def report(figures: Figures) -> list[str]:
    """The figures as lines."""
    out = [
        f"undisturbed run: {figures.undisturbed_seconds:.1f} s",
        f"killed {figures.kills} times (SIGKILL), {figures.resumes_to_end} runs brought to their "
        f"end, {len(figures.different)} with other bytes, {len(figures.refused)} not resumable",
        "killed while: " + ", ".join(f"{p} {figures.phases[p]}" for p in _PHASES),
        "killed by: " + ", ".join(f"{m} {n}" for m, n in figures.moments.most_common()),
    ]
    out += [f"{name}: {what}" for name, what in figures.tests.items()]
    out += [f"DIFFERENT {line}" for line in figures.different]
    out += [f"REFUSED {line}" for line in figures.refused]
    return [*out, f"{figures.seconds:.0f} s in all"]


def torture(work: Path, *, kills: int, seconds: float, seed: int) -> Figures:
    """The whole harness.

    Args:
        work: An empty folder.
        kills: How many kills to aim at.
        seconds: Time for all of it; what does not fit is left out, and the figures say so.
        seed: Of the moments.
    """
    import numpy as np

    begun = time.monotonic()
    survey, recipe = _prepared(work)
    figures = Figures()
    first = work / "undisturbed"
    started = time.monotonic()
    code, text = _child(_train(survey, recipe, first, resume=False), work / "first.log")
    if code:
        raise SystemExit(f"the undisturbed run failed:\n{text}")
    length = figures.undisturbed_seconds = time.monotonic() - started
    want = _bytes(first)
    rng = np.random.default_rng(seed)
    for name, test in _TESTS.items():
        figures.tests[name] = test(survey, recipe, work / f"test-{name.replace(' ', '-')}", want)
    number = 0
    while figures.kills < kills and time.monotonic() - begun < seconds and not figures.refused:
        number += 1
        run = work / f"run{number}"
        _until_done(survey, recipe, run, length, rng, figures, kills)
        if run.name not in " ".join(figures.refused):
            figures.resumes_to_end += 1
            figures.different += [f"{run.name}: {what}" for what in _differences(want, run)]
        shutil.rmtree(run, ignore_errors=True)
    figures.seconds = time.monotonic() - begun
    return figures


def _until_done(
    survey: Path, recipe: Path, run: Path, length: float, rng: Any, figures: Figures, kills: int
) -> None:
    """Kill and resume one run until it ends; every resume may be killed again.

    A third of the kills comes at a random time, a third while a stage drawn at random is running,
    and a third in the middle of a write: after the bytes, before the name.
    """
    log = run.with_suffix(".log")
    for turn in range(60):
        words = _train(survey, recipe, run, resume=(run / "recipe.json").exists())
        if figures.kills >= kills:
            code, text = _child(words, log)
        elif turn % 3 == 0:
            code, text = _child(words, log, kill_after=float(rng.uniform(0.0, 1.0)) * length)
        elif turn % 3 == 1:
            later = _PHASES[_PHASES.index(_phase(run)) :]
            goal = later[int(rng.integers(len(later)))]
            delay = float(rng.uniform(0.0, 0.3))
            code, text = _child(words, log, kill_in=(run, goal, delay))
        else:
            number = int(rng.integers(1, 40))
            code, text = _child(words, log, before=lambda n=number: _die_at_write(n))
        if code == -signal.SIGKILL:
            figures.kills += 1
            figures.phases[_phase(run)] += 1
            figures.moments[("time", "stage", "write")[turn % 3]] += 1
        elif code == 0:
            return
        else:
            figures.refused.append(f"{run.name}: exit {code}: {text.strip()[-400:]}")
            return


def _die_at_write(number: int) -> None:
    """Let this process kill itself when it flushes a file for the ``number``-th time."""
    real, left = os.fsync, [number]

    def sync(handle: int) -> None:
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = sync


_PHASES = (
    "reading",
    "first epochs",
    "training",
    "pseudo-labels",
    "views",
    "out-of-fold",
    "deciding",
    "report",
)


def _phase(run: Path) -> str:
    """How far a run has come, by its files."""
    if not (run / "recipe.json").exists():
        return "reading"
    if (run / "metrics.json").exists():
        return "report"
    if (run / "decide.json").exists():
        return "deciding"
    if (run / "oof").exists() and any((run / "oof").rglob("*.npy")):
        return "out-of-fold"
    if (run / "views.json").exists():
        return "views"
    members = run / "members"
    if members.exists() and any(members.rglob("round1")):
        return "pseudo-labels"
    done = members.exists() and any(members.rglob("*.safetensors"))
    return "training" if done else "first epochs"


def _prepared(work: Path) -> tuple[Path, Path]:
    """The survey and the recipe file; and everything heavy imported before the first fork."""
    survey = work / "survey"
    recipe = work / "torture_recipe.py"
    recipe.write_text(RECIPE)
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
    # In a child, too: thread pools that the parent had started would hang in every fork.
    child = os.fork()
    if child == 0:
        from transect.data.synthetic_salt import write_salt_survey

        write_salt_survey(survey, n_train=24, n_test=6, seed=3, size_hw=(32, 32))
        os._exit(0)
    os.waitpid(child, 0)
    return survey, recipe


def _train(survey: Path, recipe: Path, run: Path, *, resume: bool) -> list[str]:
    """The words of the command."""
    words = ["train", str(survey), "--recipe", str(recipe), "--out", str(run), "--threads", "1"]
    return [*words, "--resume"] if resume else words


def _child(
    words: list[str],
    log: Path,
    *,
    kill_after: float | None = None,
    with_signal: int = signal.SIGKILL,
    before: Callable[[], None] | None = None,
    kill_in: tuple[Path, str, float] | None = None,
) -> tuple[int, str]:
    """Run one command in a forked child; give its exit code (negative: a signal) and its words."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            with log.open("w") as out:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
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
    code = _waited(child, kill_after, with_signal, kill_in)
    return code, log.read_text() if log.exists() else ""


def _waited(
    child: int,
    kill_after: float | None,
    with_signal: int,
    kill_in: tuple[Path, str, float] | None,
) -> int:
    """Wait for a child; send it a signal after a time, or some time into a stage."""
    begun = time.monotonic()
    sent = False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if kill_after is not None and not sent and time.monotonic() - begun >= kill_after:
            os.kill(child, with_signal)
            sent = True
        if kill_in is not None and kill_after is None:
            run, goal, delay = kill_in
            if _PHASES.index(_phase(run)) >= _PHASES.index(goal):
                kill_after = time.monotonic() - begun + delay
        if time.monotonic() - begun > 120:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _bytes(run: Path) -> dict[str, str]:
    """Digest of every result file."""
    out = {}
    for name in RESULTS:
        path = run / name
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            if file.suffix in {".csv", ".log", ".txt"} and file.name != "folds.csv":
                continue  # histories carry times
            data = file.read_bytes()
            if file.name == "done.json":  # its history tells how long each epoch took
                data = re.sub(rb'"seconds": [0-9.e-]+', b"", data)
            out[file.relative_to(run).as_posix()] = hashlib.sha256(data).hexdigest()
    return out


def _differences(want: dict[str, str], run: Path) -> list[str]:
    """Files that are missing, or not the same bytes."""
    got = _bytes(run)
    names = sorted(want.keys() | got.keys())
    return [n for n in names if want.get(n) != got.get(n)]


def _ends_the_same(survey: Path, recipe: Path, run: Path, want: dict[str, str]) -> str:
    """Resume once more, undisturbed, and compare."""
    resume = (run / "recipe.json").exists()
    words = _train(survey, recipe, run, resume=resume)
    code, text = _child(words, run.with_suffix(".log"))
    if code:
        return f"LOST: resume ended with {code}: {text.strip()[-300:]}"
    bad = _differences(want, run)
    return f"LOST: other bytes in {bad[:4]}" if bad else "held: after --resume the same bytes"


# --- the other misfortunes -----------------------------------------------------------------------


def _polite(survey: Path, recipe: Path, run: Path, want: dict[str, str]) -> str:
    """SIGTERM from a scheduler, SIGINT from a keyboard."""
    codes = []
    for number, sig in ((0, signal.SIGTERM), (1, signal.SIGINT)):
        words = _train(survey, recipe, run, resume=number > 0 and (run / "recipe.json").exists())
        code, _ = _child(words, run.with_suffix(".log"), kill_after=0.7, with_signal=sig)
        codes.append(code)
    return f"{_ends_the_same(survey, recipe, run, want)} (exit codes {codes})"


def _full_disk(survey: Path, recipe: Path, run: Path, want: dict[str, str]) -> str:
    """No space left, at three sizes of what may still be written."""
    said = []
    for room in (2_000, 20_000, 60_000):

        def shrink(room: int = room) -> None:
            _starve(room)

        words = _train(survey, recipe, run, resume=(run / "recipe.json").exists())
        code, text = _child(words, run.with_suffix(".log"), before=shrink)
        if code == 2 and "disk" in text and "full" in text:
            said.append("a sentence")
        elif code == 0:
            said.append("fits")
        else:
            said.append(f"exit {code}: {text.strip().splitlines()[-1][:120] if text else ''}")
    end = _ends_the_same(survey, recipe, run, want)
    if any(s.startswith("exit") for s in said):
        return f"LOST: {said}; {end}"
    return f"{end} (full three times: {', '.join(said)})"


def _starve(room: int) -> None:
    """Let every flush to the device fail with ENOSPC once files of more than ``room`` bytes grew.

    The kernel's file size limit gives EFBIG, not ENOSPC, so the two calls that reach the device
    are replaced in this child.
    """
    import errno

    real_sync, real_replace = os.fsync, os.replace
    written = {"bytes": 0}

    def full_sync(handle: int) -> None:
        written["bytes"] += os.fstat(handle).st_size
        if written["bytes"] > room:
            raise OSError(errno.ENOSPC, "No space left on device")
        real_sync(handle)

    os.fsync = full_sync
    assert real_replace


def _file_limit(survey: Path, recipe: Path, run: Path, want: dict[str, str]) -> str:
    """The kernel refuses every file beyond 4 kB: half-written files must not be taken for whole."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    words = _train(survey, recipe, run, resume=False)
    code, _ = _child(words, run.with_suffix(".log"), before=limit)
    if code == 0:
        return "LOST: a run without room ended well"
    return f"{_ends_the_same(survey, recipe, run, want)} (first ended with {code})"


def _read_only(survey: Path, recipe: Path, run: Path, want: dict[str, str]) -> str:
    """A folder that cannot be written gives a sentence."""
    if os.geteuid() == 0:  # root may write everywhere; a file in the way is as good
        run.parent.mkdir(exist_ok=True)
        run.write_text("in the way")
        out = run / "run"
    else:
        run.mkdir()
        run.chmod(0o500)
        out = run / "run"
    code, text = _child(_train(survey, recipe, out, resume=False), run.with_suffix(".log"))
    return "held: a sentence, exit 2" if code == 2 and "--out" in text else f"LOST: {code} {text}"


def _vanishing(survey: Path, recipe: Path, run: Path, want: dict[str, str]) -> str:
    """A picture vanishes between a kill and the resume: refused, named, and mendable."""
    own = run.with_name(run.name + "-survey")
    shutil.copytree(survey, own)
    _child(_train(own, recipe, run, resume=False), run.with_suffix(".log"), kill_after=1.0)
    victim = sorted((own / "images").iterdir())[0]
    kept = victim.read_bytes()
    victim.unlink()
    resume = (run / "recipe.json").exists()
    words = _train(own, recipe, run, resume=resume)
    code, text = _child(words, run.with_suffix(".log"))
    if resume and code != 2:
        return f"LOST: went on with other data, exit {code}: {text[-200:]}"
    victim.write_bytes(kept)
    if not resume:
        shutil.rmtree(run, ignore_errors=True)
    return _ends_the_same(own, recipe, run, want)


def _two_at_once(survey: Path, recipe: Path, run: Path, want: dict[str, str]) -> str:
    """A second process on the same folder is refused with the first's number and age."""
    first = os.fork()
    if first == 0:
        code, _ = _child(_train(survey, recipe, run, resume=False), run.with_suffix(".log"))
        os._exit(code)
    deadline = time.monotonic() + 30
    while not (run / "recipe.json").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    words = _train(survey, recipe, run, resume=True)
    code, text = _child(words, run.with_name(run.name + "-second.log"))
    _, status = os.waitpid(first, 0)
    if code != 2 or "in use by process" not in text:
        return f"LOST: the second ended with {code}: {text[-200:]}"
    if os.waitstatus_to_exitcode(status):
        return "LOST: the first failed"
    bad = _differences(want, run)
    return f"LOST: other bytes in {bad[:4]}" if bad else "held: refused, named, first unharmed"


def _half_files(survey: Path, recipe: Path, run: Path, want: dict[str, str]) -> str:
    """Leftover temporary files of a killed writer are never taken for whole."""
    _child(_train(survey, recipe, run, resume=False), run.with_suffix(".log"), kill_after=1.2)
    for folder in [run, *(p for p in run.rglob("*") if p.is_dir())]:
        if folder.exists():
            for suffix in (".json", ".safetensors", ".npy"):
                with contextlib.suppress(OSError):
                    (folder / f".part-torture{suffix}").write_bytes(b"half")
    end = _ends_the_same(survey, recipe, run, {})
    for part in run.rglob(".part-torture*"):
        part.unlink()
    bad = _differences(want, run)
    if "LOST: resume" in end:
        return end
    return f"LOST: other bytes in {bad[:4]}" if bad else "held: the same bytes"


def _again(survey: Path, recipe: Path, run: Path, want: dict[str, str]) -> str:
    """The same command twice gives the same bytes."""
    code, text = _child(_train(survey, recipe, run, resume=False), run.with_suffix(".log"))
    bad = _differences(want, run)
    if code or bad:
        return f"LOST: exit {code}, other bytes in {bad[:4]} {text[-200:] if code else ''}"
    return "held: the same bytes"


_TESTS = {
    "a second run": _again,
    "SIGTERM and SIGINT": _polite,
    "full disk": _full_disk,
    "file size limit": _file_limit,
    "folder that cannot be written": _read_only,
    "file vanishing": _vanishing,
    "two processes": _two_at_once,
    "half-written files": _half_files,
}

if __name__ == "__main__":
    sys.exit(main())
