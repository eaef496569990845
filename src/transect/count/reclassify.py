"""A second network that looks at every found object again and says its class, for the regressors.

The sea lion 2nd place trained a VGG on patches around dots two days before the end and did not
get a gain from it; its answers enter as further features of the windows, which the comparison of
counters out of fold may use or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect import losses, models
from transect.augment import augment_sample
from transect.count.pictures import CountPictures
from transect.data.inputs import Inputs
from transect.files import read_json, safe_join
from transect.predict.dense import load_weights
from transect.recipe import Embedding, Member, Network, Recipe, Stage
from transect.run import RunFolder
from transect.train.engine import fit
from transect.train.plan import StagePlan
from transect.types import Image, Sample

__all__ = ["Reclassifier", "classifier_of", "fit_classifier", "maps_only"]

_SHIFT_PX = 6.0  # sea lion 2nd place: patches are centred within 6 px
_NOTHING = 0.25  # share of patches without an object; ours, he had no such class


def maps_only(recipe: Recipe) -> Recipe:
    """The recipe without members that classify patches."""
    members = tuple(m for m in recipe.members if isinstance(m.network, Network))
    return replace(recipe, members=members)


def classifier_of(recipe: Recipe) -> Member | None:
    """The member that classifies patches, if the recipe has one."""
    return next((m for m in recipe.members if isinstance(m.network, Embedding)), None)


class _Classifier(nn.Module):
    """A backbone with one linear layer: classes and nothing."""

    def __init__(self, spec: Embedding, channels: int, classes: int, *, pretrained: bool) -> None:
        super().__init__()
        self.body = models.build(
            spec, in_channels=channels, outputs=classes + 1, pretrained_allowed=pretrained
        )
        self.last = nn.LazyLinear(classes + 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.body(x)["embedding"] * 8.0)  # unit vectors: a scale
        return logits

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """What may be pretrained."""
        found: Iterator[nn.Parameter] = self.body.encoder_parameters()  # type: ignore[operator]
        return found

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """The rest."""
        inner = {id(p) for p in self.encoder_parameters()}
        return (p for p in self.parameters() if id(p) not in inner)


def _build(member: Member, inputs: Inputs, classes: int, *, pretrained: bool) -> nn.Module:
    """Make the classifier, its lazy layer settled."""
    assert isinstance(member.network, Embedding)
    model = _Classifier(member.network, inputs.network_channels, classes, pretrained=pretrained)
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, inputs.network_channels, *member.geometry.size_hw))
    return model.train()


class _Patches:
    """Batches of patches around dots and around nothing."""

    def __init__(
        self, pictures: CountPictures, member: Member, stage: Stage, rows: Sequence[int], seed: int
    ) -> None:
        self._pictures, self._member, self._stage = pictures, member, stage
        self._inputs, self._seed = pictures.inputs(member.geometry), seed
        self._rows = list(rows)
        self._dots = [(i, k) for i in self._rows for k in range(len(pictures.dots(i)[1]))]
        self.steps = stage.steps or max(1, len(self._dots) // stage.batch)

    def epoch(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        """Yield ``image`` (N, C, h, w) and ``target`` (N, classes + 1) one-hot."""
        for step in range(self.steps):
            rng = np.random.default_rng([self._seed, epoch, step])
            items = [self._item(rng) for _ in range(self._stage.batch)]
            images, targets = zip(*items, strict=True)
            yield {
                "image": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
                "target": torch.from_numpy(np.stack(targets)),
            }

    def _item(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        classes = len(self._pictures.classes)
        target = np.zeros(classes + 1, np.float32)
        if self._dots and rng.random() >= _NOTHING:
            i, k = self._dots[int(rng.integers(len(self._dots)))]
            points, kinds = self._pictures.dots(i)
            centre = points[k] + rng.uniform(-_SHIFT_PX, _SHIFT_PX, 2)
            target[kinds[k]] = 1
        else:
            i = self._rows[int(rng.integers(len(self._rows)))]
            height, width = self._pictures.images[i].size_hw
            centre = rng.uniform(0, 1, 2) * (width, height)
            points, kinds = self._pictures.dots(i)
            gaps = np.hypot(*(points - centre).T) if len(points) else np.array([np.inf])
            near = int(gaps.argmin())
            target[kinds[near] if gaps[near] < _SHIFT_PX else classes] = 1
        window = _window(centre, self._member)
        sample = augment_sample(
            Sample(self._pictures.pixels(i)),
            replace(self._member.augment, border="zero"),
            rng,
            out_hw=self._member.geometry.size_hw,
            window=window,
        )
        place = (round(window[0]), round(window[1]), round(window[2]), round(window[3]))
        return self._inputs.prepare(sample.image, self._pictures.images[i], place), target


def _window(centre: NDArray[Any], member: Member) -> tuple[float, float, float, float]:
    """(top, left, height, width) in the picture of a patch around a point."""
    height, width = (side / member.geometry.scale for side in member.geometry.size_hw)
    return float(centre[1]) - height / 2, float(centre[0]) - width / 2, height, width


def fit_classifier(
    run: RunFolder,
    pictures: CountPictures,
    member: Member,
    folds: NDArray[np.int64],
    fold: int,
    *,
    seed: int,
    device: str,
    progress: Any,
) -> None:
    """Train the classifier on the dots of all folds but one."""
    rows = np.flatnonzero(folds != fold).tolist()
    inputs = pictures.inputs(member.geometry)

    def plan(number: int, stage: Stage) -> StagePlan:
        loss = losses.parse_loss(stage.loss)

        def step(
            model: nn.Module, batch: Mapping[str, Tensor], fraction: float
        ) -> tuple[Tensor, dict[str, float]]:
            del fraction
            return loss(model(batch["image"]), batch["target"]), {}

        batches = _Patches(pictures, member, stage, rows, seed * 1000 + fold * 10 + number)
        return StagePlan(stage, batches, step)

    fit(
        lambda: _build(member, inputs, len(pictures.classes), pretrained=True),
        [plan(number, stage) for number, stage in enumerate(member.stages)],
        folder=run.fold(member.name, fold),
        seed=seed * 1000 + fold,
        device=device,
        progress=progress,
    )


class Reclassifier:
    """The classifiers of some folds, asked about points of a picture."""

    def __init__(
        self, run: RunFolder, member: Member, folds: Sequence[int], classes: int, *, device: str
    ) -> None:
        """Load the snapshots."""
        facts = run.read_json("inputs.json")
        self._inputs = Inputs.from_json(facts["members"][member.name], member.geometry)
        self._member, self._device = member, device
        self._models: list[tuple[nn.Module, float]] = []
        for fold in folds:
            folder: Path = run.fold(member.name, fold)
            for entry in read_json(folder / "done.json")["snapshots"]:
                model = _build(member, self._inputs, classes, pretrained=False)
                load_weights(model, safe_join(folder, entry["file"]))
                self._models.append((model.to(device).eval(), float(entry["weight"])))
        self._classes = classes

    def probabilities(
        self, reader: Any, image: Image, points: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Class probabilities (K, C) of points; what is nothing has small ones all over."""
        found = np.zeros((len(points), self._classes))
        for start in range(0, len(points), 64):
            some = points[start : start + 64]
            batch = torch.from_numpy(np.stack([self._patch(reader, image, p) for p in some]))
            batch = batch.permute(0, 3, 1, 2).contiguous().to(self._device)
            with torch.inference_mode():
                total = sum(model(batch).softmax(1) * weight for model, weight in self._models)
            assert isinstance(total, Tensor)
            share = total / sum(weight for _, weight in self._models)
            found[start : start + len(some)] = share[:, : self._classes].cpu().numpy()
        return found

    def _patch(self, reader: Any, image: Image, point: NDArray[np.float64]) -> NDArray[np.float32]:
        """Read and prepare the patch around a point; outside the picture is black."""
        import cv2

        top, left, tall, wide = (round(v) for v in _window(point, self._member))
        height, width, channels = reader.shape
        inner = (max(0, top), max(0, left), min(height, top + tall), min(width, left + wide))
        patch = np.zeros((tall, wide, channels), reader.dtype)
        part = reader.window(inner[0], inner[1], inner[2] - inner[0], inner[3] - inner[1])
        row, column = inner[0] - top, inner[1] - left
        patch[row : row + part.shape[0], column : column + part.shape[1]] = part
        size = self._member.geometry.size_hw
        if patch.shape[:2] != size:
            patch = cv2.resize(patch, size[::-1], interpolation=cv2.INTER_AREA)
            patch = patch.reshape(*size, channels)
        return self._inputs.prepare(patch, image, (top, left, tall, wide))
