"""All members through all stages: on labelled images first, then round after round of labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.cache import PixelCache
from transect.errors import TransectError
from transect.files import read_json, safe_join, write_json
from transect.recipe import Member, Recipe, Stage
from transect.run import RunFolder
from transect.segment.cascade import (
    CHANNEL_ROUND,
    channel_folder,
    channels_of,
    gives_channels,
    write_channels,
)
from transect.segment.dataset import MaskDataset
from transect.segment.likeness import write_weights_by_likeness
from transect.segment.oof import Choice, latest_fit, loaded_member
from transect.segment.pseudo import (
    label_round,
    labelled_images,
    labels_folder,
    stages_of_round,
    unlabelled_images,
)
from transect.segment.training import Sources, fit_fold
from transect.task import Work
from transect.types import Image, Progress, Survey

__all__ = ["begin_round", "fit_member", "watched_metric", "write_member_channels"]

_WORSE = 0.05  # loss on validation that discards a round, our guess: below it lies the noise


def watched_metric(recipe: Recipe) -> str:
    """What best epochs are chosen by: the metric of the decisions if training measures it."""
    metric = getattr(recipe.decide, "metric", "dice")
    return metric if metric == "salt_map" else "dice"


def begin_round(work: Work[MaskDataset], number: int) -> None:
    """Before a round: weights of draws, or what every fold's teacher says of unlabelled images.

    Args:
        work: The training.
        number: 0 for labelled images alone, then the rounds of pseudo-labels.
    """
    run, recipe, unlabelled = work.run, work.recipe, _unlabelled(work)
    if not number:
        if recipe.pseudo and not unlabelled.images:
            work.progress.say(
                "no unlabelled pictures (split test in images.csv), so pseudo-labels are left out"
            )
        write_weights_by_likeness(
            run, recipe, work.dataset.images, unlabelled.images, progress=work.progress
        )
    elif unlabelled.images:
        for fold in work.used:
            label_round(
                run, recipe, work.dataset, number, fold,
                cache=unlabelled, device=work.device, progress=work.progress,
            )  # fmt: skip


def fit_member(work: Work[MaskDataset], member: Member, fold: int, number: int) -> None:
    """Train a member's stages of one round on one fold, beginning where the round before ended.

    Every round is a training of its own below the fold's folder (``round1``, ...), so a run that
    was killed goes on in the round where it was.

    Raises:
        TransectError: If it has no stage but such as need pseudo-labels, and there are none.
    """
    run, recipe = work.run, work.recipe
    stages = stages_of_round(member, number)
    base = run.fold(member.name, fold)
    folder = base / f"round{number}" if number else base
    if stages:
        before = latest_fit(base, before_round=number) / "done.json"
        which = f"{member.name}, fold {fold}, round {number}"
        if not (number and (folder / "done.json").is_file()):
            unlabelled = _unlabelled(work)
            sources = Sources(
                pseudo=_pseudo(work, stages, fold, number, unlabelled),
                balanced=bool(number) and recipe.pseudo[number - 1].balance,
                unlabelled=unlabelled.dataset
                if unlabelled.images and _has_teacher(member)
                else None,
                weights=_draw_weights(run, work.dataset),
                channels=channels_of(run, member, fold),
            )
            began = number and before.is_file()
            fit_fold(
                work,
                member,
                fold,
                sources,
                folder=folder,
                stages=stages,
                metric=watched_metric(recipe),
                begin=_last_weights(before, stages[0].start) if began else None,
            )
        if number:
            _keep_better(before, folder, which, work.progress)
    if number == len(recipe.pseudo) and not (latest_fit(base) / "done.json").is_file():
        raise TransectError(
            f"member {member.name} could not be trained: all its stages need pseudo-labels, "
            "and there are none. Add unlabelled pictures (split test), or remove the member."
        )


def _pseudo(
    work: Work[MaskDataset],
    stages: Sequence[Stage],
    fold: int,
    number: int,
    unlabelled: _Unlabelled,
) -> MaskDataset | None:
    """The pseudo-labelled images of a fold's round, if its stages ask for them."""
    needed = any(stage.data in {"pseudo", "mixed"} for stage in stages)
    if not number or not unlabelled.images or not needed:
        return None
    spec = work.recipe.pseudo[number - 1]
    labels = labels_folder(work.run, spec, number, fold)
    return labelled_images(labels, work.dataset.survey, scratch=work.run.path / "cache" / "pseudo")


