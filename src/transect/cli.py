"""The command line: five words, a few helpers, and nothing that the functions do not do."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transect import __version__
from transect.errors import TransectError

__all__ = ["main"]

_ABOUT = """\
Where is it, how many, which one: segment, count and identify in survey pictures.

  transect audit DATA            what is in the folder, what is broken, what leaks
  transect train DATA            train on it and write a run folder with a report
  transect score RUN             every metric with its spread
  transect predict RUN IMAGES    masks, counts or identities for new pictures
  transect report RUN            one page that explains the run
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Words after ``transect``; None takes the process's.

    Returns:
        0 if all went well, 1 for findings or files that were left out, 2 for an error that the
        user can mend, 130 if interrupted.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    if not hasattr(options, "call"):
        parser.print_help()
        return 0
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        with _terminable():
            return int(options.call(options) or 0)
    except TransectError as error:
        print(f"transect: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "transect: stopped; nothing finished is lost. Add --resume to go on.", file=sys.stderr
        )
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let a scheduler's SIGTERM end a run as Ctrl-C does: the state of the last epoch stays."""
    try:
        before = signal.signal(signal.SIGTERM, _interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(signum: int, frame: object) -> None:
    """Turn a polite kill into the interrupt that Python knows."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    parser = argparse.ArgumentParser(
        prog="transect", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"transect {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    audit = _command(commands, "audit", _audit, "what is broken in a survey, what leaks")
    audit.add_argument("data", metavar="DATA", help="the survey, or with --next a run that counts")
    audit.add_argument("new", metavar="NEW", nargs="?", help="new pictures: how do they differ?")
    audit.add_argument("--question", choices=("segment", "count", "identify"))
    audit.add_argument("--folds", metavar="FOLDS.csv", help="of a run: leaks across its folds")
    audit.add_argument("--run", metavar="RUN", help="keep the audit in a run that has none")
    audit.add_argument("--json", action="store_true", help="print JSON")
    audit.add_argument("--html", metavar="PAGE.html", help="write a page with pictures")
    audit.add_argument(
        "--write-groups", action="store_true", help="write the groups that close leaks"
    )
    audit.add_argument(
        "--next", type=int, default=0, metavar="N", help="name N images to annotate next"
    )
    audit.add_argument(
        "--write", metavar="FOLDER", help="with --next and a run: the crops, with proposed dots"
    )
    audit.add_argument(
        "--take-back", action="store_true", help="add NEW, corrected dots, to the survey DATA"
    )
    audit.add_argument("--threads", type=int, help="CPU threads (default: all cores)")

    train = _command(commands, "train", _train, "train on a survey and write a run folder")
    train.add_argument("data", metavar="DATA", help="the survey: a folder with images/")
    train.add_argument(
        "--recipe",
        nargs="+",
        default=["auto"],
        metavar="R",
        help="names, files, or a list of runs.toml",
    )
    train.add_argument("--out", metavar="RUN", help="run folder (default runs/<name of DATA>)")
    train.add_argument("--budget", metavar="TIME", help="time for all of it: 90s, 15m, 2h")
    train.add_argument("--question", choices=("segment", "count", "identify"))
    train.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="settings")
    train.add_argument(
        "--missing",
        choices=("empty", "unlabelled"),
        help="an image without a mask: it has no objects, or it is kept from training",
    )
    train.add_argument("--quick", action="store_true", help="the recipe's short twin")
    train.add_argument("--resume", action="store_true", help="go on with the run in --out")
    train.add_argument("--seed", type=int, help="of everything random")
    train.add_argument(
        "--ablate", metavar="A,B,...", help="which trick paid: train again without each of these"
    )
    train.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="train with N seeds (also of --ablate)"
    )
    train.add_argument("--no-audit", action="store_true", help="do not look for faults and leaks")
    train.add_argument(
        "--tune", action="append", default=[], metavar="PATH=LOW..HIGH", help="search a field"
    )
    train.add_argument("--trials", type=int, default=20, metavar="N", help="of --tune (default 20)")
    _machine(train)

    score = _command(commands, "score", _score, "every metric of a run with its spread")
    score.add_argument(
        "paths",
        metavar="RUN [TRUTH]",
        nargs="+",
        help="a run and, if you like, a survey with known answers; or runs of several seeds",
    )
    score.add_argument(
        "--leak-free",
        action="store_true",
        help="also without pictures that have a copy or a neighbour in another fold",
    )
    score.add_argument("--json", action="store_true", help="print JSON")

    predict = _command(commands, "predict", _predict, "answer the question for new pictures")
    predict.add_argument("run", metavar="RUN")
    predict.add_argument("images", metavar="IMAGES", help="a folder of pictures, or one")
    predict.add_argument("--out", required=True, metavar="OUT", help="folder to write")
    predict.add_argument(
        "--format",
        action="append",
        default=[],
        dest="formats",
        metavar="F",
        help="also write: coco, rle, probability (masks); density, geojson, gpkg (counts)",
    )
    predict.add_argument(
        "--scale",
        type=_scale,
        metavar="S",
        help="counts: resample new photos by a factor; check, auto (repair) or none",
    )
    predict.add_argument(
        "--encounters", action="store_true", help="individuals: one answer per encounter"
    )
    predict.add_argument(
        "--catalogue", metavar="FOLDER", help="individuals: those known here, not the run's own"
    )
    _machine(predict)

    calibrate = _command(commands, "calibrate", _calibrate, "correct counts on a dotted pilot")
    calibrate.add_argument("run", metavar="RUN")
    calibrate.add_argument("pilot", metavar="PILOT", help="a small survey with dots")
    calibrate.add_argument("--scale", type=float, default=1.0, metavar="S")

    submit = _command(commands, "submit", _submit, "write the competition's file")
    submit.add_argument("run", metavar="RUN")
    submit.add_argument("images", metavar="IMAGES")
    submit.add_argument("--out", required=True, metavar="FILE.csv")
    _machine(submit)

    report = _command(commands, "report", _report, "write report.html of a run anew")
    report.add_argument("run", metavar="RUN")

    book = _command(commands, "catalogue", _catalogue, "a run's individuals: change, undo")
    book.add_argument("folder", metavar="FOLDER", help="a run, or its catalogue folder")
    book.add_argument(
        "action", metavar="DO", help="list log add rename merge split assign group undo"
    )
    book.add_argument("words", nargs="*", metavar="WORD", help="names, photos, or a folder to add")
    book.add_argument("--who", default="", metavar="NAME", help="for the log: who says so")
    book.add_argument("--write", action="store_true", help="group: name the proposed individuals")
    _machine(book)

    recipes = _command(commands, "recipes", _recipes, "list the bundled recipes, or explain one")
    recipes.add_argument("name", metavar="NAME", nargs="?")

    convert = _command(commands, "convert", _convert, "from one annotation format to another")
    convert.add_argument("source", metavar="FROM")
    convert.add_argument("target", metavar="TO")
    convert.add_argument("--from", dest="source_format", metavar="FORMAT", help="if not detected")
    convert.add_argument("--to", dest="target_format", metavar="FORMAT", help="if not clear")
    convert.add_argument("--images", metavar="FOLDER", help="where the pictures are")

    demo = _command(commands, "demo", _demo, "the whole job on a built-in survey")
    demo.add_argument(
        "question", nargs="?", default="segment", choices=("segment", "count", "identify")
    )
    demo.add_argument("--out", default="transect-demo", metavar="FOLDER")
    demo.add_argument("--seed", type=int, default=0)
    _machine(demo)

    bench = _command(commands, "bench", _bench, "time the hot paths: peer, ours, limit")
    bench.add_argument("names", nargs="*", metavar="NAME")
    bench.add_argument(
        "--full", action="store_true", help="sizes of the design, not the quick ones"
    )

    doctor = _command(commands, "doctor", _doctor, "look at the installation")
    doctor.add_argument("--json", action="store_true")
    return parser


def _command(commands: Any, name: str, call: Any, about: str) -> argparse.ArgumentParser:
    """Add one command."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
    parser.set_defaults(call=call)
    return parser


def _machine(parser: argparse.ArgumentParser) -> None:
    """The options that say where work is done."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")


def _scale(text: str) -> float | str:
    """A factor, or a word that the counting room knows."""
    try:
        return float(text)
    except ValueError:
        return text


def _train(options: argparse.Namespace) -> int:
    """Train one recipe, or several one after another; one that fails does not stop the others."""
    if len(options.recipe) > 1 or options.recipe[0].endswith(".toml"):
        return _train_list(options)
    if options.ablate:
        return _ablate(options)
    if options.tune:
        return _tune(options)
    if options.seeds > 1:
        return _train_seeds(options)
    return _train_one(options, options.recipe[0], options.out)


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    """What every way of training passes on to ``api.train``, the seed aside."""
    from transect import api

    return {
        "budget": options.budget,
        "settings": api.settings_of(options.settings),
        "question": options.question,
        "missing": options.missing,
        "quick": options.quick,
        "resume": options.resume,
        "device": options.device,
        "threads": options.threads,
        "audit": not options.no_audit,
    }


def _train_one(options: argparse.Namespace, recipe: str, out: str | None) -> int:
    from transect import api

    with _Bars() as bars:
        run = api.train(
            options.data,
            recipe=recipe,
            out=out,
            seed=options.seed,
            progress=bars,
            **_asked(options),
        )
    print(f"\nreport:  {run.path / 'report.html'}")
    print(f"next:    transect predict {run.path} NEW_IMAGES --out OUT")
    return 1 if run.problems else 0


def _train_seeds(options: argparse.Namespace) -> int:
    """Train one recipe with several seeds and say how far apart they are."""
    from transect.experiments.seeds import score_seeds, train_seeds

    first = options.seed or 0
    out = Path(options.out or f"runs/{Path(options.data).resolve().name}-seeds")
    with _Bars() as bars:
        runs = train_seeds(
            options.data,
            range(first, first + options.seeds),
            recipe=options.recipe[0],
            out=out,
            progress=bars,
            **_asked(options),
        )
    print("\n" + "\n".join(seed_lines(score_seeds(runs))))
    print(f"next:    transect report {runs[0]}")
    return 0


def _train_list(options: argparse.Namespace) -> int:
    """Train a list of recipes, or a file of runs, and say at the end how each one did."""
    from transect.experiments.several import Planned, read_runs, train_several

    if options.ablate or options.tune:
        raise TransectError("--ablate and --tune take one recipe. Name one with --recipe.")
    runs: list[Planned] = []
    for name in options.recipe:
        path = Path(name)
        runs += read_runs(path) if path.suffix == ".toml" else [Planned(path.stem, name)]
    base = Path(options.out or "runs")
    with _Bars() as bars:
        entries = train_several(
            options.data,
            runs,
            out=base,
            told=lambda name: print(f"\n== {name}"),
            seed=options.seed,
            progress=bars,
            **_asked(options),
        )
    print("\n" + "\n".join(f"{entry.name}: {entry.error or 'done'}" for entry in entries))
    print(f"leaderboard:  {base / 'leaderboard.html'}")
    if any(entry.error for entry in entries):
        return 2
    return 1 if any(entry.left_out for entry in entries) else 0


def _ablate(options: argparse.Namespace) -> int:
    """Train with everything, then without each ingredient, and say what each one brought."""
    from transect import api
    from transect.experiments.ablation import ablate, lines_of

    first = options.seed or 0
    out = Path(options.out or f"runs/{Path(options.data).resolve().name}-ablation")
    with _Bars() as bars:
        results = ablate(
            options.data,
            [name.strip() for name in options.ablate.split(",") if name.strip()],
            recipe=options.recipe[0],
            out=out,
            seeds=range(first, first + max(1, options.seeds)),
            budget=options.budget,
            settings=api.settings_of(options.settings),
            question=options.question,
            missing=options.missing,
            quick=options.quick,
            device=options.device,
            threads=options.threads,
            progress=bars,
        )
    print("\n" + "\n".join(lines_of(results)))
    print(f"\nreport:  {out / 'ablation.html'}")
    return 1 if any(result.error for result in results) else 0


def _tune(options: argparse.Namespace) -> int:
    """Search fields of a recipe and write the best one as a recipe file."""
    from transect import api, recipes
    from transect.experiments.tuning import parse_space, tune
    from transect.files import write_json
    from transect.recipe import to_json

    if options.recipe[0] == "auto":
        raise TransectError("--tune changes a recipe: name one with --recipe.")
    out = Path(options.out or f"runs/{Path(options.data).resolve().name}-tune")
    with _Bars() as bars:
        best = tune(
            options.data,
            parse_space(options.tune),
            recipe=recipes.load(options.recipe[0], quick=options.quick),
            out=out,
            trials=options.trials,
            seed=options.seed or 0,
            budget=options.budget,
            settings=api.settings_of(options.settings),
            question=options.question,
            missing=options.missing,
            device=options.device,
            threads=options.threads,
            progress=bars,
        )
    write_json(out / "best.json", to_json(best))
    print(f"best:    {out / 'best.json'}")
    print(f"next:    transect train {options.data} --recipe {out / 'best.json'}")
    return 0


def _audit(options: argparse.Namespace) -> int:
    """Tell what is wrong with a survey; exit code 1 if there is a fault or a warning."""
    import json

    from transect.audit import audit, write_groups

    root = Path(options.data)
    if not root.is_dir():
        raise TransectError(f"{root} is not a folder. Give the folder that holds images/.")
    if options.run:
        return _audit_run(options)
    if options.take_back or (root / "recipe.json").is_file():
        return _annotate(options, root)
    with _Bars() as bars:
        found = audit(
            root,
            Path(options.new) if options.new else None,
            question=options.question,
            folds=Path(options.folds) if options.folds else None,
            next_count=options.next,
            threads=options.threads,
            progress=bars,
        )
    if options.html:
        from transect.report.page import Page

        page = Page(f"Audit of {root.resolve().name}")
        found.fill(page)
        page.write(Path(options.html))
    if options.json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        print("\n".join(found.lines()))
        for name in found.next_images:
            print(f"annotate next: {name}")
    if options.write_groups and found.groups:
        written = write_groups(found, root)
        print(f"wrote {len(found.groups)} groups into {written}", file=sys.stderr)
    elif not options.json:
        more = f"transect audit {root} --write-groups" if found.groups else f"transect train {root}"
        print(f"next:    {more}")
    return 0 if found.clean else 1


def _audit_run(options: argparse.Namespace) -> int:
    """Audit the survey of a run that has no audit, and keep it there."""
    from transect import api
    from transect.audit import audit, keep_audit
    from transect.data.survey import fingerprint, open_survey
    from transect.run import RunFolder

    run = RunFolder.open(Path(options.run))
    survey = open_survey(
        Path(options.data), question=run.recipe().question, missing=run.data().get("missing")
    )
    if not run.same_data(fingerprint(survey)):
        raise TransectError(f"{options.data} is not the survey that {run.path} was trained on.")
    with _Bars() as bars:
        found = audit(survey, threads=options.threads, progress=bars)
    keep_audit(found, survey, run.path)
    print("\n".join(found.lines()))
    print(f"report:  {api.report(run.path)}")
    print(f"next:    transect score {run.path} --leak-free")
    return 0 if found.clean else 1


def _annotate(options: argparse.Namespace, root: Path) -> int:
    """Name the photos that a run would learn most from, or take their corrected dots back."""
    from transect import count

    if not options.new:
        raise TransectError("name the new pictures too: transect audit RUN NEW --next 20.")
    new = Path(options.new)
    if options.take_back:
        print(f"added {count.take_back(new, root)} pictures with their dots to {root}")
        print(f"next:    transect train {root}")
        return 0
    with _Bars() as bars:
        chosen = count.next_to_annotate(root, new, options.next or 20, progress=bars)
        for one in chosen:
            x0, y0, x1, y1 = one.box
            print(f"annotate next: {one.image} x {x0}-{x1} y {y0}-{y1} (score {one.score:.2f})")
        if options.write:
            count.write_todo(root, new, chosen, Path(options.write))
    if options.write:
        print(f"wrote {len(chosen)} crops with proposed dots to {options.write}: correct them")
        print(f"next:    transect audit DATA {options.write} --take-back")
    return 0


def _score(options: argparse.Namespace) -> int:
    """Scores of a run, against a truth, without leaks, or over seeds."""
    import json

    from transect import api
    from transect.experiments.seeds import runs_in, score_seeds

    paths = [Path(path) for path in options.paths]
    runs = [path for path in paths if (path / "recipe.json").is_file()]
    if len(paths) == 1 and not runs and len(runs_in(paths[0])) > 1:
        paths = runs = runs_in(paths[0])
    if len(runs) > 1:
        if len(runs) < len(paths) or options.leak_free:
            raise TransectError("give several runs of one recipe alone, or one run.")
        spread = score_seeds(runs)
        print(json.dumps(spread, indent=2) if options.json else "\n".join(seed_lines(spread)))
        return 0
    if len(paths) > 2:
        raise TransectError(f"{paths[1]} is no run folder. Give one RUN and at most one TRUTH.")
    truth = paths[1] if len(paths) == 2 else None
    with _Bars() as bars:
        found = api.score(paths[0], truth, leak_free=options.leak_free, progress=bars)
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for line in leak_lines(found) if options.leak_free else score_lines(found):
        print(line)
    print(f"next:    transect report {paths[0]}")
    return 0


def leak_lines(found: dict[str, Any]) -> list[str]:
    """Lay out scores twice: as split, and without pictures that were given away."""
    lines = [f"{'':<28}{'as split':<30}leak-free"]
    for name, record in found["as_split"].items():
        both = []
        for one in (record, found["leak_free"].get(name)):
            if one is None:
                both.append("-")
                continue
            low, high = one["interval"]
            both.append(f"{one['value']:.4f}  [{low:.4f}, {high:.4f}]")
        lines.append(f"{name:<28}{both[0]:<30}{both[1]}")
    count = ", ".join(f"{n} {kind}" for kind, n in found["leaks"].items()) or "none"
    lines.append(f"leaks across folds: {count}; {len(found['removed'])} pictures are given away")
    as_split, leak_free = (
        next((int(r["pictures"]) for r in found[k].values() if "pictures" in r), 0)
        for k in ("as_split", "leak_free")
    )
    lines.append(f"scored: {as_split} pictures as split, {leak_free} leak-free")
    if found["removed"] and not found["leak_free"]:
        lines.append("nothing is left: every scored picture was given away by another fold")
    if found["removed"]:
        lines.append("to close them: transect audit DATA --write-groups, and train again")
    return lines


def seed_lines(found: dict[str, Any]) -> list[str]:
    """Lay out the scores of several seeds: mean, deviation, then each seed."""
    lines = []
    for name, record in found.items():
        spread = record["deviation"]
        apart = f"  sd {spread:.4f}" if spread is not None else ""
        each = " ".join(f"{value:.4f}" for value in record["seeds"])
        lines.append(f"{name:<28}{record['value']:.4f}{apart}  seeds {each}")
    return lines


def score_lines(found: dict[str, Any]) -> list[str]:
    """Lay out scores: value, interval, then each fold."""
    lines = []
    for name, record in found.items():
        if not isinstance(record, dict) or "value" not in record:
            continue
        low, high = record.get("interval", (None, None))
        spread = f"  [{low:.4f}, {high:.4f}]" if low is not None else ""
        folds = record.get("folds") or []
        per_fold = "  folds " + " ".join(f"{value:.4f}" for value in folds) if folds else ""
        lines.append(f"{name:<28}{record['value']:.4f}{spread}{per_fold}")
    return lines


def _predict(options: argparse.Namespace) -> int:
    from transect import api

    more: dict[str, Any] = {} if options.scale is None else {"scale": options.scale}
    if options.formats:
        more["formats"] = tuple(options.formats)
    if options.encounters:
        more["encounters"] = True
    if options.catalogue:
        more["catalogue"] = Path(options.catalogue)
    with _Bars() as bars:
        summary = api.predict(
            options.run,
            options.images,
            options.out,
            device=options.device,
            threads=options.threads,
            progress=bars,
            **more,
        )
    for problem in summary.get("problems", []):
        print(f"left out: {problem}", file=sys.stderr)
    print(f"{summary['images']} pictures answered in {options.out}")
    return 1 if summary.get("problems") else 0


def _calibrate(options: argparse.Namespace) -> int:
    from transect import api

    with _Bars() as bars:
        found = api.calibrate(options.run, options.pilot, scale=options.scale, progress=bars)
    for name, value in found.items():
        print(f"{name}: {value}")
    return 0


def _submit(options: argparse.Namespace) -> int:
    from transect import api

    with _Bars() as bars:
        written = api.submit(
            options.run,
            options.images,
            options.out,
            device=options.device,
            threads=options.threads,
            progress=bars,
        )
    print(f"wrote {written}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from transect import api

    print(f"wrote {api.report(options.run)}")
    return 0


def _catalogue(options: argparse.Namespace) -> int:
    from transect import api

    with _Bars() as bars:
        lines = api.catalogue(
            options.folder,
            options.action,
            options.words,
            who=options.who,
            write=options.write,
            device=options.device,
            threads=options.threads,
            progress=bars,
        )
    print("\n".join(lines))
    return 0


def _recipes(options: argparse.Namespace) -> int:
    from transect import recipes

    if options.name:
        import json

        from transect.recipe import to_json

        recipe = recipes.load(options.name)
        print(recipe.notes or recipe.name)
        print(json.dumps(to_json(recipe), indent=2))
        return 0
    width = max(len(name) for name in (*recipes.names(), "auto"))
    print(f"{'auto':<{width}}  reads the data, the device and the budget, decides, and says why")
    for name in recipes.names():
        recipe = recipes.load(name)
        first = recipe.notes.split(". ")[0].rstrip(".")
        print(f"{name:<{width}}  {recipe.question}: {first}")
    print("\nnext:    transect recipes NAME, or transect train DATA --recipe NAME")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from transect.data.convert import convert

    result = convert(
        Path(options.source),
        Path(options.target),
        source_format=options.source_format,
        target_format=options.target_format,
        images=Path(options.images) if options.images else None,
    )
    for problem in result.problems:
        print(f"left out: {problem}", file=sys.stderr)
    print(f"wrote {result.written}")
    return 1 if result.problems else 0


def _demo(options: argparse.Namespace) -> int:
    from transect.demo import demo

    with _Bars() as bars:
        lines = demo(
            options.question,
            Path(options.out),
            seed=options.seed,
            device=options.device,
            threads=options.threads,
            progress=bars,
        )
    print("\n".join(lines))
    return 0


def _bench(options: argparse.Namespace) -> int:
    from transect import bench

    for line in bench.run_all(options.names, quick=not options.full):
        print(line)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    import dataclasses
    import json

    from transect.doctor import examine

    found = examine()
    if options.json:
        print(json.dumps([dataclasses.asdict(item) for item in found], indent=2))
    else:
        for item in found:
            print(f"{item.state:<6}{item.what:<10}{item.text}")
    return 1 if any(item.state == "fault" for item in found) else 0


class _Bars:
    """Progress on a terminal: a bar with rate and time left; plain lines where there is none."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._phase = ""
        self._plain_at = time.monotonic()

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, flush=True)

    def step(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Move the bar of a phase, or begin it."""
        if phase != self._phase:
            self._close()
            self._phase = phase
            if sys.stderr.isatty():
                self._open(phase, total)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() - self._plain_at > 10 and done < total:
            self._plain_at = time.monotonic()
            print(f"{phase}: {done} of {total} {note}".rstrip(), file=sys.stderr, flush=True)
        if done >= total:
            self._close()

    def _open(self, phase: str, total: int) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bar.start()
        self._task = self._bar.add_task(phase, total=total, note="")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._phase = ""


if __name__ == "__main__":
    sys.exit(main())
