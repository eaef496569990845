"""Whether new pictures hold the values that a network was trained on: their range and channels."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.folder import in_threads, list_new, list_pictures
from transect.data.images import Reader, geo_tags, open_reader, write_tiff_bands
from transect.data.tiff import TiffReader
from transect.errors import TransectError
from transect.files import safe_join
from transect.types import Image, Progress

__all__ = ["ValueRange", "comparable", "comparison", "range_of"]

_SAMPLE, _PLACES, _SIDE_PX = 24, 4, 64
"""Pictures looked at, places per row and column of each, side of a place; our guess."""
_TOO_WIDE, _TOO_NARROW, _BEYOND = 4.0, 1 / 8, 0.9
"""When ranges are not comparable: so many times as wide, or as narrow (8-bit photos aside), or
with such a share beyond; our guess, made so that day and night or fog are still comparable."""


@dataclass(frozen=True)
class ValueRange:
    """The values of a set of pictures.

    Attributes:
        low: Lower end: the first percentile of the pixels of a sample, in pixel values.
        high: Upper end: the 99th percentile.
        dtype: The most frequent type.
        channels: The most frequent number of channels.
    """

    low: float
    high: float
    dtype: str
    channels: int

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> ValueRange:
        """Read back what ``to_json`` gave."""
        return ValueRange(
            float(value["low"]), float(value["high"]), str(value["dtype"]), int(value["channels"])
        )

    def __str__(self) -> str:
        """As a user reads it."""
        many = "s" * (self.channels != 1)
        return f"{self.low:g} to {self.high:g} ({self.dtype}, {self.channels} channel{many})"


def range_of(images: Sequence[Image]) -> ValueRange | None:
    """The range of values of pictures, from places spread over a sample of them.

    Args:
        images: The pictures; those of the most frequent type and number of channels count.

    Returns:
        The range, or None if no picture can be read. Pixels without data do not count.
    """
    groups = _groups(images)
    return _range_of(*max(groups.items(), key=lambda item: len(item[1]))) if groups else None


def _groups(images: Sequence[Image]) -> dict[tuple[str, int], list[Image]]:
    """Pictures by type and number of channels."""
    groups: dict[tuple[str, int], list[Image]] = {}
    for image in images:
        groups.setdefault((image.dtype, image.channels), []).append(image)
    return groups


def _range_of(kind: tuple[str, int], images: Sequence[Image]) -> ValueRange | None:
    """The range of values of pictures of one kind."""
    sample = images[:: max(1, len(images) // _SAMPLE)][:_SAMPLE]
    parts = [part for part in in_threads(_values, sample) if len(part)]
    if not parts:
        return None
    low, high = np.percentile(np.concatenate(parts), (1, 99))
    return ValueRange(float(low), float(high), *kind)


def _values(image: Image) -> NDArray[np.float64]:
    """Values at places spread over one picture, those without data aside."""
    try:
        reader = open_reader(image.path)
        height, width = reader.shape[:2]
        side = (min(_SIDE_PX, height), min(_SIDE_PX, width))
        some = []
        for top in np.linspace(0, height - side[0], _PLACES).astype(int).tolist():
            for left in np.linspace(0, width - side[1], _PLACES).astype(int).tolist():
                pixels = reader.window(top, left, *side)[::2, ::2]
                if isinstance(reader, TiffReader):
                    pixels = pixels[~reader.void(top, left, *side)[::2, ::2]]
                some.append(pixels.reshape(-1).astype(np.float64))
    except TransectError:
        return np.zeros(0)  # told when it is answered
    return np.concatenate(some)


def comparison(trained: ValueRange, new: ValueRange, normalise: Collection[str]) -> str:
    """What keeps new pictures from being answered by a network, or nothing.

    Args:
        trained: Of the pictures that the network was trained on.
        new: Of those to be answered.
        normalise: How the network's inputs are normalised (``Geometry.normalise``): values are
            compared as the network would see them.

    Returns:
        A clause such as "hold 0 to 4095 ...", or "".
    """
    grey_or_colour = {1, 3}
    if new.channels != trained.channels and not {new.channels, trained.channels} <= grey_or_colour:
        return f"have {new.channels} channels, and the training had {trained.channels}"
    if set(normalise) <= {"standardise"}:
        return ""  # each picture by its own mean and deviation
    relative = bool(set(normalise) & {"unit", "imagenet"})
    (low, high), (first, last) = _seen(trained, relative), _seen(new, relative)
    width, other = max(high - low, 1e-12), last - first
    beyond = max(0.0, low - width / 4 - first) + max(0.0, last - high - width / 4)
    narrow = other < _TOO_NARROW * width and not trained.dtype == new.dtype == "uint8"
    if other > _TOO_WIDE * width or narrow or (beyond and beyond >= _BEYOND * other):
        return f"hold values {new}, and the training had {trained}"
    return ""


def _seen(values: ValueRange, relative: bool) -> tuple[float, float]:
    """A range as the network sees it: whole numbers as shares of the largest of their type."""
    if not relative or values.dtype.startswith("float"):
        return values.low, values.high
    full = float(np.iinfo(np.dtype(values.dtype)).max)
    return values.low / full, values.high / full


@contextlib.contextmanager
def comparable(
    trained: ValueRange | None,
    images: Path,
    normalise: Collection[str],
    *,
    rescale: bool = False,
    progress: Progress,
) -> Iterator[Path]:
    """See to it that pictures hold what a network was trained on, before it answers.

    Args:
        trained: Of the training; None (a run of an older version) compares nothing.
        images: A folder of pictures, or one picture.
        normalise: As for ``comparison``.
        rescale: Map the range of the new pictures to that of the training.
        progress: Told what was compared.

    Yields:
        The folder to answer: ``images``, or rescaled copies that vanish afterwards.

    Raises:
        TransectError: If the pictures are not comparable and ``rescale`` is not asked for, or no
            rescaling makes them so (other channels).
    """
    if trained is None:
        yield images
        return
    listed, _ = list_new(images)
    groups = [(ones, _range_of(kind, ones)) for kind, ones in _groups(listed).items()]
    known = [(ones, found) for ones, found in groups if found is not None]
    alike = []
    for ones, new in known:
        why = comparison(trained, new, normalise)
        which = f"the pictures in {images}" if len(groups) == 1 else f"{len(ones)} of the pictures"
        first = "" if len(groups) == 1 else f" (first: {ones[0].name})"
        if why.startswith("have") and len(groups) == 1:
            raise TransectError(f"{which} {why}. Give pictures with the channels of the training.")
        if why.startswith("have"):  # each is listed with what cannot be answered
            progress.say(f"{which} {why}{first}: they are left out")
            continue
        if why and not rescale:
            raise TransectError(
                f"{which} {why}{first}. Save them as the training pictures were, or pass "
                "--rescale to map one range to the other."
            )
        alike.append((ones, new))
        what = f"rescaling {new} to {trained}" if rescale else f"values {new}, trained on {trained}"
        progress.say(f"new pictures: {what}")
    if not rescale:
        yield images
        return
    with tempfile.TemporaryDirectory(prefix="transect-rescaled-") as folder:
        for ones, new in alike:
            _write_rescaled(ones, Path(folder), trained, new)
        _copy_others(images, Path(folder))  # what cannot be answered is there to be told of
        yield Path(folder)


def _write_rescaled(
    listed: Sequence[Image], folder: Path, trained: ValueRange, new: ValueRange
) -> None:
    """Copies of pictures with their values mapped linearly."""
    factor = (trained.high - trained.low) / max(new.high - new.low, 1e-12)
    dtype = np.dtype(trained.dtype)
    top = np.inf if dtype.kind == "f" else np.iinfo(dtype).max
    bottom = -np.inf if dtype.kind == "f" else 0

    def scaled(pixels: NDArray[Any]) -> NDArray[np.float32]:
        mapped = (pixels.astype(np.float32) - new.low) * factor + trained.low
        return mapped if dtype.kind == "f" else np.rint(mapped)

    def write(image: Image) -> None:
        target = safe_join(folder / "images", image.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            reader = open_reader(image.path)
            bands = (np.clip(scaled(band), bottom, top) for band in _bands(reader))
            # What a file is, its first bytes say: a TIFF may be called a.png here.
            tags = geo_tags(image.path) if isinstance(reader, TiffReader) else ()
            write_tiff_bands(target, bands, reader.shape, dtype, extratags=tags)
        except TransectError:
            shutil.copyfile(image.path, target)  # damaged: to be told when it is answered

    in_threads(write, listed)


def _bands(reader: Reader) -> Iterator[NDArray[Any]]:
    """A picture by bands of about 16 million values."""
    height, width, channels = reader.shape
    rows = max((16 << 20) // (width * channels), 1)
    for top in range(0, height, rows):
        yield reader.window(top, 0, min(rows, height - top), width)


def _copy_others(images: Path, folder: Path) -> None:
    """Copy the pictures that were not rescaled, and the table."""
    inner = images / "images" if (images / "images").is_dir() else images
    for name, path in (list_pictures(inner)[0] if inner.is_dir() else {}).items():
        target = safe_join(folder / "images", name)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    if (images / "images.csv").is_file():
        shutil.copyfile(images / "images.csv", folder / "images.csv")
