"""Everything but a kill that can befall a run; each function makes one happen and says its end.

A sentence that begins with ``held`` is a promise kept, one with ``LOST`` is not.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.torture.children import Child, Kill, differences, train_words
from benchmarks.torture.surveys import Question

__all__ = ["MISFORTUNES", "World"]


@dataclass(frozen=True)
class World:
    """One question's survey and recipe, how long its run takes, and how its bytes should look.

    Attributes:
        question: Which.
        survey: Its folder.
        recipe: Its recipe file.
        seconds: Of the undisturbed run.
        want: File to digest.
        losses: Loss of every epoch of the undisturbed run.
    """

    question: Question
    survey: Path
    recipe: Path
    seconds: float
    want: dict[str, str]
    losses: list[float]

    def child(
        self,
        run: Path,
        *,
        survey: Path | None = None,
        kill: Kill | None = None,
        before: Callable[[], None] | None = None,
    ) -> Child:
        """Train, or go on."""
        words = train_words(survey or self.survey, self.recipe, run)
        return Child(self.question, words, run.with_suffix(".log"), kill=kill, before=before)

    def ends_the_same(self, run: Path, *, survey: Path | None = None) -> str:
        """Go on once more, undisturbed, and compare."""
        child = self.child(run, survey=survey)
        if child.code:
            return f"LOST: resume ended with {child.code}: {child.text.strip()[-300:]}"
        bad = differences(self.want, run)
        return f"LOST: other bytes in {bad[:4]}" if bad else "held: after --resume the same bytes"


def losses_of(run: Path) -> list[float]:
    """Loss of every trained epoch of a run, by folder."""
    found = []
    for done in sorted(run.rglob("done.json")):
        rows = json.loads(done.read_text())["history"]
        found += [float(row["loss"]) for row in rows if row.get("what") != "swa"]
    return found


def again(world: World, run: Path) -> str:
    """The same command twice gives the same bytes."""
    child = world.child(run)
    bad = differences(world.want, run)
    if child.code or bad:
        return f"LOST: exit {child.code}, other bytes in {bad[:4]} {child.text[-300:]}"
    return f"held: the same bytes in {len(world.want)} files"


def polite(world: World, run: Path) -> str:
    """SIGTERM from a scheduler, SIGINT from a keyboard."""
    codes = []
    training = [name for name, _ in world.question.stages].index("training") + 1
    for sent in (signal.SIGTERM, signal.SIGINT):
        kill = Kill("stage", 0.02, training, 2, sent)
        codes.append(world.child(run, kill=kill).code)
    end = world.ends_the_same(run)
    return end if codes[0] == 130 else f"LOST: exit codes {codes}"


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    """A file system of its own at ``folder``; False where only root may mount and we are not."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(words, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change the size of a small disk, or make it read-only."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def full_disk(world: World, run: Path) -> str:
    """A real disk that is full, at several sizes; then there is room again."""
    said = []
    with small_disk(run.with_name(run.name + "-disk"), 16) as mounted:
        if not mounted:
            return "not tried: only root may mount a small disk"
        inside = run.with_name(run.name + "-disk") / "run"
        for kilobytes in (16, 120, 400):
            remount(inside.parent, f"size={kilobytes}k")
            child = Child(
                world.question, train_words(world.survey, world.recipe, inside),
                run.with_suffix(".log"),
            )  # fmt: skip
            sentence = child.code == 2 and "full" in child.text and "Traceback" not in child.text
            said.append("a sentence" if sentence else f"exit {child.code}: {child.text[-200:]}")
        remount(inside.parent, "size=1g")
        child = Child(
            world.question, train_words(world.survey, world.recipe, inside),
            run.with_suffix(".log"),
        )  # fmt: skip
        bad = differences(world.want, inside)
    if child.code or bad:
        return f"LOST: exit {child.code}, other bytes in {bad[:4]}"
    wrong = [word for word in said if word != "a sentence" and not word.startswith("exit 0")]
    if wrong:
        return f"LOST: {said}"
    return f"held: {len(said)} times {said[0]}; with room again the same bytes"


