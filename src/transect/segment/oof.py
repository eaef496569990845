"""Out-of-fold predictions of a survey of masks: files, one per image and member."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.inputs import Inputs
from transect.errors import TransectError
from transect.files import atomic_path, made_path, read_json, safe_join, write_json
from transect.predict.dense import DenseMember
from transect.recipe import Member, Recipe
from transect.run import RunFolder
from transect.segment.blending import (
    Blend,
    answering,
    gates_of,
)
from transect.segment.cascade import CHANNEL_ROUND, channel_members
from transect.segment.dataset import MaskDataset
from transect.segment.emptiness import Emptiness
from transect.segment.neighbours import beside, borders_of, neighbours_of, pulled
from transect.segment.training import build_member
from transect.task import Work
from transect.types import Image

__all__ = [
    "Choice",
    "OutOfFold",
    "as_read",
    "as_stored",
    "held_out_parts",
    "latest_fit",
    "loaded_member",
    "map_path",
    "parts_of",
    "predict_held_out",
    "read_map",
    "snapshots_of",
    "stages_trained",
    "trained_folds",
]

_TOGETHER = 16  # images predicted at once, our choice; large ones are tiled one by one


@dataclass(frozen=True)
class Choice:
    """What of a trained recipe answers.

    Attributes:
        views: Test-time views, the identity first.
        stages: Member to the names of the stages whose snapshots answer, of any round; members
            that it does not name answer with the snapshots of their last round, as weighted.
    """

    views: tuple[str, ...] = ("identity",)
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON values, read back by ``from_json``."""
        stages = {member: list(names) for member, names in self.stages.items()}
        return {"kept": list(self.views), "stages": stages}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Choice:
        """Read what ``to_json`` gave; other entries are passed over."""
        stages = {str(m): tuple(names) for m, names in value.get("stages", {}).items()}
        return Choice(tuple(value["kept"]), stages)


def latest_fit(folder: Path, *, before_round: int | None = None) -> Path:
    """The last finished training of a member's fold, over the rounds of pseudo-labels.

    Args:
        folder: Of the member's fold.
        before_round: Only rounds before this one; None takes all.

    Returns:
        ``folder`` itself for what was trained before any round, else ``folder/roundN``. Rounds
        that made the member worse, which ``worse.json`` says, do not count.
    """
    return _fits(folder, before_round)[-1]


def _fits(folder: Path, before_round: int | None) -> list[Path]:
    """All finished trainings of a member's fold that count, in the order of their rounds."""
    rounds = sorted(
        int(path.parent.name.removeprefix("round"))
        for path in folder.glob("round*/done.json")
        if path.parent.name.removeprefix("round").isdigit()
        and not path.with_name("worse.json").is_file()
    )
    kept = [number for number in rounds if before_round is None or number < before_round]
    return [folder, *(folder / f"round{number}" for number in kept)]


def snapshots_of(
    run: RunFolder,
    member: str,
    folds: Sequence[int],
    *,
    before_round: int | None = None,
    stages: Sequence[str] = (),
) -> list[tuple[Path, float]]:
    """The weight files of a member with their shares, over some of its folds.

    Args:
        run: The run.
        member: Its name.
        folds: Whose models.
        before_round: Only rounds before this one; None takes all.
        stages: Of these stages, of whatever round; () takes the last round as it is weighted.

    Returns:
        Files and shares.

    Raises:
        TransectError: If a fold was not finished, or no stage of that name left weights.
    """
    found = []
    for fold in folds:
        fits = _fits(run.fold(member, fold), before_round)
        own = []
        for folder in fits if stages else fits[-1:]:
            for entry in read_json(folder / "done.json")["snapshots"]:
                if not stages or entry["stage"] in stages:
                    own.append((safe_join(folder, entry["file"]), float(entry["weight"])))
        if not own:
            raise TransectError(
                f"{member}, fold {fold}, has no weights of stage {' or '.join(stages)}. "
                "Train again."
            )
        found += own
    return found


