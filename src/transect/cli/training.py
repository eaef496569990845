"""``transect train``: one recipe, several, several seeds, a search, an ablation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from transect.cli.bars import Bars
from transect.cli.format import seed_lines, told_next
from transect.errors import TransectError

__all__ = ["train_command"]


def train_command(options: argparse.Namespace) -> int:
    """Train one recipe, or several one after another; one that fails does not stop the others."""
    if options.from_review:
        from transect.review.corrected import corrected_data

        options.data, missing = corrected_data(
            Path(options.from_review), Path(options.data), options.name
        )
        options.missing = options.missing or missing
    if len(options.recipe) > 1 or options.recipe[0].endswith(".toml"):
        return _train_list(options)
    if options.ablate:
        return _ablate(options)
    if options.tune:
        return _tune(options)
    if options.seeds > 1:
        return _train_seeds(options)
    return _train_one(options, options.recipe[0], options.out)


def _train_one(options: argparse.Namespace, recipe: str, out: str | None) -> int:
    from transect import api

    with Bars() as bars:
        run = api.train(
            options.data,
            recipe=recipe,
            out=out,
            seed=options.seed,
            progress=bars,
            **_asked(options),
        )
    print(f"\nreport:  {run.path / 'report.html'}")
    told_next(run.verdict, "predict", run.path, "NEW_IMAGES", "--out", "OUT")
    return 1 if run.problems else 0


def _train_seeds(options: argparse.Namespace) -> int:
    """Train one recipe with several seeds and say how far apart they are."""
    from transect import api
    from transect.experiments.seeds import score_seeds, train_seeds

    first = options.seed or 0
    out = Path(options.out or f"runs/{Path(options.data).resolve().name}-seeds")
    with Bars() as bars:
        runs = train_seeds(
            options.data,
            range(first, first + options.seeds),
            recipe=options.recipe[0],
            out=out,
            progress=bars,
            **_asked(options),
        )
    print("\n" + "\n".join(seed_lines(score_seeds(runs))))
    told_next(api.Run(runs[0]).verdict, "report", runs[0])
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
    with Bars() as bars:
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
    with Bars() as bars:
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
            download=options.download,
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
    with Bars() as bars:
        best = tune(
            options.data,
            parse_space(options.tune),
            recipe=recipes.load(options.recipe[0], quick=options.quick),
            out=out,
            trials=options.trials,
            seed=options.seed or 0,
            resume=options.resume,
            budget=options.budget,
            settings=api.settings_of(options.settings),
            question=options.question,
            missing=options.missing,
            device=options.device,
            threads=options.threads,
            download=options.download,
            progress=bars,
        )
    write_json(out / "best.json", to_json(best))
    print(f"best:    {out / 'best.json'}")
    told_next("", "train", options.data, "--recipe", out / "best.json")
    return 0


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
        "download": options.download,
    }
