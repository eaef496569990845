"""Training of one counting member on one fold, and how long a step of it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect import losses, models
from transect.count.boxes import box_target, detector_counts, detector_step
from transect.count.pictures import CountPictures
from transect.count.targets import render
from transect.data.inputs import Inputs
from transect.errors import TransectError
from transect.models.detectors import build_detector
from transect.predict.forward import ACTIVATIONS
from transect.recipe import Augment, CountDecide, Member, Network, Recipe, Stage
from transect.task import Work
from transect.train.budget import Pace, measure
from transect.train.dense import DenseBatches, DenseSource
from transect.train.engine import fit
from transect.train.plan import FitResult, ProgressEvent, StagePlan, watches
from transect.train.samplers import weights_of
from transect.types import Sample

__all__ = ["Task", "build_member", "count_step", "fit_fold", "pace_of", "slope_error"]

_PRIOR = 4.0  # log odds of background where nothing is known: one pixel in 55 is drawn; our choice
_DENSITY_SHARE = 2.0  # of the squared error beside the loss on the maps; our guess
_VALIDATION_BATCHES = 8  # our choice: enough to rank epochs, cheap beside one of them


@dataclass(frozen=True)
class Task:
    """What the networks of a run draw.

    Attributes:
        decide: With ``target_px`` settled.
        classes: Number of classes.
    """

    decide: CountDecide
    classes: int

    @staticmethod
    def of(recipe: Recipe, classes: int) -> Task:
        """Take it from a recipe.

        Raises:
            TransectError: If the recipe answers another question.
        """
        if not isinstance(recipe.decide, CountDecide):
            raise TransectError(f"recipe {recipe.name} does not count. Choose one that does.")
        return Task(recipe.decide, classes)

    def settled(self, facts: Mapping[str, Any]) -> Task:
        """With the target's size as it was settled for the survey."""
        return replace(self, decide=replace(self.decide, target_px=float(facts["target_px"])))

    @property
    def detects(self) -> bool:
        """Whether the networks are detectors, which give boxes and no maps."""
        return self.decide.target == "boxes"

    @property
    def maps(self) -> int:
        """Maps of objects that a network draws."""
        return 1 if self.decide.merge_classes else self.classes

    @property
    def outputs(self) -> int:
        """Planes of the network: the maps, densities beside them, or a background for squares."""
        return self.stored + (self.decide.target == "squares")

    @property
    def densities(self) -> int:
        """Densities beside the maps."""
        return self.maps if self.decide.target == "joint" else 0

    @property
    def stored(self) -> int:
        """Planes of the network that are kept: the maps, then their densities if any."""
        return self.maps + self.densities

    @property
    def activation(self) -> str:
        """From logits to maps."""
        known = {"squares": "softmax", "density": "none", "joint": "sigmoid_density"}
        return known.get(self.decide.target, "sigmoid")

    @property
    def limit(self) -> float:
        """The largest value that a stored map may have; densities pile up in crowds."""
        return 8.0 if self.decide.target in ("density", "joint") else 1.0

    @property
    def target_px(self) -> float:
        """Side of the square or sigma of the Gaussian in network pixels."""
        return self.decide.target_px or 16.0

    def planes(self, sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Target planes of a warped sample (T, h, w), and the pixels that count (1, h, w).

        A density is drawn with height 1 for a lone dot, so that its sum is 2 pi sigma^2 a dot:
        numbers near 1 train better than numbers near 0.001.
        """
        assert sample.points is not None
        size = (sample.image.shape[0], sample.image.shape[1])
        kinds = sample.points[:, 2].astype(np.int64)
        planes = render(
            sample.points[:, :2],
            np.zeros_like(kinds) if self.decide.merge_classes else kinds,
            target=self.decide.target,
            target_px=self.target_px,
            n_classes=self.maps,
            size_hw=size,
        )
        if self.decide.target in ("density", "joint"):
            planes[-self.maps :] *= np.float32(2 * np.pi * self.target_px**2)
        return planes, np.ones((1, *size), np.float32)


def build_member(
    member: Member, inputs: Inputs, task: Task, *, pretrained: bool = True
) -> nn.Module:
    """Make a member's network for a survey's channels and classes.

    The anchors of a detector begin at the target's size.

    Its last biases start at what an empty place should say: without that, the first hundred steps
    of a short training go into learning that most of a photo is background.
    """
    if task.detects:
        assert isinstance(member.network, Network)
        return build_detector(
            member.network,
            in_channels=inputs.network_channels,
            classes=task.maps,
            smallest_px=task.target_px,
            pretrained_allowed=pretrained,
        )
    model = models.build(
        member.network,
        in_channels=inputs.network_channels,
        outputs=task.outputs,
        pretrained_allowed=pretrained,
    )
    if task.decide.target != "density":  # of a joint target, the maps alone
        last = [part for part in model.modules() if isinstance(part, nn.Conv2d)
                and part.out_channels == task.outputs and part.bias is not None][-1:]  # fmt: skip
        for layer in last:
            assert layer.bias is not None
            with torch.no_grad():
                layer.bias[: task.maps] = -_PRIOR
                if task.decide.target == "squares":
                    layer.bias[-1] = 0.0
    return model


def count_step(
    stage: Stage, task: Task
) -> Callable[[nn.Module, dict[str, Tensor], float], tuple[Tensor, dict[str, float]]]:
    """The loss of a stage on the maps, and the squared error of densities beside them.

    Detectors bring their own.
    """
    if task.detects:
        return detector_step
    joint = task.maps if task.decide.target == "joint" else None
    end = losses.parse_loss(stage.loss_end) if stage.loss_end else None
    main = losses.scheduled(losses.parse_loss(stage.loss), end, stage.loss_change)

    def step(
        model: nn.Module, batch: dict[str, Tensor], progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        logits, target, valid = model(batch["image"])["logits"], batch["target"], batch["valid"]
        loss = main(logits[:, :joint], target[:, :joint], valid=valid, progress=progress)
        if joint is not None:
            density = losses.LOSSES["mse"](logits[:, joint:], target[:, joint:], valid=valid)
            loss = loss + _DENSITY_SHARE * density
        return loss, {}

    return step


def fit_fold(
    work: Work[Any],
    pictures: CountPictures,
    member: Member,
    task: Task,
    fold: int,
    *,
    progress: Callable[[ProgressEvent], None] | None = None,
) -> FitResult:
    """Train a member on all folds but one.

    Args:
        work: The run with its folds, seed and device; every fold derives a seed of its own.
        pictures: The training photos.
        member: What to train.
        task: What it draws.
        fold: The one held out.
        progress: Told after every update.

    Returns:
        The snapshots to predict with.
    """
    folds, seed, device = work.folds, work.recipe.seed, work.device
    train = np.flatnonzero(folds != fold).tolist()
    held_out = np.flatnonzero(folds == fold).tolist()
    source = _source(pictures, member, task)
    plans = [
        StagePlan(
            stage,
            DenseBatches(
                source,
                train,
                stage=replace(stage, augment=None),
                geometry=member.geometry,
                augment=_zero_border(stage.augment or member.augment),
                seed=seed * 1000 + fold * 10 + number,
            ),
            count_step(stage, task),
        )
        for number, stage in enumerate(member.stages)
    ]
    watched = watches(member.stages)
    inputs = pictures.inputs(member.geometry)
    return fit(
        lambda: build_member(member, inputs, task),
        plans,
        folder=work.run.fold(member.name, fold),
        seed=seed * 1000 + fold,
        device=device,
        evaluate=_validation(source, member, task, held_out, device) if watched else None,
        metric="minus_mae",
        progress=progress,
    )


def pace_of(pictures: CountPictures, member: Member, task: Task, *, device: str) -> Pace:
    """Time a few training steps of a member's first stage here, on this survey."""
    stage = replace(member.stages[0], augment=None)
    batches = DenseBatches(
        _source(pictures, member, task),
        range(len(pictures.blocks)),
        stage=stage,
        geometry=member.geometry,
        augment=_zero_border(member.augment),
        seed=0,
    )
    inputs = pictures.inputs(member.geometry)
    return measure(
        lambda: build_member(member, inputs, task, pretrained=False),
        StagePlan(stage, batches, count_step(stage, task)),
        device=device,
    )


def _zero_border(augment: Augment) -> Augment:
    """Black outside the photo: a reflection would show animals that have no dot."""
    return replace(augment, border="zero")


def _source(pictures: CountPictures, member: Member, task: Task) -> DenseSource:
    """What dense batches are drawn from."""
    inputs = pictures.inputs(member.geometry)
    detects = task.detects
    return DenseSource(
        shapes=[image.size_hw for image in pictures.images],
        sample=partial(pictures.boxed, merge=task.decide.merge_classes)
        if detects
        else pictures.sample,
        prepare=lambda pixels, i, window: inputs.prepare(pixels, pictures.images[i], window),
        target=box_target(pictures.most_boxes) if detects else task.planes,
        centres=lambda i: pictures.dots(i)[0],
        coverage=pictures.counts.sum(axis=1),
        classes=lambda i: pictures.dots(i)[1],
        image_weights=weights_of(pictures.images),
        points_margin=3 * task.target_px + 1,
    )


def _validation(
    source: DenseSource, member: Member, task: Task, held_out: Sequence[int], device: str
) -> Callable[[nn.Module], Mapping[str, float]]:
    """Minus the mean error of counts on fixed windows of held-out photos: it ranks epochs.

    A window's count is the sum of its map times one slope, which is fitted on the same windows: it
    stands for the correction that counts get before they are shipped. A dot at the edge counts by
    the share of it that lies inside.
    """
    stage = Stage(batch=16, steps=_VALIDATION_BATCHES, epochs=1)
    density = Task(replace(task.decide, target="density"), task.classes)
    plain = source if task.detects else replace(source, target=density.planes)
    batches = list(
        DenseBatches(
            replace(plain, image_weights=None),
            held_out,
            stage=stage,
            geometry=member.geometry,
            augment=Augment(),
            seed=7,
        ).epoch(0)
    )
    activate = ACTIVATIONS[task.activation]

    def detected(model: nn.Module) -> Mapping[str, float]:
        with torch.inference_mode():
            return {"minus_mae": -slope_error(*detector_counts(model, batches, task.maps, device))}

    if task.detects:
        return detected

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        sums, dots = [], []
        with torch.inference_mode():
            for batch in batches:
                maps = activate(model(batch["image"].to(device))["logits"].float())
                sums.append(maps[:, : task.maps].sum((2, 3)).cpu().double())
                dots.append(batch["target"].sum((2, 3)).double() / (2 * np.pi * task.target_px**2))
        return {"minus_mae": -slope_error(torch.cat(sums).numpy(), torch.cat(dots).numpy())}

    return evaluate


def slope_error(sums: NDArray[np.float64], dots: NDArray[np.float64]) -> float:
    """Mean absolute error of counts that are a slope times the sums of maps.

    Args:
        sums: (N, M) sums of the maps of N windows.
        dots: (N, M) true numbers of objects.

    Returns:
        The mean over windows of the error of all maps together, in objects; every map has the
        slope of least squares through zero.

    Example:
        >>> slope_error(np.array([[1.0], [2.0]]), np.array([[3.0], [6.0]]))
        0.0
    """
    squares = (sums**2).sum(axis=0)
    slopes = np.divide((sums * dots).sum(axis=0), squares, out=squares * 0, where=squares > 0)
    return float(np.abs((sums * slopes - dots).sum(axis=1)).mean())
