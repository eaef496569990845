"""A search over fields of a recipe, out of fold, with optuna (extra ``tune``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transect import api
from transect.errors import TransectError
from transect.files import write_json
from transect.metrics import higher_is_better
from transect.recipe import Recipe, set_field
from transect.types import Progress, Quiet

__all__ = ["parse_space", "tune"]

Space = Mapping[str, Sequence[Any]]


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
    progress: Progress | None = None,
    **options: Any,
) -> Recipe:
    """Train with values that optuna proposes, and give back the best recipe.

    A trial that fails is noted and the search goes on. The main metric says which way is better
    (``metrics.higher_is_better``): an error is made small. The score of the best trial was chosen
    among many, so it is optimistic: train the winner once more with another fold seed.

    Args:
        data: The survey.
        space: From ``parse_space``.
        recipe: What is changed.
        out: Folder of all trials and ``tune.json``.
        trials: How many.
        seed: Of the proposals and of training.
        progress: Told what happens.
        **options: As ``api.train``.

    Returns:
        The recipe with the best values.

    Raises:
        TransectError: Without optuna, on an unknown field, or if every trial failed.
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
    noted: list[dict[str, Any]] = []
    gains: dict[int, float] = {}
    for number in range(trials):
        trial = study.ask()
        proposed = {path: _proposed(trial, path, spec) for path, spec in space.items()}
        try:
            run = api.train(
                data, recipe=_with(recipe, proposed), out=Path(out) / f"trial{number:03d}",
                seed=seed, progress=progress, **options,
            )  # fmt: skip
            metric, record = next(iter(run.score().items()))
            score = float(record["value"])
            gain = score if higher_is_better(metric) else -score
            study.tell(trial, gain)
            noted.append({"values": proposed, "metric": metric, "score": score})
            gains[number] = gain
            progress.say(f"trial {number}: {metric} {score:.4f} with {proposed}")
        except TransectError as error:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            noted.append({"values": proposed, "error": str(error)})
            progress.say(f"trial {number} failed: {error}")
        write_json(Path(out) / "tune.json", noted)
    if not gains:
        raise TransectError(f"all {trials} trials failed; the last one: {noted[-1]['error']}")
    return _with(recipe, noted[max(gains, key=gains.__getitem__)]["values"])


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
