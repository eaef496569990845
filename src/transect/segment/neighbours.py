"""Masks made to agree with those of adjoining images: an optional step, off, and marked.

Images that were cut from one larger image can be put together again by their edges. Pulling
their masks together is knowledge that a survey of single images does not have: in the salt
competition it was a leak. It is offered for surveys that are mosaics on purpose, never chosen by
itself, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transect.audit.fingerprints import take_prints
from transect.audit.mosaics import find_seams
from transect.errors import TransectError
from transect.files import read_json
from transect.recipe import Recipe
from transect.run import RunFolder
from transect.segment.blending import log_odds
from transect.types import Image, MaskKind, Progress

__all__ = [
    "WARNING",
    "Adjoining",
    "adjoining",
    "beside",
    "borders_of",
    "check_neighbours",
    "neighbours_of",
    "pulled",
    "write_neighbours",
]

WARNING = (
    "Masks were pulled towards those of adjoining pictures (decide.neighbours). These scores hold "
    "only where new pictures are cut from mosaics, too."
)

_REACH_PX = 6.0  # our guess: how far from the seam a correction fades to a third
_OPPOSITE = {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}

Adjoining = Mapping[str, Mapping[str, str]]
"""Image to side (top, right, bottom, left) to the image that adjoins there."""


def adjoining(
    images: Sequence[Image], progress: Progress, *, together: Callable[[str], object] | None = None
) -> Adjoining:
    """Find which images adjoin, by the continuity of their edges.

    Args:
        images: The images.
        progress: Told how many were found.
        together: Images with different values (folds) are not joined; None joins all.

    Returns:
        Neighbours by side; images that have none are left out.
    """
    prints = take_prints(
        images,
        progress=lambda done, total: progress.step("looking for neighbours", done, total),
    )
    found: dict[str, dict[str, str]] = {}
    count = 0
    for seam in find_seams(prints):
        first, second = prints.names[seam.first], prints.names[seam.second]
        if together is not None and together(first) != together(second):
            continue
        side = "bottom" if seam.down else "right"
        found.setdefault(first, {})[side] = second
        found.setdefault(second, {})[_OPPOSITE[side]] = first
        count += 1
    progress.say(f"neighbours: {count} seams among {len(images)} pictures. {WARNING}")
    return found


def borders_of(maps: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The first map's outermost rows and columns in log-odds, by side."""
    first = maps[0]
    edges = {"top": first[0], "bottom": first[-1], "left": first[:, 0], "right": first[:, -1]}
    return {side: log_odds(edge) for side, edge in edges.items()}


def pulled(
    maps: NDArray[np.float32], beside: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Move the first map so that both sides of every seam meet halfway, in log-odds.

    Args:
        maps: (T, H, W) probabilities.
        beside: Side to the adjoining image's border there, from ``borders_of`` (that is, for
            our right side, its left border).

    Returns:
        (T, H, W); the correction fades from the seam inwards.
    """
    odds = log_odds(maps[0]).astype(np.float64)
    moved = odds.copy()
    rows, columns = (np.arange(size, dtype=np.float64) for size in odds.shape)
    for side, theirs in beside.items():
        along = rows if side in ("top", "bottom") else columns
        far = along if side in ("top", "left") else along[::-1]
        fade = np.exp(-far / _REACH_PX)
        ours = borders_of(maps)[side]
        if ours.shape != theirs.shape:
            continue
        half = (theirs - ours) / 2
        upright = side in ("top", "bottom")
        moved += fade[:, None] * half[None] if upright else half[:, None] * fade[None]
    out = maps.copy()
    out[0] = 1 / (1 + np.exp(-moved))
    return out


def beside(
    name: str, joined: Adjoining, borders: Callable[[str], Mapping[str, NDArray[np.float32]]]
) -> dict[str, NDArray[np.float32]]:
    """What ``pulled`` needs for an image: the borders that meet its sides.

    Args:
        name: Of the image.
        joined: From ``adjoining``.
        borders: From an image's name to its ``borders_of``; empty where it has no answer.
    """
    meeting = {
        side: borders(other).get(_OPPOSITE[side]) for side, other in joined.get(name, {}).items()
    }
    return {side: edge for side, edge in meeting.items() if edge is not None}


def check_neighbours(recipe: Recipe, kind: MaskKind) -> None:
    """Refuse the step for masks that are not binary, before anything is trained.

    Raises:
        TransectError: If ``decide.neighbours`` is on for another kind.
    """
    if getattr(recipe.decide, "neighbours", False) and kind != "binary":
        raise TransectError(
            f"decide.neighbours joins binary masks, and these are {kind}. Set it to false."
        )


def write_neighbours(
    run: RunFolder,
    recipe: Recipe,
    images: Sequence[Image],
    folds: NDArray[np.int64],
    progress: Progress,
) -> None:
    """Note which training images adjoin, where the recipe asks for it.

    Images of two folds are not joined: the answer for one comes from models that were trained
    on the other.
    """
    if not getattr(recipe.decide, "neighbours", False) or (run.path / "neighbours.json").is_file():
        return
    fold_of = {image.name: int(fold) for image, fold in zip(images, folds, strict=True)}
    run.write_json("neighbours.json", adjoining(images, progress, together=fold_of.get))


def neighbours_of(run: RunFolder) -> Adjoining:
    """What ``write_neighbours`` noted; empty if it did not."""
    path = run.path / "neighbours.json"
    found: Adjoining = read_json(path) if path.is_file() else {}
    return found
