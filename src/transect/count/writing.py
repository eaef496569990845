"""What prediction writes: tables of counts and points, places on the ground, maps, overlays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.count.decisions import Answer, Decisions
from transect.count.maps import CellMap, mean_map
from transect.count.predicting import CountAnswer
from transect.count.tables import write_table
from transect.data.exchange import Annotations, Instance, Picture, Pictures
from transect.data.formats import coco, geo, voc, yolo
from transect.data.images import geo_tags, open_reader, write_tiff_bands
from transect.errors import TransectError, unknown_name
from transect.files import made_path, write_json
from transect.predict.outputs import small_view, write_picture
from transect.recipe import CountDecide
from transect.run import RunFolder
from transect.types import Image, Problem, Progress

__all__ = ["FORMATS", "CountWriter", "submit_counts", "totals_of"]

FORMATS = ("density", "geojson", "gpkg", "coco", "yolo", "voc")
_BOX_FILES = {"coco": "boxes.coco.json", "yolo": "yolo", "voc": "voc"}
_OVERLAYS = 50  # photos that are shown with their dots; our choice

_COLOURS = ((230, 60, 60), (240, 150, 30), (250, 230, 60), (70, 200, 90), (70, 130, 250))


class CountWriter:
    """Writes what is said of photos.

    ``counts.csv`` has a row per photo (count, low and high end of each class and of the total),
    ``totals.csv`` the survey's sums with their intervals, ``groups.csv`` those of each site or
    flight if an ``images.csv`` names them, ``points.csv`` a row per object; ``points.geojson`` is
    written if the photos lie on the ground, ``overlays/`` for the first 50, ``scale.json`` with
    what the scale check found. Detectors add ``boxes.csv``, a row per object.
    """

    def __init__(self, run: RunFolder, images: Path, out: Path, options: Mapping[str, Any]) -> None:
        """Begin.

        Args:
            run: The run that counts.
            images: The photos' folder, or one photo.
            out: The folder to write.
            options: ``formats``: ``density`` (TIFF of objects per cell, on the ground if the photo
                is), ``gpkg``, ``geojson`` (then it is an error if photos have no position); of
                detectors ``coco``, ``yolo`` and ``voc``.

        Raises:
            TransectError: On an unknown format, or one that the run's networks cannot give.
        """
        self._formats = tuple(options.get("formats", ()))
        for name in self._formats:
            if name not in FORMATS:
                raise unknown_name("a format", name, FORMATS)
        _check_formats(run, self._formats)
        self._run, self._images, self._out = run, images, out
        self._done: list[tuple[Image, Answer]] = []
        self._files: list[Path] = []
        self._look: Any = None

    def add(self, image: Image, answer: CountAnswer) -> None:
        """Take one photo."""
        if "density" in self._formats:
            cells = mean_map(answer.maps)
            assert isinstance(cells, CellMap)  # asked of maps only, see above
            self._files.append(write_density(self._out, image, cells))
        if len(self._done) < _OVERLAYS:
            write_overlay(self._out, image, answer.answer)
        self._look = answer.look
        self._done.append((image, answer.answer))

    def finish(self, progress: Progress) -> dict[str, Any]:
        """Write the tables.

        Returns:
            files, scale, total (name to sum, low, high).
        """
        decisions, files = Decisions.load(self._run), self._files
        files += write_tables(self._out, decisions, self._done)
        files += write_boxes(self._out, decisions, self._done, self._formats)
        files += write_places(self._out, self._images, decisions, self._done, self._formats)
        scale = None if self._look is None else self._look.to_json()
        if scale is not None:
            write_json(self._out / "scale.json", scale)
            files.append(self._out / "scale.json")
        totals = totals_of(decisions, self._done)
        for name, value, low, high in totals:
            progress.say(f"{name}: {value:.0f} [{low:.0f}, {high:.0f}]")
        measured = decisions.coverage
        if measured is not None:
            progress.say(
                f"intervals promise {measured['nominal']:.0%}; they held "
                f"{measured['measured']:.0%} of {measured['count']} held-out totals of the training"
            )
        return {
            "files": [str(file) for file in files],
            "scale": scale,
            "total": {name: [value, low, high] for name, value, low, high in totals},
        }


def _check_formats(run: RunFolder, formats: Sequence[str]) -> None:
    """Refuse boxes of maps and maps of boxes before anything is counted."""
    decide = run.recipe().decide
    detects = isinstance(decide, CountDecide) and decide.target == "boxes"
    for name in formats:
        if name in _BOX_FILES and not detects:
            raise TransectError(
                f"--format {name} needs boxes, and {run.path} draws maps. Train with --recipe "
                "detector, or take points.csv."
            )
        if name == "density" and detects:
            raise TransectError(
                f"{run.path} has detectors, which draw no maps, so density cannot be written. Take "
                "--format coco or another of boxes."
            )


def submit_counts(
    classes: Sequence[str],
    answers: Iterator[tuple[Image, CountAnswer | Problem]],
    problems: Sequence[Problem],
    out: Path,
) -> None:
    """Write ``test_id`` and one rounded count per class.

    Args:
        classes: Names, the columns.
        answers: Made as they are asked for.
        problems: Files that are known to be unreadable.
        out: The file.

    Raises:
        TransectError: If a photo cannot be read: a submission with holes would be refused.
    """
    for problem in problems:
        raise _hole(problem)
    rows = []
    for image, found in answers:
        if isinstance(found, Problem):
            raise _hole(found)
        name = image.stem
        rows.append((name, *(int(np.floor(count + 0.5)) for count in found.answer.counts)))
    write_table(out, ("test_id", *classes), rows)


def _hole(problem: Problem) -> TransectError:
    """What is said of a photo that a submission needs."""
    return TransectError(f"{problem.name}: {problem.what} A submission needs every picture.")


def totals_of(
    decisions: Decisions, done: Sequence[tuple[Image, Answer]]
) -> list[tuple[str, float, float, float]]:
    """The survey's sums: name, value, low, high."""
    if not done:
        return []
    found = decisions.survey_total(
        np.array([answer.counts for _, answer in done]),
        [image.group for image, _ in done],
        [answer.area for _, answer in done],
    )
    names = [*decisions.classes, "all"]
    return [(name, *entry) for name, entry in zip(names, found, strict=True)]


def write_tables(
    out: Path, decisions: Decisions, done: Sequence[tuple[Image, Answer]]
) -> list[Path]:
    """Write counts.csv, totals.csv, groups.csv if there are groups, and points.csv."""
    names = [*decisions.classes, "all"]
    header = ["image", *(f"{name}{end}" for name in names for end in ("", " low", " high"))]
    counts, points = [], []
    for image, answer in done:
        row: list[Any] = [image.name]
        for value, (low, high) in zip(
            [*answer.counts, answer.counts.sum()], answer.intervals, strict=True
        ):
            row += [f"{value:.1f}", f"{low:.1f}", f"{high:.1f}"]
        counts.append(row)
        for (x, y), kind, sure in zip(answer.points, answer.kinds, answer.confidence, strict=True):
            name = _name(decisions, kind)
            points.append((image.name, f"{x:.1f}", f"{y:.1f}", name, f"{sure:.3f}"))
    columns = ("class", "count", "low", "high")
    totals = [(n, f"{v:.1f}", f"{a:.1f}", f"{b:.1f}") for n, v, a, b in totals_of(decisions, done)]
    groups: dict[str, list[tuple[Image, Answer]]] = {}
    for image, answer in done:
        if image.group is not None:
            groups.setdefault(image.group, []).append((image, answer))
    of_groups = [
        (group, name, f"{value:.1f}", f"{low:.1f}", f"{high:.1f}")
        for group, own in groups.items()
        for name, value, low, high in totals_of(decisions, own)
    ]
    written = [write_table(out / "groups.csv", ("group", *columns), of_groups)] if groups else []
    return [
        *written,
        write_table(out / "counts.csv", header, counts),
        write_table(out / "totals.csv", columns, totals),
        write_table(out / "points.csv", ("image", "x", "y", "class", "confidence"), points),
    ]


def write_boxes(
    out: Path,
    decisions: Decisions,
    done: Sequence[tuple[Image, Answer]],
    formats: Sequence[str],
) -> list[Path]:
    """Write boxes.csv and the formats of boxes, where detectors looked."""
    asked = [name for name in formats if name in _BOX_FILES]
    if any(answer.boxes is None for _, answer in done):
        return []
    rows = []
    for image, answer in done:
        assert answer.boxes is not None
        for box, kind, sure in zip(answer.boxes, answer.kinds, answer.confidence, strict=True):
            corners = (f"{value:.1f}" for value in box.tolist())
            rows.append((image.name, *corners, _name(decisions, kind), f"{sure:.3f}"))
    header = ("image", "x0", "y0", "x1", "y1", "class", "confidence")
    written = [write_table(out / "boxes.csv", header, rows)]
    pictures = tuple(_picture(image, answer, decisions) for image, answer in done)
    classes = ("object",) if decisions.counter.merged else decisions.classes
    for name in asked:
        write = {"coco": coco.write, "yolo": yolo.write, "voc": voc.write}[name]
        written += write(Annotations(pictures, classes), out / _BOX_FILES[name])
    return written


