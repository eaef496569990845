"""Annotations on their way between formats: every reader makes this, every writer takes it.

Positions are ours throughout: x right, y down, pixel centres at integers, so a picture reaches
from -0.5 to its width minus 0.5. Readers and writers shift by half a pixel where a format counts
from the outer corner instead.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.folder import list_pictures, stem_of
from transect.data.images import image_info
from transect.data.outlines import box_ring, fill_window, one_ring, outlines
from transect.data.rle import MASK_LIMIT_PX, counts_of, window_of_counts
from transect.errors import TransectError
from transect.files import safe_join
from transect.types import Problem

__all__ = [
    "Annotations",
    "Builder",
    "Instance",
    "Part",
    "Picture",
    "Pictures",
    "box_of",
    "centre_of",
    "checked_name",
    "counts_for",
    "mask_of",
    "matched",
    "parts_of",
    "rings_of",
    "window_of",
]

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
    """

    name: str
    size_hw: tuple[int, int] | None = None
    instances: tuple[Instance, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Annotations:
    """Annotated pictures, of whatever format.

    Attributes:
        pictures: In the order of the file; an annotated picture with nothing on it is here too.
        classes: In the order of the file.
        problems: What was left out, each with its sentence.
    """

    pictures: tuple[Picture, ...]
    classes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        """How many objects there are."""
        return sum(len(picture.instances) for picture in self.pictures)


class Pictures:
    """The picture files that annotations speak of, found by the names that formats use."""

    def __init__(self, folder: Path) -> None:
        """List a folder of pictures, or a survey with ``images/``.

        Raises:
            TransectError: If it is no folder.
        """
        inner = folder / "images"
        self.folder = inner if inner.is_dir() else folder
        if not self.folder.is_dir():
            raise TransectError(f"{folder} is not a folder. Name the folder of the pictures.")
        self.paths, self.problems = list_pictures(self.folder)
        self._keys: dict[str, str | None] = {}
        for name in self.paths:
            base = posixpath.basename(name)
            for alias in {name, stem_of(name), base, stem_of(base)}:
                self._keys[alias] = None if alias in self._keys else name
        self._keys.update({name: name for name in self.paths})
        self._sizes: dict[str, tuple[int, int] | None] = {}

    def find(self, name: str) -> str | None:
        """The name below the folder that another name means; None if none or several fit.

        The suffix and leading folders may be missing or differ, and Label Studio's upload prefix
        (eight hexadecimal digits and a dash) is passed over.
        """
        clean = name.replace("\\", "/").removeprefix("./").removeprefix("images/")
        base = posixpath.basename(clean)
        for option in (clean, stem_of(clean), base, stem_of(base)):
            if found := self._keys.get(option):
                return found
        if len(base) > 9 and base[8] == "-" and set(base[:8]) <= set("0123456789abcdef"):
            return self.find(base[9:])
        return None

    def size(self, name: str) -> tuple[int, int] | None:
        """(height, width) of the picture that ``name`` means, or None if there is none readable."""
        key = self.find(name)
        if key is None:
            return None
        if key not in self._sizes:
            try:
                self._sizes[key] = image_info(self.paths[key])[0]
            except TransectError as error:
                self.problems.append(Problem(key, str(error)))
                self._sizes[key] = None
        return self._sizes[key]


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
        self._sizes: dict[str, tuple[int, int] | None] = {}
        self._columns: dict[str, dict[str, str]] = {}
        self._instances: dict[str, list[Instance]] = {}
        self._more = 0

    def picture(
        self, name: str, size_hw: tuple[int, int] | None = None, **columns: str | None
    ) -> str:
        """Note a picture and give its name back, checked.

        Raises:
            TransectError: If the name leads out of its folder, or the size is none.
        """
        name = checked_name(name)
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

    def add(self, name: str, instance: Instance) -> None:
        """Add an object to a noted picture."""
        if instance.has_area or instance.box or instance.point or not instance.identity:
            self.classes.setdefault(instance.label)
        self._instances[name].append(instance)

    def problem(self, name: str, what: str | TransectError) -> None:
        """Note something that was left out; past a number they are only counted."""
        if len(self.problems) < _LISTED:
            self.problems.append(Problem(name, str(what)))
        else:
            self._more += 1

    def done(self, classes: Iterable[str] = ()) -> Annotations:
        """Everything that was collected.

        Args:
            classes: All classes in the format's own order, if it has one.
        """
        pictures = tuple(
            Picture(name, self._sizes[name], tuple(instances), self._columns[name])
            for name, instances in self._instances.items()
        )
        order = dict.fromkeys([*classes, *self.classes])
        if self._more:
            what = f"{self._more} more entries were left out; the first {_LISTED} are listed."
            self.problems.append(Problem("", what))
            self._more = 0
        return Annotations(pictures, tuple(order), tuple(self.problems))


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


def mask_of(instance: Instance, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels that an object covers: those whose centres its outline or box encloses.

    Args:
        instance: The object.
        size_hw: (height, width) of its picture.

    Returns:
        (H, W) bool; all False for a point or a word about the whole picture.

    Raises:
        TransectError: If its counts do not fit the picture, or the picture is too large.
    """
    window, top, left = window_of(instance, size_hw)
    mask = np.zeros(size_hw, np.bool_)
    mask[top : top + window.shape[0], left : left + window.shape[1]] = window
    return mask


def window_of(instance: Instance, size_hw: tuple[int, int]) -> tuple[NDArray[np.bool_], int, int]:
    """As ``mask_of``, but only a window around the object.

    Args:
        instance: The object.
        size_hw: (height, width) of its picture.

    Returns:
        (h, w) bool, and the window's first row and column.

    Raises:
        TransectError: As ``mask_of``.
    """
    if instance.counts is not None:
        return window_of_counts(instance.counts, size_hw)
    if size_hw[0] * size_hw[1] > MASK_LIMIT_PX:
        raise TransectError(f"a mask of {size_hw[0]} x {size_hw[1]} pixels is too large. Cut it.")
    if instance.parts:
        return fill_window(instance.parts, size_hw)
    if instance.box:
        return fill_window(((box_ring(*instance.box),),), size_hw)
    return np.zeros((0, 0), np.bool_), 0, 0


def counts_for(instance: Instance, size_hw: tuple[int, int]) -> tuple[int, ...]:
    """The pixels that an object covers as COCO's counts.

    Raises:
        TransectError: As ``mask_of``.
    """
    if instance.counts is not None:
        return instance.counts
    window, top, left = window_of(instance, size_hw)
    return tuple(counts_of(window, top=top, left=left, size_hw=size_hw))


def parts_of(instance: Instance, size_hw: tuple[int, int] | None) -> tuple[Part, ...]:
    """The outline of an object, traced from its mask if it has only that.

    Raises:
        TransectError: If it has a mask and the picture no size.
    """
    if instance.counts is None:
        return instance.parts
    if size_hw is None:
        raise TransectError(
            "a mask has a picture of unknown size. Name the pictures with --images."
        )
    window, top, left = window_of(instance, size_hw)
    return outlines(window, top=top, left=left)


def rings_of(instance: Instance, size_hw: tuple[int, int] | None) -> list[NDArray[np.float64]]:
    """The outline of an object for formats without holes: one ring per piece, holes bridged.

    Raises:
        TransectError: If it has a mask and the picture no size.
    """
    return [one_ring(part) for part in parts_of(instance, size_hw)]


def box_of(
    instance: Instance, size_hw: tuple[int, int] | None
) -> tuple[float, float, float, float] | None:
    """The box of an object: its own, else that of its outline or mask; None if it has none."""
    if instance.box is not None:
        return instance.box
    if instance.parts:
        points = np.concatenate([part[0] for part in instance.parts])
        low, high = points.min(axis=0), points.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])
    if instance.counts is None or size_hw is None:
        return None
    window, top, left = window_of(instance, size_hw)
    height, width = window.shape
    # The window of counts is tight, so its edges are the object's.
    return (left - 0.5, top - 0.5, left + width - 0.5, top + height - 0.5) if height else None


def centre_of(instance: Instance, size_hw: tuple[int, int] | None) -> tuple[float, float] | None:
    """The point of an object: its own, else the middle of its box; None if it has neither."""
    if instance.point is not None:
        return instance.point
    box = box_of(instance, size_hw)
    return None if box is None else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)


def matched(annotations: Annotations, pictures: Pictures) -> Annotations:
    """Give every annotated picture the name of its file; those without one are listed and left out.

    Args:
        annotations: As read.
        pictures: The files.

    Returns:
        The annotations with the files' names and sizes.

    Raises:
        TransectError: If not a single picture has a file.
    """
    found: dict[str, Picture] = {}
    problems = list(annotations.problems)
    for picture in annotations.pictures:
        key = pictures.find(picture.name)
        size_hw = pictures.size(picture.name)
        if key is None or size_hw is None:
            what = "has no picture of that name" if key is None else "cannot be read as a picture"
            hint = f"Add it to {pictures.folder}, or correct the name."
            problems.append(Problem(picture.name, f"{picture.name} {what}; left out. {hint}"))
        elif picture.size_hw not in (None, size_hw):
            problems.append(
                Problem(
                    picture.name,
                    f"{picture.name} was annotated at {picture.size_hw[0]} x "
                    f"{picture.size_hw[1]} pixels and is {size_hw[0]} x {size_hw[1]} (height x "
                    "width); left out. Export the annotations for this very file.",
                )
            )
        elif key in found:
            more = (*found[key].instances, *picture.instances)
            found[key] = replace(found[key], instances=more)
        else:
            found[key] = replace(picture, name=key, size_hw=size_hw)
    if annotations.pictures and not found:
        raise TransectError(
            f"none of the {len(annotations.pictures)} annotated pictures is in {pictures.folder} "
            f"(first: {annotations.pictures[0].name}: {problems[-1].what}). Name the folder of the "
            "pictures with --images."
        )
    return Annotations(tuple(found.values()), annotations.classes, tuple(problems))
