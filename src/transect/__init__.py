"""Segment, count and identify in survey pictures, with the methods that won the competitions."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from transect.errors import TransectError
from transect.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["Recipe", "Run", "TransectError", "predict", "report", "score", "submit", "train"]

_WORDS = ("Run", "predict", "report", "score", "submit", "train")


def _word(name: str) -> property:
    """One of the public functions, loaded on first use, so that ``import transect`` is free."""

    def get(module: ModuleType) -> Any:
        from transect import api

        return getattr(api, name)

    # The import system sets an attribute for every room it loads. ``transect.train`` stays the
    # function; the room is reached as ``from transect.train import ...``, which needs no attribute.
    return property(get, lambda module, room: None)


class _Package(ModuleType):
    """This package, whose five words go before the rooms of the same name."""


for _name in _WORDS:
    setattr(_Package, _name, _word(_name))
sys.modules[__name__].__class__ = _Package
