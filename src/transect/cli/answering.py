"""What is asked of a run: score, predict, submit, report, calibrate, catalogue."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from transect.cli.bars import Bars
from transect.cli.format import leak_lines, score_lines, seed_lines, told_next
from transect.errors import TransectError

__all__ = [
    "calibrate_command",
    "catalogue_command",
    "export_command",
    "predict_command",
    "report_command",
    "score_command",
    "submit_command",
]


def score_command(options: argparse.Namespace) -> int:
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
    with Bars() as bars:
        found = api.score(
            paths[0],
            truth,
            leak_free=options.leak_free,
            device=options.device,
            threads=options.threads,
            progress=bars,
        )
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    verdict = api.Run(paths[0]).verdict
    print(verdict)
    for line in leak_lines(found) if options.leak_free else score_lines(found):
        print(line)
    told_next("", "report", paths[0])
    return 0


def predict_command(options: argparse.Namespace) -> int:
    """Answer the question for new pictures."""
    from transect import api

    more: dict[str, Any] = {} if options.scale is None else {"scale": options.scale}
    if options.formats:
        more["formats"] = tuple(options.formats)
    if options.encounters:
        more["encounters"] = True
    if options.catalogue:
        more["catalogue"] = Path(options.catalogue)
    with Bars() as bars:
        summary = api.predict(
            options.run,
            options.images,
            options.out,
            rescale=options.rescale,
            overwrite=options.overwrite,
            device=options.device,
            threads=options.threads,
            progress=bars,
            **more,
        )
    for problem in summary.get("problems", []):
        print(f"left out: {problem}", file=sys.stderr)
    print(summary["verdict"])
    print(f"{summary['images']} pictures answered in {options.out}")
    told_next("", "report", options.run)
    return 1 if summary.get("problems") else 0


def calibrate_command(options: argparse.Namespace) -> int:
    """Correct counts on a dotted pilot."""
    from transect import api

    with Bars() as bars:
        found = api.calibrate(options.run, options.pilot, scale=options.scale, progress=bars)
    for name, value in found.items():
        print(f"{name}: {value}")
    return 0


def submit_command(options: argparse.Namespace) -> int:
    """Write the competition's file."""
    from transect import api

    with Bars() as bars:
        written = api.submit(
            options.run,
            options.images,
            options.out,
            rescale=options.rescale,
            device=options.device,
            threads=options.threads,
            progress=bars,
        )
    print(api.Run(Path(options.run)).verdict)
    print(f"wrote {written}")
    return 0


def report_command(options: argparse.Namespace) -> int:
    """Write the report anew."""
    from transect import api

    written = api.report(options.run)
    print(api.Run(Path(options.run)).verdict)
    print(f"wrote {written}")
    told_next("", "predict", options.run, "NEW_IMAGES", "--out", "OUT")
    return 0


def export_command(options: argparse.Namespace) -> int:
    """Write a run's networks for other programs."""
    from transect import api

    with Bars() as bars:
        facts = api.export(options.run, options.out, to=options.to, progress=bars)
    worst = max(row["largest_difference"] for row in facts["networks"])
    print(
        f"wrote {len(facts['networks'])} {facts['format']} files and export.json to {options.out}"
    )
    print(f"their maps differ from the run's own by {worst:.1g} at most")
    return 0


def catalogue_command(options: argparse.Namespace) -> int:
    """List or change a run's individuals."""
    from transect import api

    with Bars() as bars:
        lines = api.catalogue(
            options.folder,
            options.action,
            options.words,
            who=options.who,
            run=options.run,
            write=options.write,
            device=options.device,
            threads=options.threads,
            progress=bars,
        )
    print("\n".join(lines))
    return 0
