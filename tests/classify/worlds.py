"""Small surveys of coloured squares, and recipes that train on them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transect.data.png import write_png
from transect.recipe import (
    Augment,
    ClassifyDecide,
    Embedding,
    Folds,
    Geometry,
    Member,
    Optimizer,
    Recipe,
    Stage,
)

GEOMETRY = Geometry(fit="whole", size_hw=(32, 32))
FROZEN = Member("frozen", Embedding(head="linear", neck="none", pooling="avg"), GEOMETRY, stages=())


def write_squares(root: Path, *, kind: str = "single", count: int = 36, seed: int = 0) -> Path:
    """Single: red, green or blue; several: any of them side by side; grades: how bright."""
    rng = np.random.default_rng(seed)
    rows = [
        "image,grade" if kind == "grades" else "image,tags" if kind == "several" else "image,label"
    ]
    for i in range(count):
        pixels = rng.normal(60, 12, (24, 24, 3))
        if kind == "single":
            pixels[4:20, 4:20, i % 3] += 120
            rows.append(f"p{i:02d}.png,{('red', 'green', 'blue')[i % 3]}")
        elif kind == "grades":
            pixels += 45 * (i % 4)
            rows.append(f"p{i:02d}.png,{i % 4}")
        else:
            own = [c for c in range(3) if (i >> c) & 1]
            for c in own:
                pixels[4:20, 8 * c : 8 * c + 8, c] += 140
            rows.append(f"p{i:02d}.png,{';'.join(('red', 'green', 'blue')[c] for c in own)}")
        write_png(root / "images" / f"p{i:02d}.png", np.clip(pixels, 0, 255).astype(np.uint8))
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


def trained(
    name: str = "trained", *, loss: str = "ce", start: str = "logistic", **changes
) -> Member:
    """A member that takes a few steps."""
    more = {"epochs": 2, "steps": 3, "batch": 8, "loss": loss, "optimizer": Optimizer(lr=1e-3),
            **changes}  # fmt: skip
    return Member(
        name,
        Embedding(head="linear", head_start=start, neck="none", pooling="avg"),
        GEOMETRY,
        Augment(hflip=0.5, brightness=0.1),
        (Stage(**more),),
    )


def recipe(*members: Member, **changes) -> Recipe:
    """Two folds."""
    given = {"folds": Folds(count=2, stratify=("class",)), "decide": ClassifyDecide(), **changes}
    return Recipe(name="tiny", question="classify", members=members or (FROZEN,), **given)
