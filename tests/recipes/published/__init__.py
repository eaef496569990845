"""What the authors of the recipes published, as data: one text file per recipe, and its reader.

A line ``path = value`` holds a number that the recipe must have: JSON, or a quotient such as 1/6.
The path names fields as ``--set`` does; ``*`` stands for anything between dots, and the last line
that fits a path counts. A line of ``#`` names the source of what follows. After a line ``ours:``
come paths whose values nobody published: our choice or guess. ``like NAME`` takes over the lines of
another file.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transect.recipe import Recipe, to_json

HERE = Path(__file__).parent
_WORDS = {"name", "question", "notes", "why", "type"}  # what the recipe is called, no number


@dataclass(frozen=True)
class Line:
    """One published value, or with ``ours`` one that is not; ``taken`` over from another file."""

    pattern: str
    value: Any
    source: str
    ours: bool
    taken: bool = False


def lines_of(name: str) -> list[Line]:
    """The lines of a recipe's file."""
    found: list[Line] = []
    source, ours = "", False
    for text in (HERE / f"{name}.txt").read_text().splitlines():
        if text.startswith("#"):
            source = text.lstrip("# ")
        elif text.startswith("like "):
            found += [dataclasses.replace(line, taken=True) for line in lines_of(text[5:].strip())]
        elif text.strip() == "ours:":
            ours = True
        elif text.strip():
            pattern, _, value = text.split("  #")[0].partition(" = ")
            known = None if ours else _value(value.strip())
            found.append(Line(pattern.strip(), known, source, ours))
    return found


def _value(text: str) -> Any:
    """JSON, or a quotient of two numbers."""
    over, _, under = text.partition("/")
    return float(over) / float(under) if under and text[0] not in '["' else json.loads(text)


def leaves_of(recipe: Recipe) -> dict[str, tuple[Any, bool]]:
    """Every number and word of a recipe by its path, and whether it is the field's default."""
    return dict(_leaves(recipe, ""))


def _leaves(record: Any, path: str) -> Iterator[tuple[str, tuple[Any, bool]]]:
    for field in dataclasses.fields(record):
        if not path and field.name in _WORDS:
            continue
        value, where = getattr(record, field.name), f"{path}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{where}.")
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            for number, part in enumerate(value):
                yield from _leaves(part, f"{where}.{getattr(part, 'name', number)}.")
        else:
            yield where, (to_json(value), value == field.default)


def problems_of(recipe: Recipe, lines: list[Line]) -> list[str]:
    """Where a recipe departs from its file: wrong values, lines for nothing, values on no line."""
    leaves = leaves_of(recipe)
    counts: dict[str, Line] = {}
    found: list[str] = []
    for line in lines:
        matching = [path for path in leaves if _same(path, line.pattern)]
        counts |= dict.fromkeys(matching, line)
        if not matching and not line.taken:
            found.append(f"{line.pattern}: no such field")
    for path, (value, default) in leaves.items():
        line = counts.get(path)
        if line is None and not default and not path.endswith(".name"):
            found.append(f"{path} is {value!r}, which no line knows")
        if line is not None and not line.ours and value != line.value:
            found.append(f"{path} is {value!r}, published {line.value!r} ({line.source})")
    return found


def _same(path: str, pattern: str) -> bool:
    """Whether a path fits a pattern, part by part."""
    parts, wanted = path.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))
