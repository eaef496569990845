"""Out-of-fold predictions of a survey of masks: files, one per picture and member."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.inputs import Inputs
from transect.ensemble.blend import blend
from transect.files import atomic_path, read_json, safe_join, write_json
from transect.predict.dense import DenseMember
from transect.recipe import Member, Recipe
from transect.run import RunFolder
from transect.segment.pictures import Pictures
from transect.segment.training import build_member
from transect.types import Image, Progress

__all__ = ["OutOfFold", "loaded_member", "predict_held_out", "snapshots_of"]


def snapshots_of(run: RunFolder, member: str, folds: Sequence[int]) -> list[tuple[Path, float]]:
    """The weight files of a member with their shares, over some of its folds.

    Raises:
        TransectError: If a fold was not finished.
    """
    found = []
    for fold in folds:
        folder = run.fold(member, fold)
        done = read_json(folder / "done.json")
        found += [
            (safe_join(folder, entry["file"]), float(entry["weight"]))
            for entry in done["snapshots"]
        ]
    return found


def loaded_member(
    run: RunFolder,
    recipe: Recipe,
    member: Member,
    folds: Sequence[int],
    *,
    device: str,
    views: Sequence[str] | None = None,
) -> DenseMember:
    """Load a member's snapshots of some folds."""
    facts = run.read_json("inputs.json")
    inputs = Inputs.from_json(facts["members"][member.name], member.geometry)
    planes = len(facts["planes"])
    return DenseMember(
        recipe,
        member,
        snapshots_of(run, member.name, folds),
        build=lambda: build_member(member, inputs, planes, pretrained=False),
        inputs=inputs,
        outputs=planes,
        activation="softmax" if facts["mask_kind"] == "classes" else "sigmoid",
        device=device,
        views=views,
    )


def predict_held_out(
    run: RunFolder,
    recipe: Recipe,
    member: Member,
    pictures: Pictures,
    folds: NDArray[np.int64],
    fold: int,
    *,
    views: Sequence[str],
    device: str,
    progress: Progress,
) -> None:
    """Write the maps of a fold's held-out pictures, skipping those that are written already.

    Each file is (T, H, W) uint8, 255 for probability 1; ``filled.json`` of the fold holds the
    image-level probabilities.
    """
    filled_path = run.oof(member.name) / f"filled{fold}.json"
    if filled_path.is_file():
        return
    model = loaded_member(run, recipe, member, [fold], device=device, views=views)
    held_out = np.flatnonzero(folds == fold).tolist()
    filled = {}
    for done, i in enumerate(held_out):
        image = pictures.images[i]
        pixels = pictures.cache.image(i)
        path = map_path(run, member.name, image)
        filled[image.name] = model.filled(pixels, image)
        if not path.is_file():
            maps = np.round(model.maps(pixels, image) * 255).astype(np.uint8)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, maps, allow_pickle=False)
        progress.step(f"predicting fold {fold}", done + 1, len(held_out))
    write_json(filled_path, filled)


def map_path(run: RunFolder, member: str, image: Image) -> Path:
    """Where a member's out-of-fold maps of a picture are."""
    return safe_join(run.oof(member), image.name + ".npy")


class OutOfFold:
    """The blended out-of-fold predictions of a run, read picture by picture.

    Attributes:
        images: Those that have predictions of every member.
        has_image_head: Whether any member tells if there is an object at all.
    """

    def __init__(self, run: RunFolder, recipe: Recipe, images: Sequence[Image]) -> None:
        """Find which pictures have predictions of every member."""
        self._run = run
        self._recipe = recipe
        self.images = [
            image
            for image in images
            if all(map_path(run, member.name, image).is_file() for member in recipe.members)
        ]
        self._filled = _filled(run, recipe)
        self.has_image_head = bool(self._filled)

    def maps(self, image: Image) -> NDArray[np.float32]:
        """(T, H, W) probabilities, blended over members as the recipe says."""
        loaded = [
            np.load(map_path(self._run, member.name, image), allow_pickle=False)
            for member in self._recipe.members
        ]
        if len(loaded) == 1:
            return loaded[0].astype(np.float32) / 255
        weights = [member.weight for member in self._recipe.members]
        soft = [maps.astype(np.float32) / 255 for maps in loaded]
        return blend(soft, self._recipe.blend, weights=weights)

    def filled(self, image: Image) -> float:
        """Probability of any object, by the image-level heads; 1 without such heads."""
        return self._filled.get(image.name, 1.0)


def _filled(run: RunFolder, recipe: Recipe) -> dict[str, float]:
    """Mean image-level probability over members that have the head."""
    values: dict[str, list[float]] = {}
    for member in recipe.members:
        if not getattr(member.network, "image_head", False):
            continue
        for path in sorted(run.oof(member.name).glob("filled*.json")):
            entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            for name, value in entries.items():
                values.setdefault(name, []).append(float(value))
    return {name: float(np.mean(found)) for name, found in values.items()}
