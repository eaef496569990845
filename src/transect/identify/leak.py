"""What a careless split would report: scores with the query's own encounter in the gallery."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.identify.oof import fold_model
from transect.identify.photos import Photos
from transect.identify.scorers import image_scores, source_names
from transect.recipe import Recipe
from transect.run import RunFolder
from transect.task import used_folds

__all__ = ["same_encounter_leak"]


def same_encounter_leak(
    run: RunFolder, recipe: Recipe, photos: Photos, folds: NDArray[np.int64]
) -> dict[str, Any] | None:
    """Name photos once with and once without the rest of their encounter in the gallery.

    Only photos count whose individual has photos in another encounter and in the same one: the
    two shares differ by the gallery alone.

    Args:
        run: With the vectors of all photos.
        recipe: Its recipe.
        photos: All photos.
        folds: (N,) fold of each.

    Returns:
        Source, number of queries, and the share named rightly each way; None if no such photo or
        no network is there.
    """
    wanted = source_names(recipe)
    member = next((m for m in recipe.members if m.name in wanted), None)
    if member is None:
        return None
    names = photos.named()
    groups = np.array([s.group or f"alone {s.key}" for s in photos.subjects], dtype=np.str_)
    named = np.flatnonzero(names != photos.unknown)
    hits: dict[str, list[bool]] = {"with": [], "without": []}
    for fold in used_folds(recipe):
        path = run.fold(member.name, fold) / "photos.npy"
        if not path.is_file():
            return None
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        queries = named[folds[named] == fold]
        if not len(queries):
            continue
        model = fold_model(run, member, fold)
        scores = image_scores(model, vectors[queries], vectors[named], device="cpu")
        for row, query in enumerate(queries.tolist()):
            own = groups[named] == groups[query]
            same = names[named] == names[query]
            if not (same & ~own).any() or (same & own).sum() < 2:
                continue
            table = np.where(named == query, -np.inf, scores[row])
            hits["with"].append(bool(same[table.argmax()]))
            hits["without"].append(bool(same[np.where(own, -np.inf, table).argmax()]))
    if not hits["with"]:
        return None
    return {
        "source": member.name,
        "queries": len(hits["with"]),
        "with": float(np.mean(hits["with"])),
        "without": float(np.mean(hits["without"])),
    }
