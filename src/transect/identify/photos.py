"""A survey of individuals as training sees it: every animal cut out once, at a size that fits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.buffers import in_memory_or_file
from transect.data.folder import in_threads
from transect.data.geometry import match_channels
from transect.data.images import read_image
from transect.data.inputs import picture_channels
from transect.errors import TransectError
from transect.identify.duplicates import PhotoPrint, photo_print
from transect.types import Image, Problem, Survey

__all__ = ["Photos", "Subject", "subjects_of", "whole_photos"]

AROUND = 0.3  # share of the box kept on every side, for margins, shifts and rotations
LONGEST = 640  # pixels: longer cut-outs are shrunk

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Subject:
    """One animal on one photo.

    Attributes:
        key: Its name everywhere: the photo's, or ``name#2`` for the second animal on it.
        image: The photo.
        box: x0, y0, x1, y1 in pixels, or None for the whole photo.
        identity: Whom it shows, or None if that is the question.
        group: Its encounter, or None.
        side: Flank or view, or None.
        date: As written, or None.
    """

    key: str
    image: Image
    box: Box | None = None
    identity: str | None = None
    group: str | None = None
    side: str | None = None
    date: str | None = None


def subjects_of(survey: Survey) -> tuple[Subject, ...]:
    """The animals of a survey's training photos, by photo."""
    if survey.identities is None:
        raise TransectError(f"{survey.root} has no identities.csv. Write image,identity rows.")
    images = {image.name: image for image in survey.training()}
    table = survey.identities
    seen: dict[str, int] = {}
    found: list[Subject] = []
    for record in table.to_dict("records"):
        row = {str(column): value for column, value in record.items()}
        name = str(row["image"])
        if name not in images:
            continue
        seen[name] = seen.get(name, 0) + 1
        key = name if seen[name] == 1 else f"{name}#{seen[name]}"
        image = images[name]
        found.append(
            Subject(
                key,
                image,
                _box(row),
                str(row["identity"]),
                _text(row.get("group")) or image.group,
                _text(row.get("side")) or image.side,
                _text(row.get("date")) or image.date,
            )
        )
    return tuple(sorted(found, key=lambda s: s.key))


def whole_photos(
    images: Sequence[Image], boxes: Mapping[str, Box] | None = None
) -> tuple[Subject, ...]:
    """New photos as animals that nobody has named."""
    known = boxes or {}
    return tuple(
        Subject(i.name, i, known.get(i.name), None, i.group, i.side, i.date) for i in images
    )


@dataclass(frozen=True)
class _Cut:
    """One animal, cut out: pixels, its box in them, and its print if wanted."""

    pixels: NDArray[np.uint8]
    window: tuple[float, float, float, float]
    print: PhotoPrint | None


