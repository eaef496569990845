"""The reference is that of the docstrings, and public functions explain themselves."""

from __future__ import annotations

import importlib.util
import json
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


def test_new_public_functions_explain_arguments_and_result():
    # brief.json lists older functions whose one sentence says it all; the list may only shrink.
    known = set(json.loads((ROOT / "tests" / "brief.json").read_text()))
    missing = sorted(set(builder().brief()) - known)
    assert not missing, f"add Args: and Returns: to the docstrings of {', '.join(missing)}"


def test_the_reference_is_up_to_date():
    wanted = builder().pages()
    folder = ROOT / "docs" / "reference"
    stale = [
        name
        for name, text in wanted.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]
    gone = sorted({path.name for path in folder.glob("*.md")} - set(wanted))
    assert not stale + gone, f"run `make docs`: {', '.join(stale + gone)} differ from the source"
