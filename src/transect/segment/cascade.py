"""Masks of one member as input channels of another: the second stage of a cascade.

What a network says of an image that it was trained on is far better than what it says of a new
one. So the masks of training images come from the models that held the image out, and those
of unlabelled images, in training on fold k, from the models of fold k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.cache import PixelCache
from transect.data.inputs import mask_names
from transect.errors import TransectError
from transect.files import atomic_path, made_path
from transect.predict.dense import DenseMember
from transect.recipe import Member, Recipe
from transect.run import RunFolder
from transect.types import Image, Progress

__all__ = [
    "CHANNEL_ROUND",
    "channel_folder",
    "channel_members",
    "channels_of",
    "check_mask_channels",
    "gives_channels",
    "write_channels",
]

CHANNEL_ROUND = 1
"""Masks come from a member as it was trained before this round of pseudo-labels."""

_TOGETHER = 16  # images predicted at once, our choice; large ones are tiled one by one


def channel_members(recipe: Recipe, member: Member) -> list[Member]:
    """The members whose masks are channels of a member, in the channels' order."""
    by_name = {one.name: one for one in recipe.members}
    return [by_name[name] for name in mask_names(member.geometry)]


def gives_channels(recipe: Recipe, name: str) -> bool:
    """Whether any member takes the masks of this one."""
    return any(name in mask_names(member.geometry) for member in recipe.members)


def check_mask_channels(recipe: Recipe) -> None:
    """Refuse channels of masks that nobody predicts in time, before anything is trained.

    Raises:
        TransectError: If ``mask:NAME`` names no earlier member, one without a stage of its own
            on labelled images, or not all folds are trained.
    """
    earlier: list[str] = []
    ready: list[str] = []
    for member in recipe.members:
        for name in mask_names(member.geometry):
            if name not in earlier:
                raise TransectError(
                    f"member {member.name} asks for the channel mask:{name}, and the members "
                    f"before it are: {', '.join(earlier) or 'none'}. Name one of these, or put "
                    f"{name} first."
                )
            if name not in ready:
                raise TransectError(
                    f"member {member.name} asks for the channel mask:{name}, and {name} has no "
                    "stage before the rounds of pseudo-labels. Give it one."
                )
            if (recipe.folds.use or recipe.folds.count) < recipe.folds.count:
                raise TransectError(
                    f"the channel mask:{name} needs an out-of-fold mask of every picture, and "
                    f"folds.use trains {recipe.folds.use} of {recipe.folds.count} folds. Set "
                    "folds.use to null."
                )
        earlier.append(member.name)
        if any(_on_labelled(stage.data, stage.round) for stage in member.stages):
            ready.append(member.name)


def _on_labelled(data: str, number: int | None) -> bool:
    """Whether a stage is trained before all rounds of pseudo-labels."""
    return number == 0 or (number is None and data in {"train", "teacher"})


def write_channels(
    folder: Path,
    load: Callable[[], DenseMember],
    images: Sequence[Image],
    cache: PixelCache,
    *,
    progress: Progress,
) -> None:
    """Write what a model says of images as (H, W) uint8, skipping what is written already.

    Args:
        folder: Where; see ``channel_folder``.
        load: Gives the model, which must never have seen the images' masks.
        images: Which images.
        cache: Their pixels, and perhaps others.
        progress: Told how far it is.
    """
    missing = [image for image in images if not _path(folder, image).is_file()]
    if not missing:
        return
    model = load()
    number = {image.name: i for i, image in enumerate(cache.images)}
    for start in range(0, len(missing), _TOGETHER):
        some = missing[start : start + _TOGETHER]
        found = model.maps_of([cache.image(number[image.name]) for image in some], some)
        for image, maps in zip(some, found, strict=True):
            with atomic_path(_path(folder, image)) as temporary, temporary.open("wb") as file:
                np.save(file, model.plane_of(maps), allow_pickle=False)
        progress.step("predicting masks that are channels", start + len(some), len(missing))


def channels_of(
    run: RunFolder, member: Member, fold: int
) -> Callable[[Image], NDArray[np.uint8]] | None:
    """What a member gets in training on a fold: from any image to (H, W, M) uint8.

    Returns:
        None if no mask is a channel of the member.
    """
    names = mask_names(member.geometry)

    def plane(name: str, image: Image) -> NDArray[np.uint8]:
        path = _path(channel_folder(run, name), image)
        if not path.is_file():  # nobody labelled it
            path = _path(channel_folder(run, name, fold), image)
        loaded: NDArray[np.uint8] = np.load(path, allow_pickle=False)
        return loaded

    return (lambda image: np.stack([plane(n, image) for n in names], axis=2)) if names else None


def channel_folder(run: RunFolder, name: str, fold: int | None = None) -> Path:
    """Where a member's masks are: of held-out images, or of unlabelled ones for a fold."""
    return run.path / "mask_channels" / name / ("held_out" if fold is None else f"unlabelled{fold}")


def _path(folder: Path, image: Image) -> Path:
    """The file of an image."""
    return made_path(folder, image.name, ".npy")
