"""What a user may lean on: the names that ``transect`` itself promises, and nothing else."""

from __future__ import annotations

import pydoc
from pathlib import Path

import transect
from tests.test_reference import builder

PROMISED = {"Recipe", "Run", "TransectError", "predict", "report", "score", "submit", "train"}
PROMISED |= {"audit", "calibrate", "catalogue", "convert", "export", "review"}


def test_the_promised_names_are_there():
    hint = "A name leaves with one release of warning; a new one is told in CHANGELOG.md."
    assert set(transect.__all__) == PROMISED, hint
    assert all(callable(getattr(transect, name)) for name in PROMISED)
    assert set(dir(transect)) >= PROMISED
    assert not {"models", "losses", "api"} & set(dir(transect))


def test_help_shows_the_words_and_types_are_shipped():
    text = pydoc.render_doc(transect, renderer=pydoc.plaintext)
    assert all(f"    {name}" in text for name in ("train(", "audit(", "export("))
    assert (Path(transect.__file__).parent / "py.typed").is_file()


def test_every_listed_name_exists():
    for module in builder().modules():
        missing = set(module.public) - set(module.nodes) - set(module.constants)
        if not missing:
            continue
        text = (builder().ROOT / module.path).read_text()
        # What a file offers without defining it, it imports (also lazily, by name).
        unknown = sorted(name for name in missing if text.count(name) < 2)
        assert not unknown, f"{module.path} lists {', '.join(unknown)} in __all__ and has none"
