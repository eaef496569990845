"""What counting networks say of a picture: maps in cells, or boxes; and the files that keep it."""

from __future__ import annotations

import hashlib
import mmap
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from transect.count.detecting import DetectorMember
from transect.count.detections import Detections, fused
from transect.count.pictures import CountPictures
from transect.count.training import Task, build_member
from transect.data.inputs import Inputs
from transect.data.tiff import ArrayReader, Reader
from transect.files import atomic_path, made_path, read_json, safe_join
from transect.predict.dense import DenseMember
from transect.predict.scaling import ScaledReader, rescaled_bands
from transect.recipe import Member, Recipe
from transect.run import RunFolder
from transect.types import Image, Progress

__all__ = [
    "CellMap",
    "DetectorNetworks",
    "Drawn",
    "Networks",
    "mean_map",
    "networks_of",
    "oof_map",
    "predict_held_out",
]

_STEPS = 65535
_ROWS = 512  # rows of a map at once
_MEMORY_BYTES = 256 << 20  # larger maps lie in a temporary file; our choice


@dataclass(frozen=True)
class CellMap:
    """The maps of one picture, some network pixels to a cell.

    Attributes:
        stored: (C, h, w) uint16, in steps of ``limit`` / 65535.
        limit: The largest value.
        size_hw: (H, W) of the picture in its own pixels.
        densities: How many of the maps, the last ones, are densities of the others.
    """

    stored: NDArray[np.uint16]
    limit: float
    size_hw: tuple[int, int]
    densities: int = 0

    @property
    def drawn(self) -> int:
        """How many maps show where objects are."""
        return len(self.stored) - self.densities

    @property
    def cell_hw(self) -> tuple[float, float]:
        """(height, width) of a cell in pixels of the picture."""
        return (
            self.size_hw[0] / self.stored.shape[1],
            self.size_hw[1] / self.stored.shape[2],
        )

    def values(self, top: int = 0, bottom: int | None = None) -> NDArray[np.float32]:
        """Rows of all maps as numbers, densities last: (C, rows, w) float32."""
        part = self.stored[:, top:bottom]
        found = part.astype(np.float32) * np.float32(self.limit / _STEPS)
        _release(self.stored)
        return found

    def to_pixels(self, cells: NDArray[np.floating]) -> NDArray[np.float64]:
        """Positions (K, 2) of row, column in cells as x, y in pixels of the picture."""
        height, width = self.cell_hw
        return np.stack(
            [(cells[:, 1] + 0.5) * width - 0.5, (cells[:, 0] + 0.5) * height - 0.5], axis=1
        )

    def to_cells(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Positions (K, 2) of x, y in pixels as x, y in cells."""
        height, width = self.cell_hw
        moved = (points + 0.5) / np.array([width, height]) - 0.5
        # What rounds to the picture's last pixel belongs to its last cell.
        most = np.array([self.stored.shape[2], self.stored.shape[1]]) - 0.5
        return np.clip(moved, -0.5, np.nextafter(most, 0))

    def part(self, top: int, left: int, size_hw: tuple[int, int]) -> CellMap:
        """The cells of a block of the picture."""
        height, width = self.cell_hw
        rows = slice(round(top / height), max(round((top + size_hw[0]) / height), 1))
        columns = slice(round(left / width), max(round((left + size_hw[1]) / width), 1))
        return replace(self, stored=self.stored[:, rows, columns], size_hw=size_hw)

    def save(self, file: BinaryIO) -> None:
        """Write them; limits and sizes are known to whoever reads them."""
        np.savez_compressed(file, maps=self.stored)


Drawn = CellMap | Detections
"""What networks say of one picture."""


class Networks:
    """The members of a run as one fold trained them: what draws maps, held-out and new alike."""

    def __init__(
        self, run: RunFolder, recipe: Recipe, task: Task, fold: int, *, device: str
    ) -> None:
        """Load them.

        Raises:
            TransectError: If a weight file is missing or of another network.
        """
        facts = run.read_json("inputs.json")
        self._task = task
        self._members: list[tuple[Member, DenseMember, float]] = []
        for member in recipe.members:
            # Pictures are resampled here, so that maps never grow to the picture's own pixels.
            plain = replace(member.geometry, scale=1.0)
            inputs = Inputs.from_json(facts["members"][member.name], plain)
            dense = DenseMember(
                recipe,
                replace(member, geometry=plain),
                _snapshots(run.fold(member.name, fold)),
                build=_builder(member, inputs, task),
                inputs=inputs,
                outputs=task.outputs,
                activation=task.activation,
                device=device,
            )
            self._members.append((member, dense, member.weight))

    def map(
        self,
        reader: Reader,
        image: Image,
        *,
        scale: float = 1.0,
        progress: Progress | None = None,
    ) -> CellMap:
        """The maps of a picture of any size, in bounded memory.

        Args:
            reader: Windows of the picture.
            image: What the table says of it.
            scale: Resampling of the picture before the members' own.
            progress: Told how far large pictures are.

        Returns:
            The maps, the mean of the members.
        """
        height, width, _ = reader.shape
        step = self._task.decide.downscale / (self._members[0][0].geometry.scale * scale)
        cells = (max(1, round(height / step)), max(1, round(width / step)))
        shape = (self._task.stored, *cells)
        total: NDArray[Any] = _zeros(shape, np.float32 if len(self._members) > 1 else np.uint16)
        weight = sum(share for *_, share in self._members)
        for member, dense, share in self._members:
            factor = member.geometry.scale * scale
            source: Any = reader if factor == 1 else ScaledReader(reader, factor)
            seen = replace(image, size_hw=(source.shape[0], source.shape[1]))
            bands = dense.bands(source, seen)
            for row, band in rescaled_bands(bands, seen.size_hw, cells):
                part = np.clip(band[: self._task.stored], 0, self._task.limit)
                steps = part * np.float32(_STEPS / self._task.limit)
                rows = slice(row, row + band.shape[1])
                if len(self._members) > 1:
                    total[:, rows] += steps * np.float32(share / weight)
                else:
                    total[:, rows] = np.rint(steps)
                _release(total)
                if progress is not None and height * width > 16_000_000:
                    progress.step(f"drawing {image.name}", row + band.shape[1], cells[0])
        stored = total if total.dtype == np.uint16 else np.rint(total).astype(np.uint16)
        return CellMap(stored, self._task.limit, (height, width), self._task.densities)


class DetectorNetworks:
    """The detectors of a run as one fold trained them, fused."""

    def __init__(
        self, run: RunFolder, recipe: Recipe, task: Task, fold: int, *, device: str
    ) -> None:
        """Load them.

        Raises:
            TransectError: If a weight file is missing or of another network.
        """
        facts = run.read_json("inputs.json")
        self._members, self._weights = [], [member.weight for member in recipe.members]
        for member in recipe.members:
            inputs = Inputs.from_json(facts["members"][member.name], member.geometry)
            self._members.append(
                DetectorMember.load(
                    _snapshots(run.fold(member.name, fold)),
                    _builder(member, inputs, task),
                    inputs,
                    member,
                    classes=task.maps,
                    views=recipe.views,
                    device=device,
                )
            )

    def map(
        self,
        reader: Reader,
        image: Image,
        *,
        scale: float = 1.0,
        progress: Progress | None = None,
    ) -> Detections:
        """The boxes of a picture of any size; see ``Networks.map``."""
        found = [m.look(reader, image, scale=scale, progress=progress) for m in self._members]
        return fused(found, self._weights)


def networks_of(
    run: RunFolder, recipe: Recipe, task: Task, fold: int, *, device: str
) -> Networks | DetectorNetworks:
    """What one fold of a run trained, ready to look at pictures."""
    kind = DetectorNetworks if task.detects else Networks
    return kind(run, recipe, task, fold, device=device)


def mean_map(maps: Sequence[Drawn]) -> Drawn:
    """Where objects are as all networks see it: the mean of maps, or boxes fused."""
    boxes = [one for one in maps if isinstance(one, Detections)]
    return fused(boxes) if boxes else _mean([one for one in maps if isinstance(one, CellMap)])


def _mean(maps: Sequence[CellMap]) -> CellMap:
    """The mean of the maps of one picture."""
    first = maps[0]
    if len(maps) == 1:
        return first
    stored: NDArray[np.uint16] = _zeros(first.stored.shape, np.uint16)
    for top in range(0, stored.shape[1], _ROWS):
        rows = slice(top, top + _ROWS)
        stored[:, rows] = np.rint(np.mean([one.stored[:, rows] for one in maps], axis=0))
        for one in maps:
            _release(one.stored)
        _release(stored)
    return replace(first, stored=stored)


def predict_held_out(
    run: RunFolder,
    recipe: Recipe,
    task: Task,
    pictures: CountPictures,
    folds: NDArray[np.int64],
    fold: int,
    *,
    device: str,
    progress: Progress,
) -> None:
    """Write the maps of a fold's held-out blocks, skipping those that are written already."""
    held_out = np.flatnonzero(folds == fold).tolist()
    missing = [i for i in held_out if not _path(run, pictures.images[i]).is_file()]
    if not missing:
        return
    networks = networks_of(run, recipe, task, fold, device=device)
    photos = sorted({pictures.blocks[i].photo for i in missing})
    for done, number in enumerate(photos):
        photo = pictures.photos[number]
        scale = _oof_scale(photo.name, task.decide.oof_scale)
        found = networks.map(ArrayReader(pictures.cache.image(number)), photo, scale=scale)
        for i in missing:
            block = pictures.blocks[i]
            if block.photo != number:
                continue
            part = found.part(block.top, block.left, block.size_hw)
            path = _path(run, pictures.images[i])
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                part.save(file)
        progress.step(f"predicting fold {fold}", done + 1, len(photos))


def oof_map(run: RunFolder, task: Task, image: Image) -> Drawn | None:
    """The out-of-fold maps or boxes of a block, or None if its fold was not trained."""
    path = _path(run, image)
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        if task.detects:
            boxes, scores, kinds = (archive[name] for name in ("boxes", "scores", "kinds"))
            return Detections(boxes, scores, kinds, task.maps, image.size_hw)
        return CellMap(archive["maps"], task.limit, image.size_hw, task.densities)


def _path(run: RunFolder, image: Image) -> Path:
    """Where the out-of-fold maps or boxes of a block are."""
    return made_path(run.oof("maps"), image.name, ".npz")


def _oof_scale(name: str, bounds: tuple[float, float]) -> float:
    """A factor within bounds that depends on the name alone."""
    if bounds[0] == bounds[1]:
        return bounds[0]
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return float(np.random.default_rng(seed).uniform(*bounds))


def _snapshots(folder: Path) -> list[tuple[Path, float]]:
    """The weight files of a member's fold with their shares."""
    return [
        (safe_join(folder, entry["file"]), float(entry["weight"]))
        for entry in read_json(folder / "done.json")["snapshots"]
    ]


def _builder(member: Member, inputs: Inputs, task: Task) -> Any:
    """A function that makes the member's network without pretrained weights."""
    return lambda: build_member(member, inputs, task, pretrained=False)


def _release(array: NDArray[Any]) -> None:
    """Let go of the pages of an array in a file: they stay on disk, not in this process."""
    pages = getattr(array, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def _zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Zeros in memory, or in a temporary file that vanishes with the process."""
    if int(np.prod(shape)) * np.dtype(dtype).itemsize <= _MEMORY_BYTES:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="transect-maps-") as file:
        return np.memmap(file, dtype, "w+", shape=shape)
