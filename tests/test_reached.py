"""Every file is reached from a command, a function or a recipe, or has its reason."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.test_architecture import SOURCE

UNREACHED = {
    "transect.models.volume": "volumes become a geometry of masks; until then tested",
    "transect.models.landmarks": "boxes and landmarks become inputs of whale recipes",
    "transect.matching.learned": "learned matching: the scorers do not ask for it yet",
    "transect.simulate.cells": "a survey to measure counting on; scripts and tests write it",
}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = ("transect", *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def named_by(path: Path) -> set[str]:
    """Modules of ours that a file imports, anywhere in it, or names as ``module:function``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value.partition(":")[0])
    return found & set(modules())


@cache
def reached() -> frozenset[str]:
    starts = ["transect.cli", "transect.api", "transect.__main__"]
    todo = [*starts, *(name for name in modules() if name.startswith("transect.recipes"))]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            parts = name.split(".")
            todo += [".".join(parts[:k]) for k in range(1, len(parts))]
            todo += named_by(modules()[name])
    return frozenset(seen)


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_file_is_reached_or_has_its_reason(name):
    if name.startswith("transect.bench"):
        return  # ``transect bench`` finds its parts by name
    if name in reached():
        assert name not in UNREACHED, f"{name} is reached now: take it off the list"
    else:
        assert name in UNREACHED, f"no command, function or recipe reaches {name}"


def test_the_list_names_files_that_there_are():
    assert set(UNREACHED) <= set(modules())
