"""Annotations on their way between formats: every reader makes this, every writer takes it.

Positions are ours throughout: x right, y down, pixel centres at integers, so a picture reaches
from -0.5 to its width minus 0.5. Readers and writers shift by half a pixel where a format counts
from the outer corner instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.names import clean_name
from transect.data.pictures import Pictures
from transect.data.rle import MASK_LIMIT_PX
from transect.data.tally import Tally, Told
from transect.errors import TransectError
from transect.files import safe_join
from transect.types import Problem

__all__ = ["Annotations", "Builder", "Instance", "Part", "Picture", "Pictures", "checked_name"]

_LISTED = 200  # problems of one file that are listed one by one

Part = tuple[NDArray[np.float64], ...]
"""One piece of an outline: its outer ring and the rings of its holes, each (K, 2) x, y."""


@dataclass(frozen=True, eq=False)
class Instance:
    """One object on a picture, or one word about the whole picture.

    At most one of ``parts``, ``counts`` and ``point`` says what it covers; ``box`` may stand
    beside them or alone. With none of them it speaks of the whole picture.

    Attributes:
        label: Its class; "object" where a format names none.
        parts: Its outline: the union of pieces, each with holes.
        counts: Its mask as COCO's counts (see ``rle.counts_of``); the picture must have a size.
        box: x0, y0, x1, y1 of its outer edges.
        point: x, y.
        identity: Which individual it is, if that is known.
        confidence: Of a prediction, in [0, 1].
    """

    label: str = "object"
    parts: tuple[Part, ...] = ()
    counts: tuple[int, ...] | None = None
    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None
    identity: str | None = None
    confidence: float | None = None

    @property
    def has_area(self) -> bool:
        """Whether it has an outline or a mask."""
        return bool(self.parts) or self.counts is not None


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture with what is on it.

    Attributes:
        name: Its path below the folder of pictures, forward slashes; perhaps without suffix
            until ``matched`` has found the file.
        size_hw: (height, width) in pixels, or None if the format does not tell.
        instances: What is on it, in the order of the file.
        columns: What ``images.csv`` would say of it: group, date, split, ...
        labelled: Whether somebody looked at it: False for a task that waits, whose emptiness
            says nothing.
    """

    name: str
    size_hw: tuple[int, int] | None = None
    instances: tuple[Instance, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    labelled: bool = True


@dataclass(frozen=True, eq=False)
class Annotations:
    """Annotated pictures, of whatever format.

    Attributes:
        pictures: In the order of the file; an annotated picture with nothing on it is here too.
        classes: Those of the objects, in the order of the file.
        problems: What was left out, each with its sentence.
        told: How much was left out or read otherwise, by reason. The objects of a source are
            those of the pictures and those told as lost.
    """

    pictures: tuple[Picture, ...]
    classes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    told: tuple[Told, ...] = ()

    def __len__(self) -> int:
        """How many objects there are."""
        return sum(len(picture.instances) for picture in self.pictures)


class Builder:
    """Collects pictures and objects while a file is read; faults are noted, never dropped."""

    def __init__(self, pictures: Pictures | None = None) -> None:
        """Begin with nothing.

        Args:
            pictures: Where sizes are looked up that a file does not tell.
        """
        self.pictures = pictures
        self.classes: dict[str, None] = {}
        self.problems: list[Problem] = []
        self.tally = Tally()
        self._sizes: dict[str, tuple[int, int] | None] = {}
        self._columns: dict[str, dict[str, str]] = {}
        self._instances: dict[str, list[Instance]] = {}
        self._unlabelled: set[str] = set()
        self._names: dict[str, str] = {}
        self._more = 0

    def picture(
        self, name: str, size_hw: tuple[int, int] | None = None, **columns: str | None
    ) -> str:
        """Note a picture and give its name back: a plain path, whatever a tool made of it.

        Raises:
            TransectError: If the name can be no file's, or the size is none.
        """
        name = self._clean(name)
        if size_hw is None and self._sizes.get(name) is None and self.pictures is not None:
            size_hw = self.pictures.size(name)
        if size_hw is not None:
            height, width = size_hw
            if height < 1 or width < 1 or height * width > 25 * MASK_LIMIT_PX:
                raise TransectError(
                    f"{name} is said to be {height} x {width} pixels. Correct height and width."
                )
            if self._sizes.get(name) not in (None, tuple(size_hw)):
                raise TransectError(
                    f"{name} is said to be {self._sizes[name]} and {size_hw} pixels. Correct one."
                )
        self._instances.setdefault(name, [])
        self._sizes[name] = size_hw or self._sizes.get(name)
        self._columns.setdefault(name, {}).update({k: v for k, v in columns.items() if v})
        return name

    def _clean(self, name: str) -> str:
        """A plain path; each name is looked at once, however many rows repeat it."""
        if name not in self._names:
            self._names[name] = checked_name(clean_name(name))
        return self._names[name]

    def size(self, name: str, why: str) -> tuple[int, int]:
        """The size of a noted picture.

        Raises:
            TransectError: If nobody knows it.
        """
        size_hw = self._sizes.get(name)
        if size_hw is None:
            raise TransectError(
                f"the size of {name} is not known, and {why}. Name the folder of the pictures "
                "with --images."
            )
        return size_hw

    def known_size(self, name: str) -> tuple[int, int] | None:
        """The size of a noted picture, or None if nobody knows it."""
        return self._sizes.get(name)

    def add(self, name: str, instance: Instance) -> None:
        """Add an object to a noted picture."""
        if instance.has_area or instance.box or instance.point or not instance.identity:
            self.classes.setdefault(instance.label)
        self._instances[name].append(instance)

    def unlabelled(self, name: str) -> None:
        """Note that nobody has looked at a noted picture yet."""
        self._unlabelled.add(name)

    def problem(
        self,
        name: str,
        what: str | TransectError,
        *,
        why: str = "faulty entry",
        objects: int = 1,
        pictures: int = 0,
    ) -> None:
        """Note something that was left out; past a number the sentences are only counted.

        Args:
            name: The picture or file.
            what: One sentence: what, where, and what to do.
            why: The reason in a few words, by which the summary adds up.
            objects: How many objects are lost with it.
            pictures: How many pictures are lost with it.
        """
        self.tally.tell(why, objects=objects, pictures=pictures)
        if len(self.problems) < _LISTED:
            self.problems.append(Problem(name, str(what)))
        else:
            self._more += 1

    def rows(self, problems: Iterable[Problem], *, why: str = "faulty row") -> None:
        """Note the rows that a table's reader left out, an object each."""
        for problem in problems:
            self.problem(problem.name, problem.what, why=why)

    def reread(self, why: str, *, objects: int = 1, pictures: int = 0) -> None:
        """Note what is here, though not as it stood in the file."""
        self.tally.tell(why, lost=False, objects=objects, pictures=pictures)

    def unkept(self, words: Mapping[str, Any], *known: str) -> None:
        """Note attributes of an object that say something and that we do not keep.

        Args:
            words: Attribute to value; what is empty, false or no says nothing.
            known: Those that are kept.
        """
        for key, value in words.items():
            said = (
                value not in (None, "", False, 0, "0", "false", "no")
                and value != []
                and value != {}
            )
            if said and key not in known:
                self.reread(f"attribute {str(key)[:40]!r} not kept")

    def done(self, classes: Iterable[str] = ()) -> Annotations:
        """Everything that was collected.

        Args:
            classes: All classes in the format's own order, if it has one; those without an object
                are told and dropped, for nothing could be learnt of them.
        """
        pictures = tuple(
            Picture(
                name,
                self._sizes[name],
                tuple(instances),
                self._columns[name],
                name not in self._unlabelled,
            )
            for name, instances in self._instances.items()
        )
        every = dict.fromkeys(classes)
        order = [
            *(c for c in every if c in self.classes),
            *(c for c in self.classes if c not in every),
        ]
        if unused := [c for c in every if c not in self.classes]:
            shown = ", ".join(unused[:5]) + (", ..." if len(unused) > 5 else "")
            self.reread(f"without an object, dropped from the classes: {shown}", objects=0)
        if self._more:
            what = f"{self._more} more entries were left out; the first {_LISTED} are listed."
            self.problems.append(Problem("", what))
            self._more = 0
        return Annotations(pictures, tuple(order), tuple(self.problems), self.tally.done())


def checked_name(name: str) -> str:
    r"""Check the name of a picture that a stranger's file gives.

    Returns:
        The name with forward slashes.

    Raises:
        TransectError: If it is absolute, climbs out of its folder, or can be no file name.

    Example:
        >>> checked_name("site\\a.png")
        'site/a.png'
    """
    clean = name.replace("\\", "/").removeprefix("./")
    try:
        parts = [len(part.encode("utf-8")) for part in clean.split("/")]
    except UnicodeEncodeError:
        parts = [0]
    if not clean.isprintable() or max(parts) > 240 or len(clean) > 1000 or 0 in parts:
        raise TransectError(f"{name[:80]!r} can be no file name. Rename the picture.")
    if "." in clean.split("/"):
        raise TransectError(f"{name[:80]!r} is not a plain relative path. Leave out './'.")
    safe_join(Path("images"), clean)
    return clean
