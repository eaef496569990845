"""Batches for dense networks: windows of pictures with their targets, each one warp away."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.augment import augment_sample
from transect.data.geometry import Placement, fit_planes, fit_whole
from transect.recipe import Augment, Geometry, Stage
from transect.train.samplers import Items, Sampler, sampler_for
from transect.types import Sample

__all__ = ["DenseBatches", "DenseSource"]


@dataclass(frozen=True)
class DenseSource:
    """What dense batches are drawn from; the task fills it in, the drawing does not know it.

    Attributes:
        shapes: (height, width) of every picture.
        sample: The whole picture i with its planes, labels or points.
        prepare: From a window of pixels (h, w, C), the picture's number and where the window
            lies, (top, left, height, width) in the picture (None: it is the whole), to the
            network's (h, w, C) float32. The planes of a sample that has any come fourth, moved
            as the pixels were, (h, w, M).
        target: From an augmented sample to (T, h, w) float32 in [0, 1], and which pixels count:
            (1, h, w) float32.
        centres: (K, 2) x, y of the objects of picture i.
        coverage: Share of foreground per picture, or number of objects; orders a curriculum.
        classes: Class of each object of picture i, for class-aware draws; None is one class.
        weights: Of the sampler ``weighted``, per picture; None is even.
        image_weights: How much each picture counts by the survey; None is even.
        points_margin: Points so many pixels outside a window still come to ``target``.
    """

    shapes: Sequence[tuple[int, int]]
    sample: Callable[[int], Sample]
    prepare: Callable[..., NDArray[np.float32]]
    target: Callable[[Sample], tuple[NDArray[np.float32], NDArray[np.float32]]]
    centres: Callable[[int], NDArray[np.float32]]
    coverage: NDArray[np.float64]
    classes: Callable[[int], NDArray[np.int64]] | None = None
    weights: NDArray[np.float64] | None = None
    image_weights: NDArray[np.float64] | None = None
    points_margin: float = 0.0


class DenseBatches:
    """Batches of one stage over the training pictures of one fold.

    Every draw depends on (seed, epoch, its position) alone, so an epoch can be repeated after a
    kill, and the order of work does not matter.
    """

    def __init__(
        self,
        source: DenseSource,
        pictures: Sequence[int],
        *,
        stage: Stage,
        geometry: Geometry,
        augment: Augment,
        seed: int,
    ) -> None:
        """Prepare the draws.

        Args:
            source: Where pictures come from.
            pictures: Numbers of the fold's training pictures.
            stage: Batch size, steps, sampler and curriculum.
            geometry: The network's input; ``stage.size_hw`` goes before its size.
            augment: Augmentation; ``stage.augment`` goes before it.
            seed: Of all draws.
        """
        self._source = source
        self._pictures = np.asarray(pictures, np.int64)
        self._stage = stage
        self._size_hw = stage.size_hw or geometry.size_hw
        self._geometry = dataclasses.replace(geometry, size_hw=self._size_hw)
        self._augment = stage.augment or augment
        self._seed = seed
        # An inpainted border is worth its price for pixels, which are padded once per epoch at
        # most; soft planes continue by reflection.
        self._border = "reflect" if geometry.border == "inpaint" else geometry.border
        self._items = self._known()
        first = "uniform" if stage.sampler == "hard" else stage.sampler  # until ``prepare``
        one_pass = len(self._sampled(first, self._items)(0))
        self.steps = stage.steps or max(1, math.ceil(one_pass / stage.batch))
        self._sampler = self._sampled(first, self._items, self.steps * stage.batch)

    def epoch(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of one epoch.

        Yields:
            ``image`` (N, C, H, W), ``target`` (N, T, H, W), ``valid`` (N, 1, H, W), float32.
        """
        fraction = epoch / max(1, self._stage.epochs)
        draws, batch = self._sampler(epoch), self._stage.batch
        for step in range(self.steps):
            rngs = [np.random.default_rng([self._seed, epoch, step, k]) for k in range(batch)]
            drawn = draws[step * batch : (step + 1) * batch]
            yield _batch_of(
                [
                    self._item(place, focus, rng, fraction)
                    for (place, focus), rng in zip(drawn.pairs(), rngs, strict=True)
                ]
            )

    def prepare(self, model: nn.Module, epoch: int) -> None:
        """For the sampler ``hard``: look at every picture, and draw by its loss from now on.

        A fixed window of each picture, not augmented, is compared by cross-entropy. Weights are
        the loss over its mean, cut at 5, so that a wrong label does not take over.

        Args:
            model: In evaluation mode, as it is when the epoch begins: a resumed epoch draws alike.
            epoch: Not used.
        """
        del epoch
        if self._stage.sampler != "hard":
            return
        place = next(model.parameters()).device
        losses: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(self._pictures), self._stage.batch):
                batch = self._fixed(self._pictures[start : start + self._stage.batch].tolist())
                logits = model(batch["image"].to(place))["logits"].float().cpu()
                each = nn.functional.binary_cross_entropy_with_logits(
                    logits, batch["target"], weight=batch["valid"], reduction="none"
                )
                losses += each.flatten(1).mean(1).tolist()
        hard = np.clip(np.array(losses) / max(float(np.mean(losses)), 1e-9), 0.0, 5.0)
        items = dataclasses.replace(self._items, weights=hard)
        self._sampler = self._sampled("weighted", items, self.steps * self._stage.batch)

    def _fixed(self, pictures: Sequence[int]) -> dict[str, Tensor]:
        """One batch of given pictures: the window that a seed of the picture's own puts."""
        items = []
        for picture in pictures:
            rng = np.random.default_rng([self._seed, picture])
            items.append(self._built(picture, None, rng, 0.0, Augment()))
        return _batch_of(items)

    def _item(
        self, place: int, focus: int, rng: np.random.Generator, fraction: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """One drawn picture, one window around one of its objects or anywhere, one warp."""
        picture = int(self._pictures[place])
        centre = None if focus < 0 else self._source.centres(picture)[focus]
        return self._built(picture, centre, rng, fraction, self._augment)

    def _built(
        self,
        picture: int,
        centre: NDArray[np.float32] | None,
        rng: np.random.Generator,
        fraction: float,
        augment: Augment,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Cut and warp a picture: input, target and which pixels count."""
        if self._geometry.fit == "whole":
            return self._whole(picture, rng, fraction, augment)
        window = self._window(picture, centre, rng)
        sample = augment_sample(
            self._source.sample(picture),
            augment,
            rng,
            out_hw=self._size_hw,
            window=window,
            fraction=fraction,
            points_margin=self._source.points_margin,
        )
        top, left, height, width = (round(value) for value in window)
        channels = () if sample.planes is None else (sample.planes,)
        image = self._source.prepare(sample.image, picture, (top, left, height, width), *channels)
        target, valid = self._source.target(sample)
        return image, target, valid

    def _whole(
        self, picture: int, rng: np.random.Generator, fraction: float, augment: Augment
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Augment the picture at its own size, then bring it to the network's."""
        shape = self._source.shapes[picture]
        sample = augment_sample(
            self._source.sample(picture),
            augment,
            rng,
            out_hw=shape,
            fraction=fraction,
        )
        image, placement = fit_whole(sample.image, self._geometry)
        channels: tuple[NDArray[np.generic], ...] = ()
        if sample.planes is not None:
            channels = (fit_planes(sample.planes, placement, border=self._border),)
        prepared = self._source.prepare(image, picture, None, *channels)
        planes = np.concatenate(self._source.target(sample))
        fitted = fit_planes(np.moveaxis(planes, 0, -1), placement, border=self._border)
        fitted = np.moveaxis(fitted, -1, 0).astype(np.float32)
        target, valid = fitted[:-1], fitted[-1:]
        if self._stage.loss_on == "crop":
            valid = valid * inside(placement)
        return prepared, target, valid

    def _window(
        self, picture: int, centre: NDArray[np.float32] | None, rng: np.random.Generator
    ) -> tuple[float, float, float, float]:
        """Place a window: anywhere inside the picture, or around a point."""
        height, width = (size / self._geometry.scale for size in self._size_hw)
        full_h, full_w = self._source.shapes[picture]
        if centre is None:
            top = rng.uniform(0, max(0.0, full_h - height))
            left = rng.uniform(0, max(0.0, full_w - width))
        else:
            top = float(centre[1]) - rng.uniform(0.1, 0.9) * height
            left = float(centre[0]) - rng.uniform(0.1, 0.9) * width
            top = min(max(top, 0.0), max(0.0, full_h - height))
            left = min(max(left, 0.0), max(0.0, full_w - width))
        if full_h < height:
            top = (full_h - height) / 2
        if full_w < width:
            left = (full_w - width) / 2
        if self._geometry.scale == 1.0:
            return float(round(top)), float(round(left)), height, width
        return top, left, height, width

    def _known(self) -> Items:
        """What samplers may know of the fold's pictures."""
        source, pictures = self._source, self._pictures.tolist()
        coverage = source.coverage[self._pictures]
        windows = np.array([self._windows_of(i) for i in pictures], np.float64)
        weights, by_survey = (
            None if values is None else values[self._pictures]
            for values in (source.weights, source.image_weights)
        )
        # Empty and nearly full pictures are the easy ones; large objects come before small ones.
        easy = np.abs(coverage - np.median(coverage)) if len(coverage) else coverage
        return Items(
            len(pictures),
            classes=[
                np.zeros(len(source.centres(i)), np.int64)
                if source.classes is None
                else source.classes(i)
                for i in pictures
            ],
            coverage=coverage,
            weights=weights,
            image_weights=by_survey,
            difficulty=-coverage if self._stage.curriculum == "large_first" else -easy,
            windows=windows,
        )

    def _sampled(self, name: str, items: Items, draws: int | None = None) -> Sampler:
        """The stage's draws by a sampler, one pass unless told how many."""
        stage = dataclasses.replace(self._stage, sampler=name)
        return sampler_for(stage, items, seed=self._seed, draws=draws)

    def _windows_of(self, picture: int) -> float:
        """How many windows a picture holds; a whole one is one."""
        if self._geometry.fit == "whole":
            return 1.0
        height, width = self._source.shapes[picture]
        scale = self._geometry.scale
        return max(1.0, height * width * scale**2 / (self._size_hw[0] * self._size_hw[1]))


def inside(placement: Placement) -> NDArray[np.float32]:
    """A plane (1, H, W) that is 1 where the network's input is picture and 0 where it is border."""
    plane = np.zeros((1, *placement.size_hw), np.float32)
    plane[
        :,
        placement.top : placement.top + placement.content_hw[0],
        placement.left : placement.left + placement.content_hw[1],
    ] = 1
    return plane


def _batch_of(
    items: Sequence[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]],
) -> dict[str, Tensor]:
    """Inputs (h, w, C), targets and counted pixels as one batch."""
    images, targets, valids = zip(*items, strict=True)
    return {
        "image": _stacked(images).permute(0, 3, 1, 2).contiguous(),
        "target": _stacked(targets),
        "valid": _stacked(valids),
    }


def _stacked(arrays: Sequence[NDArray[np.float32]]) -> Tensor:
    """One tensor from equally shaped arrays."""
    return torch.from_numpy(np.stack(arrays))
