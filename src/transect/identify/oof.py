"""What every source says of every photo by models that had not seen it, assembled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transect.files import read_json, safe_join, write_json
from transect.identify.folds import fold_truth
from transect.identify.geometry import NOTHING, KeypointFiles, fit_geometry, match_rows
from transect.identify.photos import Photos
from transect.identify.projection import load_projection, save_projection
from transect.identify.scorers import (
    FoldModel,
    fit_projections,
    identity_scores,
    image_scores,
    joined_vectors,
    raw_vectors,
    source_names,
    write_array,
)
from transect.identify.training import training_labels
from transect.matching import lnbnn_scores
from transect.openset.aggregation import to_identity
from transect.openset.evidence import FAR, NOBODY, UNKNOWN
from transect.openset.fusion import Candidates, gather, joined
from transect.recipe import IdentifyDecide, Member, Recipe
from transect.run import RunFolder
from transect.types import Progress

__all__ = [
    "Asked",
    "OutOfFold",
    "assemble",
    "fold_model",
    "used_folds",
    "write_people",
]

NEAREST = 100  # photos kept per query
UNVERIFIED = -4.85  # -8 + log(1 + 500) / 2: no pair without a homography scores higher


@dataclass(frozen=True)
class Asked:
    """The queries of one fold.

    Attributes:
        fold: Its number.
        queries: (Q,) rows of photos.
        gallery: (G,) rows of photos.
        truth: (Q,) number of the identity, or ``UNKNOWN``.
    """

    fold: int
    queries: NDArray[np.int64]
    gallery: NDArray[np.int64]
    truth: NDArray[np.int64]


@dataclass(frozen=True)
class OutOfFold:
    """All out-of-fold queries with what the sources say.

    Attributes:
        rows: (Q,) rows of photos.
        folds: (Q,) fold of each.
        truth: (Q,) number of the identity, or ``UNKNOWN``.
        candidates: Of all sources.
        image_identities: (Q, M) identities of the nearest gallery photos.
        image_rows: (Q, M) those photos' rows, -1 where there are fewer.
        image_scores: (Q, M) their scores.
        proof: (Q,) best score of a verified pair, or None without geometry.
        proof_identity: (Q,) whose.
        proof_rows: (Q,) the gallery photo of that pair, -1 if there is none.
    """

    rows: NDArray[np.int64]
    folds: NDArray[np.int64]
    truth: NDArray[np.int64]
    candidates: Candidates
    image_identities: NDArray[np.int64]
    image_rows: NDArray[np.int64]
    image_scores: NDArray[np.float64]
    proof: NDArray[np.float64] | None
    proof_identity: NDArray[np.int64] | None
    proof_rows: NDArray[np.int64] | None


def used_folds(recipe: Recipe) -> range:
    """The folds that are trained."""
    return range(recipe.folds.use or recipe.folds.count)


def questions(
    photos: Photos, folds: NDArray[np.int64], used: Sequence[int], people: NDArray[np.str_]
) -> list[Asked]:
    """What every used fold asks."""
    names = photos.named()
    found = []
    for fold in used:
        queries, gallery, truth = fold_truth(names.tolist(), folds, fold, unknown=photos.unknown)
        number = np.searchsorted(people, truth).astype(np.int64)
        found.append(
            Asked(fold, queries, gallery, np.where(truth == photos.unknown, UNKNOWN, number))
        )
    return found


def fold_model(run: RunFolder, member: Member, fold: int) -> FoldModel:
    """A member as a fold trained it."""
    folder = run.fold(member.name, fold)
    counts = tuple(int(c) for c in read_json(folder / "people.json"))
    projections = tuple(
        load_projection(folder / f"projection{number}.npz")
        for number in range(len(list(folder.glob("projection*.npz"))))
    )
    if not member.stages:
        return FoldModel(member, (), counts, projections)
    done = read_json(folder / "done.json")
    snapshots = tuple(
        (safe_join(folder, str(entry["file"])), float(entry["weight"]))
        for entry in done["snapshots"]
        if float(entry["weight"]) > 0
    )
    return FoldModel(member, snapshots, counts, projections)


def write_people(
    run: RunFolder, member: Member, fold: int, names: NDArray[np.str_], unknown: str
) -> None:
    """Keep the number of training photos per identity, which the margin head needs."""
    counts = training_labels(names, unknown)[1]
    write_json(run.fold(member.name, fold) / "people.json", counts)


def look_at_photos(
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
    looks at each photo once for all folds.
    """
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    shared: list[tuple[NDArray[np.float32], float]] | None = None
    everything = np.arange(len(photos))
    for fold in used_folds(recipe):
        folder = run.fold(member.name, fold)
        if run.done(f"vectors-{member.name}-{fold}"):
            continue
        progress.step(f"looking at all photos, {member.name}, fold {fold}", 0, 1)
        model = fold_model(run, member, fold)
        found = shared or raw_vectors(
            model, photos, everything, decide, views=recipe.views, device=device
        )
        if not member.stages:
            shared = found
        rows = np.flatnonzero(folds != fold)
        label = training_labels(photos.named()[rows], photos.unknown)[0]
        fitted = fit_projections(model, [(v[rows], w) for v, w in found], label)
        for number, projection in enumerate(fitted):
            save_projection(folder / f"projection{number}.npz", projection)
        model = replace(model, projections=fitted)
        write_array(folder / "photos.npy", joined_vectors(model, found))
        run.mark(f"vectors-{member.name}-{fold}")
        progress.step(f"looking at all photos, {member.name}, fold {fold}", 1, 1)