class Photos:
    """Cut-outs of animals, decoded once; number i is the i-th subject.

    Attributes:
        subjects: Those that could be decoded.
        problems: The photos that could not, with the sentence.
        channels: Of the cut-outs: 1 if all photos are grey, else 3.
        unknown: The label of animals that nobody knows.
        prints: What copies are found by, if wanted.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        *,
        unknown: str = "unknown",
        channels: int | None = None,
        longest: int = LONGEST,
        scratch: Path | None = None,
        prints: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Decode.

        Args:
            subjects: The animals.
            unknown: The label of none we know.
            channels: 1 or 3; None tells from the photos.
            longest: Longest side of a box as it is kept.
            scratch: Folder for cut-outs that do not fit into memory.
            prints: Take the prints that copies are found by, too.
            progress: Told (done, all).
        """
        self.unknown = unknown
        self._by_side = False
        self._with_prints = prints
        self.longest = longest
        self.channels = channels or (
            3 if picture_channels([s.image for s in subjects] or [_GREY]) >= 3 else 1
        )
        made = in_threads(self._cut, subjects, progress)
        good = [i for i, item in enumerate(made) if not isinstance(item, str)]
        self.subjects = tuple(subjects[i] for i in good)
        self.problems = tuple(
            {
                subjects[i].image.name: Problem(subjects[i].image.name, item)
                for i, item in enumerate(made)
                if isinstance(item, str)
            }.values()
        )
        cuts = [item for item in made if not isinstance(item, str)]
        self._windows = [cut.window for cut in cuts]
        self._pixels = in_memory_or_file(
            [cut.pixels for cut in cuts], scratch and scratch / "cutouts.bin"
        )
        self.prints = [cut.print for cut in cuts if cut.print is not None]

    def __len__(self) -> int:
        """Number of animals that could be decoded."""
        return len(self.subjects)

    def take(self, rows: NDArray[np.integer]) -> Photos:
        """Some of the animals, nothing decoded again."""
        part = copy.copy(self)
        part.subjects = tuple(self.subjects[i] for i in rows)
        part._windows = [self._windows[i] for i in rows]
        part._pixels = [self._pixels[i] for i in rows]
        part.prints = [self.prints[i] for i in rows] if self.prints else []
        return part

    def pixels(self, i: int) -> NDArray[np.uint8]:
        """(h, w, C) cut-out of animal i, its surroundings included."""
        return self._pixels[i]

    def window(
        self,
        i: int,
        *,
        margin: float = 0.0,
        aspect: float | None = None,
        scale: float = 1.0,
    ) -> tuple[float, float, float, float]:
        """The animal's box in its cut-out, as (top, left, height, width).

        Args:
            i: The animal.
            margin: Share of the box added on every side.
            aspect: The shorter side grows to this width / height; None leaves it.
            scale: Of the box, about its centre: a test-time view.
        """
        top, left, height, width = self._windows[i]
        row, column = top + height / 2, left + width / 2
        height, width = height * (1 + 2 * margin) * scale, width * (1 + 2 * margin) * scale
        if aspect is not None:
            height, width = max(height, width / aspect), max(width, height * aspect)
        return row - height / 2, column - width / 2, height, width

    def named(self) -> NDArray[np.str_]:
        """(N,) identities."""
        return np.array([s.identity or self.unknown for s in self.subjects], dtype=np.str_)

    def sides(self) -> NDArray[np.str_]:
        """(N,) flanks or views; '' where nobody said."""
        return np.array([s.side or "" for s in self.subjects], dtype=np.str_)

    def parted(self, by_side: bool) -> Photos:
        """The same photos, whose classes are flanks of individuals, or whole individuals."""
        same = copy.copy(self)
        same._by_side = by_side
        return same

    def classes(self) -> NDArray[np.str_]:
        """(N,) what networks and projections learn to tell apart: an individual, or its flank."""
        names = self.named()
        if not self._by_side:
            return names
        parts = [
            name if name == self.unknown or not side else f"{name} {side}"
            for name, side in zip(names.tolist(), self.sides().tolist(), strict=True)
        ]
        return np.array(parts, dtype=np.str_)

    def groups(self) -> list[str | None]:
        """Encounters."""
        return [s.group for s in self.subjects]

    def _cut(self, subject: Subject) -> _Cut | str:
        """Cut one animal out; or the sentence that says why not."""
        import cv2

        try:
            stored = read_image(subject.image.path)
            whole = eight_bits(stored)
            if whole.shape[2] not in (1, 3):  # of multispectral photos the first three bands
                whole = whole[..., : 3 if whole.shape[2] > 3 else 1]
            pixels = match_channels(whole, self.channels)
        except TransectError as error:
            return str(error)
        height, width = pixels.shape[:2]
        x0, y0, x1, y1 = subject.box or (-0.5, -0.5, width - 0.5, height - 0.5)
        around_x, around_y = AROUND * (x1 - x0), AROUND * (y1 - y0)
        left, top = (max(0, int(v)) for v in (x0 - around_x, y0 - around_y))
        right = min(width, int(np.ceil(x1 + around_x)) + 1)
        bottom = min(height, int(np.ceil(y1 + around_y)) + 1)
        part = pixels[top:bottom, left:right]
        if not part.size:
            return f"the box of {subject.key} lies outside its photo. Correct it, or remove it."
        # Edges of pixels, so that scaling is about corners.
        box = np.array([y0 + 0.5 - top, x0 + 0.5 - left, y1 - y0, x1 - x0])
        factor = min(1.0, self.longest / max(box[2], box[3]))
        if factor < 1:
            new_wh = (max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor)))
            scale = np.array([new_wh[1] / part.shape[0], new_wh[0] / part.shape[1]])
            part = cv2.resize(np.ascontiguousarray(part), new_wh, interpolation=cv2.INTER_AREA)
            part = np.asarray(part, np.uint8).reshape(new_wh[1], new_wh[0], -1)
            box = box * np.tile(scale, 2)
        window = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        taken = None
        if self._with_prints:
            # Two animals on one photo are no copies of each other: the print is of the cut-out.
            shown = stored if subject.box is None else part
            taken = photo_print(subject.image.path, shown)
            if subject.box is not None:
                taken = replace(taken, md5=f"{taken.md5} {subject.box}")
        return _Cut(np.ascontiguousarray(part), window, taken)


def eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    """A photo as bytes; deeper ones are stretched from their 0.5th to 99.5th percentile."""
    if image.dtype == np.uint8:
        return image
    low, high = np.percentile(image, (0.5, 99.5))
    span = max(float(high) - float(low), 1e-9)
    stretched = (image.astype(np.float32) - np.float32(low)) * np.float32(255 / span)
    return np.clip(stretched, 0, 255).astype(np.uint8)


_GREY = Image("", Path(), (1, 1), 1)


def _box(row: dict[str, Any]) -> Box | None:
    """The box of a row of the table; None for the whole photo."""
    values = [row.get(corner) for corner in ("x0", "y0", "x1", "y1")]
    if any(v is None or not np.isfinite(float(v)) for v in values):
        return None
    x0, y0, x1, y1 = (float(v) for v in values if v is not None)
    return x0, y0, x1, y1


def _text(value: Any) -> str | None:
    """A cell as text, or None if it is empty."""
    text = "" if value is None or value != value else str(value)
    return text or None
