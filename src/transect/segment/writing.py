"""Masks of new images as files that people use, and the competition's table."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Annotations, Picture
from transect.data.formats import coco
from transect.data.predictions import from_labels
from transect.data.rle import encode
from transect.data.submission import write_masks
from transect.errors import TransectError, unknown_name
from transect.files import atomic_path, made_path, spreadsheet_safe
from transect.predict.outputs import write_mask, write_mask_bands, write_picture
from transect.report.pictures import overlay
from transect.run import RunFolder
from transect.segment.predicting import MaskAnswer
from transect.segment.streaming import label_bands
from transect.types import Image, MaskKind, Problem, Progress

__all__ = ["FORMATS", "MaskWriter", "submit_masks"]

FORMATS = ("coco", "rle", "probability")
_SHOWN = 50  # overlays; our choice
_TOGETHER = 64  # masks of a submission encoded at once; our choice


class MaskWriter:
    """Writes a mask per image: PNG, or tiled TIFF with georeference where the image is large.

    ``summary.csv`` holds objects and coverage of every image; ``overlays/`` shows the first 50
    with outlines; ``coco``, ``rle`` and ``probability`` are written if asked for.
    """

    def __init__(self, run: RunFolder, out: Path, options: Mapping[str, Any]) -> None:
        """Begin.

        Args:
            run: The run that answers.
            out: The folder.
            options: ``formats``: any of ``FORMATS``.

        Raises:
            TransectError: On an unknown format.
        """
        self._formats = tuple(options.get("formats", ()))
        for name in self._formats:
            if name not in FORMATS:
                raise unknown_name("a format", name, FORMATS)
        facts = run.read_json("inputs.json")
        self._out = out
        self._rows: list[tuple[Any, ...]] = []
        self._files: list[str] = []
        self._collected = _Collected(facts["mask_kind"], tuple(facts["classes"]), self._formats)

    def add(self, image: Image, answer: MaskAnswer) -> None:
        """Write the mask of an image."""
        row, file = self._large(answer) if answer.labels is None else self._small(image, answer)
        self._rows.append(row)
        self._files.append(str(file))

    def finish(self, progress: Progress) -> dict[str, Any]:
        """Write the tables."""
        _write_table(self._out / "summary.csv", ("image", "objects", "coverage"), self._rows)
        self._collected.write(self._out)
        return {"files": self._files}

    def _small(self, image: Image, answer: MaskAnswer) -> tuple[tuple[Any, ...], Path]:
        """An image that fits into memory."""
        predictor, labels, out = answer.predictor, answer.labels, self._out
        assert labels is not None
        assert answer.maps is not None
        assert answer.pixels is not None
        path = write_mask(made_path(out / "masks", image.stem, ".png"), predictor.written(labels))
        if "probability" in self._formats:
            plane = answer.maps[-1 if predictor.kind == "classes" else 0]
            soft = np.round(plane * 255).astype(np.uint8)
            write_mask(made_path(out / "probability", image.stem, ".png"), soft, most=255)
        if len(self._rows) < _SHOWN:
            write_picture(
                made_path(out / "overlays", image.stem, ".jpg"),
                overlay(answer.pixels, predicted=labels),
            )
        self._collected.add(image, labels)
        objects = int(labels.max(initial=0)) if predictor.kind == "instances" else _pieces(labels)
        return (image.name, objects, f"{np.mean(labels > 0):.6f}"), path

    def _large(self, answer: MaskAnswer) -> tuple[tuple[Any, ...], Path]:
        """An image that is answered by streaming."""
        image, predictor = answer.image, answer.predictor
        counted = {"objects": 0, "foreground": 0}
        dtype = np.uint32 if predictor.kind == "instances" else predictor.dtype

        def placed() -> Iterator[tuple[int, NDArray[np.generic]]]:
            row = 0
            for labels in label_bands(predictor, image, counted):
                yield row, labels
                row += len(labels)

        target = made_path(self._out / "masks", image.stem, ".tif")
        path = write_mask_bands(target, placed(), image.size_hw, dtype, source=image.path)
        coverage = counted["foreground"] / (image.size_hw[0] * image.size_hw[1])
        return (image.name, counted["objects"], f"{coverage:.6f}"), path


def submit_masks(
    kind: MaskKind,
    answers: Iterator[tuple[Image, MaskAnswer | Problem]],
    problems: Sequence[Problem],
    out: Path,
) -> None:
    """Write ``id,rle_mask``: column-major run lengths from 1; one row per image, or per object.

    Args:
        kind: How masks are read.
        answers: Made as they are asked for.
        problems: Files that are known to be unreadable.
        out: The file.

    Raises:
        TransectError: If an image cannot be read: a submission with holes would be refused.
    """

    def complete() -> Iterator[tuple[str, NDArray[np.int32]]]:
        for problem in problems:
            raise _hole(problem)
        for image, answer in answers:
            if isinstance(answer, Problem):
                raise _hole(answer)
            yield image.name, answer.whole()

    if kind == "binary":
        write_masks(out, _stacked(complete()))
        return
    with atomic_path(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "rle_mask"])
        for label, labels in complete():
            name = spreadsheet_safe(str(Path(label).with_suffix("")))
            numbers = np.unique(labels[labels > 0])
            rows = [(name, encode(labels == number)) for number in numbers] or [(name, "")]
            writer.writerows(rows)


def _hole(problem: Problem) -> TransectError:
    """What is said of an image that a submission needs."""
    return TransectError(f"{problem.name}: {problem.what} A submission needs every picture.")


def _stacked(
    masks: Iterator[tuple[str, NDArray[np.int32]]],
) -> Iterator[tuple[list[str], NDArray[np.bool_]]]:
    """Neighbours of one size together."""
    names: list[str] = []
    found: list[NDArray[np.bool_]] = []
    for name, labels in masks:
        if found and (len(found) >= _TOGETHER or found[0].shape != labels.shape):
            yield names, np.stack(found)
            names, found = [], []
        names.append(name)
        found.append(labels > 0)
    if found:
        yield names, np.stack(found)


class _Collected:
    """Objects gathered for the table formats, as run lengths."""

    def __init__(self, kind: MaskKind, classes: Sequence[str], formats: Sequence[str]) -> None:
        self._kind: MaskKind = kind
        self._classes = tuple(classes) or ("object",)
        self._formats = tuple(set(formats) & {"coco", "rle"})
        self._rows: list[tuple[str, str, str]] = []
        self._pictures: list[Picture] = []

    def add(self, image: Image, labels: NDArray[np.int32]) -> None:
        """Keep the objects of one image, if anybody asked for them."""
        if not self._formats:
            return
        found = from_labels([(image.name, labels)], self._kind, self._classes)
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
            coco.write(Annotations(tuple(self._pictures), self._classes), out / "masks.coco.json")


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
