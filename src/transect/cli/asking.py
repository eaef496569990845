"""An argument parser whose errors are one sentence, with the word that was probably meant."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from transect.errors import unknown_name

__all__ = ["AskingParser"]

_CHOICE = re.compile(
    r"argument (?P<what>.+?): invalid choice: '(?P<got>[^']*)' \(choose from (.*)\)"
)


class AskingParser(argparse.ArgumentParser):
    """Says what was meant instead of printing all that there is."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the words; an unknown option is named with the nearest one of its command."""
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            command = getattr(options, "parser", self)
            command.error(_unknown(rest, command))
        return options

    def error(self, message: str) -> NoReturn:
        """One sentence and where to look, exit code 2."""
        found = _CHOICE.match(message)
        if found:
            known = [word.strip(" '") for word in found[3].split(",")]
            what = "a command" if found["what"] == "COMMAND" else found["what"]
            message = str(unknown_name(what, found["got"], known))
        end = "" if message.endswith((".", "?")) else "."
        print(f"transect: {message}{end} See {self.prog} --help.", file=sys.stderr)
        raise SystemExit(2)


def _unknown(rest: Sequence[str], command: argparse.ArgumentParser) -> str:
    """The sentence for words that a command does not take."""
    wrong = next((word for word in rest if word.startswith("-")), None)
    if wrong is None:
        return (
            f"'{command.prog}' takes fewer words: {' '.join(rest)!r} is left over (names with "
            "spaces need quotes)"
        )
    long = sorted({"--help", *re.findall(r"--[a-z][a-z-]*", command.format_usage())})
    return str(unknown_name(f"an option of '{command.prog}'", wrong.partition("=")[0], long))