def fold_vectors(run: RunFolder, member: Member, fold: int) -> NDArray[np.float32]:
    """Vectors of all photos by one fold's model, as ``look_at_photos`` kept them."""
    kept: NDArray[np.float32] = np.load(
        run.fold(member.name, fold) / "photos.npy", mmap_mode="r", allow_pickle=False
    )
    return kept


def assemble(
    run: RunFolder,
    recipe: Recipe,
    photos: Photos,
    folds: NDArray[np.int64],
    people: NDArray[np.str_],
    *,
    device: str,
    workers: int,
    progress: Progress,
) -> OutOfFold:
    """Ask every source about every held-out photo.

    Args:
        run: With all folds trained.
        recipe: Its recipe.
        photos: All photos.
        folds: (N,) fold of each.
        people: Names of the identities, sorted.
        device: Where.
        workers: Threads of the matching.
        progress: Told what happens.

    Returns:
        Queries of all used folds, one after another.
    """
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    names = source_names(recipe)
    owners = np.searchsorted(people, photos.named()).astype(np.int64)
    owners = np.where(photos.named() == photos.unknown, UNKNOWN, owners)
    asked = questions(photos, folds, used_folds(recipe), people)
    tables: list[dict[str, NDArray[np.float64]]] = [{} for _ in asked]
    nearest: list[NDArray[np.float32] | None] = [None for _ in asked]
    for member in recipe.members:
        if member.name not in names:
            continue
        for number, ask in enumerate(asked):
            vectors = fold_vectors(run, member, ask.fold)
            model = fold_model(run, member, ask.fold)
            queries, gallery = vectors[ask.queries], vectors[ask.gallery]
            scores = image_scores(model, photos, queries, gallery, device=device)
            tables[number][member.name] = identity_scores(
                model, scores, queries, gallery, owners[ask.gallery], len(people), decide
            )
            before = nearest[number]
            nearest[number] = scores if before is None else before + scores
    proofs = None
    if "geometry" in names or "lnbnn" in names:
        files = KeypointFiles.of(run.path / "keypoints", decide)
        files.take(photos.subjects, progress)
        if "geometry" in names:
            proofs = _with_geometry(
                run, decide, photos, files, asked, nearest, owners, tables, len(people),
                workers=workers, seed=recipe.seed, progress=progress,
            )  # fmt: skip
        if "lnbnn" in names:
            _with_lnbnn(photos, files, asked, owners, tables, len(people), progress)
    parts = [gather({n: table[n] for n in names}, keep=50) for table in tables]
    rows, owned, near = _nearest_photos(asked, nearest, proofs, owners)
    proof, whose, pair_rows = _proof(proofs, asked, owners)
    return OutOfFold(
        rows=np.concatenate([a.queries for a in asked]),
        folds=np.concatenate([np.full(len(a.queries), a.fold) for a in asked]),
        truth=np.concatenate([a.truth for a in asked]),
        candidates=joined(parts),
        image_identities=owned,
        image_rows=rows,
        image_scores=near,
        proof=proof,
        proof_identity=whose,
        proof_rows=pair_rows,
    )


