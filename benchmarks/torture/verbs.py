"""Kill every command that writes, at any time and by any signal, repeat it, and compare its end.

    python -m benchmarks.torture.verbs [--kills 60] [--minutes 30] [--verbs predict ...]
        [--work FOLDER] [--out figures.json]

A command is run once undisturbed. Then it is run again in a fresh copy of what it needs, and sent a
signal at a random moment: SIGKILL, SIGTERM, SIGINT twice, or SIGSTOP and later SIGCONT. It is
repeated (with the option that its message names) until it ends by itself, and must leave the same
bytes. Each command is also run with another number of threads, on a run that was moved, and on a
disk that is full.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
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

import numpy as np

from benchmarks.torture.children import load_everything, train_words
from benchmarks.torture.misfortunes import remount, small_disk
from benchmarks.torture.surveys import QUESTIONS

_LONGEST = 400.0  # seconds that a command may take
_REPEATS = 12


@dataclass(frozen=True)
class Place:
    """A fresh place for one command.

    Attributes:
        run: A copy of a finished run.
        survey: A copy of its survey.
        recipe: The recipe file.
        out: What the command writes, if it is not the run or the survey.
    """

    run: Path
    survey: Path
    recipe: Path
    out: Path

    @property
    def images(self) -> str:
        """The pictures of the survey."""
        return str(self.survey / "images")

    @property
    def new(self) -> str:
        """Three pictures under names that the run has not seen."""
        folder = self.run.with_name("new")
        folder.mkdir(exist_ok=True)
        for number, path in enumerate(sorted((self.survey / "images").iterdir())[:3]):
            shutil.copy2(path, folder / f"new{number}{path.suffix}")
        return str(folder)


@dataclass(frozen=True)
class Verb:
    """A command that writes.

    Attributes:
        question: Whose run it is given.
        words: The command; ``again`` is True where it is repeated.
        results: The files that must be the same bytes.
        told: A command that writes what is to be compared, run at the end.
    """

    question: str
    words: Callable[[Place, bool], list[str]]
    results: Callable[[Place], list[Path]]
    told: Callable[[Place], list[str]] | None = None


def _below(folder: Path, *suffixes: str) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return [p for p in files if not suffixes or p.suffix in suffixes]


def _predict(place: Place, again: bool) -> list[str]:
    words = ["predict", str(place.run), place.images, "--out", str(place.out), "--threads", "1"]
    return (
        [*words, "--overwrite"] if again and (place.out / ".transect-answers").exists() else words
    )


def _predicted(place: Place) -> list[Path]:
    return _below(place.out, ".csv", ".png", ".json", ".jpg")


def _train(*more: str) -> Callable[[Place, bool], list[str]]:
    def words(place: Place, again: bool) -> list[str]:
        own = ["train", str(place.survey), "--recipe", str(place.recipe), "--out", str(place.out)]
        return [*own, "--threads", "1", *more]

    return words


def _several(place: Place, again: bool) -> list[str]:
    second = place.recipe.with_name("second.py")
    second.write_text(place.recipe.read_text().replace('name="torture"', 'name="second"'))
    recipes = ["--recipe", str(place.recipe), str(second)]
    words = ["train", str(place.survey), *recipes, "--out", str(place.out), "--threads", "1"]
    return [*words, "--resume"]


def _scores(place: Place) -> list[Path]:
    return sorted([*place.out.rglob("metrics.json"), *place.out.rglob("decide.json")])


VERBS = {
    "predict masks": Verb("segment", _predict, _predicted),
    "predict counts": Verb("count", _predict, _predicted),
    "predict individuals": Verb("identify", _predict, lambda p: _below(p.out, ".csv")),
    "submit": Verb(
        "segment",
        lambda p, again: [
            "submit",
            str(p.run),
            p.images,
            "--out",
            str(p.out / "s.csv"),
            "--threads",
            "1",
        ],
        lambda p: [p.out / "s.csv"],
    ),
    "convert": Verb(
        "count",
        lambda p, again: ["convert", str(p.survey), str(p.out / "coco.json"), "--to", "coco"],
        lambda p: _below(p.out),
    ),
    "calibrate": Verb(
        "count",
        lambda p, again: ["calibrate", str(p.run), str(p.survey)],
        lambda p: [p.run / "calibration.json"],
    ),
    "audit --write-groups": Verb(
        "segment",
        lambda p, again: ["audit", str(p.survey), "--write-groups", "--threads", "1"],
        lambda p: [p.survey / "images.csv"],
    ),
    "report": Verb(
        "count",
        lambda p, again: ["report", str(p.run)],
        lambda p: [p.run / "report.html", p.run / "card.md"],
    ),
    "export": Verb(
        "segment",
        lambda p, again: ["export", str(p.run), "--to", "torchscript", "--out", str(p.out)],
        lambda p: [p.out / "export.json"],
    ),
    "catalogue add": Verb(
        "identify",
        lambda p, again: ["catalogue", str(p.run), "add", p.new, "--threads", "1"],
        lambda p: [*_below(p.run / "catalogue" / "keypoints"), p.run.with_name("book.csv")],
        lambda p: ["catalogue", str(p.run), "export", str(p.run.with_name("book.csv"))],
    ),
    "train --seeds": Verb("count", _train("--seeds", "2", "--resume"), _scores),
    "train --tune": Verb(
        "count",
        _train("--tune", "members.*.stages.*.optimizer.lr=1e-3..1e-2", "--trials", "2", "--resume"),
        lambda p: [p.out / "tune.json", p.out / "best.json"],
    ),
    "train --ablate": Verb(
        "segment", _train("--ablate", "views"), lambda p: [p.out / "ablation.json", *_scores(p)]
    ),
    "train, a list": Verb("count", _several, _scores),
}
_SLOW = ("train --seeds", "train --tune", "train --ablate", "train, a list")


@dataclass
class Ends:
    """How the kills of one command ended."""

    seconds: float = 0.0
    kills: int = 0
    signals: Counter[str] = field(default_factory=Counter)
    unharmed: int = 0
    lost: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    """Kill within a time; the exit code is 1 if anything was lost."""
    parser = argparse.ArgumentParser(description="Kill every command that writes.")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--verbs", nargs="*", default=list(VERBS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keep the runs here, and take those that are")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args(argv)
    until = time.monotonic() + 60 * options.minutes
    load_everything()
    found: dict[str, Ends] = {}
    with tempfile.TemporaryDirectory(prefix="verbs-") as name:
        work = options.work or Path(name)
        _prepare(work, {VERBS[verb].question for verb in options.verbs})
        rng, turn = np.random.default_rng(options.seed), 0
        calm = {}
        while time.monotonic() < until and sum(e.kills for e in found.values()) < options.kills:
            verb = options.verbs[turn % len(options.verbs)]
            turn += 1
            if verb in _SLOW and turn > len(options.verbs) and rng.random() < 0.7:
                continue  # each of them is met, but not as often
            if verb not in calm:
                found[verb] = Ends()
                calm[verb] = _calm(work, verb, found[verb])
                _otherwise(work, verb, calm[verb], found[verb])
            _killed(work, verb, calm[verb], rng, found[verb])
            if options.out:
                record = {name: vars(ends) for name, ends in found.items()}
                options.out.write_text(json.dumps(record, indent=2) + "\n")
    for verb, ends in found.items():
        _say(f"{verb}: {ends.kills} signals met it, {ends.unharmed} ended with the same bytes, "
             f"{len(ends.lost)} lost; {ends.others}")  # fmt: skip
    lost = any(e.lost or any("LOST" in o for o in e.others.values()) for e in found.values())
    return 1 if lost else 0


def _prepare(work: Path, questions: set[str]) -> None:
    """A survey, a recipe and a finished run of each question."""
    for question in (q for q in QUESTIONS if q.name in questions):
        base = work / question.name
        if (base / "run" / "files.json").is_file():
            continue
        base.mkdir(parents=True)
        (base / "torture_recipe.py").write_text(question.recipe)
        _fork(lambda q=question, b=base: q.write_survey(b / "survey"))
        words = train_words(base / "survey", base / "torture_recipe.py", base / "run")
        code, said = _command(words, base / "run.log")
        if code:
            raise SystemExit(f"the run of {question.name} failed:\n{said}")
        _say(f"{question.name}: trained")


def _place(work: Path, verb: str, name: str) -> Place:
    """A fresh place."""
    base = work / VERBS[verb].question
    place = work / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copytree(base / "run", place / "run")
    shutil.copytree(base / "survey", place / "survey")
    shutil.copy2(base / "torture_recipe.py", place)
    return Place(place / "run", place / "survey", place / "torture_recipe.py", place / "out")


def _calm(work: Path, verb: str, ends: Ends) -> dict[str, str]:
    """Run undisturbed: digests of the results."""
    place = _place(work, verb, "calm")
    began = time.monotonic()
    code, said = _command(VERBS[verb].words(place, False), place.run.with_name("log"))
    ends.seconds = round(time.monotonic() - began, 2)
    if code not in (0, 1):
        ends.lost.append(f"undisturbed: exit {code}: {said[-400:]}")
    _say(f"{verb}: undisturbed {ends.seconds} s")
    return _digests(verb, place)


def _digests(verb: str, place: Place) -> dict[str, str]:
    """Digest of every result, by its name in the place."""
    root, told = place.run.parent, VERBS[verb].told
    if told is not None:
        _command(told(place), place.run.with_name("told"))
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(_timeless(p)).hexdigest()
        for p in VERBS[verb].results(place)
        if p.is_file()
    }


def _timeless(path: Path) -> bytes:
    """A file without where it lies."""
    return path.read_bytes().replace(str(path.parents[1]).encode(), b"")


def _killed(work: Path, verb: str, want: dict[str, str], rng: Any, ends: Ends) -> None:
    """Send one signal, repeat until it ends, and compare."""
    place = _place(work, verb, "killed")
    how = str(rng.choice(["SIGKILL", "SIGKILL", "SIGTERM", "SIGINT twice", "SIGSTOP"]))
    moment = float(rng.uniform(0.02, 1.0)) * ends.seconds
    log = place.run.with_name("log")
    code, said = _command(VERBS[verb].words(place, False), log, how, moment)
    met = code < 0 or code == 130 or how == "SIGSTOP"
    ends.kills += met
    ends.signals[how] += met
    for _ in range(_REPEATS):
        if code in (0, 1):
            break
        code, said = _command(VERBS[verb].words(place, True), log)
        if verb == "catalogue add" and code == 2 and "already" in said:
            code = 0  # it had been added before the signal came
    got = _digests(verb, place)
    changed = sorted(n for n in want.keys() | got.keys() if want.get(n) != got.get(n))
    if code not in (0, 1) or "Traceback" in said:
        ends.lost.append(f"{how} at {moment:.2f} s: exit {code}: {said[-400:]}")
    elif changed:
        ends.lost.append(f"{how} at {moment:.2f} s: other bytes in {changed[:4]}")
    else:
        ends.unharmed += 1
        return
    _say(f"{verb}: LOST {ends.lost[-1]}")


def _otherwise(work: Path, verb: str, want: dict[str, str], ends: Ends) -> None:
    """Other threads, a run that was moved, and a full disk."""
    place = _place(work, verb, "threads")
    words = VERBS[verb].words(place, False)
    if "--threads" in words:
        words[words.index("--threads") + 1] = "2"
        code, said = _command(words, place.run.with_name("log"))
        same = code in (0, 1) and _digests(verb, place) == want
        ends.others["two threads"] = "same" if same else f"LOST: exit {code} {said[-200:]}"
    if verb in _SLOW:
        return
    place = _place(work, verb, "full")
    with small_disk(place.out, 4) as mounted:
        if mounted:
            remount(place.out, "size=4k")
            code, said = _command(VERBS[verb].words(place, False), place.run.with_name("log"))
            held = code in (0, 1) or (code == 2 and "Traceback" not in said)
            ends.others["full disk"] = f"exit {code}" if held else f"LOST: {code} {said[-300:]}"


def _fork(work: Callable[[], object]) -> None:
    """Do something in a child, so that its thread pools stay there."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    os.waitpid(child, 0)


def _command(words: list[str], log: Path, how: str = "", moment: float = 0.0) -> tuple[int, str]:
    """One command line in a fork, perhaps sent a signal: exit code, and what it printed."""
    child = os.fork()
    if child == 0:
        _become(words, log)
    began, sent = time.monotonic(), not how
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), log.read_text() if log.exists() else ""
        now = time.monotonic() - began
        if not sent and now >= moment:
            _send(child, how)
            sent = True
        if now > _LONGEST:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _send(child: int, how: str) -> None:
    """Send what was drawn."""
    if how == "SIGINT twice":
        os.kill(child, signal.SIGINT)
        time.sleep(0.05)
        os.kill(child, signal.SIGINT)
    elif how == "SIGSTOP":
        os.kill(child, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(child, signal.SIGCONT)
    else:
        os.kill(child, getattr(signal, how))


def _become(words: list[str], log: Path) -> None:
    """The child's part; it never returns."""
    code = 3
    try:
        with log.open("w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        from transect.cli import main as command

        code = command(words)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
