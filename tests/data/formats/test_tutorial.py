"""Every example of the page on formats is a command that reads and writes what it says."""

import re
from pathlib import Path

import pytest

from transect.cli.parser import parser_of_words
from transect.data.convert import _BY_SUFFIX
from transect.data.formats import FORMATS

PAGE = Path(__file__).parents[3] / "docs" / "tutorial_formats.md"
CALLS = re.findall(r"`(transect convert [^`]+)`", PAGE.read_text())


@pytest.mark.parametrize("call", CALLS)
def test_examples_are_understood(call):
    words = call.split()
    if "--help" in words or "FROM" in words:
        return
    options = parser_of_words().parse_args(words[1:])
    for name in (options.source_format, options.target_format):
        assert name is None or name in FORMATS
    suffix = Path(options.target).suffix
    if options.target_format:
        one = FORMATS[options.target_format]
        assert one.write is not None
        assert suffix in one.suffixes if one.suffixes else not suffix
    else:
        assert suffix in {"", ".csv", *_BY_SUFFIX}


def test_every_format_that_is_written_has_its_example():
    text = PAGE.read_text()
    by_name = set(_BY_SUFFIX.values()) | {"survey", "table"}
    for one in FORMATS.values():
        if one.write is not None and one.name not in by_name:
            assert f"--to {one.name}`" in text, one.name