def _with_geometry(
    run: RunFolder,
    decide: IdentifyDecide,
    photos: Photos,
    files: KeypointFiles,
    asked: list[Asked],
    nearest: list[NDArray[np.float32] | None],
    owners: NDArray[np.int64],
    tables: list[dict[str, NDArray[np.float64]]],
    count: int,
    *,
    workers: int,
    seed: int,
    progress: Progress,
) -> list[NDArray[np.float32]]:
    """Match the pairs of all folds once, judge them out of fold, and fill the tables in."""
    wanted = []
    for ask, near in zip(asked, nearest, strict=True):
        if decide.shortlist and near is not None and decide.shortlist < len(ask.gallery):
            best = np.argpartition(-near, decide.shortlist - 1, axis=1)[:, : decide.shortlist]
        else:
            best = np.broadcast_to(
                np.arange(len(ask.gallery)), (len(ask.queries), len(ask.gallery))
            )
        left = np.repeat(ask.queries, best.shape[1])
        wanted.append(np.stack([left, ask.gallery[best].ravel()], axis=1))
    # A pair is matched once, whichever of the two asked first.
    pairs = np.unique(np.sort(np.concatenate(wanted), axis=1), axis=0)
    keys = [s.key for s in photos.subjects]
    found = match_rows(
        lambda i: files.read(keys[i]),
        lambda i: files.read(keys[i]),
        pairs,
        decide=decide,
        folder=run.path / "oof" / "pairs",
        data=f"{files.spec} {keys}",
        workers=workers,
        progress=progress,
    )
    fold_of = np.full(len(photos), -1, np.int64)
    for ask in asked:
        fold_of[ask.queries] = ask.fold
    # A pair is asked by the folds of its ends; it is judged by a model that saw neither's fold
    # where that can be had, else by one that did not see the first end's.
    scores, model = fit_geometry(
        found,
        (owners[found.query] == owners[found.gallery]) & (owners[found.query] >= 0),
        np.maximum(fold_of[found.query], fold_of[found.gallery]),
        seed=seed,
    )
    if not (run.path / "geometry.skops").is_file():
        model.save(run.path / "geometry.skops")
    dense = PairLookup(found.query, found.gallery, scores)
    out = []
    for ask, table, mine in zip(asked, tables, wanted, strict=True):
        pairwise = np.full((len(ask.queries), len(ask.gallery)), -np.inf, np.float32)
        row = np.searchsorted(ask.queries, mine[:, 0])
        column = np.searchsorted(ask.gallery, mine[:, 1])
        pairwise[row, column] = dense(mine)
        table["geometry"] = to_identity(pairwise, owners[ask.gallery], count)
        out.append(pairwise)
    return out


