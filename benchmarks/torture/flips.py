"""One bit of one file of a run folder flips: no other answer without a word.

    python -m benchmarks.torture.flips [--flips 500] [--minutes 30] [--work FOLDER] [--out f.json]

Of each question a finished run is asked for predictions, scores and leak-free scores, and a run
that was killed in the middle is gone on with. A flip in any file, log and pages included, must end
in a sentence that names a file, or in the answers of the undisturbed run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from benchmarks.torture.children import bytes_of, load_everything, train_words
from benchmarks.torture.surveys import QUESTIONS, Question

_UNFINISHED = 0.2  # share of the flips that hit a run that goes on
_TABLES = {"segment": "summary.csv", "count": "counts.csv", "identify": "identities.csv"}


@dataclass
class Ends:
    """How the flips of one question ended."""

    refused: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class World:
    """What is flipped.

    Attributes:
        question: Which.
        survey: The survey.
        recipe: The recipe file.
        run: A finished run.
        answers: What it answers.
        begun: A run that was stopped in the middle.
        want: Digests of the results of the finished run.
    """

    question: Question
    survey: Path
    recipe: Path
    run: Path
    answers: Any
    begun: Path
    want: dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Flip within a time; the exit code is 1 if an answer changed without a word."""
    parser = argparse.ArgumentParser(description="Flip bits in run folders.")
    parser.add_argument("--flips", type=int, default=500, help="over all questions")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--questions", nargs="*", default=list(_TABLES))
    parser.add_argument("--work", type=Path, help="keep the runs here, and take those that are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args(argv)
    questions = [q for q in QUESTIONS if q.name in options.questions]
    until = time.monotonic() + 60 * options.minutes
    load_everything()
    with tempfile.TemporaryDirectory(prefix="flips-") as name:
        work = options.work or Path(name)
        worlds = [_world(work / q.name, q) for q in questions]
        found = flip_all(worlds, options.flips, until, np.random.default_rng(options.seed))
    if options.out:
        record = {name: vars(ends) for name, ends in found.items()}
        options.out.write_text(json.dumps(record, indent=2) + "\n")
    for name, ends in found.items():
        print(f"{name}: {ends.refused.total()} refused, {ends.same.total()} the same answers, "
              f"{len(ends.lost)} lost")  # fmt: skip
        print("  the same:", ", ".join(f"{n} {c}" for n, c in ends.same.most_common()))
    return 1 if any(ends.lost for ends in found.values()) else 0


def flip_all(
    worlds: Sequence[World], flips: int, until: float, rng: np.random.Generator
) -> dict[str, Ends]:
    """Flip one bit after another, each in a run that is otherwise whole."""
    found = {world.question.name: Ends() for world in worlds}
    for number in range(flips):
        if time.monotonic() > until:
            break
        world = worlds[number % len(worlds)]
        ends = found[world.question.name]
        going = rng.random() < _UNFINISHED
        run = world.begun if going else world.run
        files = sorted(p for p in run.rglob("*") if p.is_file() and p.stat().st_size)
        path = files[int(rng.integers(len(files)))]
        part = path.relative_to(run).parts[0] + (" (unfinished)" if going else "")
        at, bit = int(rng.integers(path.stat().st_size)), int(rng.integers(8))
        end = (_gone_on if going else _asked)(world, path, at, bit)
        place = f"{path.relative_to(run)} byte {at} bit {bit}"
        if end.startswith("LOST"):
            ends.lost.append(f"{place}: {end}")
            print(f"{world.question.name}: {place}: {end}", flush=True)
        elif end.startswith("refused"):
            ends.refused[part] += 1
        else:
            ends.same[part] += 1
    return found


def _asked(world: World, path: Path, at: int, bit: int) -> str:
    """Flip a bit of the finished run, ask it everything, and flip it back."""
    before, status = path.read_bytes(), path.stat()
    path.write_bytes(_flipped(before, at, bit))
    try:
        return _judged(_answers(world.question, world.run, world.survey), world.answers)
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _gone_on(world: World, path: Path, at: int, bit: int) -> str:
    """Flip a bit of a copy of the run that was stopped, and go on with it."""
    with tempfile.TemporaryDirectory(prefix="flips-") as name:
        copy = Path(name) / "run"
        shutil.copytree(world.begun, copy)
        other = copy / path.relative_to(world.begun)
        other.write_bytes(_flipped(other.read_bytes(), at, bit))
        code, said = _command(train_words(world.survey, world.recipe, copy))
        if code:
            return "refused" if _a_sentence(code, said) else f"LOST: exit {code}: {said[-300:]}"
        got = bytes_of(copy)
        changed = [n for n in world.want if got.get(n) != world.want[n]]
        return f"LOST: other bytes in {changed[:4]}" if changed else "same"


def _flipped(data: bytes, at: int, bit: int) -> bytes:
    """The same bytes but for one bit."""
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def _judged(got: Any, want: Any) -> str:
    """What became of the answers: refused, same, or LOST."""
    refused = False
    for command, (code, said, answer) in got.items():
        calm = want[command]
        if code == calm[0] and answer == calm[2]:
            continue
        if not _a_sentence(code, said):
            return f"LOST: {command}: exit {code}, other answers: {said.strip()[-300:]}"
        refused = True
    return "refused" if refused else "same"


def _a_sentence(code: int, said: str) -> bool:
    """Whether a command ended in an error that the user can mend."""
    return code == 2 and "transect: " in said and "Traceback" not in said


def _answers(question: Question, run: Path, survey: Path) -> dict[str, tuple[int, str, Any]]:
    """Everything a run is asked for: exit code, what was printed, and the answer."""
    found: dict[str, tuple[int, str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="flips-") as name:
        out = Path(name) / "out"
        words = ["predict", str(run), str(survey / "images"), "--out", str(out), "--threads", "1"]
        code, said = _command(words)
        table = out / _TABLES[question.name]
        masks = sorted(out.rglob("masks/**/*.png"))
        answer = [p.read_bytes() for p in ([table] if table.is_file() else []) + masks]
        found["predict"] = (code, said, answer)
    for words in (["score"], ["score", "--leak-free"]):
        code, said = _command([words[0], str(run), *words[1:], "--json"])
        found[" ".join(words)] = (code, said, said if code == 0 else "")
    return found


def _command(words: list[str]) -> tuple[int, str]:
    """One command line in this process: exit code, and all that was printed."""
    from transect.cli import main as command

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = command(words)
        except Exception:
            import traceback

            traceback.print_exc()
            code = 3
    return code, said.getvalue()


def _world(work: Path, question: Question) -> World:
    """Train once to the end, and once to the middle."""
    work.mkdir(parents=True, exist_ok=True)
    survey, recipe = work / "survey", work / "torture_recipe.py"
    run, begun = work / "run", work / "begun"
    if not (run / "files.json").is_file():
        recipe.write_text(question.recipe)
        question.write_survey(survey)
        code, said = _command(train_words(survey, recipe, run))
        if code:
            raise SystemExit(f"the undisturbed run of {question.name} failed:\n{said}")
    if not begun.exists():
        _stopped(train_words(survey, recipe, begun))
    print(f"{question.name}: trained", flush=True)
    return World(
        question, survey, recipe, run, _answers(question, run, survey), begun, bytes_of(run)
    )


def _stopped(words: list[str]) -> None:
    """Train as long as held-out images are not predicted, and stop as Ctrl-C does."""
    from transect.train import engine

    real, left = engine._Fit._train_epoch, [6]

    def epoch(self: Any, *given: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(self, *given, **more)

    engine._Fit._train_epoch = epoch  # type: ignore[method-assign]
    try:
        _command(words)
    finally:
        engine._Fit._train_epoch = real  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
