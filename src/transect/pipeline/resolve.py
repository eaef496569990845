"""From what was asked for to a recipe whose every number is settled before training begins."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

from transect.errors import TransectError, unknown_name
from transect.recipe import Recipe, set_field
from transect.task import Dataset, Limits, Sweeping, Task
from transect.types import Survey

__all__ = ["check_settings", "refuse_unread", "resolve", "unread_fields"]

D = TypeVar("D", bound=Dataset)


def resolve(
    task: Task[D, Any],
    recipe: Recipe | None,
    survey: Survey,
    dataset: D,
    limits: Limits,
    settings: Mapping[str, str],
) -> Recipe:
    """Settle every number: what is written is what will be done.

    Args:
        task: The question.
        recipe: As given; None lets ``auto`` decide.
        survey: What is trained on.
        dataset: The same, decoded.
        limits: Time, device, seed.
        settings: Path to JSON text, as ``--set`` takes them.

    Returns:
        The recipe, with the reasons of ``auto`` and of shortening.

    Raises:
        TransectError: If the recipe answers another question, or holds what this one does not read.
    """
    began = time.monotonic()
    wanted = dataclasses.replace(limits, settings=settings)
    chosen = task.plan(dataset, wanted) if recipe is None else recipe
    if chosen.question != survey.question:
        raise TransectError(
            f"recipe {chosen.name} answers '{chosen.question}', but {survey.root} is read as "
            f"'{survey.question}'. Choose another recipe, or give --question {chosen.question}."
        )
    if recipe is not None:
        chosen = dataclasses.replace(chosen, seed=limits.seed)
    for path, value in settings.items():
        chosen = set_field(chosen, path, value)
    refuse_unread(task, chosen)
    if any(stage.optimizer.find_lr for m in chosen.members for stage in m.stages):
        if not isinstance(task, Sweeping):
            raise TransectError("optimizer.find_lr works for masks only. Give optimizer.lr.")
        chosen = task.settle_rates(chosen, dataset, limits.device)
    if recipe is not None and limits.seconds is not None:
        left = max(1.0, limits.seconds - (time.monotonic() - began))
        rest = dataclasses.replace(limits, seconds=left)
        chosen = task.within_budget(chosen, dataset, rest)
    reasons = _without_weights(chosen)
    return dataclasses.replace(_pinned(chosen), why=(*chosen.why, *reasons))


def check_settings(task: Task[Any, Any], settings: Mapping[str, str]) -> None:
    """Refuse a wrong ``--set`` of ``auto`` before long work: its recipe is not known yet.

    Raises:
        TransectError: On a field that there is not, a wrong type, or one that is not read.
    """
    recipe = task.template()
    for path, value in settings.items():
        recipe = set_field(recipe, path, value)
    refuse_unread(task, recipe)


def refuse_unread(task: Task[Any, Any], recipe: Recipe) -> None:
    """Refuse a field that the question would ignore, and a word that it does not know.

    Raises:
        TransectError: Naming the field and the question's own fields or words nearest to it.
    """
    for where, field, value in unread_fields(recipe, task.reads):
        record = field.partition(".")[0]
        own = sorted(f.partition(".")[2] for f in task.reads if f.startswith(f"{record}."))
        said = unknown_name(f"a field that '{task.question}' reads of {where}", _last(field), own)
        raise TransectError(f"{said} It is set to {value!r} and would do nothing: remove it.")
    for where, field, value in _fields(recipe, "recipe"):
        words = task.choices.get(field)
        if words is None:
            continue
        for word in value if isinstance(value, tuple) else (value,):
            if word is not None and word not in words:
                raise unknown_name(f"{where}.{_last(field)}", str(word), words)


def unread_fields(recipe: Recipe, reads: Collection[str]) -> list[tuple[str, str, Any]]:
    """Fields that differ from their default and are not read: (place, ``Record.field``, value).

    Args:
        recipe: Any.
        reads: ``Record.field`` of what a question honours; names and notes are always read.
    """
    return [
        (where, field, value)
        for where, field, value in _fields(recipe, "recipe")
        if field not in reads and field not in _ALWAYS and value != _default(field, recipe)
    ]


_ALWAYS = {"Recipe.name", "Recipe.question", "Recipe.notes", "Recipe.why", "Recipe.seed"}
_RECORDED = {"Recipe.plan"}  # what was planned, not what is asked for


def _fields(record: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    """Every plain field of a record and of the records in it: (place, ``Record.field``, value)."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if f"{type(record).__name__}.{field.name}" in _RECORDED:
            continue
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _fields(value, f"{where}.{field.name}")
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            for number, item in enumerate(value):
                name = getattr(item, "name", number)
                yield from _fields(item, f"{where}.{field.name}.{name}")
        else:
            yield where, f"{type(record).__name__}.{field.name}", value


def _default(field: str, recipe: Recipe) -> Any:
    """What a field is where nobody set it."""
    from transect import recipe as room

    record, _, name = field.partition(".")
    return getattr(getattr(room, record)(), name)


def _last(field: str) -> str:
    """``Record.field`` without the record."""
    return field.partition(".")[2]


def _without_weights(recipe: Recipe) -> list[str]:
    """One line for every network that starts from scratch because its weights cannot be had."""
    from transect.models.weights import missing_weights

    names = dict.fromkeys(
        _network_name(member.network)
        for member in recipe.members
        if member.network.weights == "auto"
    )
    return [f"weights: {reason}" for name in names if (reason := missing_weights(name))]


def _pinned(recipe: Recipe) -> Recipe:
    """Weights of the hub named by commit and digest, so that folds and repetitions begin alike.

    Raises:
        TransectError: If weights were insisted upon and cannot be had.
    """
    from transect.models.weights import hub_pin, missing_weights, on_hub

    def settled(network: Any) -> Any:
        name = _network_name(network)
        if network.weights not in ("auto", "imagenet") or not on_hub(name):
            return network
        if network.weights == "auto" and missing_weights(name):
            return dataclasses.replace(network, weights=None)
        return dataclasses.replace(network, weights=str(hub_pin(name)))

    members = (dataclasses.replace(m, network=settled(m.network)) for m in recipe.members)
    return dataclasses.replace(recipe, members=tuple(members))


def _network_name(network: Any) -> str:
    """The timm name of a network, or ours."""
    return str(getattr(network, "encoder", None) or getattr(network, "backbone", ""))
