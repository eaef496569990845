"""Pages for users lead somewhere: links, named tests, commands and recipes exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from transect import recipes
from transect.cli.parser import parser_of_words

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    wrong = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not wrong, f"{page.name} links to {', '.join(wrong)}"


def test_every_technique_names_tests_that_exist():
    text = (ROOT / "docs" / "techniques.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if re.match(r"\| [A-H]\d\d ", line)]
    assert len({row[0] for row in rows}) == len(rows) == 125
    for identifier, _, _, shown, status in rows:
        assert re.match(r"(done|partial|out)\b", status), f"{identifier}: {status}"
        for file, names in re.findall(r"\(\.\./(tests/[^)]+)\)((?:,? `test_\w+`)*)", shown):
            source = (ROOT / file).read_text()
            for name in re.findall(r"`(test_\w+)`", names):
                assert f"def {name}(" in source, f"{identifier}: {file} has no {name}"
        if status.startswith("done"):
            assert "`test_" in shown, f"{identifier} is called done and shows no test"


def test_commands_of_the_pages_are_understood():
    parser = parser_of_words()
    for page in PAGES:
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", page.read_text(), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.split("#")[0].split()
                if words[:1] != ["transect"]:
                    continue
                options = parser.parse_args(words[1:])
                for name in getattr(options, "recipe", []) or []:
                    if "." not in name and name != "auto":
                        assert name in recipes.names(), f"{page.name}: no recipe {name}"
