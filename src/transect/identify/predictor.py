"""The one predictor: every scorer asked about queries against a gallery, held-out or new alike.

Out of fold the scorers are those of one fold; for new photos those of all folds together. What is
scored out of fold is therefore what ships: the same calls, in the same order, on other photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.identify.blocks import blocks, embeddings_of
from transect.identify.geometry import NOTHING, GeometryModel, best_proof, cores, match_rows
from transect.identify.scorers import FoldModel, identity_scores, image_scores
from transect.matching import Keypoints, PairTable, lnbnn_scores
from transect.openset.aggregation import prototypes, to_identity
from transect.openset.evidence import FAR, NOBODY, largest_columns
from transect.openset.fusion import Candidates, gather, joined
from transect.recipe import IdentifyDecide
from transect.types import Progress

__all__ = ["Features", "QueryScores", "Scorers", "match_queries", "score_queries"]

NEAREST = 100  # gallery photos kept per query

Place = tuple[str, int]  # a member's name and a fold


@dataclass(frozen=True)
class Features:
    """Photos as the scorers see them: queries, or a gallery.

    Attributes:
        rows: (N,) the number by which answers name each photo.
        owners: (N,) number of the individual; below 0 the photo belongs to nobody.
        sides: (N,) flank or view; '' where nobody said.
        vectors: Member and fold to (N, ...) vectors.
        keypoints: Gives the keypoints of photo i of these; None if a photo has no file of them.
        counts: (N,) number of keypoints, -1 without a file; None if no scorer needs them.
    """

    rows: NDArray[np.int64]
    owners: NDArray[np.int64]
    sides: NDArray[np.str_]
    vectors: Mapping[Place, NDArray[np.float32]]
    keypoints: Callable[[int], Keypoints]
    counts: NDArray[np.int64] | None = None
    _prototypes: dict[Place, NDArray[np.float32]] = field(default_factory=dict, compare=False)

    def prototypes(self, place: Place, count: int) -> NDArray[np.float32]:
        """(count, D) one vector per individual, made once however many blocks ask for them."""
        if place not in self._prototypes:
            self._prototypes[place] = prototypes(self.vectors[place], self.owners, count)
        return self._prototypes[place]

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.rows)

    def take(self, chosen: NDArray[np.int64]) -> Features:
        """Some of the photos, in the order given; all of them are not copied."""
        if len(chosen) == len(self) and (chosen == np.arange(len(self))).all():
            return self
        return Features(
            self.rows[chosen],
            self.owners[chosen],
            self.sides[chosen],
            {place: np.asarray(v[chosen]) for place, v in self.vectors.items()},
            lambda i: self.keypoints(int(chosen[i])),
            None if self.counts is None else self.counts[chosen],
        )


@dataclass(frozen=True)
class Scorers:
    """What scores, fitted.

    Attributes:
        names: Scorers that are asked, in the order of the recipe.
        models: Member to its models by fold: one out of fold, all for new photos.
        people: Names of the individuals, sorted.
        decide: How scores are made.
        device: Where pair heads run.
        geometry: What judges pairs; None if geometry is not asked.
    """

    names: tuple[str, ...]
    models: Mapping[str, Mapping[int, FoldModel]]
    people: tuple[str, ...]
    decide: IdentifyDecide
    device: str
    geometry: GeometryModel | None = None

    @property
    def count(self) -> int:
        """Number of individuals."""
        return len(self.people)


@dataclass(frozen=True)
class QueryScores:
    """What the scorers say of Q queries.

    Attributes:
        candidates: Of all scorers.
        image_rows: (Q, M) numbers of the nearest gallery photos, -1 where there are fewer.
        image_identities: (Q, M) whose they are, ``NOBODY`` where there are fewer.
        image_scores: (Q, M) their scores, descending, -FAR where there are fewer.
        proof: (Q,) best score of a verified pair, or None without geometry.
        proof_identity: (Q,) whose.
        proof_rows: (Q,) the gallery photo of that pair, -1 if there is none.
        quality: (Q,) number of keypoints, or None if no scorer needs them.
    """

    candidates: Candidates
    image_rows: NDArray[np.int64]
    image_identities: NDArray[np.int64]
    image_scores: NDArray[np.float64]
    proof: NDArray[np.float64] | None
    proof_identity: NDArray[np.int64] | None
    proof_rows: NDArray[np.int64] | None
    quality: NDArray[np.float64] | None

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything by name, for a file."""
        found: dict[str, NDArray[np.generic]] = {
            "candidates": self.candidates.identities,
            "scores": self.candidates.scores,
            "sources": np.array(self.candidates.sources, dtype=np.str_),
        }
        for item in fields(self)[1:]:
            value = getattr(self, item.name)
            if value is not None:
                found[item.name] = value
        return found

    @staticmethod
    def joined(parts: Sequence[QueryScores]) -> QueryScores:
        """Queries of several parts one after another."""

        def together(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            return None if any(v is None for v in values) else np.concatenate(values)

        rest = {item.name: together(item.name) for item in fields(QueryScores)[1:]}
        return QueryScores(joined([part.candidates for part in parts]), **rest)

    def take(self, rows: NDArray[np.int64]) -> QueryScores:
        """Some of the queries."""
        rest = {item.name: getattr(self, item.name) for item in fields(self)[1:]}
        cut: dict[str, Any] = {n: None if v is None else v[rows] for n, v in rest.items()}
        return QueryScores(self.candidates.take(rows), **cut)


def score_queries(
    scorers: Scorers,
    queries: Features,
    gallery: Features,
    progress: Progress,
    *,
    folder: Path | None = None,
    data: str = "",
) -> QueryScores:
    """Ask every scorer about every query.

    Args:
        scorers: Fitted on other photos than the queries.
        queries: Q photos; their owners are not looked at.
        gallery: G photos of known individuals.
        progress: Told what happens.
        folder: Where matched pairs are kept for a second call, or None.
        data: What the rows stand for: pairs matched for other photos are not used again.

    Returns:
        Their scores, in the order of the queries. An individual without a comparable photo in the
        gallery is no candidate.
    """
    parts: list[QueryScores] = []
    order: list[NDArray[np.int64]] = []
    for mine, theirs in _blocks(scorers, queries, gallery):
        own, known = queries.take(mine), gallery.take(theirs)
        tables, near = _by_networks(scorers, own, known)
        pairwise = None
        if "geometry" in scorers.names:
            table = _matched(scorers.decide, own, known, near, progress, _part(folder, mine), data)
            assert scorers.geometry is not None
            pairwise = _judged(scorers.geometry, table, len(own), len(known), near, scorers.decide)
            tables["geometry"] = to_identity(pairwise, known.owners, scorers.count)
        if "lnbnn" in scorers.names:
            tables["lnbnn"] = _votes(scorers, own, known, near)
        parts.append(_gathered(scorers, own, known, tables, near, pairwise))
        order.append(mine)
    if not parts:
        raise ValueError("no queries")
    return QueryScores.joined(parts).take(np.argsort(np.concatenate(order), kind="stable"))


def match_queries(
    scorers: Scorers,
    queries: Features,
    gallery: Features,
    progress: Progress,
    *,
    folder: Path | None,
    data: str,
) -> PairTable:
    """Match the pairs that ``score_queries`` will judge, numbers being those of the photos."""
    parts = []
    for mine, theirs in _blocks(scorers, queries, gallery):
        own, known = queries.take(mine), gallery.take(theirs)
        near = _by_networks(scorers, own, known)[1]
        part = _matched(scorers.decide, own, known, near, progress, _part(folder, mine), data)
        parts.append(part.renamed(own.rows, known.rows))
    return PairTable.joined(parts)


def _blocks(
    scorers: Scorers, queries: Features, gallery: Features
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Queries and the gallery photos that they are compared with."""
    embeddings = embeddings_of(queries.vectors, gallery.vectors)
    return blocks(queries.sides, gallery.sides, scorers.decide.sides, embeddings)


def _part(folder: Path | None, mine: NDArray[np.int64]) -> Path | None:
    """The folder of a block's pairs."""
    return None if folder is None or not len(mine) else folder / f"from-{int(mine[0])}"


def _by_networks(
    scorers: Scorers, queries: Features, gallery: Features
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float32] | None]:
    """(Q, N) scores of individuals by member, and (Q, G) scores of photos.

    Both are means over a member's folds; scores of photos are summed over members.
    """
    tables: dict[str, NDArray[np.float64]] = {}
    near: NDArray[np.float32] | None = None
    for member, models in scorers.models.items():
        found = []
        for fold, model in models.items():
            mine, theirs = queries.vectors[member, fold], gallery.vectors[member, fold]
            scores = image_scores(model, mine, theirs, device=scorers.device)
            found.append(
                identity_scores(
                    model,
                    scores,
                    mine,
                    partial(gallery.prototypes, (member, fold), scorers.count),
                    gallery.owners,
                    scorers.people,
                    scorers.decide,
                    device=scorers.device,
                )
            )
            share = scores / np.float32(len(models))
            near = share if near is None else near + share
        if member in scorers.names:
            tables[member] = np.mean(found, axis=0)
    return tables, near


def _shortlist(
    near: NDArray[np.float32] | None, width: int, shortlist: int
) -> NDArray[np.int64] | None:
    """(Q, S) columns of the nearest photos; None if all are looked at."""
    if near is None or not 0 < shortlist < width:
        return None
    return np.argpartition(-near, shortlist - 1, axis=1)[:, :shortlist].astype(np.int64)


def _matched(
    decide: IdentifyDecide,
    queries: Features,
    gallery: Features,
    near: NDArray[np.float32] | None,
    progress: Progress,
    folder: Path | None,
    data: str,
) -> PairTable:
    """Match every query with its shortlist; numbers are places in the two."""
    pairs = _pairs(queries, gallery, near, decide.shortlist)
    return match_rows(
        queries.keypoints,
        gallery.keypoints,
        pairs,
        decide=decide,
        folder=folder,
        data=f"{data} {queries.rows.tolist()} {gallery.rows.tolist()}",
        workers=cores(),
        progress=progress,
    )


def _pairs(
    queries: Features, gallery: Features, near: NDArray[np.float32] | None, shortlist: int
) -> NDArray[np.int64]:
    """(P, 2) places of the pairs that are matched."""
    columns = _shortlist(near, len(gallery), shortlist)
    if columns is None:
        columns = np.broadcast_to(np.arange(len(gallery)), (len(queries), len(gallery)))
    left = np.repeat(np.arange(len(queries)), columns.shape[1])
    pairs = np.stack([left, columns.ravel()], axis=1)
    have = np.ones(len(pairs), bool)
    for side, place in ((queries, 0), (gallery, 1)):
        if side.counts is not None:
            have &= side.counts[pairs[:, place]] >= 0
    return pairs[have]


def _judged(
    model: GeometryModel,
    table: PairTable,
    count: int,
    width: int,
    near: NDArray[np.float32] | None,
    decide: IdentifyDecide,
) -> NDArray[np.float64]:
    """(Q, G) scores of pairs; -inf where a pair was not looked at."""
    found = np.full((count, width), -np.inf)
    columns = _shortlist(near, width, decide.shortlist)
    if columns is None:
        found[:] = NOTHING
    else:
        np.put_along_axis(found, columns, NOTHING, axis=1)
    found[table.query, table.gallery] = model.scores(table)
    return found


def _votes(
    scorers: Scorers, queries: Features, gallery: Features, near: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    """(Q, N) votes of keypoints; -inf for individuals without a photo that was looked at.

    Votes add up over an individual's photos. Divided by the root of their number they rank as well
    or better, and the level of "new" that was fitted on the galleries of folds holds for the whole
    gallery, where individuals have more photos: see docs/experiments.md, 2026-11-28.
    """
    columns = _shortlist(near, len(gallery), scorers.decide.shortlist)
    have = np.ones(len(gallery), bool) if gallery.counts is None else gallery.counts >= 0
    rows = np.flatnonzero(have)
    place = np.full(len(gallery), -1, np.int64)
    place[rows] = np.arange(len(rows))
    chosen = None
    if columns is not None:
        chosen = [place[line][place[line] >= 0] for line in columns]
    votes = lnbnn_scores(
        [queries.keypoints(i) for i in range(len(queries))],
        [gallery.keypoints(int(i)) for i in rows],
        gallery.owners[rows],
        chosen=chosen,
    )
    found = np.full((len(queries), scorers.count), -np.inf)
    for query in range(len(queries)):
        seen = rows if chosen is None else rows[chosen[query]]
        owners, counts = np.unique(gallery.owners[seen], return_counts=True)
        found[query, owners] = votes[query, owners] / np.sqrt(counts)
    return found


def _gathered(
    scorers: Scorers,
    queries: Features,
    gallery: Features,
    tables: Mapping[str, NDArray[np.float64]],
    near: NDArray[np.float32] | None,
    pairwise: NDArray[np.float64] | None,
) -> QueryScores:
    """Candidates, nearest photos and proofs of one block."""
    shape = (len(queries), len(gallery))
    scores = near if near is not None else pairwise
    table: NDArray[np.floating] = np.zeros(shape) if scores is None else scores
    order = largest_columns(table, NEAREST)
    values = np.maximum(np.take_along_axis(table, order, axis=1).astype(np.float64), -FAR)
    short = ((0, 0), (0, NEAREST - order.shape[1]))
    proof = whose = proof_rows = None
    if pairwise is not None:
        proof, whose, proof_rows = best_proof(pairwise, gallery.owners, gallery.rows)
    nothing = np.full((len(queries), scorers.count), -np.inf)
    return QueryScores(
        candidates=gather({name: tables.get(name, nothing) for name in scorers.names}),
        image_rows=np.pad(gallery.rows[order], short, constant_values=-1),
        image_identities=np.pad(gallery.owners[order], short, constant_values=NOBODY),
        image_scores=np.pad(values, short, constant_values=-FAR),
        proof=proof,
        proof_identity=whose,
        proof_rows=proof_rows,
        quality=None if queries.counts is None else queries.counts.astype(np.float64),
    )