class PairLookup:
    """Scores of pairs by their rows; pairs without matches have the least score."""

    def __init__(
        self,
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        scores: NDArray[np.float64],
    ) -> None:
        self._scores = scores
        low, high = np.minimum(first, second), np.maximum(first, second)
        self._width = int(high.max(initial=0)) + 1
        keys = low * self._width + high
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def __call__(self, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        """(P,) scores of (P, 2) pairs."""
        if not len(self._keys):
            return np.full(len(pairs), NOTHING)
        low, high = pairs.min(axis=1), pairs.max(axis=1)
        keys = low * self._width + high
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        known = (self._keys[place] == keys) & (high < self._width)
        return np.where(known, self._scores[self._order[place]], NOTHING)


def _with_lnbnn(
    photos: Photos,
    files: KeypointFiles,
    asked: list[Asked],
    owners: NDArray[np.int64],
    tables: list[dict[str, NDArray[np.float64]]],
    count: int,
    progress: Progress,
) -> None:
    """Votes of keypoints, fold by fold."""
    for done, (ask, table) in enumerate(zip(asked, tables, strict=True)):
        gallery = [files.read(photos.subjects[i].key) for i in ask.gallery]
        queries = [files.read(photos.subjects[i].key) for i in ask.queries]
        scores = lnbnn_scores(queries, gallery, owners[ask.gallery]).astype(np.float64)
        full = np.zeros((len(ask.queries), count))
        full[:, : scores.shape[1]] = scores
        absent = ~np.isin(np.arange(count), owners[ask.gallery])
        full[:, absent] = -np.inf
        table["lnbnn"] = full
        progress.step("voting of keypoints", done + 1, len(asked))


def _nearest_photos(
    asked: list[Asked],
    nearest: list[NDArray[np.float32] | None],
    proofs: list[NDArray[np.float32]] | None,
    owners: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows, owners and scores of the nearest gallery photos of every query."""
    width = max(1, min(NEAREST, max(len(a.gallery) for a in asked)))
    rows, names, values = [], [], []
    for number, ask in enumerate(asked):
        scores = nearest[number]
        if scores is None and proofs is not None:
            scores = proofs[number]
        if scores is None:
            scores = np.zeros((len(ask.queries), len(ask.gallery)), np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :width]
        found = np.take_along_axis(scores, order, axis=1).astype(np.float64)
        short = ((0, 0), (0, width - order.shape[1]))
        rows.append(np.pad(ask.gallery[order], short, constant_values=-1))
        names.append(np.pad(owners[ask.gallery][order], short, constant_values=NOBODY))
        values.append(np.pad(np.maximum(found, -FAR), short, constant_values=-FAR))
    return np.concatenate(rows), np.concatenate(names), np.concatenate(values)


def _proof(
    proofs: list[NDArray[np.float32]] | None, asked: list[Asked], owners: NDArray[np.int64]
) -> tuple[NDArray[np.float64] | None, NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """The best verified pair of every query: its score, whose it is, and its gallery row."""
    if proofs is None:
        return None, None, None
    found = [
        best_proof(scores, owners[ask.gallery], ask.gallery)
        for scores, ask in zip(proofs, asked, strict=True)
    ]
    score, whose, rows = (np.concatenate(part) for part in zip(*found, strict=True))
    return score, whose, rows


def best_proof(
    scores: NDArray[np.floating], owners: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The best pair of every query, if it was verified by a homography.

    Args:
        scores: (Q, G) of ``pair_scores``.
        owners: (G,) identities.
        rows: (G,) the gallery photos.

    Returns:
        (Q,) score, (Q,) whose, ``NOBODY`` if no pair was verified, and (Q,) the photo, or -1.
    """
    if not scores.shape[1]:
        none = np.full(len(scores), NOBODY, np.int64)
        return np.full(len(scores), -FAR), none, np.full(len(scores), -1, np.int64)
    top = scores.argmax(axis=1)
    value = scores[np.arange(len(scores)), top].astype(np.float64)
    real = value > UNVERIFIED
    return (
        np.where(np.isfinite(value), value, -FAR),
        np.where(real, owners[top], NOBODY),
        np.where(real, rows[top], -1),
    )
