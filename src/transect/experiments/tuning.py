"""A search over fields of a recipe, out of fold, with optuna (extra ``tune``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transect import api
from transect.errors import TransectError
from transect.files import read_json, write_json
from transect.metrics import higher_is_better
from transect.recipe import Recipe, set_field
from transect.run import recipe_digest
from transect.types import Progress, Quiet

__all__ = ["parse_space", "tune"]

Space = Mapping[str, Sequence[Any]]

ASKED, TRIALS = "search.json", "tune.json"


def parse_space(pairs: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Read ``path=low..high``, ``path=low..high log`` or ``path=a,b,c``.

    Returns:
        Path to ("float", low, high, log) or ("choice", a, b, c).

    Raises:
        TransectError: If a pair is neither.

    Example:
        >>> parse_space(["lr=1e-4..1e-2 log", "batch=8,16"])
        {'lr': ('float', 0.0001, 0.01, True), 'batch': ('choice', 8, 16)}
    """
    space: dict[str, tuple[Any, ...]] = {}
    for pair in pairs:
        path, sign, text = pair.partition("=")
        if not sign or not text.strip():
            raise TransectError(
                f"--tune takes path=low..high or path=a,b,c, e.g. "
                f"members.*.stages.*.optimizer.lr='1e-4..1e-2 log'; got '{pair}'."
            )
        low, dots, rest = text.partition("..")
        if dots:
            high, _, log = rest.partition(" ")
            try:
                space[path.strip()] = ("float", float(low), float(high), log.strip() == "log")
            except ValueError as error:
                raise TransectError(f"the range of {path} must be two numbers; got '{text}'."
                ) from error  # fmt: skip
        else:
            space[path.strip()] = ("choice", *(_value(word) for word in text.split(",")))
    return space


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except json.JSONDecodeError:
        return word.strip()


def tune(
    data: Path | str,
    space: Mapping[str, Sequence[Any]],
    *,
    recipe: Recipe,
    out: Path | str,
    trials: int = 20,
    seed: int = 0,
    resume: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Recipe:
    """Train with values that optuna proposes, and give back the best recipe.

    A trial that fails is noted and the search goes on. The main metric says which way is better
    (``metrics.higher_is_better``): an error is made small. The score of the best trial was chosen
    among many, so it is optimistic: train the winner once more with another fold seed. A search
    that goes on tells optuna again what its finished trials gave, so its proposals are those of a
    search that was never stopped.

    Args:
        data: The survey.
        space: From ``parse_space``.
        recipe: What is changed.
        out: Folder of all trials, ``tune.json`` with what they gave and ``search.json`` with what
            was asked.
        trials: How many in all; a search that goes on may get more.
        seed: Of the proposals and of training.
        resume: Go on with the search in ``out``.
        progress: Told what happens.
        **options: As ``api.train``.

    Returns:
        The recipe with the best values.

    Raises:
        TransectError: Without optuna, on an unknown field, on a folder with another search, or if
            every trial failed.
    """
    try:
        import optuna
    except ImportError as error:
        raise TransectError(
            "a search over hyper-parameters needs optuna. Install it with "
            "pip install 'transect[tune]'."
        ) from error
    progress = progress or Quiet()
    for path, values in space.items():
        _with(recipe, {path: values[1]})  # a wrong name fails before anything is trained
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # The metric is known once a trial is scored, so errors are told with their sign turned.
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    noted = _begun(Path(out), space, recipe, seed, resume=resume)
    gains: dict[int, float] = {}
    for number in range(trials):
        trial = study.ask()
        proposed = {path: _proposed(trial, path, spec) for path, spec in space.items()}
        if number == len(noted):
            folder = Path(out) / f"trial{number:03d}"
            begun = resume and (folder / "recipe.json").is_file()
            try:
                run = api.train(
                    data, recipe=_with(recipe, proposed), out=folder, seed=seed, resume=begun,
                    progress=progress, **options,
                )  # fmt: skip
                metric, record = next(iter(run.score().items()))
                noted.append(
                    {"values": proposed, "metric": metric, "score": float(record["value"])}
                )
                progress.say(f"trial {number}: {metric} {noted[-1]['score']:.4f} with {proposed}")
            except TransectError as error:
                noted.append({"values": proposed, "error": str(error)})
                progress.say(f"trial {number} failed: {error}")
            write_json(Path(out) / TRIALS, noted)
        elif noted[number]["values"] != proposed:
            raise TransectError(
                f"trial {number} of {out} had other values than a search with this optuna "
                "proposes. Start anew with another --out."
            )
        if "error" in noted[number]:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        score = noted[number]["score"]
        gains[number] = score if higher_is_better(noted[number]["metric"]) else -score
        study.tell(trial, gains[number])
    if not gains:
        raise TransectError(f"all {trials} trials failed; the last one: {noted[-1]['error']}")
    return _with(recipe, noted[max(gains, key=gains.__getitem__)]["values"])


def _begun(
    out: Path, space: Space, recipe: Recipe, seed: int, *, resume: bool
) -> list[dict[str, Any]]:
    """What the finished trials of a search gave; nothing of a new one.

    Raises:
        TransectError: If the folder holds a search and it is not to go on, or is another one.
    """
    # As JSON reads it back: tuples are lists.
    asked = json.loads(json.dumps({"space": space, "recipe": recipe_digest(recipe), "seed": seed}))
    if not (out / ASKED).is_file():
        write_json(out / ASKED, asked)
        return []
    if not resume:
        raise TransectError(
            f"{out} already holds a search. Add --resume to go on with it, or choose another --out."
        )
    if read_json(out / ASKED) != asked:
        raise TransectError(
            f"{out} holds a search over other values, of another recipe or seed. Give the words "
            "that it was begun with, or choose another --out."
        )
    return list(read_json(out / TRIALS)) if (out / TRIALS).is_file() else []


def _with(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values."""
    for path, value in values.items():
        recipe = set_field(recipe, path, json.dumps(value))
    return recipe


def _proposed(trial: Any, path: str, spec: Sequence[Any]) -> Any:
    """A value that the study proposes."""
    if spec[0] == "float":
        return trial.suggest_float(path, spec[1], spec[2], log=spec[3])
    return trial.suggest_categorical(path, list(spec[1:]))
