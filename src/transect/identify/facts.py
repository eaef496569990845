"""What a finished run keeps of its survey: facts for the report, and the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.catalogue.store import Catalogue, Photo
from transect.identify.belongings import album_of, catalogue_of
from transect.identify.identifier import layout_of
from transect.identify.leak import same_encounter_leak
from transect.identify.oof import digest_of_networks, fold_vectors
from transect.identify.photos import Photos
from transect.identify.scorers import source_names
from transect.task import Work

__all__ = ["facts_of", "write_catalogue"]


def facts_of(work: Work[Photos], people: NDArray[np.str_]) -> dict[str, Any]:
    """What the report says of the survey.

    Args:
        work: The training.
        people: Names of the individuals, sorted.
    """
    photos = work.dataset
    names = photos.named()
    named = names[names != photos.unknown]
    met = {
        str(person): len({photos.subjects[i].group or i for i in np.flatnonzero(names == person)})
        for person in people
    }
    return {
        "photos": len(photos),
        "people": people.tolist(),
        "keys": [s.key for s in photos.subjects],
        "identities": names.tolist(),
        "counts": np.unique(named, return_counts=True)[1].tolist(),
        "encounters": len({s.group or s.key for s in photos.subjects}),
        "once": sum(count == 1 for count in met.values()),
        "unnamed": int((names == photos.unknown).sum()),
        "leak": same_encounter_leak(work.run, work.recipe, photos, work.folds),
    }


def write_catalogue(work: Work[Photos]) -> None:
    """Begin the run's catalogue: all photos, with the vectors of every member and fold."""
    run, recipe, photos = work.run, work.recipe, work.dataset
    folder = catalogue_of(run.path)
    album_of(folder).keep(photos)
    if Catalogue.there(folder) and len(Catalogue.open(folder)):
        return
    names = source_names(recipe)
    parts: list[NDArray[np.float32]] = []
    shapes: dict[tuple[str, int], tuple[int, ...]] = {}
    for member in recipe.members:
        if member.name not in names:
            continue
        for fold in work.used:
            vectors = fold_vectors(run, member, fold)
            shapes[member.name, fold] = vectors.shape[1:]
            parts.append(np.asarray(vectors).reshape(len(photos), -1))
    if not Catalogue.there(folder):
        layout = layout_of(shapes)
        about = {"layout": layout, "networks": digest_of_networks(run, layout)}
        Catalogue.create(folder, about=about)
    together = np.concatenate(parts, axis=1) if parts else np.zeros((len(photos), 1), np.float32)
    Catalogue.open(folder).add(
        [
            Photo(s.key, s.identity or photos.unknown, s.group or "", s.date or "", s.side or "")
            for s in photos.subjects
        ],
        together,
        who="transect train",
    )
