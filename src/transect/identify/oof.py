"""What every scorer says of every photo by models that had not seen it: the out-of-fold file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.files import digest_of, read_json, safe_join, write_json
from transect.identify.belongings import catalogue_of, keypoints_of
from transect.identify.folds import fold_truth
from transect.identify.geometry import GeometryModel, fit_geometry
from transect.identify.photos import Photos
from transect.identify.predictor import (
    Features,
    QueryScores,
    Scorers,
    match_queries,
    score_queries,
)
from transect.identify.projection import load_projection, save_projection
from transect.identify.scorers import (
    EXTRA,
    FoldModel,
    fit_projections,
    joined_vectors,
    raw_vectors,
    source_names,
    write_array,
    write_arrays,
)
from transect.identify.sides import reachable
from transect.identify.training import training_labels
from transect.matching import PairTable
from transect.openset.evidence import UNKNOWN
from transect.recipe import IdentifyDecide, Member, Recipe
from transect.run import RunFolder
from transect.task import used_folds
from transect.types import Progress

__all__ = ["FoldQueries", "OutOfFold", "embed_photos", "fold_model", "fold_queries"]
__all__ += ["fold_vectors", "score_held_out", "write_counts"]


@dataclass(frozen=True)
class FoldQueries:
    """The queries of one fold.

    Attributes:
        fold: Its number.
        queries: (Q,) rows of photos.
        gallery: (G,) rows of photos.
        truth: (Q,) number of the individual, or ``UNKNOWN`` if the gallery has no photo of it that
            the query can be compared with.
    """

    fold: int
    queries: NDArray[np.int64]
    gallery: NDArray[np.int64]
    truth: NDArray[np.int64]


@dataclass(frozen=True)
class OutOfFold:
    """All out-of-fold queries with what the scorers say.

    Attributes:
        rows: (Q,) rows of photos.
        folds: (Q,) fold of each.
        truth: (Q,) number of the individual, or ``UNKNOWN``.
        scores: What the scorers say.
    """

    rows: NDArray[np.int64]
    folds: NDArray[np.int64]
    truth: NDArray[np.int64]
    scores: QueryScores


def fold_queries(
    photos: Photos, folds: NDArray[np.int64], recipe: Recipe, people: NDArray[np.str_]
) -> list[FoldQueries]:
    """What every used fold asks."""
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    owners, sides = owners_of(photos, people), photos.sides()
    found = []
    for fold in used_folds(recipe):
        queries, gallery, _ = fold_truth(
            photos.named().tolist(), folds, fold, unknown=photos.unknown
        )
        truth = reachable(
            owners[queries], sides[queries], owners[gallery], sides[gallery], decide.sides
        )
        found.append(FoldQueries(fold, queries, gallery, truth))
    return found


def owners_of(photos: Photos, people: NDArray[np.str_]) -> NDArray[np.int64]:
    """(N,) number of each photo's individual, or ``UNKNOWN``."""
    names = photos.named()
    return np.where(names == photos.unknown, UNKNOWN, np.searchsorted(people, names))


def fold_model(run: RunFolder, member: Member, fold: int) -> FoldModel:
    """A member as a fold trained it."""
    folder = run.fold(member.name, fold)
    counts = tuple(int(c) for c in read_json(folder / "counts.json"))
    channels = int(run.read_json("inputs.json")["channels"])
    named = folder / "classes.json"
    classes = tuple(str(c) for c in read_json(named)) if named.is_file() else ()
    projections = tuple(
        load_projection(folder / f"projection{number}.npz")
        for number in range(len(list(folder.glob("projection*.npz"))))
    )
    if not member.stages:
        return FoldModel(member, (), counts, projections, channels, classes)
    done = read_json(folder / "done.json")
    snapshots = tuple(
        (safe_join(folder, str(entry["file"])), float(entry["weight"]))
        for entry in done["snapshots"]
        if float(entry["weight"]) > 0
    )
    return FoldModel(member, snapshots, counts, projections, channels, classes)


def write_counts(
    run: RunFolder, member: Member, fold: int, names: NDArray[np.str_], unknown: str
) -> None:
    """Keep the classes and their numbers of training photos, which the margin head needs."""
    counts = training_labels(names, unknown)[1]
    write_json(run.fold(member.name, fold) / "counts.json", counts)
    classes = np.unique(names[names != unknown]).tolist()
    write_json(run.fold(member.name, fold) / "classes.json", classes)


def embed_photos(
    run: RunFolder,
    recipe: Recipe,
    member: Member,
    photos: Photos,
    folds: NDArray[np.int64],
    *,
    device: str,
    progress: Progress,
) -> None:
    """Turn all photos into vectors by every fold's model of a member, projections fitted.

    The vectors are kept in the run; what is there is not made again. A network that is not trained
    sees each photo once for all folds.
    """
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    shared: list[tuple[NDArray[np.float32], float]] | None = None
    everything = np.arange(len(photos))
    for fold in used_folds(recipe):
        folder = run.fold(member.name, fold)
        if run.done(f"vectors-{member.name}-{fold}"):
            continue
        progress.step(f"extracting embeddings, {member.name}, fold {fold}", 0, 1)
        model = fold_model(run, member, fold)
        found = shared or raw_vectors(
            model, photos, everything, decide, views=recipe.views, device=device
        )
        if not member.stages:
            shared = found
        rows = np.flatnonzero(folds != fold)
        label = training_labels(photos.classes()[rows], photos.unknown)[0]
        fitted = fit_projections(model, [(v[rows], w) for v, w in found], label)
        for number, projection in enumerate(fitted):
            save_projection(folder / f"projection{number}.npz", projection)
        model = replace(model, projections=fitted)
        write_array(folder / "photos.npy", joined_vectors(model, found))
        run.mark(f"vectors-{member.name}-{fold}")
        progress.step(f"extracting embeddings, {member.name}, fold {fold}", 1, 1)