def _name(decisions: Decisions, kind: int) -> str:
    """A class as tables have it."""
    return decisions.classes[kind] if kind >= 0 else "object"


def _picture(image: Image, answer: Answer, decisions: Decisions) -> Picture:
    """The objects of a photo: boxes where detectors looked, else points."""
    objects = []
    for n, (kind, sure) in enumerate(zip(answer.kinds, answer.confidence, strict=True)):
        label, confidence = _name(decisions, int(kind)), float(sure)
        if answer.boxes is None:
            x, y = answer.points[n].tolist()
            objects.append(Instance(label=label, point=(x, y), confidence=confidence))
        else:
            x0, y0, x1, y1 = answer.boxes[n].tolist()
            objects.append(Instance(label=label, box=(x0, y0, x1, y1), confidence=confidence))
    return Picture(image.name, image.size_hw, tuple(objects))


def write_places(
    out: Path,
    images: Path,
    decisions: Decisions,
    done: Sequence[tuple[Image, Answer]],
    formats: Sequence[str],
) -> list[Path]:
    """Write points in map coordinates, of the photos that have any."""
    placed = [(i, a) for i, a in done if geo.ground_of(i.path) is not None]
    asked = [name for name in ("geojson", "gpkg") if name in formats]
    if not placed:
        if asked:
            raise TransectError(
                f"no photo of {images} has a position on the ground, so {asked[0]} cannot be "
                "written. Give GeoTIFFs, or use points.csv."
            )
        return []
    folder = Pictures(images if images.is_dir() else images.parent)
    pictures = tuple(_picture(image, answer, decisions) for image, answer in placed)
    notes = Annotations(pictures, decisions.classes)
    suffixes = [".geojson", *([".gpkg"] if "gpkg" in asked else [])]
    written: list[Path] = []
    for suffix in suffixes:
        written += geo.write(notes, out / f"points{suffix}", pictures=folder)
    return written


def write_density(out: Path, image: Image, cells: CellMap) -> Path:
    """Write the maps at cell resolution, float32, one band per class, placed as the photo is."""
    path = made_path(out / "density", image.stem, ".tif")
    count, (height, width) = cells.drawn, cells.stored.shape[1:]
    tags: list[Any] = []
    ground = geo.ground_of(image.path)
    if ground is not None:
        (a, b, c), (d, e, f) = ground.matrix
        tall, wide = cells.cell_hw
        flat = (a * wide, b * tall, 0.0, c, d * wide, e * tall, 0.0, f)
        matrix = (*flat, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
        keys = [tag for tag in geo_tags(image.path) if tag[0] in (34735, 34736, 34737)]
        tags = [(34264, 12, 16, matrix, True), *keys]
    rows = (np.moveaxis(cells.values(r, r + 256)[-count:], 0, -1) for r in range(0, height, 256))
    write_tiff_bands(path, rows, (height, width, count), np.float32, extratags=tags)
    return path


def write_overlay(out: Path, image: Image, answer: Answer) -> None:
    """Write a small picture of a photo with its points or boxes."""
    small = small_view(open_reader(image.path), 1024)
    factor = small.shape[1] / image.size_hw[1]
    if answer.boxes is None:
        shown = dotted(small, answer.points * factor, answer.kinds)
    else:
        shown = boxed(small, answer.boxes * factor, answer.kinds)
    path = made_path(out / "overlays", image.stem, ".jpg")
    write_picture(path, shown)


def dotted(
    pixels: NDArray[Any], points: NDArray[np.float64], kinds: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """A picture as 8-bit colour with a ring around every point, coloured by class."""
    canvas = _canvas(pixels)
    for (x, y), kind in zip(points, kinds, strict=True):
        colour = _COLOURS[int(kind) % len(_COLOURS)]
        cv2.circle(canvas, (round(float(x)), round(float(y))), 4, colour, 1, cv2.LINE_AA)
    return canvas


def boxed(
    pixels: NDArray[Any], boxes: NDArray[np.float64], kinds: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """A picture as 8-bit colour with every box, coloured by class."""
    canvas = _canvas(pixels)
    for (x0, y0, x1, y1), kind in zip(np.rint(boxes).astype(int).tolist(), kinds, strict=True):
        colour = _COLOURS[int(kind) % len(_COLOURS)]
        cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, 1, cv2.LINE_AA)
    return canvas


def _canvas(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture as 8-bit colour, to be drawn on."""
    shown = pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, (1, 99))
        shown = np.clip((shown.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1) * 255
    return np.ascontiguousarray(shown, np.uint8)
