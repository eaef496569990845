"""What stands beside the five words: recipes, convert, demo, doctor."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from transect.cli.bars import Bars
from transect.cli.format import told_next
from transect.errors import TransectError

__all__ = [
    "completion_command",
    "convert_command",
    "demo_command",
    "doctor_command",
    "recipes_command",
]

_SHOWN = 20  # sentences of a conversion; the table that follows adds all of them up


def recipes_command(options: argparse.Namespace) -> int:
    """List the bundled recipes, or explain one."""
    from transect import recipes

    if options.name == "auto":
        from transect.pipeline.tasks import TASKS

        print("auto reads the data, the device and the budget, decides, and says why.")
        print(f"It plans for every question: {', '.join(TASKS)}. What it chose for a survey stands")
        print("in recipe.json and in the report of the run.")
        told_next("", "train", "DATA", "--budget", "10m")
        return 0
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
    print("\nNAME is one of these, DATA a survey:")
    told_next("", "recipes", "NAME")
    told_next("", "train", "DATA", "--recipe", "NAME")
    return 0


def completion_command(options: argparse.Namespace) -> int:
    """Print a script that completes commands and options in a shell."""
    try:
        import shtab
    except ImportError as error:
        raise TransectError(
            "completion needs shtab, which is not installed. Run: pip install "
            "'transect[completion]'."
        ) from error
    from transect.cli.parser import parser_of_words

    print(shtab.complete(parser_of_words(), shell=options.shell))
    return 0


def convert_command(options: argparse.Namespace) -> int:
    """Turn one annotation format into another."""
    from transect.data.convert import convert

    result = convert(
        Path(options.source),
        Path(options.target),
        source_format=options.source_format,
        target_format=options.target_format,
        images=Path(options.images) if options.images else None,
        masks=options.masks,
    )
    for problem in result.problems[:_SHOWN]:
        print(f"left out: {problem}", file=sys.stderr)
    if len(result.problems) > _SHOWN:
        print(f"left out: and {len(result.problems) - _SHOWN} more", file=sys.stderr)
    print("\n".join(result.summary()))
    return 0 if result.complete else 1


def demo_command(options: argparse.Namespace) -> int:
    """Do the whole job on a built-in survey."""
    from transect.demo import demo

    with Bars() as bars:
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


def doctor_command(options: argparse.Namespace) -> int:
    """Look at the installation."""
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
