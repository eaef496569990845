"""Segment, count, identify and classify in survey images, with methods that won competitions.

Every command of the command line is a function here:

    run = transect.train("nuclei/", budget="15m")   a run folder with everything in it
    run.verdict                                     whether to use it, in one sentence
    run.score()                                     every metric; .to_frame() is a table
    run.predict("new/").table                       the answers; .masks(), .points, .to_coco()

``audit``, ``convert``, ``score``, ``predict``, ``submit``, ``report``, ``calibrate``, ``review``,
``catalogue`` and ``export`` stand beside them; ``help(transect.train)`` explains one.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from transect.errors import TransectError
from transect.network import silence_libraries
from transect.recipe import Recipe

__version__ = "0.1.0"

_WORDS = (
    "Run", "audit", "calibrate", "catalogue", "convert", "export", "predict", "report", "review",
    "score", "submit", "train",
)  # fmt: skip
__all__ = [
    "Recipe", "Run", "TransectError", "audit", "calibrate", "catalogue", "convert", "export",
    "predict", "report", "review", "score", "submit", "train",
]  # fmt: skip

silence_libraries()  # before any of them is loaded


def _word(name: str) -> property:
    """One of the public functions, loaded on first use, so that ``import transect`` is free."""

    def get(module: ModuleType) -> Any:
        from transect import api

        return getattr(api, name)

    # The import system sets an attribute for every room it loads. ``transect.train`` stays the
    # function; the room is reached as ``from transect.train import ...``, which needs no attribute.
    return property(get, lambda module, room: None)


class _Package(ModuleType):
    """This package, whose words go before the rooms of the same name."""

    def __dir__(self) -> list[str]:
        """The words, not the rooms behind them."""
        return sorted({*__all__, "__doc__", "__file__", "__name__", "__path__", "__version__"})


for _name in _WORDS:
    setattr(_Package, _name, _word(_name))
sys.modules[__name__].__class__ = _Package
