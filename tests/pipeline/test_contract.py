"""The contract is typed: a misspelt call, or an entry that misses a member, is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MISSPELT = """
from transect.pipeline.tasks import task_of
from transect.types import Survey, Quiet
from pathlib import Path

def wrong(survey: Survey) -> None:
    task_of("segment").datset(survey, Path(), Quiet())
"""
INCOMPLETE = """
from typing import Any
from transect.task import Task

class Half:
    question = "half"
    options = frozenset({"a"})

def entry() -> Task[Any, Any]:
    return Half()
"""
RIGHT = """
from typing import Any
from transect.task import Task
from transect.segment.task import SegmentTask

def entry() -> Task[Any, Any]:
    return SegmentTask()
"""


@pytest.mark.slow  # mypy reads the whole package where it has no cache of it
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MISSPELT, 'has no attribute "datset"'),
        (INCOMPLETE, "Incompatible return value type"),
        (RIGHT, "Success"),
    ],
    ids=["misspelt", "incomplete", "right"],
)
def test_mypy_holds_callers_and_tasks_to_the_contract(text, said, tmp_path):
    (tmp_path / "caller.py").write_text(text)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"),
         str(tmp_path / "caller.py")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said in found.stdout, found.stdout + found.stderr