def digest_of_networks(run: RunFolder, layout: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of all that turns a photo into a catalogue's vector: weights and projections.

    Args:
        run: The run.
        layout: Of the catalogue; its members and folds are looked at.
    """
    members = {member.name: member for member in run.recipe().members}
    parts = []
    for entry in layout:
        folder = run.fold(str(entry["member"]), int(entry["fold"]))
        files = sorted(folder.glob("projection*.npz"))
        if entry["member"] in members:
            model = fold_model(run, members[entry["member"]], int(entry["fold"]))
            files += [path for path, _ in model.snapshots]
        parts.append((entry["member"], entry["fold"], [digest_of(path) for path in files]))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def fold_vectors(run: RunFolder, member: Member, fold: int) -> NDArray[np.float32]:
    """Vectors of all photos by one fold's model, as ``embed_photos`` kept them."""
    kept: NDArray[np.float32] = np.load(
        run.fold(member.name, fold) / "photos.npy", mmap_mode="r", allow_pickle=False
    )
    return kept


def score_held_out(
    run: RunFolder,
    recipe: Recipe,
    photos: Photos,
    folds: NDArray[np.int64],
    people: NDArray[np.str_],
    *,
    device: str,
    progress: Progress,
) -> OutOfFold:
    """Ask every scorer about every held-out photo.

    Args:
        run: With all folds trained and all photos embedded.
        recipe: Its recipe.
        photos: All photos.
        folds: (N,) fold of each.
        people: Names of the individuals, sorted.
        device: Where.
        progress: Told what happens.

    Returns:
        Queries of all used folds, one after another. What the scorers say is also kept in
        ``oof/scores.npz``.
    """
    asked = fold_queries(photos, folds, recipe, people)
    features = _features(run, recipe, photos, people, progress)
    scorers = [_scorers(run, recipe, ask.fold, people, device) for ask in asked]
    data = str([s.key for s in photos.subjects])
    where = run.path / "oof" / "pairs"
    if "geometry" in source_names(recipe):
        tables = [
            match_queries(
                own,
                features.take(ask.queries),
                features.take(ask.gallery),
                progress,
                folder=where / f"fold{ask.fold}",
                data=data,
            )
            for own, ask in zip(scorers, asked, strict=True)
        ]
        models = _fit_geometry(run, recipe, PairTable.joined(tables), features.owners, folds)
        scorers = [
            replace(own, geometry=models[ask.fold]) for own, ask in zip(scorers, asked, strict=True)
        ]
    parts = [
        score_queries(
            own,
            features.take(ask.queries),
            features.take(ask.gallery),
            progress,
            folder=where / f"fold{ask.fold}",
            data=data,
        )
        for own, ask in zip(scorers, asked, strict=True)
    ]
    found = OutOfFold(
        rows=np.concatenate([ask.queries for ask in asked]),
        folds=np.concatenate([np.full(len(ask.queries), ask.fold) for ask in asked]),
        truth=np.concatenate([ask.truth for ask in asked]),
        scores=QueryScores.joined(parts),
    )
    write_arrays(run.oof() / "scores.npz", rows=found.rows, **found.scores.arrays())
    return found


def _scorers(
    run: RunFolder, recipe: Recipe, fold: int, people: NDArray[np.str_], device: str
) -> Scorers:
    """One fold's scorers, without its judge of views."""
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    names = source_names(recipe)
    models = {m.name: {fold: fold_model(run, m, fold)} for m in recipe.members if m.name in names}
    return Scorers(names, models, tuple(people.tolist()), decide, device)


def _features(
    run: RunFolder,
    recipe: Recipe,
    photos: Photos,
    people: NDArray[np.str_],
    progress: Progress,
) -> Features:
    """All photos as the scorers see them."""
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    names = source_names(recipe)
    files = keypoints_of(catalogue_of(run.path), decide)
    counts = files.take(photos.subjects, progress) if set(EXTRA) & set(names) else None
    keys = [s.key for s in photos.subjects]
    return Features(
        rows=np.arange(len(photos)),
        owners=owners_of(photos, people),
        sides=photos.sides(),
        vectors={
            (member.name, fold): fold_vectors(run, member, fold)
            for member in recipe.members
            if member.name in names
            for fold in used_folds(recipe)
        },
        keypoints=lambda i: files.read(keys[i]),
        counts=counts,
    )


def _fit_geometry(
    run: RunFolder,
    recipe: Recipe,
    table: PairTable,
    owners: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> dict[int, GeometryModel]:
    """The judge of views of every fold, and one of all pairs for new photos; kept in the run."""
    same = (owners[table.query] == owners[table.gallery]) & (owners[table.query] >= 0)
    ends = np.stack([folds[table.query], folds[table.gallery]])
    found: dict[int, GeometryModel] = {}
    for fold in used_folds(recipe):
        rows = (ends != fold).all(axis=0)
        if not rows.any():  # two folds: every pair has an end in each
            rows = ends[0] != fold
        if not rows.any():  # one fold: nothing better can be had
            rows = np.ones(len(table), bool)
        found[fold] = fit_geometry(table.take(rows), same[rows], seed=recipe.seed)
    of_all = fit_geometry(table, same, seed=recipe.seed)
    for number, model in (*found.items(), (None, of_all)):
        if not geometry_file(run, number).is_file():  # the same again, but for the time it bears
            model.save(geometry_file(run, number))
    return found


def geometry_file(run: RunFolder, fold: int | None) -> Path:
    """Where a fold's judge of views is kept; None: that of all folds together."""
    return run.path / ("geometry.skops" if fold is None else f"geometry-fold{fold}.skops")
