"""Which photos, and which part of them, to dot next: where the networks doubt, and what is new."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transect.count.detections import Detections
from transect.count.maps import Drawn, mean_map
from transect.count.predicting import CountPredictor, predictor_of
from transect.count.texture import texture_of
from transect.data.folder import list_new
from transect.data.images import open_reader
from transect.errors import TransectError
from transect.run import RunFolder
from transect.types import Progress

__all__ = ["Suggestion", "next_to_annotate"]

_CROP_PX = 512  # side of a suggested crop in network pixels; our choice


@dataclass(frozen=True)
class Suggestion:
    """One photo to dot.

    Attributes:
        image: Its name.
        box: x0, y0, x1, y1 of the crop with the most doubt, in pixels of the photo.
        score: Higher is more useful.
        doubt: Sum over the cells of the map of p (1 - p).
        strangeness: Distance of its texture from the training's, in deviations.
        width: Width of the interval of its total.
    """

    image: str
    box: tuple[int, int, int, int]
    score: float
    doubt: float
    strangeness: float
    width: float


def next_to_annotate(
    path: Path, images: Path, n: int, *, device: str = "cpu", progress: Progress
) -> list[Suggestion]:
    """Rank new photos by how much their dots would teach, the most useful first.

    Doubt and strangeness are ranked and added; every photo that is taken lowers those that look
    like it, so that a burst of the same beach does not fill the list.

    Args:
        path: The run.
        images: A folder of photos without dots.
        n: How many to name.
        device: Where.
        progress: Told how far.

    Returns:
        At most ``n`` suggestions.

    Raises:
        TransectError: If there is no photo that can be read.
    """
    run = RunFolder.open(path)
    question = run.recipe().question
    if question != "count":
        raise TransectError(
            f"{path} answers '{question}'; only runs that count name crops to annotate. Give the "
            "survey instead of the run."
        )
    listed, _ = list_new(images)
    predictor = predictor_of(run, device=device)
    if not isinstance(predictor, CountPredictor):
        raise TransectError(
            f"{path} was trained on totals and cannot say where it doubts. Dot some photos, and "
            "train on the dots."
        )
    known = run.read_json("look.json")
    texture = np.array(known["texture"], np.float64)
    mean, spread = texture.mean(axis=0), texture.std(axis=0) + 0.1
    found: list[Suggestion] = []
    looks: list[NDArray[np.float64]] = []
    for number, image in enumerate(listed):
        try:
            maps = predictor.map(image)
            own = texture_of(open_reader(image.path), predictor.network_scale)
        except TransectError as error:
            progress.say(f"left out: {image.name}: {error}")
            continue
        answer = predictor.answer(maps, image)
        doubt, box = _doubt(mean_map(maps), predictor.network_scale)
        width = float(answer.intervals[-1, 1] - answer.intervals[-1, 0])
        strange = float(np.sqrt((((own - mean) / spread) ** 2).mean()))
        found.append(Suggestion(image.name, box, 0.0, doubt, strange, width))
        looks.append((own - mean) / spread)
        progress.step("looking for doubt", number + 1, len(listed))
    return _spread_out(found, np.array(looks), n)


def _spread_out(found: list[Suggestion], looks: NDArray[np.float64], n: int) -> list[Suggestion]:
    """Take the best again and again, each time lowering what looks like it."""
    from dataclasses import replace

    if not found:
        return []
    score = _ranks([s.doubt for s in found]) + 0.5 * _ranks([s.strangeness for s in found])
    typical = float(np.median(np.linalg.norm(looks - looks.mean(axis=0), axis=1))) + 1e-9
    chosen: list[Suggestion] = []
    left = np.ones(len(found), bool)
    while left.any() and len(chosen) < n:
        best = int(np.where(left, score, -np.inf).argmax())
        chosen.append(replace(found[best], score=float(score[best])))
        left[best] = False
        distance = np.linalg.norm(looks - looks[best], axis=1)
        score = score - 0.5 * np.exp(-((distance / typical) ** 2))
    return chosen


def _ranks(values: list[float]) -> NDArray[np.float64]:
    """Ranks in [0, 1]."""
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return np.asarray(order / max(1, len(values) - 1), np.float64)


def _doubt(cells: Drawn, network_scale: float) -> tuple[float, tuple[int, int, int, int]]:
    """Sum of p (1 - p) of a photo, and the crop that has most of it."""
    if isinstance(cells, Detections):
        return _doubt_of_boxes(cells, network_scale)
    values = cells.values()[: cells.drawn].max(axis=0)
    share = np.clip(values, 0, 1)
    doubt = (share * (1 - share)).astype(np.float32)
    tall, wide = cells.cell_hw
    side = _CROP_PX / network_scale
    height, width = cells.size_hw
    crop = (min(round(side / tall), doubt.shape[0]), min(round(side / wide), doubt.shape[1]))
    crop = (max(1, crop[0]), max(1, crop[1]))
    sums = cv2.boxFilter(doubt, -1, crop[::-1], anchor=(0, 0), normalize=False,
                         borderType=cv2.BORDER_CONSTANT)  # fmt: skip
    inside = sums[: doubt.shape[0] - crop[0] + 1, : doubt.shape[1] - crop[1] + 1]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    x0, y0 = round(float(column) * wide), round(float(row) * tall)
    box = (x0, y0, min(width, round(x0 + crop[1] * wide)), min(height, round(y0 + crop[0] * tall)))
    return float(doubt.sum()), box


def _doubt_of_boxes(
    found: Detections, network_scale: float
) -> tuple[float, tuple[int, int, int, int]]:
    """The same of a photo that detectors looked at: the crop around one of its boxes."""
    side = round(_CROP_PX / network_scale)
    (height, width), doubt = found.size_hw, found.scores * (1 - found.scores)
    corners = np.clip(found.centres - side / 2, 0, [max(0, width - side), max(0, height - side)])
    corners = np.unique(np.rint(corners), axis=0) if len(corners) else np.zeros((1, 2))
    inside = ((found.centres >= corners[:, None]) & (found.centres < corners[:, None] + side)).all(
        2
    )
    x0, y0 = corners[int((inside * doubt).sum(axis=1).argmax())].astype(int).tolist()
    return float(doubt.sum()), (x0, y0, min(width, x0 + side), min(height, y0 + side))
