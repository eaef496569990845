"""Detectors that look at pictures of any size: tile by tile, an object belongs to one tile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.count.boxes import LOSS
from transect.count.detections import Detections, fused
from transect.data.inputs import Inputs
from transect.data.tiff import Reader
from transect.errors import TransectError, unknown_name
from transect.models.detectors import DETECTORS
from transect.predict.dense import batch_of, load_weights
from transect.predict.scaling import ScaledReader
from transect.predict.tiling import tile_starts, window_of
from transect.recipe import CountDecide, Member, Network, Recipe
from transect.types import Image, Progress

__all__ = ["FLIPS", "DetectorMember", "check_detectors", "detect", "tile_cores"]

Floats = NDArray[np.float64]

FLIPS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"identity": (), "hflip": (3,), "vflip": (2,), "hvflip": (2, 3), "rot180": (2, 3)}
)
"""Views that detectors know: name to the axes of a batch that are mirrored."""


_READ = frozenset(
    (
        *("encoder", "weights", "decoder", "decoder_channels", "width", "levels", "norm", "leaky"),
        *("encoder_attention", "stem_stride", "stem_pool", "stem_kernel", "coordconv"),
        "output_stride",
    )
)
"""Fields of ``Network`` that a detector reads."""


def check_detectors(recipe: Recipe) -> None:
    """Refuse a counting recipe whose detectors do not fit together, before any work.

    Raises:
        TransectError: If a detector and a network of maps meet, or a stage, a view or a field is of
            the other kind.
    """
    decide = recipe.decide
    networks = {m.name: m.network for m in recipe.members if isinstance(m.network, Network)}
    found = {name for name, network in networks.items() if network.decoder in DETECTORS}
    detects = isinstance(decide, CountDecide) and decide.target == "boxes"
    if not found and not detects:
        return

    def refuse(what: str, repair: str) -> None:
        raise TransectError(f"recipe {recipe.name}: {what}. {repair}")

    if not detects or found != set(networks):
        refuse(
            f"decide.target is {getattr(decide, 'target', '')!r} and the decoders are "
            f"{', '.join(n.decoder for n in networks.values())}",
            f"boxes need a detector in every member ({', '.join(DETECTORS)}), and detectors boxes.",
        )
    for member in recipe.members:
        network = member.network
        if not isinstance(network, Network):
            continue
        where = f"member {member.name}"
        if member.geometry.fit != "tile":
            refuse(f"{where} takes whole pictures", "Detectors look at tiles: geometry.fit=tile.")
        plain = Network()
        unread = [
            field.name
            for field in fields(Network)
            if field.name not in _READ
            and getattr(network, field.name) != getattr(plain, field.name)
        ]
        if unread:
            refuse(f"{where} sets {unread[0]}, which no detector reads", "Leave it out.")
        for stage in member.stages:
            if stage.loss != LOSS or stage.loss_end:
                refuse(
                    f"stage {stage.name} of {where} has loss={stage.loss}",
                    f"Detectors bring their own: loss={LOSS}, without loss_end.",
                )
    assert isinstance(decide, CountDecide)
    if "regressors" in decide.methods:
        refuse("decide.methods has regressors, which need maps", "Take sum, peaks, line, mean.")
    if strange := sorted(set(recipe.views) - set(FLIPS)):
        raise unknown_name("a view of detectors", strange[0], FLIPS)


@dataclass(frozen=True)
class DetectorMember:
    """One member with its snapshots, ready to look.

    Attributes:
        models: In evaluation mode, with their shares.
        inputs: From pixels to the network's input.
        geometry: Tiles and scale, of the member.
        classes: Number of classes.
        views: Names of ``FLIPS``.
        device: Where.
    """

    models: Sequence[tuple[nn.Module, float]]
    inputs: Inputs
    member: Member
    classes: int
    views: Sequence[str]
    device: str

    @staticmethod
    def load(
        snapshots: Sequence[tuple[Path, float]],
        build: Callable[[], nn.Module],
        inputs: Inputs,
        member: Member,
        *,
        classes: int,
        views: Sequence[str],
        device: str,
    ) -> DetectorMember:
        """Load the snapshots.

        Raises:
            TransectError: If a weight file is missing or of another network.
        """
        models = []
        for path, weight in snapshots:
            model = build()
            load_weights(model, path)
            models.append((model.to(device).eval(), weight))
        return DetectorMember(models, inputs, member, classes, tuple(views), device)

    def look(
        self, reader: Reader, image: Image, *, scale: float, progress: Progress | None = None
    ) -> Detections:
        """What all snapshots and views see together.

        Args:
            reader: Windows of the picture.
            image: What the table says of it.
            scale: Resampling of the picture before the member's own.
            progress: Told how far large pictures are.

        Returns:
            Boxes in pixels of the picture.
        """
        factor = self.member.geometry.scale * scale
        source: Any = reader if factor == 1 else ScaledReader(reader, factor)
        seen = replace(image, size_hw=(source.shape[0], source.shape[1]))
        parts = detect(
            self._tiles(source, seen, progress),
            self._answers,
            size_hw=seen.size_hw,
            cores=self._cores(seen.size_hw),
            batch=batch_of(self.member.geometry.size_hw, self.device),
        )
        height, width, _ = reader.shape
        stretch = np.array([width / seen.size_hw[1], height / seen.size_hw[0]] * 2)
        ways = []
        for rows in parts:
            boxes = (rows[:, :4] + 0.5) * stretch - 0.5
            ways.append(
                Detections.of(
                    boxes,
                    rows[:, 4],
                    rows[:, 5].astype(np.int64),
                    classes=self.classes,
                    size_hw=(height, width),
                )
            )
        return fused(ways, [share for _, share in self.models for _ in self.views])

    def _cores(self, size_hw: tuple[int, int]) -> list[tuple[Floats, Floats]]:
        """Of every tile the (low, high) y, x that it answers for."""
        geometry = self.member.geometry
        axes = [
            tile_cores(tile_starts(size, tile, geometry.overlap), tile, size)
            for size, tile in zip(size_hw, geometry.size_hw, strict=True)
        ]
        return [
            (np.array([y[0], x[0]]), np.array([y[1], x[1]])) for y, x in itertools.product(*axes)
        ]

    def _tiles(
        self, source: Any, image: Image, progress: Progress | None
    ) -> Iterator[tuple[tuple[int, int], NDArray[np.float32]]]:
        """Corner and prepared pixels of every tile, row by row."""
        geometry = self.member.geometry
        tops, lefts = (
            tile_starts(size, tile, geometry.overlap)
            for size, tile in zip(image.size_hw, geometry.size_hw, strict=True)
        )
        for number, top in enumerate(tops):
            for left in lefts:
                window = (top, left, *geometry.size_hw)
                pixels = window_of(source, *window)
                yield (top, left), self.inputs.prepare(pixels, image, window)
            if progress is not None and len(tops) * len(lefts) > 500:
                progress.step(f"looking at {image.name}", number + 1, len(tops))

    def _answers(self, tiles: NDArray[np.float32]) -> list[list[Floats]]:
        """For every snapshot and view, per tile rows of x0, y0, x1, y1, score, class."""
        batch = torch.from_numpy(tiles).permute(0, 3, 1, 2).contiguous().to(self.device)
        size = np.array([tiles.shape[2], tiles.shape[1]] * 2, np.float64)
        found = []
        with torch.inference_mode():
            for (model, _), name in itertools.product(self.models, self.views):
                axes = FLIPS[name]
                told = model(batch.flip(axes) if axes else batch)
                found.append([_rows(one, axes, size) for one in told])
        return found


def detect(
    tiles: Iterable[tuple[tuple[int, int], NDArray[np.float32]]],
    answers: Callable[[NDArray[np.float32]], list[list[Floats]]],
    *,
    size_hw: tuple[int, int],
    cores: Sequence[tuple[Floats, Floats]],
    batch: int,
) -> list[Floats]:
    """Look at all tiles; a box counts where its middle lies in the core of its tile.

    Args:
        tiles: Corner (top, left) and input of every tile.
        answers: From a batch of inputs, per way of looking and tile, rows of x0, y0, x1, y1 (edges
            in pixels of the tile), score, class.
        size_hw: (H, W) of the picture.
        cores: Of every tile, in the order of ``tiles``.
        batch: Tiles at once.

    Returns:
        Per way of looking (K, 6) x0, y0, x1, y1, score, class in pixels of the picture, whose first
        pixel has its middle at 0.
    """
    found: list[list[Floats]] = []
    numbered = enumerate(tiles)
    while group := list(itertools.islice(numbered, batch)):
        ways = answers(np.stack([pixels for _, (_, pixels) in group]))
        found = found or [[] for _ in ways]
        for kept, way in zip(found, ways, strict=True):
            for (number, ((top, left), _)), rows in zip(group, way, strict=True):
                moved = rows.copy()
                moved[:, :4] += np.array([left, top] * 2) - 0.5
                middle = (moved[:, 1::-1] + moved[:, 3:1:-1]) / 2  # y, x
                low, high = cores[number]
                kept.append(moved[((middle >= low) & (middle < high)).all(axis=1)])
    return [np.concatenate(kept) for kept in found]


def tile_cores(starts: Sequence[int], tile: int, size: int) -> list[tuple[float, float]]:
    """Along one axis the part of every tile that it alone answers for.

    Args:
        starts: First pixels of the tiles, ascending.
        tile: Pixels of a tile.
        size: Pixels of the picture.

    Returns:
        (low, high) of each in pixels whose first has its middle at 0; they meet half-way in the
        overlaps, and cover the picture once.

    Example:
        >>> tile_cores([0, 6], 10, 16)
        [(-0.5, 7.5), (7.5, 15.5)]
    """
    seams = [(a + tile + b) / 2 - 0.5 for a, b in itertools.pairwise(starts)]
    return list(itertools.pairwise([-0.5, *seams, size - 0.5]))


def _rows(one: Mapping[str, Tensor], axes: tuple[int, ...], size: Floats) -> Floats:
    """What a network said of a tile, mirrored back: (K, 6)."""
    boxes = one["boxes"].double().cpu().numpy()
    for axis, (low, high) in ((3, (0, 2)), (2, (1, 3))):
        if axis in axes:
            boxes[:, [low, high]] = size[low] - boxes[:, [high, low]]
    scores, kinds = one["scores"].double().cpu().numpy(), one["labels"].cpu().numpy()
    return np.column_stack([boxes, scores, kinds])