def stages_trained(run: RunFolder, recipe: Recipe, member: Member) -> tuple[str, ...]:
    """The stages of a member that left weights to answer with on every trained fold.

    Args:
        run: The run.
        recipe: Its folds.
        member: One of its members.

    Returns:
        Their names, in the order of training.
    """
    names: list[list[str]] = []
    for fold in trained_folds(recipe):
        fits = _fits(run.fold(member.name, fold), None)
        entries = [e for folder in fits for e in read_json(folder / "done.json")["snapshots"]]
        names.append([str(entry["stage"]) for entry in entries if entry["weight"] > 0])
    return tuple(n for n in dict.fromkeys(names[0]) if all(n in own for own in names))


def trained_folds(recipe: Recipe) -> range:
    """The folds that a recipe trains."""
    return range(recipe.folds.use or recipe.folds.count)


def held_out_parts(recipe: Recipe, folds: NDArray[np.int64]) -> dict[int, int]:
    """Every held-out image of a trained fold to its part, see ``parts_of``."""
    used = trained_folds(recipe)
    return parts_of(folds, [i for i, fold in enumerate(folds.tolist()) if fold in used])


def loaded_member(
    run: RunFolder,
    recipe: Recipe,
    member: Member,
    folds: Sequence[int],
    *,
    device: str,
    choice: Choice,
    before_round: int | None = None,
) -> DenseMember:
    """Load a member's snapshots of some folds, of the last round or of the last before one.

    Members whose masks are channels of this one come with it: their models of the same folds.
    """
    facts = run.read_json("inputs.json")
    inputs = Inputs.from_json(facts["members"][member.name], member.geometry)
    planes = len(facts["planes"])
    stages = choice.stages.get(member.name, ())
    return DenseMember(
        recipe,
        member,
        snapshots_of(run, member.name, folds, before_round=before_round, stages=stages),
        build=lambda: build_member(member, inputs, planes, pretrained=False),
        inputs=inputs,
        outputs=planes,
        activation="softmax" if facts["mask_kind"] == "classes" else "sigmoid",
        device=device,
        views=choice.views,
        channel_members=[
            loaded_member(
                run,
                recipe,
                giver,
                folds,
                device=device,
                choice=Choice(),
                before_round=CHANNEL_ROUND,
            )
            for giver in channel_members(recipe, member)
        ],
    )


def predict_held_out(
    work: Work[MaskDataset], member: Member, fold: int, choices: Mapping[int, Choice]
) -> None:
    """Write the maps of a fold's held-out images, skipping those that are written already.

    Each file is (T, H, W) uint8, 255 for probability 1; ``filled.json`` of the fold holds the
    image-level probabilities. A member of weight 0 is asked for these only. Every part of the
    held-out images is predicted as was chosen without it.
    """
    run, dataset = work.run, work.dataset
    filled_path = run.oof(member.name) / f"filled{fold}.json"
    if filled_path.is_file():
        return
    parts = held_out_parts(work.recipe, work.folds)
    held_out = np.flatnonzero(work.folds == fold).tolist()
    filled: dict[str, float] = {}
    loaded: list[tuple[Choice, DenseMember]] = []
    for part in sorted({parts[i] for i in held_out}):
        choice = choices[part]
        model = next((model for known, model in loaded if known == choice), None)
        if model is None:
            model = loaded_member(
                run, work.recipe, member, [fold], device=work.device, choice=choice
            )
            loaded.append((choice, model))
        own = [i for i in held_out if parts[i] == part]
        for start in range(0, len(own), _TOGETHER):
            some = own[start : start + _TOGETHER]
            images = [dataset.images[i] for i in some]
            pixels = [dataset.cache.image(i) for i in some]
            paths = [map_path(run, member.name, image) for image in images]
            if member.weight <= 0 or all(path.is_file() for path in paths):
                shares = model.filled_of(pixels, images)
            else:
                answers, shares = model.answers_of(pixels, images)
                for path, found in zip(paths, answers, strict=True):
                    with atomic_path(path) as temporary, temporary.open("wb") as file:
                        np.save(file, as_stored(found), allow_pickle=False)
            filled.update({image.name: share for image, share in zip(images, shares, strict=True)})
            work.progress.step(f"predicting fold {fold}", len(filled), len(held_out))
    write_json(filled_path, filled)


