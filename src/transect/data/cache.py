"""Decode once: all pixels of a survey in one flat buffer, in memory or mapped from a file."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from transect.data.folder import Progress, in_threads
from transect.data.images import open_reader, read_image, read_void
from transect.errors import TransectError
from transect.files import atomic_path, read_json, write_json
from transect.types import Image, Problem

__all__ = ["PixelCache"]

LIMIT_BYTES = 4 << 30
"""Most bytes that are kept in memory rather than mapped from a file."""
BAND_BYTES = 64 << 20
"""Larger pictures are decoded by bands of about this size."""

_ALIGN = 64


class PixelCache:
    """Decoded pictures, and with them labels and planes, by number.

    Every picture is decoded in full once, by several threads, so truncated files are found here,
    before training. They are left out of ``images`` and listed in ``problems``. Above
    ``limit_bytes`` the pixels go to a file below ``folder`` and are memory-mapped; a second
    cache of the same pictures, unchanged, opens that file instead of decoding again.

    Attributes:
        images: The pictures that could be decoded, in the order given; numbers count these.
        problems: The others.
        mapped: Whether the pixels lie in a file.

    Example:
        >>> PixelCache([], None).images
        ()
    """

    def __init__(
        self,
        images: Sequence[Image],
        folder: Path | None,
        *,
        labels_of: Callable[[Image], NDArray[np.integer]] | None = None,
        planes_of: Callable[[Image], NDArray[Any]] | None = None,
        planes: int = 0,
        planes_dtype: str = "uint8",
        limit_bytes: int = LIMIT_BYTES,
        key: str = "",
        progress: Progress | None = None,
    ) -> None:
        """Decode.

        Args:
            images: The pictures; sizes and types as their headers say.
            folder: Where the file goes if the pixels exceed the limit; None takes a temporary
                file that vanishes with the process.
            labels_of: Gives the (H, W) labels of a picture, -2^31 < labels < 2^31; kept in the
                smallest integer type that holds them.
            planes_of: Gives (H, W, ``planes``) soft targets or further channels of a picture.
            planes: How many planes there are.
            planes_dtype: Their type.
            limit_bytes: Most bytes kept in memory.
            key: What labels and planes depend on beside the pictures (the survey's fingerprint,
                the recipe); a file that was written under another key is not used again.
            progress: Called with (done, all).

        Raises:
            TransectError: If the disk has no room for the file.
        """
        self._user_key = key
        self._planes, self._planes_dtype = planes, np.dtype(planes_dtype)
        self._has_labels, self._has_planes = labels_of is not None, planes_of is not None
        self._offsets = self._layout(images)
        total = int(self._offsets[-1, 0]) if len(images) else 0
        self.mapped = total > limit_bytes
        label_kinds: list[str]
        if not self.mapped:
            self._buffer: NDArray[np.uint8] = np.empty(total, np.uint8)
            label_kinds, faults = self._fill(images, labels_of, planes_of, progress)
        else:
            label_kinds, faults = self._mapped(images, folder, labels_of, planes_of, progress)
        good = [i for i, fault in enumerate(faults) if fault is None]
        self.images: tuple[Image, ...] = tuple(images[i] for i in good)
        self.problems: tuple[Problem, ...] = tuple(
            Problem(images[i].name, fault) for i, fault in enumerate(faults) if fault is not None
        )
        self._offsets = self._offsets[:-1][good]
        self._label_kinds = [np.dtype(label_kinds[i]) for i in good]

    def __len__(self) -> int:
        """How many pictures could be decoded."""
        return len(self.images)

    def image(self, i: int) -> NDArray[Any]:
        """Picture ``i``: (H, W, C), its own type, a read-only view."""
        image = self.images[i]
        shape = (*image.size_hw, image.channels)
        return self._view(int(self._offsets[i, 0]), shape, np.dtype(image.dtype))

    def labels(self, i: int) -> NDArray[np.integer]:
        """The labels of picture ``i``: (H, W) uint8, int16 or int32, a read-only view."""
        assert self._has_labels
        return self._view(int(self._offsets[i, 1]), self.images[i].size_hw, self._label_kinds[i])

    def planes(self, i: int) -> NDArray[Any]:
        """The planes of picture ``i``: (H, W, T), a read-only view."""
        assert self._has_planes
        shape = (*self.images[i].size_hw, self._planes)
        return self._view(int(self._offsets[i, 2]), shape, self._planes_dtype)

    def statistics(self, channels: int | None = None) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel over all pixels with data of all pictures.

        Args:
            channels: Only pictures with so many channels count; None takes the most frequent.

        Returns:
            Means and standard deviations, in pixel values; ([], []) without pictures.
        """
        if not self.images:
            return [], []
        found = [image.channels for image in self.images]
        channels = channels or max(sorted(set(found)), key=found.count)
        sums, squares, n = np.zeros(channels), np.zeros(channels), 0
        for i, image in enumerate(self.images):
            if image.channels != channels:
                continue
            pixels = self.image(i).reshape(-1, channels)
            if image.void and (void := read_void(image.path)) is not None:
                pixels = pixels[~void.reshape(-1)]
            for start in range(0, len(pixels), 1 << 20):
                part = pixels[start : start + (1 << 20)].astype(np.float64)
                sums += part.sum(axis=0)
                squares += (part**2).sum(axis=0)
            n += len(pixels)
        mean = sums / max(n, 1)
        deviation = np.sqrt(np.maximum(squares / max(n, 1) - mean**2, 0))
        return mean.tolist(), deviation.tolist()

    def _layout(self, images: Sequence[Image]) -> NDArray[np.int64]:
        """Where image, labels and planes of each picture start; the last row is the end."""
        offsets = np.zeros((len(images) + 1, 3), np.int64)
        at = 0
        for i, image in enumerate(images):
            pixels = image.size_hw[0] * image.size_hw[1]
            sizes = (
                pixels * image.channels * np.dtype(image.dtype).itemsize,
                # Room for int32; pages that smaller labels do not touch are never allocated.
                pixels * 4 * self._has_labels,
                pixels * self._planes * self._planes_dtype.itemsize * self._has_planes,
            )
            for part, size in enumerate(sizes):
                offsets[i, part] = at
                at += -(-size // _ALIGN) * _ALIGN
        offsets[-1] = at
        return offsets

    def _view(self, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A read-only array over a part of the buffer."""
        view = self._slot(start, shape, dtype)
        view.flags.writeable = False
        return view

    def _slot(self, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array over a part of the buffer."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        part: NDArray[Any] = np.asarray(self._buffer[start : start + size])
        return part.view(dtype).reshape(shape)

    def _fill(
        self,
        images: Sequence[Image],
        labels_of: Callable[[Image], NDArray[np.integer]] | None,
        planes_of: Callable[[Image], NDArray[Any]] | None,
        progress: Progress | None,
    ) -> tuple[list[str], list[str | None]]:
        """Decode everything into the buffer: label types, and what was wrong with each."""

        def decode(i: int) -> tuple[str, str | None]:
            image = images[i]
            try:
                self._decode_pixels(image, int(self._offsets[i, 0]))
                kind = "uint8"
                if labels_of is not None:
                    labels = _fitting(image, labels_of(image), 2)
                    kind = _smallest(labels)
                    slot = self._slot(int(self._offsets[i, 1]), image.size_hw, np.dtype(kind))
                    slot[:] = labels
                if planes_of is not None:
                    shape = (*image.size_hw, self._planes)
                    start = int(self._offsets[i, 2])
                    self._slot(start, shape, self._planes_dtype)[:] = planes_of(image)
            except TransectError as error:
                return "uint8", str(error)
            return kind, None

        results = in_threads(decode, range(len(images)), progress)
        return [kind for kind, _ in results], [fault for _, fault in results]

    def _decode_pixels(self, image: Image, start: int) -> None:
        """Decode one picture into its place, large ones by bands."""
        dtype = np.dtype(image.dtype)
        shape = (*image.size_hw, image.channels)
        slot = self._slot(start, shape, dtype)
        if slot.nbytes <= BAND_BYTES:
            slot[:] = _fitting(image, read_image(image.path), 3)
            return
        reader = open_reader(image.path)
        if reader.shape != shape or reader.dtype != dtype:
            raise _changed(image)
        rows = max(BAND_BYTES * shape[0] // slot.nbytes, 1)
        for top in range(0, shape[0], rows):
            height = min(rows, shape[0] - top)
            slot[top : top + height] = reader.window(top, 0, height, shape[1])

    def _mapped(
        self,
        images: Sequence[Image],
        folder: Path | None,
        labels_of: Callable[[Image], NDArray[np.integer]] | None,
        planes_of: Callable[[Image], NDArray[Any]] | None,
        progress: Progress | None,
    ) -> tuple[list[str], list[str | None]]:
        """Decode into a file, or open the file that an earlier cache of the same left."""
        total = int(self._offsets[-1, 0])
        where = folder or Path(tempfile.gettempdir())
        key = self._key(images)
        known = _left_by_earlier(folder, key, total) if folder is not None else None
        if folder is not None and known is not None:
            self._buffer = np.memmap(folder / "pixels.bin", np.uint8, "r")
            return known
        where.mkdir(parents=True, exist_ok=True)
        if folder is None:
            with tempfile.TemporaryFile(dir=where) as file:
                _allocate(file, total, where)
                self._buffer = np.memmap(file, np.uint8, "r+")
            return self._fill(images, labels_of, planes_of, progress)
        with atomic_path(folder / "pixels.bin") as temporary:
            with temporary.open("r+b") as file:
                _allocate(file, total, where)
            mapped = np.memmap(temporary, np.uint8, "r+")
            self._buffer = mapped
            kinds, faults = self._fill(images, labels_of, planes_of, progress)
            mapped.flush()
        self._buffer = np.memmap(folder / "pixels.bin", np.uint8, "r")
        write_json(folder / "pixels.json", {"key": key, "labels": kinds, "faults": faults})
        return kinds, faults

    def _key(self, images: Sequence[Image]) -> list[Any]:
        """What must be unchanged for the file to be used again."""
        rows = []
        for image in images:
            status = image.path.stat()
            rows.append([image.name, *image.size_hw, status.st_size, status.st_mtime_ns])
        return [self._user_key, self._has_labels, self._planes, self._planes_dtype.name, rows]


def _allocate(file: IO[bytes], size: int, where: Path) -> None:
    """Claim the bytes now: writing to a hole of a full disk would kill the process (SIGBUS).

    Raises:
        TransectError: If the disk cannot hold them.
    """
    if size == 0:
        return
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise TransectError(
                f"the decoded pictures need {size / 1e9:.1f} GB in {where}, and the disk has "
                f"{shutil.disk_usage(where).free / 1e9:.1f} GB left. Free some space, or choose "
                "another folder with --out."
            ) from error
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            raise
    for start in range(0, size, 1 << 24):  # no way to ask for it: zeros claim it, too
        file.write(bytes(min(1 << 24, size - start)))
    file.flush()


def _left_by_earlier(
    folder: Path, key: list[Any], total: int
) -> tuple[list[str], list[str | None]] | None:
    """Label types and faults of a file of pixels that can be used again, or None."""
    pixels = folder / "pixels.bin"
    if not (folder / "pixels.json").exists() or not pixels.exists():
        return None
    known = read_json(folder / "pixels.json")
    same = isinstance(known, dict) and known.get("key") == key and pixels.stat().st_size == total
    if not same or not set(known["labels"]) <= {"uint8", "int16", "int32"}:
        return None
    return known["labels"], known["faults"]


def _fitting(image: Image, array: NDArray[Any], dimensions: int) -> NDArray[Any]:
    """Check that what was decoded is what the header said."""
    wanted = (*image.size_hw, image.channels)[:dimensions]
    if array.shape != wanted or (dimensions == 3 and array.dtype.name != image.dtype):
        raise _changed(image)
    return array


def _changed(image: Image) -> TransectError:
    """The sentence for a file that is not what it was when the survey was opened."""
    return TransectError(
        f"{image.path} has changed since the survey was opened. Do not edit pictures during a run; "
        "start again with --resume."
    )


def _smallest(labels: NDArray[np.integer]) -> str:
    """The smallest type of uint8, int16, int32 that holds the labels."""
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low >= 0 and high <= 255:
        return "uint8"
    return "int16" if low >= -32768 and high <= 32767 else "int32"
