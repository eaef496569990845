"""The masks that a run answers for images that its networks and decisions did not see."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from transect.data.exchange import Instance
from transect.data.formats.label_images import instances_of
from transect.data.images import read_image
from transect.run import RunFolder
from transect.segment.deciding import Decisions
from transect.segment.masks import answer_of
from transect.segment.oof import OutOfFold
from transect.types import Image, Survey

__all__ = ["held_out_masks"]


def held_out_masks(run: RunFolder, survey: Survey, image: Image) -> Iterator[Instance]:
    """The objects of one image; of binary and class masks each connected piece is one.

    Args:
        run: Finished.
        survey: With its images.
        image: One of them.

    Yields:
        Objects with their masks; nothing for an image that was not held out.
    """
    decisions = Decisions.from_json(run.read_json("decide.json"))
    out_of_fold = OutOfFold(run, run.recipe(), survey.images)
    if image.name not in decisions.part_of or image not in out_of_fold.images:
        return
    labels = answer_of(
        out_of_fold.maps(image),
        read_image(image.path),
        decisions.nested[decisions.part_of[image.name]],
        decisions.kind,
        filled=out_of_fold.filled(image),
    )
    classes = run.read_json("inputs.json")["classes"] or ["object"]
    if decisions.kind == "instances":
        yield from instances_of(labels, classes[:1])
        return
    for value, label in enumerate(classes, start=1):
        _, pieces = cv2.connectedComponents((labels == value).astype(np.uint8), connectivity=8)
        yield from instances_of(pieces, [label])
