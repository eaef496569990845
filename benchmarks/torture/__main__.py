"""The command line of the torture: misfortunes first, then kills for as long as there is time."""

from __future__ import annotations

import argparse
import contextlib
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

from benchmarks.torture.children import (
    Child,
    Kill,
    bytes_of,
    differences,
    load_everything,
    train_words,
)
from benchmarks.torture.misfortunes import MISFORTUNES, World, losses_of
from benchmarks.torture.surveys import QUESTIONS, Question

_KILLS_A_RUN = 4  # then it may end


@dataclass
class Figures:
    """What the torture of one question showed."""

    seconds: float = 0.0
    files: int = 0
    runs: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    misfortunes: dict[str, str] = field(default_factory=dict)

    @property
    def kills(self) -> int:
        """SIGKILLs that met their run."""
        return sum(self.stages.values())


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything within a time; the exit code is 1 if anything was lost."""
    parser = argparse.ArgumentParser(description="Kill runs, and see that none is lost.")
    parser.add_argument("--kills", type=int, default=60, help="at least so many if time allows")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--questions", nargs="*", default=[q.name for q in QUESTIONS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-misfortunes", action="store_true")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args(argv)
    questions = [q for q in QUESTIONS if q.name in options.questions]
    until = time.monotonic() + 60 * options.minutes
    load_everything()
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        found = torture(
            Path(name), questions, kills=options.kills, until=until, seed=options.seed,
            misfortunes=not options.no_misfortunes,
        )  # fmt: skip
    record = {name: {**vars(f), "kills": f.kills} for name, f in found.items()}
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n")
    kills = sum(f.kills for f in found.values())
    runs = sum(f.runs for f in found.values())
    _say(f"{kills} kills over {runs} runs, {time.monotonic() - until + 60 * options.minutes:.0f} s")
    bad = any(f.different or f.refused for f in found.values())
    lost = any(t.startswith("LOST") for f in found.values() for t in f.misfortunes.values())
    return 1 if bad or lost else 0


def torture(
    work: Path,
    questions: Sequence[Question],
    *,
    kills: int,
    until: float,
    seed: int,
    misfortunes: bool,
) -> dict[str, Figures]:
    """The whole harness.

    Args:
        work: An empty folder.
        questions: To be tortured, in turn.
        kills: How many kills to aim at, over all questions.
        until: ``time.monotonic()`` at which no new run is begun.
        seed: Of the moments.
        misfortunes: Whether to make the other ones happen, too.
    """
    rng = np.random.default_rng(seed)
    figures = {q.name: Figures() for q in questions}
    worlds = {q.name: _undisturbed(work / q.name, q, figures[q.name]) for q in questions}
    for q, (world, _) in worlds.items():
        for name, test in MISFORTUNES.items() if misfortunes else ():
            if time.monotonic() < until:
                run = work / q / name.replace(" ", "-").replace(",", "")
                figures[q].misfortunes[name] = said = test(world, run)
                _say(f"{q}: {name}: {said}")
    number = 0
    while sum(f.kills for f in figures.values()) < kills and time.monotonic() < until:
        number += 1
        q = questions[number % len(questions)].name
        world, calm = worlds[q]
        run = work / q / f"run{number}"
        _until_done(world, calm, run, rng, figures[q])
        shutil.rmtree(run, ignore_errors=True)
    for q, f in figures.items():
        _tell(q, f)
    return figures


def _undisturbed(work: Path, question: Question, figures: Figures) -> tuple[World, Child]:
    """Write the survey, train once, and remember how everything looked."""
    work.mkdir()
    survey, recipe, run = work / "survey", work / "torture_recipe.py", work / "undisturbed"
    recipe.write_text(question.recipe)
    # In a child, too: thread pools that the parent had started would hang in every fork.
    child = os.fork()
    if child == 0:
        question.write_survey(survey)
        os._exit(0)
    os.waitpid(child, 0)
    began = time.monotonic()
    calm = Child(question, train_words(survey, recipe, run), work / "undisturbed.log")
    if calm.code:
        raise SystemExit(f"the undisturbed run of {question.name} failed:\n{calm.text}")
    figures.seconds = round(time.monotonic() - began, 2)
    want = bytes_of(run)
    figures.files = len(want)
    visited = ", ".join(f"{n} {calm.visits[n]} x {calm.seconds[n]:.2f} s" for n in calm.visits)
    _say(f"{question.name}: undisturbed {figures.seconds} s, {len(want)} files; {visited}")
    return World(question, survey, recipe, figures.seconds, want, losses_of(run)), calm


def _until_done(world: World, calm: Child, run: Path, rng: Any, figures: Figures) -> None:
    """Kill one run a few times in stages that were met least, go on, and compare its end."""
    for turn in range(60):
        kill = _moment(world, calm, rng, figures, turn) if turn < _KILLS_A_RUN else None
        child = world.child(run, kill=kill)
        if child.code == 0:
            break
        if child.code != -9 or kill is None:
            figures.refused.append(f"{run.name}: exit {child.code}: {child.text.strip()[-400:]}")
            _say(f"{world.question.name}: REFUSED {figures.refused[-1]}")
            return
        figures.stages[child.stage] += 1
        figures.ways[kill.how] += 1
    figures.runs += 1
    for name in differences(world.want, run):
        figures.different.append(f"{run.name}: {name}")
        _say(f"{world.question.name}: DIFFERENT {figures.different[-1]}")


def _moment(world: World, calm: Child, rng: Any, figures: Figures, turn: int) -> Kill:
    """When the next kill comes.

    Two of four come within a stage that was met least so far, one in the middle of a write, and
    one at any time.
    """
    if turn % 4 == 1:
        return Kill("write", visit=int(rng.integers(1, max(2, calm.writes))))
    if turn % 4 == 3:
        return Kill("time", float(rng.uniform(0, 1)) * world.seconds)
    names = [name for name, _ in world.question.stages if calm.visits[name]]
    least = min(figures.stages[name] for name in names)
    goal = str(rng.choice([name for name in names if figures.stages[name] == least]))
    number = [name for name, _ in world.question.stages].index(goal) + 1
    visits = calm.visits[goal]
    # A resumed run visits a stage less often, so early visits are preferred.
    visit = int(rng.integers(1, max(2, visits if turn == 0 else visits // 2)))
    inside = float(rng.uniform(0, 1)) * calm.seconds[goal] / visits
    return Kill("stage", inside, number, visit)


def _tell(question: str, figures: Figures) -> None:
    """The figures of a question in a few lines."""
    _say(
        f"{question}: killed {figures.kills} times, {figures.runs} runs brought to their end, "
        f"{len(figures.different)} files with other bytes, {len(figures.refused)} not resumable"
    )
    _say("  killed while: " + ", ".join(f"{n} {c}" for n, c in figures.stages.most_common()))
    _say("  killed by: " + ", ".join(f"{n} {c}" for n, c in figures.ways.most_common()))


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
