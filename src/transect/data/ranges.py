"""Whether new pictures hold the values that a network was trained on: their range and channels."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.folder import in_threads, list_new
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
        images: The pictures; those that cannot be read are passed over.

    Returns:
        The range, or None if no picture can be read. Pixels without data do not count.
    """
    if not images:
        return None
    dtype = Counter(image.dtype for image in images).most_common(1)[0][0]
    channels = Counter(image.channels for image in images).most_common(1)[0][0]
    usual = [i for i in images if (i.dtype, i.channels) == (dtype, channels)] or list(images)
    sample = usual[:: max(1, len(usual) // _SAMPLE)][:_SAMPLE]
    parts = [part for part in in_threads(_values, sample) if len(part)]
    if not parts:
        return None
    low, high = np.percentile(np.concatenate(parts), (1, 99))
    return ValueRange(float(low), float(high), dtype, channels)


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
    listed, _ = list_new(images)
    new = range_of(listed) if trained is not None else None
    if trained is None or new is None:
        yield images
        return
    why = comparison(trained, new, normalise)
    if why and new.channels != trained.channels and "channels, and" in why:
        raise TransectError(
            f"the pictures in {images} {why}. Give pictures with the channels of the training."
        )
    if not rescale:
        if why:
            raise TransectError(
                f"the pictures in {images} {why}. Save them as the training pictures were, or "
                "pass --rescale to map one range to the other."
            )
        progress.say(f"values of the new pictures {new}, of the training {trained}: alike")
        yield images
        return
    progress.say(f"rescaling {new} to {trained}")
    with tempfile.TemporaryDirectory(prefix="transect-rescaled-") as folder:
        _write_rescaled(listed, images, Path(folder), trained, new)
        yield Path(folder)


def _write_rescaled(
    listed: Sequence[Image], images: Path, folder: Path, trained: ValueRange, new: ValueRange
) -> None:
    """Copies of pictures with their values mapped linearly, and their table."""
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
    table = images / "images.csv"
    if table.is_file():
        shutil.copyfile(table, folder / "images.csv")


def _bands(reader: Reader) -> Iterator[NDArray[Any]]:
    """A picture by bands of about 16 million values."""
    height, width, channels = reader.shape
    rows = max((16 << 20) // (width * channels), 1)
    for top in range(0, height, rows):
        yield reader.window(top, 0, min(rows, height - top), width)
