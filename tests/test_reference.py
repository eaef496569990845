"""The reference is that of the docstrings, and public functions explain themselves."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


@cache
def builder() -> ModuleType:
    """The script that writes the reference; it parses the source once and imports none of it."""
    path = ROOT / "docs" / "build_reference.py"
    spec = importlib.util.spec_from_file_location("build_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_public_name_has_a_docstring():
    assert builder().without_docstring() == []


def test_the_reference_can_be_built():
    pages = builder().pages()
    assert {"recipe.md", "api.md", "losses.md"} <= set(pages)
    assert "### Geometry" in pages["recipe.md"]
