"""Segment, count and identify in survey pictures, with the methods that won the competitions."""

from __future__ import annotations

from typing import Any

from transect.errors import TransectError
from transect.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["Recipe", "Run", "TransectError", "predict", "report", "score", "submit", "train"]

_LAZY = ("Run", "predict", "report", "score", "submit", "train")


def __getattr__(name: str) -> Any:
    """Load the five words on first use, so that ``import transect`` costs nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module 'transect' has no attribute '{name}'")
    from transect import api

    return getattr(api, name)