def read_only(world: World, run: Path) -> str:
    """A file system that cannot be written, from the start and from the middle on."""
    with small_disk(run.with_name(run.name + "-disk"), 1 << 20) as mounted:
        inside = run.with_name(run.name + "-disk") / "run"
        if not mounted:
            inside.parent.chmod(0o500)
            child = Child(
                world.question, train_words(world.survey, world.recipe, inside),
                run.with_suffix(".log"),
            )  # fmt: skip
            held = child.code == 2 and "another folder" in child.text
            return "held: a sentence" if held else f"LOST: {child.code} {child.text[-200:]}"
        words = train_words(world.survey, world.recipe, inside)
        kill = Kill("time", 0.5 * world.seconds)
        Child(world.question, words, run.with_suffix(".log"), kill=kill)
        remount(inside.parent, "ro")
        words = train_words(world.survey, world.recipe, inside)
        child = Child(world.question, words, run.with_suffix(".log"))
        if child.code != 2 or "cannot be written" not in child.text:
            return f"LOST: {child.code} {child.text[-200:]}"
        remount(inside.parent, "rw")
        child = Child(world.question, words, run.with_suffix(".log"))
        bad = differences(world.want, inside)
    if child.code or bad:
        return f"LOST: exit {child.code}, other bytes in {bad[:4]} {child.text[-200:]}"
    return "held: a sentence; writable again, the same bytes"


def file_limit(world: World, run: Path) -> str:
    """The kernel refuses every file beyond 4 kB: half-written files must not be taken for whole."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    child = world.child(run, before=limit)
    if child.code != 2 or "Traceback" in child.text:
        return f"LOST: exit {child.code}: {child.text[-200:]}"
    return world.ends_the_same(run)


def vanishing(world: World, run: Path) -> str:
    """A picture vanishes between a kill and the resume: refused, named, and mendable."""
    own = run.with_name(run.name + "-survey")
    shutil.copytree(world.survey, own)
    world.child(run, survey=own, kill=Kill("time", 0.6 * world.seconds))
    victim = sorted(p for p in (own / "images").rglob("*") if p.is_file())[0]
    kept = victim.read_bytes()
    victim.unlink()
    resume = (run / "recipe.json").exists()
    child = world.child(run, survey=own)
    if resume and child.code != 2:
        return f"LOST: went on with other data, exit {child.code}: {child.text[-200:]}"
    victim.write_bytes(kept)
    if not resume:
        shutil.rmtree(run, ignore_errors=True)
    return world.ends_the_same(run, survey=own)


def vanishing_while_read(world: World, run: Path) -> str:
    """A picture vanishes after it was listed and before it is decoded: listed, and left out."""
    own = run.with_name(run.name + "-survey")
    shutil.copytree(world.survey, own)
    listed = sorted(p for p in (own / "images").rglob("*") if p.is_file())

    def plan() -> None:
        import transect.data.survey as room

        real = room.open_survey

        def opened(*words: object, **options: object) -> object:
            survey = real(*words, **options)  # type: ignore[arg-type]
            trained = {image.path.name for image in survey.training()}
            next(path for path in listed if path.name in trained).unlink()
            return survey

        room.open_survey = opened  # type: ignore[assignment]

    child = world.child(run, survey=own, before=plan)
    gone = next((p.name for p in listed if not p.exists()), "")
    if "Traceback" in child.text or gone not in child.text:
        return f"LOST: exit {child.code}: {child.text[-200:]}"
    return f"held: named, exit {child.code}" if child.code in (1, 2) else f"LOST: {child.code}"


def two_at_once(world: World, run: Path) -> str:
    """A second process on the same folder is refused with the first's number and age."""
    first = os.fork()
    if first == 0:
        os._exit(world.child(run).code)
    deadline = time.monotonic() + 60
    while not (run / "recipe.json").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    words = train_words(world.survey, world.recipe, run)
    child = Child(world.question, words, run.with_name(run.name + "-second.log"))
    _, status = os.waitpid(first, 0)
    if child.code != 2 or not re.search(r"in use by process \d+, for \d+ minutes", child.text):
        return f"LOST: the second ended with {child.code}: {child.text[-200:]}"
    if os.waitstatus_to_exitcode(status):
        return "LOST: the first failed"
    bad = differences(world.want, run)
    return f"LOST: other bytes in {bad[:4]}" if bad else "held: refused, named; first unharmed"


