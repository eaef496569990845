"""The questions that there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transect.errors import unknown_name
from transect.task import Task
from transect.types import Question

__all__ = ["TASKS", "task_of"]


# Loaded when asked for: a run that counts needs no network that recognises individuals.
def _segment() -> Task[Any, Any]:
    from transect.segment.task import SegmentTask

    return SegmentTask()


def _count() -> Task[Any, Any]:
    from transect.count.task import CountTask

    return CountTask()


def _identify() -> Task[Any, Any]:
    from transect.identify.task import IdentifyTask

    return IdentifyTask()


def _classify() -> Task[Any, Any]:
    from transect.classify.task import ClassifyTask

    return ClassifyTask()


TASKS: dict[Question, Callable[[], Task[Any, Any]]] = {
    "segment": _segment,
    "count": _count,
    "identify": _identify,
    "classify": _classify,
}
"""Question to what answers it; each entry is checked against the contract by its return type."""


def task_of(question: str) -> Task[Any, Any]:
    """The task of a question.

    Raises:
        TransectError: On a question that there is not; the nearest is named.
    """
    for name, load in TASKS.items():
        if name == question:
            return load()
    raise unknown_name("a question", question, TASKS)
