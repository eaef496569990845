"""A list of trainings on one survey that goes on when one of them fails."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transect import api
from transect.errors import TransectError, unknown_name
from transect.experiments.leaderboard import Entry, entry_of, write_leaderboard

__all__ = ["Planned", "read_runs", "train_several"]

_EXAMPLE = '[[run]]\nrecipe = "salt-11th"\nquick = true'


@dataclass(frozen=True)
class Planned:
    """One training of a list.

    Attributes:
        name: Of its folder and its line in the leaderboard.
        recipe: A bundled name, a file, or auto.
        options: Further arguments of ``api.train``: budget, quick, seed, settings.
    """

    name: str
    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)


def read_runs(path: Path) -> list[Planned]:
    """Read a file of runs: TOML with one ``[[run]]`` table per training.

    Each table has ``recipe`` and may have ``name``, ``budget``, ``quick``, ``seed`` and a table
    ``settings`` of fields as ``--set`` takes them.

    Args:
        path: The file.

    Returns:
        The runs in the file's order, with names of their own.

    Raises:
        TransectError: If the file is no TOML, has no runs, or a run has an unknown key.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TransectError(
            f"{path} is no list of runs ({error}). Write TOML such as:\n{_EXAMPLE}"
        ) from error
    tables = found.get("run")
    if not isinstance(tables, list) or not tables:
        raise TransectError(f"{path} lists no runs. Write one table per training:\n{_EXAMPLE}")
    runs = [_planned(path, table) for table in tables]
    return _named_apart(runs)


def train_several(
    data: Path | str,
    runs: Sequence[Planned],
    *,
    out: Path | str,
    told: Callable[[str], None] | None = None,
    **options: Any,
) -> list[Entry]:
    """Train one after another; one that fails is noted, and the others are trained all the same.

    Args:
        data: The survey.
        runs: What to train; their own options go before the common ones.
        out: Folder of all runs, ``leaderboard.html`` and ``leaderboard.json``.
        told: Told the name of each run when it begins.
        **options: Of ``api.train``, for all of them.

    Returns:
        How each one did, in order.

    Raises:
        TransectError: If one of them was begun before and is not to go on; nothing is trained then.
    """
    base = Path(out)
    entries = []
    for run in _named_apart(runs):
        if (base / run.name / "recipe.json").is_file() and not options.get("resume"):
            raise TransectError(
                f"{base / run.name} already holds a run. Add --resume to go on with it, or choose "
                "another --out."
            )
    for run in _named_apart(runs):
        if told:
            told(run.name)
        folder, began = base / run.name, time.monotonic()
        try:
            own = dict(run.options)
            own["settings"] = {**(options.get("settings") or {}), **own.get("settings", {})}
            api.train(data, recipe=run.recipe, out=folder, **{**options, **own})
            entries.append(entry_of(run.name, folder, time.monotonic() - began))
        except Exception as error:  # whatever one recipe does, the night is not lost
            what = str(error) if isinstance(error, TransectError) else f"unexpected: {error!r}"
            entries.append(Entry(run.name, {}, time.monotonic() - began, what))
        write_leaderboard(base, entries)
    return entries


def _planned(path: Path, table: Any) -> Planned:
    """One run of a file, checked."""
    kinds: dict[str, Any] = {
        "recipe": str,
        "name": str,
        "budget": (str, int, float),
        "quick": bool,
        "seed": int,
    }
    if not isinstance(table, dict) or not isinstance(table.get("recipe"), str):
        raise TransectError(f"every run of {path} must name its recipe:\n{_EXAMPLE}")
    for key, value in table.items():
        if key not in kinds and key != "settings":
            raise unknown_name(f"a key of a run in {path}", key, (*kinds, "settings"))
        if key in kinds and not isinstance(value, kinds[key]):
            raise TransectError(f"{key} of a run in {path} has the wrong type: {value!r}.")
    settings = table.get("settings", {})
    if not isinstance(settings, dict):
        raise TransectError(
            f'settings of a run in {path} must be a table, e.g. settings = {{"folds.count" = 3}}.'
        )
    chosen = {key: table[key] for key in ("budget", "quick", "seed") if key in table}
    if settings:
        chosen["settings"] = {key: _text(value) for key, value in settings.items()}
    return Planned(table.get("name", Path(table["recipe"]).stem), table["recipe"], chosen)


def _text(value: Any) -> str:
    """A setting as ``--set`` takes it."""
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _named_apart(runs: Sequence[Planned]) -> list[Planned]:
    """The runs with a number behind names that were there before; no name leaves the folder."""
    taken: set[str] = set()
    apart = []
    for run in runs:
        stem = "".join(c if c.isalnum() or c in "._-" else "_" for c in run.name).lstrip(".")
        name, number = stem or "run", 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        apart.append(Planned(name, run.recipe, run.options))
    return apart
