"""A run that goes on does what it was begun for: other words are refused, not ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transect.data.describe import changed_files, fingerprint
from transect.errors import TransectError
from transect.recipe import Recipe, set_field
from transect.run import RunFolder, recipe_digest
from transect.types import Survey

__all__ = ["asked", "refuse_other_data", "refuse_other_words"]


def asked(
    given: Recipe | None, settings: Mapping[str, str], seconds: float | None
) -> dict[str, Any]:
    """What a run remembers of the words that it was begun with.

    Args:
        given: The recipe as loaded; None for ``auto``.
        settings: Path to JSON text, as ``--set`` takes them.
        seconds: The budget, or None.
    """
    recipe = None if given is None else recipe_digest(given)
    return {"recipe": recipe, "settings": dict(settings), "seconds": seconds}


def refuse_other_words(
    run: RunFolder,
    given: Recipe | None,
    settings: Mapping[str, str],
    *,
    seed: int | None,
    seconds: float | None,
) -> None:
    """Refuse a recipe, seed, setting or budget that a begun run would ignore.

    What is left out (recipe ``auto``, no seed, no settings, no budget) stays as it was.

    Raises:
        TransectError: Naming the first word that differs.
    """
    kept, before = run.recipe(), run.data().get("asked", {})
    advice = f"Leave it out to go on with {run.path}, or start anew with another --out."
    if given is not None and before and before["recipe"] != recipe_digest(given):
        raise TransectError(f"{run.path} was not begun with recipe {given.name}. {advice}")
    if seed is not None and seed != kept.seed:
        raise TransectError(f"{run.path} was begun with seed {kept.seed}, not {seed}. {advice}")
    for path, value in settings.items():
        same = before.get("settings", {}).get(path) == value
        if not same and set_field(kept, path, value) != kept:
            raise TransectError(f"{run.path} was not begun with {path}={value}. {advice}")
    if seconds is not None and before and before["seconds"] != seconds:
        raise TransectError(f"{run.path} was not begun with a budget of {seconds:g} s. {advice}")


def refuse_other_data(run: RunFolder, survey: Survey) -> None:
    """Refuse to go on with other data than the run was begun with.

    Raises:
        TransectError: Naming what was added, removed or changed.
    """
    now = fingerprint(survey)
    if run.same_data(now):
        return
    names = changed_files(run.data()["fingerprint"], now)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    what = f"{names[0]}{more}: added, removed or changed (an image or its mask, or a table)"
    raise TransectError(
        f"{survey.root} is not the survey that {run.path} began with"
        f"{' (' + what + ')' if names else ''}. Restore it, or start anew with another --out."
    )
