"""The command line: five words, a few helpers, and nothing that the functions do not do."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Sequence

from transect.cli.parser import parser_of_words
from transect.cli.stopping import stoppable
from transect.errors import TransectError
from transect.files import explained

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Words after ``transect``; None takes the process's.

    Returns:
        0 if all went well, 1 for findings or files that were left out, 2 for an error that the
        user can mend, 130 if interrupted.
    """
    parser = parser_of_words()
    options = parser.parse_args(argv)
    if not hasattr(options, "call"):
        parser.print_help()
        return 0
    for stream in (sys.stdout, sys.stderr):  # a path may hold bytes that are no UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        with stoppable(for_good=argv is None), _read_as_said(options), _launch_said(options):
            return int(options.call(options) or 0)
    except TransectError as error:
        print(f"transect: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"transect: {explained(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _launch_said(options: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    """Run independent jobs as ``--launch`` and ``--workers`` say, whatever the command."""
    said = {name: getattr(options, name, None) for name in ("launch", "workers")}
    if not any(value is not None for value in said.values()):
        return contextlib.nullcontext()
    from transect.launch import launched

    return launched(said["launch"] or "local", said["workers"], options.threads)


def _read_as_said(options: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    """Read surveys as ``--masks`` and ``--labels`` say, wherever the command opens one."""
    said = {name: getattr(options, name, None) for name in ("masks", "labels")}
    if not any(said.values()):
        return contextlib.nullcontext()
    from transect.data.manifest import read_as

    return read_as(**said)
