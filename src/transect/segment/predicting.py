"""New images: masks of any size, whole ones batch by batch, large ones by streaming."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.images import open_reader, read_image
from transect.errors import TransectError
from transect.recipe import Recipe
from transect.run import RunFolder
from transect.segment.blending import Blend, answering, gates_of
from transect.segment.choosing import Choices
from transect.segment.deciding import Decisions
from transect.segment.emptiness import Emptiness
from transect.segment.masks import answer_of
from transect.segment.neighbours import Adjoining, adjoining, beside, borders_of, pulled
from transect.segment.oof import as_read, as_stored, loaded_member, trained_folds
from transect.segment.streaming import by_row
from transect.task import NewImages
from transect.types import Image, MaskKind, Problem, Progress

__all__ = ["LARGE_PX", "MaskAnswer", "Predictor"]

_TOGETHER = 64  # small images predicted at once; our choice
_TOGETHER_PX = 2_000_000  # of them together
LARGE_PX = 16_000_000  # our choice: above this an image is streamed and its mask is a TIFF


@dataclass(frozen=True)
class MaskAnswer:
    """The mask of one image; a large one is made band by band when it is asked for.

    Attributes:
        image: The image.
        predictor: What answered.
        pixels: (H, W, C) of an image in memory; None of a large one.
        maps: (T, H, W) float32 blended probabilities in [0, 1]; None of a large one.
        labels: (H, W) int32 as ``deciding.labels_of`` gives them; None of a large one.
    """

    image: Image
    predictor: Predictor
    pixels: NDArray[Any] | None = None
    maps: NDArray[np.float32] | None = None
    labels: NDArray[np.int32] | None = None

    def whole(self) -> NDArray[np.int32]:
        """(H, W) int32 labels, also of a large image."""
        if self.labels is not None:
            return self.labels
        pixels = read_image(self.image.path)
        return self.predictor.labels(pixels, self.image)


class Predictor:
    """The members of a run, loaded once, with the decision for new images.

    Attributes:
        kind: How masks are read.
        classes: Number of classes.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        device: str,
        fold: int | None = None,
        part: int | None = None,
    ) -> None:
        """Load every member with the snapshots of all trained folds, or of one.

        Args:
            run: The run.
            device: Where networks run.
            fold: Only its models: those that answered what it held out.
            part: Answer as the held-out images of this part were answered: by choices, weights
                and decisions that were settled without them.
        """
        recipe: Recipe = run.recipe()
        facts = run.read_json("inputs.json")
        choices = Choices.of(run)
        choice = choices.final if part is None else choices.nested[part]
        folds = trained_folds(recipe) if fold is None else [fold]
        self._held_out = part is not None
        self.kind: MaskKind = facts["mask_kind"]
        self.class_names: tuple[str, ...] = tuple(facts["classes"])
        self.class_values: tuple[int, ...] = tuple(facts["class_values"])
        self.classes = len(self.class_names)
        self._blend = Blend(run, recipe)
        self._decisions = Decisions.from_json(run.read_json("decide.json"))
        # One part of all folds; or one per fold, where every fold has a threshold of its own.
        self._own = () if self._held_out else tuple(self._decisions.own)
        self._values = self._decisions.final if part is None else self._decisions.nested[part]
        parts = [[fold] for fold in self._own] or [list(folds)]
        self._parts = [
            [
                loaded_member(run, recipe, member, part, device=device, choice=choice)
                for member in answering(recipe)
            ]
            for part in parts
        ]
        self._members = [member for part in self._parts for member in part]
        # Those that are asked for maps anyway, or the gate that gives none.
        alone = [member for member in gates_of(recipe) if member.weight <= 0]
        self._gates = [
            loaded_member(run, recipe, member, list(folds), device=device, choice=choice)
            for member in alone
        ]
        names = set() if alone else {member.name for member in gates_of(recipe)}
        asked = [member.name in names for member in answering(recipe)] * len(self._parts)
        self._telling = [
            yes and one.has_image_head for one, yes in zip(self._members, asked, strict=True)
        ]
        self._empty = Emptiness.of(run)
        self._neighbours = bool(getattr(recipe.decide, "neighbours", False))
        self._joined: Adjoining = {}
        self._borders: dict[str, dict[str, NDArray[np.float32]]] = {}

    def meet(self, images: Sequence[Image], progress: Progress) -> None:
        """Look for neighbours among new images and note their borders, if the run asks for it.

        Args:
            images: All that will be answered; those too large for memory have no neighbours.
            progress: Told how many were found.
        """
        if not self._neighbours:
            return
        small = [image for image in images if image.size_hw[0] * image.size_hw[1] <= LARGE_PX]
        joined = adjoining(small, progress)
        for image in small:
            if image.name in joined:
                self._borders[image.name] = borders_of(self.maps(read_image(image.path), image))
        self._joined = joined

    def maps(self, pixels: NDArray[Any], image: Image) -> NDArray[np.float32]:
        """Blended probabilities of an image in memory: (T, H, W)."""
        maps = self._blended([member.maps(pixels, image) for member in self._members], image)
        return self._with_neighbours(maps, image)

    def _with_neighbours(self, maps: NDArray[np.float32], image: Image) -> NDArray[np.float32]:
        """The maps, pulled towards those of adjoining images that ``meet`` found."""
        if image.name not in self._joined:
            return maps
        return pulled(
            maps, beside(image.name, self._joined, lambda name: self._borders.get(name, {}))
        )

    def answers(
        self, new: NewImages, progress: Progress
    ) -> Iterator[tuple[Image, MaskAnswer | Problem]]:
        """Answer images in order; neighbours of one size are predicted batch by batch."""
        self.meet(new.images, progress)
        for some in _batches(new.images):
            read = [self._read(image) for image in some]
            good = [(image, found) for image, found in zip(some, read, strict=True)
                    if not isinstance(found, Problem)]  # fmt: skip
            if good and good[0][1] is None:
                yield good[0][0], MaskAnswer(good[0][0], self)
                continue
            pixels = [found for _, found in good if found is not None]
            answered = iter(self._suited(pixels, [image for image, _ in good]))
            for image, found in zip(some, read, strict=True):
                yield image, found if isinstance(found, Problem) else next(answered)

    def labels(self, pixels: NDArray[Any], image: Image) -> NDArray[np.int32]:
        """The mask of an image in memory, as ``deciding.labels_of`` gives it."""
        (answer,) = self._answered([pixels], [image])
        assert answer.labels is not None
        return answer.labels

    def _read(self, image: Image) -> NDArray[Any] | Problem | None:
        """Pixels of an image that fits into memory, None of a larger one."""
        if image.size_hw[0] * image.size_hw[1] > LARGE_PX:
            return None
        try:
            return read_image(image.path)
        except TransectError as error:
            return Problem(image.name, str(error))

    def _suited(
        self, pixels: Sequence[NDArray[Any]], images: Sequence[Image]
    ) -> Sequence[MaskAnswer | Problem]:
        """Answers to images asked together, or one by one if one of them does not suit the run."""
        try:
            return self._answered(pixels, images)
        except TransectError as error:
            if len(images) == 1:
                return [Problem(images[0].name, str(error))]
        each = zip(pixels, images, strict=True)
        return [self._suited([some], [image])[0] for some, image in each]

    def _answered(
        self, pixels: Sequence[NDArray[Any]], images: Sequence[Image]
    ) -> list[MaskAnswer]:
        """The masks of several images in memory, each network asked once for all that it tells."""
        asked = [member.answers_of(pixels, images) for member in self._members]
        told = [filled for (_, filled), yes in zip(asked, self._telling, strict=True) if yes]
        told += [gate.filled_of(pixels, images) for gate in self._gates if gate.has_image_head]
        found = []
        for i, (some, image) in enumerate(zip(pixels, images, strict=True)):
            filled = float(np.mean([values[i] for values in told])) if told else 1.0
            blended = self._blended([own[i] for own, _ in asked], image)
            maps = self._with_neighbours(blended, image)
            labels = self.decide(maps, some, image, filled)
            found.append(MaskAnswer(image, self, some, maps, labels))
        return found

    def decide(
        self, maps: NDArray[np.float32], pixels: NDArray[Any], image: Image, filled: float
    ) -> NDArray[np.int32]:
        """Turn blended probabilities, of the masks and of any object, into a mask."""
        name = image.name if self._held_out else None
        filled = self._empty.filled(filled, maps, held_out=name)
        return answer_of(maps, pixels, self._values, self.kind, filled=filled)

    def bands(self, path: Path, image: Image) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Blended probabilities of an image on disk, band by band, in bounded memory."""
        readers = [open_reader(path) for _ in self._members]
        streams = [
            member.bands(reader, image)
            for member, reader in zip(self._members, readers, strict=True)
        ]
        if len(streams) == 1:
            yield from ((row, self._blended([band], image)) for row, band in streams[0])
            return
        for parts in zip(*(by_row(stream) for stream in streams), strict=True):
            row = parts[0][0]
            yield row, self._blended([part[1][:, None] for part in parts], image)

    def rows(self, path: Path, top: int, height: int) -> NDArray[Any]:
        """Rows of an image on disk: (height, W, C)."""
        reader = open_reader(path)
        return reader.window(top, 0, height, reader.shape[1])

    @property
    def decisions(self) -> Decisions:
        """What was tuned."""
        return self._decisions

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """The type of masks of classes: as small as their values allow."""
        return np.uint8 if max(self.class_values, default=0) < 256 else np.uint16

    def written(self, labels: NDArray[np.int32]) -> NDArray[np.generic]:
        """Labels as the survey's own masks write them."""
        if self.kind == "instances":
            return labels.astype(np.uint16 if labels.max(initial=0) < 2**16 else np.uint32)
        if self.kind == "classes":
            return np.array([0, *self.class_values], self.dtype)[labels]
        return np.where(labels > 0, np.uint8(255), np.uint8(0))

    def _blended(self, maps: Sequence[NDArray[np.float32]], image: Image) -> NDArray[np.float32]:
        """One set of maps from those of the members, part after part, in the steps of a file."""
        maps = [as_read(as_stored(one)) for one in maps]
        each, name = len(maps) // len(self._parts), image.name if self._held_out else None
        parts = [
            self._blend.of(maps[i : i + each], held_out=name) for i in range(0, len(maps), each)
        ]
        if not self._own:
            return parts[0]
        level = self._decisions.levelled
        levelled = [level(part, fold) for part, fold in zip(parts, self._own, strict=True)]
        return np.asarray(np.mean(levelled, axis=0), np.float32)


def _batches(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Neighbours of one size, as many as are predicted at once."""
    batch: list[Image] = []
    for image in images:
        area = image.size_hw[0] * image.size_hw[1]
        full = len(batch) >= _TOGETHER or (len(batch) + 1) * area > _TOGETHER_PX
        if batch and (full or image.size_hw != batch[0].size_hw):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch
