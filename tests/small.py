"""Small surveys and a recipe that trains in seconds, for tests of whole stories."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from transect.recipe import (
    Augment,
    Folds,
    Geometry,
    Member,
    Network,
    Optimizer,
    Recipe,
    SegmentDecide,
    Stage,
)

TINY = Network(
    encoder="plain", weights=None, width=6, levels=3, decoder_channels=(12, 8), norm="group"
)


def tiny_recipe(**changes) -> Recipe:
    """A U-Net of a few thousand weights on 48 px tiles, two folds, three short epochs."""
    stage = Stage(
        epochs=3, steps=12, batch=4, loss="bce + dice", optimizer=Optimizer(name="adam", lr=1e-2)
    )
    member = Member(
        network=TINY,
        geometry=Geometry(fit="tile", size_hw=(48, 48), overlap=0.25, normalise="unit"),
        augment=Augment(hflip=0.5),
        stages=(stage,),
    )
    recipe = Recipe(
        name="tiny",
        members=(member,),
        folds=Folds(count=2),
        views=("identity", "hflip"),
        decide=SegmentDecide(metric="dice"),
    )
    return dataclasses.replace(recipe, **changes)


def write_disc_survey(root: Path, *, count: int = 8, seed: int = 0, kind: str = "binary") -> Path:
    """Bright discs on a dark, noisy ground, with their masks."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for i in range(count):
        height, width = int(rng.integers(60, 90)), int(rng.integers(60, 90))
        mask = np.zeros((height, width), np.int32)
        for number in range(1, int(rng.integers(2, 5))):
            centre = (int(rng.integers(10, width - 10)), int(rng.integers(10, height - 10)))
            value = number if kind == "instances" else 1 + (number % 2) * (kind == "classes")
            cv2.circle(mask, centre, int(rng.integers(5, 10)), value, -1)
        image = 40 + 120 * (mask > 0) + 40 * (mask == 2) * (kind == "classes")
        image = np.clip(image + rng.normal(0, 10, mask.shape), 0, 255).astype(np.uint8)
        scale = 255 if kind == "binary" else 1
        cv2.imwrite(str(root / "images" / f"p{i}.png"), image)
        cv2.imwrite(
            str(root / "masks" / f"p{i}.png"),
            (mask * scale).astype(np.uint16 if kind == "instances" else np.uint8),
        )
    return root
