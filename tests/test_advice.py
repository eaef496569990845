"""A message never advises an option that the command which says it does not have."""

import ast
import functools
import re
from pathlib import Path

import pytest

import transect
from transect.cli.parser import parser_of_words

SOURCE = Path(transect.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

SURVEYS = ("audit", "train", "score", "calibrate", "convert")
SAID_BY = {
    "api.py": (),
    "audit": ("audit",),
    "cli": (),
    "commands.py": (),
    "count/predicting.py": ("predict",),
    "count/scalecheck.py": ("predict",),
    "count/totals.py": ("predict",),
    "count/writing.py": ("predict",),
    "count": ("train",),
    "data/cache.py": ("train",),
    "data/convert.py": ("convert",),
    "data/exchange.py": ("convert",),
    "data/formats": ("convert",),
    "data/ranges.py": ("predict", "submit"),
    "data/shapes.py": ("convert",),
    "data/survey.py": ("audit", "train"),
    "data": SURVEYS,
    "demo.py": ("demo",),
    "experiments": ("train",),
    "folds.py": ("train",),
    "pipeline/outfolder.py": ("predict",),
    "pipeline": ("train",),
    "recipes": ("train",),
    "segment": ("train",),
    "identify/catalogue_commands.py": ("catalogue",),
    "identify": ("train",),
    "classify": ("train",),
    "task.py": ("train",),
    "train": ("train",),
}
"""The commands that may say what a file or room says; the longest name counts. A file that is not
here may be heard from every command; of the files of ``()`` any command's option will do."""
EVERY = {
    "audit", "train", "score", "predict", "calibrate", "submit", "report", "export", "catalogue",
    "convert", "demo",
}  # fmt: skip


@functools.cache
def commands():
    (choices,) = [a.choices for a in parser_of_words()._actions if isinstance(a.choices, dict)]
    return {name: set(one._option_string_actions) for name, one in choices.items()}


def messages(path):
    """Texts of a file that are no docstrings, the parts of an f-string put together."""
    tree = ast.parse(path.read_text())
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else "X" for p in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in inner:
            yield node.lineno, str(node.value)


def heard(name):
    known = [key for key in SAID_BY if name == key or name.startswith(f"{key}/")]
    room = name.partition("/")[0]
    if not known and room in commands():
        return (room,)  # a room of one command
    return SAID_BY[max(known, key=len)] if known else tuple(EVERY)


def wrong(name, text, known):
    """The options that a text advises in vain."""
    said_by = heard(name)
    named = set(re.findall(r"transect ([a-z]+)", text)) & set(known)
    if re.search(r"\b[Tt]rain(ing)?\b", text):
        named.add("train")
    for option in OPTION.findall(text):
        if any(option in known[command] for command in named):
            continue
        if said_by == () and any(option in options for options in known.values()):
            continue
        if not said_by or any(option not in known[command] for command in said_by):
            yield option


def test_messages_advise_options_that_their_command_has():
    known = commands()
    vain = [
        f"{path.relative_to(SOURCE)}:{line}: {option}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.name != "parser.py"
        for line, text in messages(path)
        for option in wrong(path.relative_to(SOURCE).as_posix(), text, known)
    ]
    assert vain == []


@pytest.mark.parametrize(
    ("name", "text", "vain"),
    [
        ("files.py", "X cannot be written. Choose another folder with --out.", ["--out"]),
        ("files.py", "Free some space; a training goes on with --resume.", []),
        ("train/engine.py", "Say --rezume.", ["--rezume"]),
        ("data/ranges.py", "pass --rescale", []),
        ("run.py", "Say transect train DATA --resume", []),
    ],
)
def test_advice_is_judged_by_who_says_it(name, text, vain):
    assert list(wrong(name, text, commands())) == vain
