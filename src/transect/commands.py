"""Commands as text that a shell runs as it stands: spaces and quotes in names are looked after."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

__all__ = ["command", "place_of"]

_MOST_STEPS_UP = 2


def command(*words: str | Path) -> str:
    """A call of the command line.

    Example:
        >>> command("train", Path("my nuclei"), "--out", "runs/a")
        "transect train 'my nuclei' --out runs/a"
    """
    return shlex.join(["transect", *(str(word) for word in words)])


def place_of(folder: Path, beside: Path) -> str:
    """Where a folder is, told from another one, without the names of home folders.

    Args:
        folder: Whose place.
        beside: Where a reader stands.

    Returns:
        A relative path; the bare name where the two lie far apart.

    Example:
        >>> place_of(Path("/data/nuclei"), Path("/data/runs"))
        '../nuclei'
        >>> place_of(Path("/mnt/a/nuclei"), Path("/home/joe/runs"))
        'nuclei'
    """
    here, there = beside.resolve(), folder.resolve()
    relative = os.path.relpath(there, here)
    far = Path(relative).parts.count(os.pardir) > _MOST_STEPS_UP
    return there.name if far else Path(relative).as_posix()
