"""Which error messages a test run reaches: ``python -m tests.error_paths`` lists the others.

Some need a trained run, so the slow tests that make one for the sake of messages run as well.

A site is a place in the source that makes a ``TransectError``, by itself or by ``unknown_name``.
While the tests run, every error that is made notes the line it was made on, at no cost.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "transect"
MAKERS = {"TransectError", "unknown_name"}
SLOW = ("tests/count/test_messages.py", "tests/count/test_totals.py")
_FOLDER = "TRANSECT_ERROR_PATHS"


def sites() -> dict[tuple[str, int], str]:
    """(file, line) of every place that makes an error, to its first words."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name == "errors.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MAKERS:
                words = ast.unparse(node.args[0]) if node.args else ""
                found[path.relative_to(SOURCE).as_posix(), node.lineno] = words
    return found


def pytest_configure(config: pytest.Config) -> None:
    """As a plugin: note where errors are made, one file of lines per process."""
    folder = os.environ.get(_FOLDER)
    if not folder:
        return
    from transect.errors import TransectError

    seen: set[str] = set()
    log = (Path(folder) / f"{os.getpid()}.txt").open("a", encoding="utf-8", buffering=1)

    def note(self: TransectError, *words: Any) -> None:
        frame = sys._getframe(1)
        if frame.f_code.co_filename.endswith("errors.py") and frame.f_back is not None:
            frame = frame.f_back
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if place not in seen:
            seen.add(place)
            log.write(place + "\n")
        Exception.__init__(self, *words)

    TransectError.__init__ = note  # type: ignore[method-assign]


def reached(words: Sequence[str]) -> tuple[set[tuple[str, int]], int]:
    """Run pytest with these words; the sites that it reached, and its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-p", "tests.error_paths", *words]
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, _FOLDER: folder}).returncode
        lines = {line for path in Path(folder).iterdir() for line in path.read_text().split()}
    found = set()
    for line in lines:
        name, _, number = line.rpartition(":")
        if Path(name).is_relative_to(SOURCE):
            found.add((Path(name).relative_to(SOURCE).as_posix(), int(number)))
    return found, code


def main() -> int:
    """Run the tests, list the messages that none reaches; exit code 1 if there are any."""
    found, code = reached(sys.argv[1:])
    if not sys.argv[1:]:
        more, code_of_slow = reached(["-m", "slow", *SLOW])
        found, code = found | more, code or code_of_slow
    known = sites()
    missing = sorted(known.keys() - found)
    for place in missing:
        sys.stdout.write(f"{place[0]}:{place[1]}: {known[place][:100]}\n")
    sys.stdout.write(f"{len(known) - len(missing)} of {len(known)} messages are reached\n")
    return 1 if missing or code else 0


if __name__ == "__main__":
    sys.exit(main())