def half_files(world: World, run: Path) -> str:
    """Leftover temporary files of a killed writer are never taken for whole."""
    world.child(run, kill=Kill("time", 0.7 * world.seconds))
    for folder in [run, *(p for p in run.rglob("*") if p.is_dir())]:
        for suffix in (".json", ".safetensors", ".npy"):
            with contextlib.suppress(OSError):
                (folder / f".part-torture{suffix}").write_bytes(b"half")
    return world.ends_the_same(run)


def not_a_number(world: World, run: Path) -> str:
    """A loss becomes NaN once: the step is named, and the state before it is gone on with."""

    def poison() -> None:
        from transect.train.loop import Epoch

        real, left = Epoch._backward, [5]

        def backward(self: Epoch, *words: object) -> object:
            left[0] -= 1
            value = real(self, *words)  # type: ignore[arg-type]
            return value * float("nan") if left[0] == 0 else value

        Epoch._backward = backward  # type: ignore[assignment,method-assign]

    child = world.child(run, before=poison)
    said = re.search(r"the loss became nan in stage (\S+), epoch (\d+), step (\d+)", child.text)
    if child.code != 2 or not said:
        return f"LOST: exit {child.code}: {child.text[-200:]}"
    end = world.ends_the_same(run)
    return f"{end} (it said: stage {said[1]}, epoch {said[2]}, step {said[3]})"


def too_big(world: World, run: Path) -> str:
    """The device has room for half a batch: gradients are added up, and the losses stay."""

    def shrink() -> None:
        import torch

        from transect.train.loop import Epoch

        real = Epoch.__post_init__

        def begin(self: Epoch) -> None:
            real(self)
            step = self.step

            def refused(model: object, batch: dict[str, object], progress: float) -> object:
                if len(next(iter(batch.values()))) > self.stage.batch // 2:  # type: ignore[arg-type]
                    raise torch.OutOfMemoryError("CUDA out of memory, as planned")
                return step(model, batch, progress)  # type: ignore[arg-type]

            self.step = refused  # type: ignore[assignment]

        Epoch.__post_init__ = begin  # type: ignore[method-assign]

    child = world.child(run, before=shrink)
    if child.code or "does not fit the memory" not in child.text:
        return f"LOST: exit {child.code}: {child.text[-300:]}"
    losses = losses_of(run)
    if len(losses) != len(world.losses):
        return f"LOST: {len(losses)} epochs instead of {len(world.losses)}"
    gap = max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(losses, world.losses, strict=True))
    return f"held: said so; losses of all epochs differ by at most {gap:.1%}"


def no_space_at_flush(world: World, run: Path) -> str:
    """The flush to the device fails with ENOSPC at the fifth file, as on a full quota."""

    def starve() -> None:
        real, left = os.fsync, [5]

        def sync(handle: int) -> None:
            left[0] -= 1
            if left[0] <= 0:
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
            real(handle)

        os.fsync = sync

    child = world.child(run, before=starve)
    if child.code != 2 or "full" not in child.text:
        return f"LOST: exit {child.code}: {child.text[-200:]}"
    return world.ends_the_same(run)


MISFORTUNES: dict[str, Callable[[World, Path], str]] = {
    "the same command again": again,
    "SIGTERM, then SIGINT": polite,
    "a full disk": full_disk,
    "a full quota": no_space_at_flush,
    "a file size limit": file_limit,
    "a read-only file system": read_only,
    "a picture vanishing between kill and resume": vanishing,
    "a picture vanishing while it is read": vanishing_while_read,
    "a second process": two_at_once,
    "half-written files": half_files,
    "a loss that is not a number": not_a_number,
    "a batch too big for the device": too_big,
}
