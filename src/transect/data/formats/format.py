"""What a format is: a name, a test, a reader, a writer, and what it can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from transect.data.exchange import Annotations, Pictures
from transect.data.fitting import HOLDABLE, fitted
from transect.data.formats.head import Head

__all__ = ["Format", "Read", "Write"]


class Read(Protocol):
    """Reads a path; sizes that the format does not tell are looked up in the pictures."""

    def __call__(self, path: Path, *, pictures: Pictures | None = None) -> Annotations:
        """Read."""


class Write(Protocol):
    """Writes annotations to a path and says which files were written."""

    def __call__(
        self, annotations: Annotations, path: Path, *, pictures: Pictures | None = None
    ) -> list[Path]:
        """Write."""


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: As the user calls it.
        what: One line on it.
        matches: Whether an existing path is of this format.
        read: Its reader, or None if we only write it.
        write: Its writer, or None if we do not write it.
        holds: What it can hold, of ``fitting.HOLDABLE``; the rest is told and left out before
            it is written.
        suffixes: Of the files it writes; () if it writes a folder.
        own_pictures: Whether its pictures lie in its own folder, so that a name it tells always
            means one of them.
        pictures_in: The folder of its pictures, where that is not ``images/`` or its own.
        make: What it makes of annotations beyond leaving out what it cannot hold.
        unwritten: Why it is not written, and what to write instead, if it is not.
    """

    name: str
    what: str
    matches: Callable[[Head], bool]
    read: Read
    write: Write | None = None
    holds: frozenset[str] = frozenset(HOLDABLE)
    suffixes: tuple[str, ...] = ()
    own_pictures: bool = False
    pictures_in: Callable[[Path], Path] | None = None
    make: Callable[[Annotations], Annotations] | None = None
    unwritten: str = ""

    def fit(self, annotations: Annotations) -> Annotations:
        """What of annotations it can hold; everything else is told in them."""
        made = fitted(annotations, self.holds, self.name)
        return made if self.make is None else self.make(made)
