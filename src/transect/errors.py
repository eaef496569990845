"""The one exception that users meet, and the sentence that suggests the right name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["TransectError", "listed", "unknown_name"]

_MOST_NAMES = 40  # of options that a sentence lists


class TransectError(Exception):
    """Something that a user can mend: the message says what is wrong, where, and what to do."""


def listed(names: Sequence[object], most: int = 12) -> str:
    """Name the first of many, and how many more there are.

    Args:
        names: In the order in which they are told.
        most: How many of them.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    shown = ", ".join(str(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def unknown_name(what: str, got: str, options: Iterable[str]) -> TransectError:
    """Build the error for a name that is none of the known ones, with a suggestion if one is near.

    Args:
        what: What the name stands for, as the user knows it, e.g. ``"recipe"``.
        got: The name that was given.
        options: The names that would have been accepted.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> print(unknown_name("recipe", "slat", ["salt", "nuclei"]))
        recipe must be one of nuclei, salt; got 'slat'. Did you mean 'salt'?
    """
    known = sorted(options)
    near = difflib.get_close_matches(got, known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return TransectError(f"{what} must be one of {listed(known, _MOST_NAMES)}; got '{got}'.{hint}")
