"""New pictures: masks of any size by streaming, files that people use, the competition's table."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Annotations, Picture
from transect.data.folder import list_complete, list_new
from transect.data.formats import coco
from transect.data.images import open_reader, read_image
from transect.data.predictions import from_labels
from transect.data.rle import encode
from transect.data.submission import write_masks
from transect.errors import TransectError, unknown_name
from transect.files import atomic_path, spreadsheet_safe
from transect.predict.outputs import output_path, write_mask, write_mask_bands, write_picture
from transect.recipe import Recipe
from transect.report.pictures import overlay
from transect.run import RunFolder
from transect.segment.blending import Blend, answering, gates_of
from transect.segment.deciding import Decisions, labels_of
from transect.segment.emptiness import Emptiness
from transect.segment.neighbours import Adjoining, adjoining, beside, borders_of, pulled
from transect.segment.oof import Choice, loaded_member
from transect.segment.refining import refined
from transect.segment.streaming import by_row, label_bands
from transect.types import Image, MaskKind, Progress

__all__ = ["FORMATS", "Predictor", "answer_folder", "submission"]

FORMATS = ("coco", "rle", "probability")
_SHOWN = 50  # overlays; our choice
_TOGETHER = 64  # small pictures predicted at once; our choice
_LARGE_PX = 16_000_000  # our choice: above this a picture is streamed and its mask is a TIFF


class Predictor:
    """The members of a run, loaded once, with the decision for new pictures.

    Attributes:
        kind: How masks are read.
        classes: Number of classes.
    """

    def __init__(self, run: RunFolder, *, device: str) -> None:
        """Load every member with the snapshots of all trained folds."""
        recipe: Recipe = run.recipe()
        facts = run.read_json("inputs.json")
        choice = Choice.from_json(run.read_json("views.json"))
        folds = range(recipe.folds.use or recipe.folds.count)
        self.kind: MaskKind = facts["mask_kind"]
        self.class_names: tuple[str, ...] = tuple(facts["classes"])
        self.class_values: tuple[int, ...] = tuple(facts["class_values"])
        self.classes = len(self.class_names)
        self._blend = Blend(run, recipe)
        self._decisions = Decisions.from_json(run.read_json("decide.json"))
        # One part of all folds; or one per fold, where every fold has a threshold of its own.
        self._own = tuple(self._decisions.own)
        parts = [[fold] for fold in self._own] or [list(folds)]
        self._parts = [
            [
                loaded_member(run, recipe, member, part, device=device, choice=choice)
                for member in answering(recipe)
            ]
            for part in parts
        ]
        self._members = [member for part in self._parts for member in part]
        # Those that are loaded anyway, or the gate that gives no masks.
        alone = [member for member in gates_of(recipe) if member.weight <= 0]
        self._gates = [
            loaded_member(run, recipe, member, list(folds), device=device, choice=choice)
            for member in alone
        ]
        if not alone:
            names = {member.name for member in gates_of(recipe)}
            asked = [member.name in names for member in answering(recipe)] * len(self._parts)
            self._gates = [one for one, yes in zip(self._members, asked, strict=True) if yes]
        self._empty = Emptiness.of(run)
        self._neighbours = bool(getattr(recipe.decide, "neighbours", False))
        self._joined: Adjoining = {}
        self._borders: dict[str, dict[str, NDArray[np.float32]]] = {}

    def meet(self, images: Sequence[Image], progress: Progress) -> None:
        """Look for neighbours among new pictures and note their borders, if the run asks for it.

        Args:
            images: All that will be answered; those too large for memory have no neighbours.
            progress: Told how many were found.
        """
        if not self._neighbours:
            return
        small = [image for image in images if image.size_hw[0] * image.size_hw[1] <= _LARGE_PX]
        joined = adjoining(small, progress)
        for image in small:
            if image.name in joined:
                self._borders[image.name] = borders_of(self.maps(read_image(image.path), image))
        self._joined = joined

    def maps(self, pixels: NDArray[Any], image: Image) -> NDArray[np.float32]:
        """Blended probabilities of a picture in memory: (T, H, W)."""
        maps = self._blended([member.maps(pixels, image) for member in self._members])
        return self._with_neighbours(maps, image)

    def _with_neighbours(self, maps: NDArray[np.float32], image: Image) -> NDArray[np.float32]:
        """The maps, pulled towards those of adjoining pictures that ``meet`` found."""
        if image.name not in self._joined:
            return maps
        return pulled(
            maps, beside(image.name, self._joined, lambda name: self._borders.get(name, {}))
        )

    def labels(self, pixels: NDArray[Any], image: Image) -> NDArray[np.int32]:
        """The mask of a picture in memory, as ``deciding.labels_of`` gives it."""
        return self.decide(self.maps(pixels, image), pixels, image)

    def labels_of_many(
        self, pixels: Sequence[NDArray[Any]], images: Sequence[Image]
    ) -> list[NDArray[np.int32]]:
        """The masks of several pictures in memory; small whole ones go batch by batch."""
        maps = [member.maps_of(pixels, images) for member in self._members]
        told = [m.filled_of(pixels, images) for m in self._gates if m.has_image_head]
        found = []
        for i, (some, image) in enumerate(zip(pixels, images, strict=True)):
            filled = float(np.mean([values[i] for values in told])) if told else 1.0
            mean = self._with_neighbours(self._blended([member[i] for member in maps]), image)
            found.append(self.decide(mean, some, image, filled=filled))
        return found

    def decide(
        self,
        maps: NDArray[np.float32],
        pixels: NDArray[Any],
        image: Image,
        *,
        filled: float | None = None,
    ) -> NDArray[np.int32]:
        """Turn blended probabilities into a mask; the heads are asked unless ``filled`` says."""
        if filled is None:
            told = [m.filled(pixels, image) for m in self._gates if m.has_image_head]
            filled = float(np.mean(told)) if told else 1.0
        filled = self._empty.filled(filled, maps)
        values = self._decisions.final
        if values.use_crf:
            maps = refined(maps, pixels, self.kind)
        return labels_of(
            maps,
            values,
            self.kind,
            filled=filled,
            flat=bool(np.ptp(pixels) == 0),
        )

    def bands(self, path: Path, image: Image) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Blended probabilities of a picture on disk, band by band, in bounded memory."""
        readers = [open_reader(path) for _ in self._members]
        streams = [
            member.bands(reader, image)
            for member, reader in zip(self._members, readers, strict=True)
        ]
        if len(streams) == 1:
            yield from streams[0]
            return
        for parts in zip(*(by_row(stream) for stream in streams), strict=True):
            row = parts[0][0]
            yield row, self._blended([part[1][:, None] for part in parts])

    def rows(self, path: Path, top: int, height: int) -> NDArray[Any]:
        """Rows of a picture on disk: (height, W, C)."""
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

    def _blended(self, maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """One set of maps from those of the members, part after part."""
        each = len(maps) // len(self._parts)
        parts = [self._blend.of(maps[i : i + each]) for i in range(0, len(maps), each)]
        if not self._own:
            return parts[0]
        level = self._decisions.levelled
        levelled = [level(part, fold) for part, fold in zip(parts, self._own, strict=True)]
        return np.asarray(np.mean(levelled, axis=0), np.float32)


def answer_folder(
    run: RunFolder,
    images: Path,
    out: Path,
    *,
    device: str,
    progress: Progress,
    formats: Sequence[str] = (),
) -> dict[str, Any]:
    """Write a mask for every picture: PNG, or tiled TIFF where the picture is large.

    A picture that cannot be read is left out, listed in ``problems.csv``, and the others are
    answered. ``summary.csv`` holds objects and coverage of every picture; ``overlays/`` shows the
    first 50 with outlines.

    Args:
        run: A trained run.
        images: A folder of pictures, or one.
        out: The folder to write.
        device: Where.
        progress: Told what happens.
        formats: Further files: ``coco``, ``rle``, ``probability``.

    Returns:
        images, problems, files.

    Raises:
        TransectError: On an unknown format, or if there is no picture at all.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("a format", name, FORMATS)
    listed, problems = list_new(images)
    predictor = Predictor(run, device=device)
    rows, faults, files = [], [f"{p.name}: {p.what}" for p in problems], []
    predictor.meet(listed, progress)
    collected = _Collected(predictor, formats)
    for done, image in enumerate(listed):
        try:
            if image.size_hw[0] * image.size_hw[1] > _LARGE_PX:
                row, file = _answer_large(predictor, image, out, progress)
            else:
                row, file = _answer_small(predictor, image, out, done, formats, collected)
            rows.append(row)
            files.append(file)
        except TransectError as error:
            faults.append(f"{image.name}: {error}")
        progress.step("predicting", done + 1, len(listed))
    _write_table(out / "summary.csv", ("image", "objects", "coverage"), rows)
    if faults:
        _write_table(out / "problems.csv", ("problem",), [(fault,) for fault in faults])
    collected.write(out)
    return {"images": len(rows), "problems": faults, "files": [str(file) for file in files]}


def submission(run: RunFolder, images: Path, out: Path, *, device: str, progress: Progress) -> None:
    """Write ``id,rle_mask``: column-major run lengths from 1; one row per picture, or per object.

    Raises:
        TransectError: If a picture cannot be read: a submission with holes would be refused.
    """
    listed = list_complete(images)
    predictor = Predictor(run, device=device)
    predictor.meet(listed, progress)

    def answers() -> Iterator[tuple[list[str], list[NDArray[np.int32]]]]:
        done = 0
        for some in _batches(listed):
            found = predictor.labels_of_many([read_image(image.path) for image in some], some)
            yield [image.name for image in some], found
            done += len(some)
            progress.step("predicting", done, len(listed))

    if predictor.kind == "binary":
        write_masks(out, ((names, np.stack(found) > 0) for names, found in answers()))
        return
    with atomic_path(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "rle_mask"])
        for names, found in answers():
            for label, labels in zip(names, found, strict=True):
                name = spreadsheet_safe(str(Path(label).with_suffix("")))
                numbers = np.unique(labels[labels > 0])
                rows = [(name, encode(labels == number)) for number in numbers] or [(name, "")]
                writer.writerows(rows)


def _batches(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Neighbours of one size, as many as are predicted at once."""
    batch: list[Image] = []
    for image in images:
        full = len(batch) >= _TOGETHER or image.size_hw[0] * image.size_hw[1] > _LARGE_PX // 16
        if batch and (full or image.size_hw != batch[0].size_hw):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def _answer_small(
    predictor: Predictor,
    image: Image,
    out: Path,
    number: int,
    formats: Sequence[str],
    collected: _Collected,
) -> tuple[tuple[Any, ...], Path]:
    """Answer a picture that fits into memory."""
    pixels = read_image(image.path)
    maps = predictor.maps(pixels, image)
    labels = predictor.decide(maps, pixels, image)
    path = write_mask(output_path(out / "masks", image.name, ".png"), predictor.written(labels))
    if "probability" in formats:
        soft = np.round(maps[-1 if predictor.kind == "classes" else 0] * 255).astype(np.uint8)
        write_mask(output_path(out / "probability", image.name, ".png"), soft, most=255)
    if number < _SHOWN:
        write_picture(
            output_path(out / "overlays", image.name, ".jpg"), overlay(pixels, predicted=labels)
        )
    collected.add(image, labels)
    objects = int(labels.max(initial=0)) if predictor.kind == "instances" else _pieces(labels)
    return (image.name, objects, f"{np.mean(labels > 0):.6f}"), path


def _answer_large(
    predictor: Predictor, image: Image, out: Path, progress: Progress
) -> tuple[tuple[Any, ...], Path]:
    """Answer a picture by streaming: the mask is a tiled TIFF with the picture's georeference."""
    counted = {"objects": 0, "foreground": 0}
    height, width = image.size_hw

    def shown() -> Iterator[tuple[int, NDArray[np.generic]]]:
        done = 0
        for labels in label_bands(predictor, image, counted):
            yield done, labels
            done += len(labels)
            progress.step(f"predicting {image.name}", done, height)

    dtype = np.uint32 if predictor.kind == "instances" else predictor.dtype
    target = output_path(out / "masks", image.name, ".tif")
    path = write_mask_bands(target, shown(), (height, width), dtype, source=image.path)
    coverage = counted["foreground"] / (height * width)
    return (image.name, counted["objects"], f"{coverage:.6f}"), path


class _Collected:
    """Objects gathered for the table formats, as run lengths."""

    def __init__(self, predictor: Predictor, formats: Sequence[str]) -> None:
        self._predictor = predictor
        self._formats = tuple(set(formats) & {"coco", "rle"})
        self._rows: list[tuple[str, str, str]] = []
        self._pictures: list[Picture] = []

    def add(self, image: Image, labels: NDArray[np.int32]) -> None:
        """Keep the objects of one picture, if anybody asked for them."""
        if not self._formats:
            return
        names = self._predictor.class_names or ("object",)
        found = from_labels([(image.name, labels)], self._predictor.kind, names)
        self._pictures += found.pictures
        if "rle" in self._formats:
            numbers = np.unique(labels[labels > 0])
            objects = zip(numbers, found.pictures[0].instances, strict=True)
            self._rows += [(image.name, one.label, encode(labels == n)) for n, one in objects]

    def write(self, out: Path) -> None:
        """Write the tables that were asked for."""
        if "rle" in self._formats:
            _write_table(out / "masks.csv", ("image", "class", "rle_mask"), self._rows)
        if "coco" in self._formats:
            classes = self._predictor.class_names or ("object",)
            coco.write(Annotations(tuple(self._pictures), classes), out / "masks.coco.json")


def _pieces(labels: NDArray[np.int32]) -> int:
    """Connected pieces of foreground."""
    return int(cv2.connectedComponents((labels > 0).astype(np.uint8))[0]) - 1


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a CSV that a spreadsheet may open safely."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([spreadsheet_safe(str(cell)) for cell in row])
