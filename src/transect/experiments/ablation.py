"""Which trick paid: train again without each ingredient and compare picture by picture."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transect import api
from transect.errors import TransectError
from transect.experiments.ingredients import folder_name, needs_training, without
from transect.experiments.pictures import PictureRows, metric_of, picture_rows
from transect.files import write_json
from transect.metrics.spread import bootstrap
from transect.recipe import Recipe
from transect.run import RunFolder
from transect.types import Progress, Quiet

__all__ = ["Paid", "ablate", "paid"]


@dataclass(frozen=True)
class Paid:
    """What an ingredient brought.

    Attributes:
        ingredient: Its name.
        metric: What is compared, as ``pictures.metric_of`` names it.
        gain: Mean over pictures and seeds of (with it - without it).
        low: Lower end of the 95 % interval over groups of pictures.
        high: Upper end.
        seeds: The gain with every seed.
        retrained: Whether models were trained without it.
        error: Why there is no gain, if the run failed; the others went on.
    """

    ingredient: str
    metric: str
    gain: float
    low: float
    high: float
    seeds: tuple[float, ...]
    retrained: bool
    error: str | None = None

    @property
    def verdict(self) -> str:
        """One word: paid, hurt, or unclear."""
        if self.error:
            return "failed"
        return "paid" if self.low > 0 else "hurt" if self.high < 0 else "unclear"


def ablate(
    data: Path | str,
    ingredients: Sequence[str],
    *,
    recipe: str | Recipe = "auto",
    out: Path | str,
    seeds: Sequence[int] = (0,),
    progress: Progress | None = None,
    **options: Any,
) -> list[Paid]:
    """Train a recipe, then without each ingredient, with the same steps, folds and seeds.

    What acts after training (views, blend, decisions) is taken out of the trained run without
    training again. One that fails does not stop the others. Called again on the same folder, it
    goes on where it stopped.

    Args:
        data: The survey.
        ingredients: Names as ``without`` takes them; all are checked before anything is trained.
        recipe: Name, file or recipe.
        out: Folder for all runs, ``ablation.json`` and ``ablation.html``.
        seeds: Each one trains everything anew.
        progress: Told what happens.
        **options: As ``api.train``: budget (settled once, for the full recipe), quick, device...

    Returns:
        What each one brought, in the order given.

    Raises:
        TransectError: On ingredients that the recipe does not have.
    """
    progress = progress or Quiet()
    base = Path(out)
    options.pop("resume", None)
    if not isinstance(recipe, str) or recipe != "auto":
        loaded = recipe if isinstance(recipe, Recipe) else _loaded(recipe, options)
        for name in ingredients:
            without(loaded, name)
    found: dict[str, list[tuple[PictureRows, PictureRows]]] = {name: [] for name in ingredients}
    errors: dict[str, str] = {}
    metric = ""
    settled: str | Recipe = recipe
    for seed in seeds:
        full = base / f"full-seed{seed}"
        progress.say(f"== all ingredients, seed {seed}")
        run = _trained(data, settled, full, seed, progress, options)
        settled = run.recipe
        options = {k: v for k, v in options.items() if k not in {"budget", "settings", "quick"}}
        metric = metric_of(full)
        for name in ingredients:
            if name in errors:
                continue
            progress.say(f"== without {name}, seed {seed}")
            folder = base / f"{folder_name(name)}-seed{seed}"
            try:
                poorer = without(settled, name)
                if not needs_training(name) and not (folder / "recipe.json").is_file():
                    _share(full, folder, maps=not name.startswith("views"))
                _trained(data, poorer, folder, seed, progress, options)
                found[name].append((picture_rows(full), picture_rows(folder)))
            except TransectError as error:
                errors[name] = str(error)
                progress.say(f"without {name}: {error}")
    groups = _groups(Path(data), base / f"full-seed{seeds[0]}")
    results = [
        paid(name, metric, found[name], groups, error=errors.get(name)) for name in ingredients
    ]
    write_json(base / "ablation.json", [asdict(result) for result in results])
    _page(results, settled if isinstance(settled, Recipe) else None, seeds).write(
        base / "ablation.html"
    )
    return results


def paid(
    ingredient: str,
    metric: str,
    pairs: Sequence[tuple[PictureRows, PictureRows]],
    groups: Mapping[str, str],
    *,
    error: str | None = None,
) -> Paid:
    """Compare scores with and without an ingredient, picture by picture.

    Args:
        ingredient: Its name.
        metric: Which score.
        pairs: Per seed, (with it, without it): picture to metric to value.
        groups: Picture to its group; pictures of one group are drawn together.
        error: If a run failed.

    Returns:
        Gain, interval over groups of pictures (seeds averaged first), gain of each seed.
    """
    retrained = needs_training(ingredient)
    names = sorted(set.intersection(*(set(a) & set(b) for a, b in pairs))) if pairs else []
    if error or not names:
        nan = float("nan")
        reason = error or "no picture has both scores"
        return Paid(ingredient, metric, nan, nan, nan, (), retrained, reason)
    gains = np.array([[a[n][metric] - b[n][metric] for n in names] for a, b in pairs])
    known = np.isfinite(gains).all(0)
    gains, kept = gains[:, known], [n for n, k in zip(names, known, strict=True) if k]
    low, high = bootstrap(gains.mean(0), groups=[groups.get(n, n) for n in kept])
    return Paid(
        ingredient,
        metric,
        float(gains.mean()),
        float(low),
        float(high),
        tuple(float(value) for value in gains.mean(1)),
        retrained,
    )


def lines_of(results: Sequence[Paid]) -> list[str]:
    """The table of gains as text."""
    width = max(len(result.ingredient) for result in results)
    lines = []
    for result in results:
        if result.error:
            lines.append(f"{result.ingredient:<{width}}  failed: {result.error}")
            continue
        lines.append(
            f"{result.ingredient:<{width}}  {result.gain:+.4f}  "
            f"[{result.low:+.4f}, {result.high:+.4f}]  {result.verdict}"
        )
    return lines


def _loaded(name: str, options: Mapping[str, Any]) -> Recipe:
    """A recipe by name, with the settings that training will use."""
    from transect import recipes
    from transect.recipe import set_field

    recipe = recipes.load(name, quick=bool(options.get("quick")))
    for path, value in (options.get("settings") or {}).items():
        recipe = set_field(recipe, path, value)
    return recipe


def _trained(
    data: Path | str,
    recipe: str | Recipe,
    folder: Path,
    seed: int,
    progress: Progress,
    options: Mapping[str, Any],
) -> api.Run:
    """Train, or go on, or take what is finished."""
    resume = (folder / "recipe.json").is_file()
    return api.train(
        data, recipe=recipe, out=folder, seed=seed, resume=resume, progress=progress, **options
    )


def _share(full: Path, folder: Path, *, maps: bool) -> None:
    """Give a new run the finished models of another, and its out-of-fold maps if they serve."""
    names = ["members", "folds.csv", *(["oof", "views.json"] if maps else [])]
    for name in names:
        source = full / name
        if source.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
        elif source.is_dir():
            shutil.copytree(source, folder / name, copy_function=_linked, dirs_exist_ok=True)


def _linked(source: str, target: str) -> None:
    """A second name for a file where the disk can do that, else a copy.

    All files of a run are replaced, never changed in place, so a link is as safe as a copy.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _groups(data: Path, folder: Path) -> dict[str, str]:
    """Picture to group, from the survey as the full run read it."""
    from transect.data.survey import open_survey

    facts = RunFolder.open(folder).data()
    survey = open_survey(
        data,
        question=facts["question"],
        missing=facts.get("missing"),
        mask_kind=facts["mask_kind"],
        label_kind=facts.get("label_kind"),
    )
    return {image.name: image.group for image in survey.images if image.group is not None}


def _page(results: Sequence[Paid], recipe: Recipe | None, seeds: Sequence[int]) -> Any:
    """The report: gains with intervals, ordered by gain."""
    from transect.report.page import Page

    name = recipe.name if recipe else "recipe"
    page = Page(f"Which trick paid: {name}", subtitle=f"{len(seeds)} seeds")
    page.section(
        "Gains",
        lead="The score with each ingredient minus the score without it, picture by picture, out "
        "of fold. An interval that spans 0 says that these pictures cannot tell.",
    )
    ordered = sorted(results, key=lambda r: -r.gain if r.gain == r.gain else float("inf"))
    page.table(
        ["ingredient", "gain", "low", "high", "spread over seeds", "retrained", "verdict"],
        [
            [
                r.ingredient,
                None if r.error else round(r.gain, 4),
                None if r.error else round(r.low, 4),
                None if r.error else round(r.high, 4),
                round(float(np.std(r.seeds, ddof=1)), 4) if len(r.seeds) > 1 else None,
                "yes" if r.retrained else "no",
                r.error or r.verdict,
            ]
            for r in ordered
        ],
        caption=f"{results[0].metric}; 95 % intervals over groups of pictures, seeds averaged.",
    )
    return page
