"""Pseudo-labels in rounds: models label what nobody has, and the confident answers teach others.

The teacher of fold k is made of the models of fold k alone. What they label was never seen with an
answer, and they never saw the fold's validation images, so a score out of fold stays honest after
any number of rounds. ``fold_wise=False`` is the winners' form, where all folds label together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.data.cache import PixelCache
from transect.errors import TransectError
from transect.files import atomic_path, made_path, read_json, write_json
from transect.recipe import Member, PseudoRound, Recipe, Stage
from transect.run import RunFolder
from transect.segment.dataset import MaskDataset
from transect.segment.masks import Values, labels_of
from transect.segment.oof import Choice, loaded_member
from transect.types import Image, Progress, Survey

__all__ = [
    "Decoded",
    "Labelled",
    "as_filled_as",
    "check_rounds",
    "choose",
    "confident_share",
    "label_round",
    "labelled_images",
    "labels_folder",
    "stages_of_round",
    "teachers_of",
    "unlabelled_images",
]

_TOGETHER = 64  # images predicted at once, our choice
_MORE_EMPTY = 0.1  # how far the share of empty labels may exceed that of the masks, our guess
_LEAST_FILLED = 8  # labels with an object that a round must have, if there are 80; our guess


class Decoded(Protocol):
    """What decodes unlabelled images when they are first needed."""

    @property
    def cache(self) -> PixelCache:
        """Their pixels."""
        ...


def unlabelled_images(survey: Survey) -> tuple[Image, ...]:
    """Images that no training may see with an answer: those of the split ``test``."""
    return tuple(image for image in survey.images if image.split == "test")


def stages_of_round(member: Member, number: int) -> tuple[Stage, ...]:
    """The stages that are trained after a round of pseudo-labels.

    Args:
        member: With all its stages.
        number: From 1; 0 is before any round.

    Returns:
        In the recipe's order.

    Example:
        >>> stages = (Stage(name="a"), Stage(name="b", data="mixed"), Stage(name="c", round=2))
        >>> [[s.name for s in stages_of_round(Member(stages=stages), n)] for n in (0, 1, 2)]
        [['a'], ['b'], ['b', 'c']]
    """

    def belongs(stage: Stage) -> bool:
        if stage.round is not None:
            return stage.round == number
        return (number > 0) == (stage.data in {"pseudo", "mixed"})

    return tuple(stage for stage in member.stages if belongs(stage))


def check_rounds(recipe: Recipe) -> None:
    """Refuse rounds that contradict each other, before anything is trained.

    Raises:
        TransectError: If a stage needs pseudo-labels that no round makes, or a teacher is unknown
            or not trained by then.
    """
    for member in recipe.members:
        for stage in member.stages:
            needs = stage.data in {"pseudo", "mixed"}
            least = 1 if needs else 0
            most = len(recipe.pseudo)
            number = stage.round if stage.round is not None else least
            if not least <= number <= most:
                raise TransectError(
                    f"stage {stage.name} of member {member.name} belongs to round {number} of "
                    f"pseudo-labels, and the recipe has {most}. Add a PseudoRound to "
                    "recipe.pseudo, or change the stage's data or round."
                )
    known = {member.name: member for member in recipe.members}
    for number, spec in enumerate(recipe.pseudo, start=1):
        for name in teachers_of(recipe, spec, number):
            if name not in known:
                raise TransectError(
                    f"round {number} of pseudo-labels names the teacher '{name}', and the members "
                    f"are {', '.join(known)}. Name one of these."
                )
            if not any(stages_of_round(known[name], before) for before in range(number)):
                raise TransectError(
                    f"round {number} of pseudo-labels needs the teacher {name}, which has no stage "
                    "before it. Give it one, or name another teacher."
                )


def teachers_of(recipe: Recipe, spec: PseudoRound, number: int) -> tuple[str, ...]:
    """Names of the members that label in a round.

    Args:
        recipe: Its members.
        spec: The round.
        number: Of the round, from 1.

    Returns:
        Those that it names, else all that have a stage before it.
    """
    if spec.teachers:
        return spec.teachers
    return tuple(
        member.name
        for member in recipe.members
        if any(stages_of_round(member, before) for before in range(number))
    )


def confident_share(maps: NDArray[np.floating], low: float, high: float) -> float:
    """Share of pixels whose probability leaves no doubt (salt 1st place: < .2 or > .8).

    Args:
        maps: (T, H, W) probabilities. One map, or the first of instances, is a binary question;
            of several classes the likeliest must pass ``high``.
        low: A pixel is confidently background below it.
        high: And confidently foreground above it.

    Returns:
        In [0, 1].

    Example:
        >>> confident_share(np.array([[[0.1, 0.5], [0.9, 0.2]]]), 0.2, 0.8)
        0.5
    """
    if len(maps) > 2:
        return float((maps.max(0) > high).mean())
    return float(((maps[0] < low) | (maps[0] > high)).mean())


@dataclass(frozen=True)
class Labelled:
    """What a teacher says of one unlabelled image.

    Attributes:
        name: Of the image.
        confidence: Share of confident pixels.
        foreground: Number of foreground pixels.
        pixels: Number of all.
        flat: Whether it has one grey value.
    """

    name: str
    confidence: float
    foreground: int
    pixels: int
    flat: bool


def choose(
    found: Sequence[Labelled], spec: PseudoRound, rng: np.random.Generator
) -> tuple[str, ...]:
    """Which images are good enough to learn from.

    Args:
        found: What the teacher says of each.
        spec: The gate.
        rng: Of the thinning of empty ones.

    Returns:
        Names in the order given.

    Example:
        >>> found = [Labelled("a", 0.95, 10, 100, False), Labelled("b", 0.5, 10, 100, False)]
        >>> choose(found, PseudoRound(confidence=0.9), np.random.default_rng(0))
        ('a',)
    """

    def passes(one: Labelled) -> bool:
        return (
            one.confidence >= spec.confidence
            and not (spec.drop_flat and one.flat)
            and not 0 < one.foreground < spec.least_px
            and one.foreground <= spec.most_coverage * one.pixels
        )

    kept = [one for one in found if passes(one)]
    empty = [one.name for one in kept if one.foreground == 0]
    wanted = round(len(empty) * spec.empty_share)
    stay = set(rng.permutation(empty)[:wanted].tolist()) if wanted < len(empty) else set(empty)
    return tuple(one.name for one in kept if one.foreground > 0 or one.name in stay)


def as_filled_as(
    found: Sequence[Labelled], chosen: Sequence[str], empty: float, rng: np.random.Generator
) -> tuple[str, ...]:
    """Chosen labels without more empty ones than the masks let expect.

    Weak teachers are surest of nothing: what passes their gate is nearly all empty, and whoever
    learns from it answers nothing. So empty labels are thinned until their share is at most a
    tenth above that of the masks. Where too few labels with an object are left, there are none.

    Args:
        found: What the teacher says of each unlabelled image.
        chosen: Names of those that passed the gate.
        empty: Share of the masks that are empty, in [0, 1].
        rng: Of the thinning.

    Returns:
        Names in the order given; none if fewer than 8 of them (with fewer than 80 unlabelled
        dataset: a tenth) hold an object although masks do.

    Example:
        >>> found = [Labelled(n, 1.0, n == "a", 9, False) for n in "abcdef"]
        >>> as_filled_as(found, "abcdef", 0.4, np.random.default_rng(0))
        ('a', 'd')
    """
    if empty >= 1:
        return tuple(chosen)
    holds = {one.name: one.foreground > 0 for one in found}
    filled = [name for name in chosen if holds[name]]
    if len(filled) < max(1, min(_LEAST_FILLED, len(found) // 10)):
        return ()
    share = min(empty + _MORE_EMPTY, 1.0)
    most = int(len(filled) * share / (1 - share)) if share < 1 else len(chosen)
    others = [name for name in chosen if not holds[name]]
    stay = {*filled, *rng.permutation(others)[:most].tolist()}
    return tuple(name for name in chosen if name in stay)


def label_round(
    run: RunFolder,
    recipe: Recipe,
    dataset: MaskDataset,
    number: int,
    fold: int,
    *,
    cache: Decoded,
    device: str,
    progress: Progress,
) -> Path:
    """Let the teacher of a fold label the unlabelled images; skipped if it has.

    Args:
        run: The run.
        recipe: Its rounds, members and views.
        dataset: The labelled images: how masks are read and written.
        number: Of the round, from 1.
        fold: Whose teacher; all folds share one if the round is not ``fold_wise``.
        cache: The unlabelled images, decoded when first asked for.
        device: Where.
        progress: Told what happens.

    Returns:
        The folder with one mask per chosen image and ``chosen.json``, which is written last.
    """
    spec = recipe.pseudo[number - 1]
    folder = labels_folder(run, spec, number, fold)
    if (folder / "chosen.json").is_file():
        return folder
    folds = [fold] if spec.fold_wise else range(recipe.folds.use or recipe.folds.count)
    names = teachers_of(recipe, spec, number)
    pixels_of = cache.cache
    choice = Choice(recipe.views)
    models = [
        loaded_member(run, recipe, member, folds, device=device, choice=choice, before_round=number)
        for member in recipe.members
        if member.name in names
    ]
    found = []
    values = Values()
    total = len(pixels_of.images)
    for start in range(0, total, _TOGETHER):
        some = range(start, min(start + _TOGETHER, total))
        pixels = [pixels_of.image(i) for i in some]
        images = [pixels_of.images[i] for i in some]
        answers = [model.maps_of(pixels, images) for model in models]
        for i, image, *maps in zip(some, images, *answers, strict=True):
            mean: NDArray[np.float32] = np.asarray(np.mean(maps, axis=0), np.float32)
            labels = labels_of(mean, values, dataset.kind)
            flat = bool(np.ptp(pixels_of.image(i)) == 0)
            one = Labelled(
                image.name,
                confident_share(mean, spec.low, spec.high),
                int(np.count_nonzero(labels)),
                labels.size,
                flat,
            )
            found.append(one)
            if choose([one], spec, np.random.default_rng(0)) or one.foreground == 0:
                _write_mask(_mask_path(folder, image), labels, dataset)
        progress.step(f"labelling, round {number}, fold {fold}", start + len(some), total)
    rng = np.random.default_rng([recipe.seed, number, fold])
    sure = choose(found, spec, rng)
    empty = float(np.mean(dataset.coverage == 0))
    chosen = as_filled_as(found, sure, empty, rng)
    note = _note(found, sure, chosen, empty)
    confidences = {one.name: round(one.confidence, 4) for one in found}
    write_json(
        folder / "chosen.json",
        {
            "chosen": list(chosen),
            "confidence": confidences,
            "teachers": list(names),
            "note": note,
        },
    )
    progress.say(f"pseudo-labels, round {number}, fold {fold} (by {', '.join(names)}): {note}")
    return folder


def labels_folder(run: RunFolder, spec: PseudoRound, number: int, fold: int) -> Path:
    """Where the labels of a round are that a fold learns from."""
    return run.path / "pseudo" / f"round{number}" / (f"fold{fold}" if spec.fold_wise else "all")


def _note(
    found: Sequence[Labelled], sure: Sequence[str], chosen: Sequence[str], empty: float
) -> str:
    """What became of the labels of a round, in one sentence."""
    holds = {one.name for one in found if one.foreground > 0}
    note = f"{len(sure)} of {len(found)} pictures are sure enough, {len(holds & set(sure))} of them"
    note += " with an object"
    if sure and not chosen:
        return (
            f"{note}, too few beside masks of which {1 - empty:.0%} hold one, so this round learns "
            "from masks alone. Train longer before the round, or lower its confidence."
        )
    if len(chosen) < len(sure):
        note += f"; {len(sure) - len(chosen)} empty ones are left out, to be as rare as in masks"
    return note


def labelled_images(folder: Path, survey: Survey, *, scratch: Path | None) -> MaskDataset | None:
    """The images that a teacher chose, with its masks, as any training images.

    Returns:
        None if none was sure enough.
    """
    chosen = set(read_json(folder / "chosen.json")["chosen"])
    images = tuple(
        dataclasses.replace(image, split="train")
        for image in unlabelled_images(survey)
        if image.name in chosen
    )
    if not images:
        return None
    masks = {image.name: _mask_path(folder, image) for image in images}
    return MaskDataset(
        dataclasses.replace(survey, images=images, masks=masks, problems=()), scratch=scratch
    )


def _mask_path(folder: Path, image: Image) -> Path:
    """Where the pseudo-label of an image is."""
    return made_path(folder / "masks", image.name, ".png")


def _write_mask(path: Path, labels: NDArray[np.int32], dataset: MaskDataset) -> None:
    """Write labels as the survey's own masks are read."""
    written: NDArray[Any] = labels.astype(np.uint16)
    if dataset.kind == "binary":
        written = np.where(labels > 0, np.uint8(255), np.uint8(0))
    elif dataset.kind == "classes":
        written = np.array([0, *dataset.survey.class_values], np.uint16)[labels]
    done, data = cv2.imencode(".png", written)
    assert done
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