def as_stored(maps: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities as out-of-fold files hold them: 255 steps."""
    return np.asarray(np.round(maps * 255), np.uint8)


def as_read(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities from such a file; new images get them through both, to be what was scored."""
    return np.asarray(stored, np.float32) / np.float32(255)


def map_path(run: RunFolder, member: str, image: Image) -> Path:
    """Where a member's out-of-fold maps of an image are."""
    return made_path(run.oof(member), image.name, ".npy")


def read_map(run: RunFolder, member: str, image: Image) -> NDArray[np.float32]:
    """A member's out-of-fold probabilities of an image: (T, H, W)."""
    return as_read(np.load(map_path(run, member, image), allow_pickle=False))


def parts_of(folds: NDArray[np.int64], chosen: Sequence[int]) -> dict[int, int]:
    """Image to its part: its fold, or its half where one fold was trained."""
    if len({int(folds[i]) for i in chosen}) > 1:
        return {i: int(folds[i]) for i in chosen}
    return {i: place % 2 for place, i in enumerate(chosen)}


class OutOfFold:
    """The blended out-of-fold predictions of a run, read image by image.

    Attributes:
        images: Those that have predictions of every member.
        tells_empty: Whether anything but the maps tells if there is an object at all.
    """

    def __init__(self, run: RunFolder, recipe: Recipe, images: Sequence[Image]) -> None:
        """Find which images have predictions of every member."""
        self._run = run
        self._recipe = recipe
        self.images = [
            image
            for image in images
            if all(map_path(run, member.name, image).is_file() for member in answering(recipe))
        ]
        self._blend = Blend(run, recipe)
        self._filled = _filled(run, recipe)
        self._joined = neighbours_of(run)
        self._by_name = {image.name: image for image in self.images}
        self._empty = Emptiness.of(run)
        self._probable: dict[str, float] = {}
        self.tells_empty = bool(self._filled) or self._empty.fitted

    def maps(self, image: Image) -> NDArray[np.float32]:
        """(T, H, W) probabilities, blended over members as the recipe says."""
        maps = self._alone(image)
        if image.name in self._joined:
            maps = pulled(maps, beside(image.name, self._joined, self._borders))
        return maps

    def _borders(self, name: str) -> dict[str, NDArray[np.float32]]:
        """What a neighbour shows of itself."""
        return borders_of(self._alone(self._by_name[name])) if name in self._by_name else {}

    def _alone(self, image: Image) -> NDArray[np.float32]:
        """The blended maps of an image, whatever adjoins it."""
        members = answering(self._recipe)
        soft = [read_map(self._run, member.name, image) for member in members]
        return self._blend.of(soft, held_out=image.name)

    def filled(self, image: Image) -> float:
        """Probability of any object, by weights that were fitted without the image's part."""
        if image.name not in self._probable:
            head, fitted = self.head(image), self._empty.fitted
            maps = self.maps(image) if fitted else np.zeros((1, 1, 1), np.float32)
            self._probable[image.name] = self._empty.filled(head, maps, held_out=image.name)
        return self._probable[image.name]

    def head(self, image: Image) -> float:
        """Probability of any object, by the image-level heads alone; 1 without such heads."""
        return self._filled.get(image.name, 1.0)


def _filled(run: RunFolder, recipe: Recipe) -> dict[str, float]:
    """Mean image-level probability over members that have the head."""
    values: dict[str, list[float]] = {}
    for member in gates_of(recipe):
        for path in sorted(run.oof(member.name).glob("filled*.json")):
            entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            for name, value in entries.items():
                values.setdefault(name, []).append(float(value))
    return {name: float(np.mean(found)) for name, found in values.items()}