def write_member_channels(work: Work[MaskDataset], member: Member, number: int) -> None:
    """Write the masks of a member that later ones take as channels."""
    if number or not gives_channels(work.recipe, member.name):
        return
    _write_channels(
        work.run, work.recipe, work.dataset, work.folds, member, _unlabelled(work),
        device=work.device, progress=work.progress,
    )  # fmt: skip


def _unlabelled(work: Work[MaskDataset]) -> _Unlabelled:
    """The unlabelled images of the survey."""
    return _Unlabelled(work.dataset.survey, work.run.path / "cache" / "unlabelled")


def _keep_better(before: Path, folder: Path, which: str, progress: Progress) -> None:
    """Leave out a round that made a member clearly worse on validation; its files stay.

    Self-training can make students worse than their teachers. The measure is the one that best
    epochs are chosen by; where either training was not watched, the later one counts.
    """
    old, new = _best(before), _best(folder / "done.json")
    noted = (folder / "worse.json").is_file()
    if old is None or new is None or new >= old - _WORSE or noted:
        return
    write_json(folder / "worse.json", {"before": old, "after": new})
    progress.say(
        f"{which}: {new:.3f} on validation after it, {old:.3f} before it, so the models from "
        "before it stay. Its teachers may be too weak to learn from; train longer before it."
    )


def _best(done: Path) -> float | None:
    """The best measure of the snapshots that answer, if their training was watched."""
    snapshots: list[Mapping[str, Any]] = read_json(done)["snapshots"] if done.is_file() else []
    known = [float(s["metric"]) for s in snapshots if s["metric"] is not None]
    return max(known) if known and min(known) >= 0 else None


def _write_channels(
    run: RunFolder,
    recipe: Recipe,
    dataset: MaskDataset,
    folds: NDArray[np.int64],
    member: Member,
    unlabelled: _Unlabelled,
    *,
    device: str,
    progress: Progress,
) -> None:
    """Write the masks of a member that others take as channels, fold by fold."""
    for fold in np.unique(folds).tolist():
        load = partial(
            loaded_member, run, recipe, member, [fold],
            device=device, choice=Choice(), before_round=CHANNEL_ROUND,
        )  # fmt: skip
        held_out = [dataset.images[i] for i in np.flatnonzero(folds == fold)]
        folder = channel_folder(run, member.name)
        write_channels(folder, load, held_out, dataset.cache, progress=progress)
        others = any(s.data != "train" for one in recipe.members for s in one.stages)
        if others and unlabelled.images:
            folder = channel_folder(run, member.name, fold)
            write_channels(folder, load, unlabelled.images, unlabelled.cache, progress=progress)


def _has_teacher(member: Member) -> bool:
    """Whether a stage agrees with a mean teacher on unlabelled images."""
    return any(stage.data == "teacher" for stage in member.stages)


def _last_weights(done: Path, start: str) -> Path:
    """The snapshot that a further round begins with: the last, or the best by its metric."""
    snapshots: list[Mapping[str, Any]] = read_json(done)["snapshots"]
    chosen = snapshots[-1]
    measured = [s for s in snapshots if s["metric"] is not None]
    if start == "best" and measured:
        chosen = max(measured, key=lambda s: float(s["metric"]))
    return safe_join(done.parent, str(chosen["file"]))


def _draw_weights(run: RunFolder, dataset: MaskDataset) -> NDArray[np.float64] | None:
    """How often stages with the sampler ``weighted`` draw each image, if anything is noted.

    ``weights.json`` maps names to numbers, see ``likeness``. Images that it does not name get 1.
    """
    path = run.path / "weights.json"
    if not path.is_file():
        return None
    noted = read_json(path)
    weights = np.array([float(noted.get(image.name, 1.0)) for image in dataset.images])
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise TransectError(
            f"{path} must map pictures to numbers of 0 or more, not all 0. Write it again, or "
            "remove it."
        )
    return weights


class _Unlabelled:
    """The unlabelled images, decoded when they are first needed."""

    def __init__(self, survey: Survey, scratch: Path) -> None:
        self._survey, self._scratch = survey, scratch
        self._images = unlabelled_images(survey)

    @property
    def images(self) -> tuple[Image, ...]:
        """Those of the survey's table."""
        return self._images

    @cached_property
    def cache(self) -> PixelCache:
        """Their pixels."""
        return PixelCache(self._images, self._scratch)

    @cached_property
    def dataset(self) -> MaskDataset:
        """As training images whose masks nobody looks at."""
        images = tuple(dataclasses.replace(image, split="train") for image in self._images)
        return MaskDataset(dataclasses.replace(self._survey, images=images, masks={}, problems=()))
