"""New photos: scored by every source, and answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.catalogue.store import Catalogue
from transect.errors import TransectError
from transect.identify.boxes import boxes_beside
from transect.identify.deciding import Decisions, evidence_of
from transect.identify.geometry import NOTHING, GeometryModel, KeypointFiles, cores, match_rows
from transect.identify.oof import best_proof, fold_model, used_folds
from transect.identify.photos import Box, Photos, Subject, subjects_of, whole_photos
from transect.identify.scorers import (
    EXTRA,
    FoldModel,
    identity_scores,
    image_scores,
    joined_vectors,
    raw_vectors,
    source_names,
)
from transect.identify.scoring import Named, named
from transect.matching import lnbnn_scores
from transect.openset.aggregation import by_encounter, to_identity
from transect.openset.decider import Decider, Decision
from transect.openset.evidence import FAR, NOBODY, UNKNOWN, Evidence, evidence_from_scores
from transect.openset.fusion import Candidates, gather
from transect.openset.rates import Rates
from transect.recipe import IdentifyDecide, Recipe
from transect.run import RunFolder
from transect.task import NewImages
from transect.types import Image, Problem, Progress

__all__ = ["Answered", "Answering", "Identifier", "OneAnswer", "layout_of"]


@dataclass(frozen=True)
class Answered:
    """Answers to new photos, with what spoke for them.

    Attributes:
        photos: The photos that could be read.
        decision: The answers.
        evidence: What they rest on.
        near_rows: (Q, M) nearest gallery photos (numbers of the catalogue), or None.
        proof_rows: (Q,) gallery photo of the best verified pair, -1 if there is none; or None.
        why: One sentence per photo.
    """

    photos: Photos
    decision: Decision
    evidence: Evidence
    near_rows: NDArray[np.int64]
    proof_rows: NDArray[np.int64] | None
    why: tuple[str, ...]


@dataclass(frozen=True)
class Looked:
    """What the sources say of new photos.

    Attributes:
        candidates: Of all sources.
        near: (Q, G) scores of the catalogue's photos, summed over networks.
        pairwise: (Q, G) geometric scores, or None.
        quality: (Q,) keypoints, or None.
    """

    candidates: Candidates
    near: NDArray[np.floating]
    pairwise: NDArray[np.float64] | None
    quality: NDArray[np.float64] | None


class Identifier:
    """A run ready to answer: its models, its decision, and the catalogue it answers from.

    Attributes:
        people: Names of the catalogue's individuals, sorted.
        unknown: The label of none we know.
    """

    def __init__(self, run: RunFolder, *, device: str, catalogue: Path | None = None) -> None:
        """Open a run.

        Args:
            run: The run folder.
            device: Where the networks run.
            catalogue: The known individuals; None takes the run's own.
        """
        self.run = run
        self.device = device
        recipe: Recipe = run.recipe()
        if not isinstance(recipe.decide, IdentifyDecide):
            raise TransectError(f"{run.path} does not recognise individuals. Give another run.")
        self.recipe = recipe
        self.decide = recipe.decide
        facts = run.read_json("inputs.json")
        self.unknown = str(facts["unknown"])
        self.channels = int(facts["channels"])
        self.longest = int(facts["longest"])
        self.decisions = Decisions.from_json(run.read_json("decide.json"))
        self.book = Catalogue.open(catalogue or run.path / "catalogue")
        self.layout = [dict(entry) for entry in self.book.about["layout"]]
        self.known = np.array(
            [i for i, p in enumerate(self.book.photos) if p.identity != self.unknown], np.int64
        )
        if not len(self.known):
            raise TransectError("the catalogue knows no individual. Add photos with names.")
        names = np.array([p.identity for p in self.book.photos], dtype=np.str_)
        self.people = np.unique(names[self.known])
        self.owners = np.searchsorted(self.people, names[self.known]).astype(np.int64)
        self._vectors = self.book.embeddings()
        self._folds: dict[tuple[str, int], FoldModel] = {
            (member.name, fold): fold_model(run, member, fold)
            for member in recipe.members
            for fold in used_folds(recipe)
            if any(e["member"] == member.name for e in self.layout)
        }

    def open_photos(
        self,
        images: Sequence[Image],
        scratch: Path | None,
        progress: Progress,
        boxes: Mapping[str, Box] | None = None,
    ) -> Photos:
        """Decode new photos as the run's own were, cut to their boxes where there are any."""
        return Photos(
            whole_photos(images, boxes),
            unknown=self.unknown,
            channels=self.channels,
            longest=self.longest,
            scratch=scratch,
            progress=lambda done, total: progress.step("decoding", done, total),
        )

    def vectors(self, photos: Photos, progress: Progress) -> NDArray[np.float32]:
        """(Q, D) all members' and folds' vectors side by side, as the catalogue keeps them."""
        parts = []
        shared: dict[str, list[tuple[NDArray[np.float32], float]]] = {}
        for done, entry in enumerate(self.layout):
            fold = self._folds[entry["member"], int(entry["fold"])]
            found = shared.get(fold.member.name) or raw_vectors(
                fold,
                photos,
                np.arange(len(photos)),
                self.decide,
                views=self.recipe.views,
                device=self.device,
            )
            if not fold.member.stages:  # one network for all folds
                shared[fold.member.name] = found
            parts.append(joined_vectors(fold, found).reshape(len(photos), -1))
            progress.step("looking at the photos", done + 1, len(self.layout))
        if not parts:
            return np.zeros((len(photos), 1), np.float32)
        return np.concatenate(parts, axis=1)

    def answer(self, photos: Photos, progress: Progress, *, encounters: bool = False) -> Answered:
        """Answer photos.

        Args:
            photos: Of ``open_photos``.
            progress: Told what happens.
            encounters: Photos of one encounter are one question, and get one answer.
        """
        return self.decide_with(self.decisions, photos, self.look(photos, progress), encounters)

    def look(self, photos: Photos, progress: Progress) -> Looked:
        """Ask every source about photos."""
        tables, near = self._member_scores(photos, self.vectors(photos, progress))
        names = source_names(self.recipe)
        pairwise = quality = None
        if "geometry" in names or "lnbnn" in names:
            files = KeypointFiles.of(self.run.path / "keypoints", self.decide)
            mine = KeypointFiles.of(self.run.path / "cache" / "keypoints", self.decide)
            quality = mine.take(_named_apart(photos.subjects), progress).astype(np.float64)
            if "geometry" in names:
                pairwise = self._pairs(photos, files, mine, near, progress)
                tables["geometry"] = to_identity(pairwise, self.owners, len(self.people))
            if "lnbnn" in names:
                tables["lnbnn"] = self._votes(photos, files, mine)
        if near is None:
            near = pairwise if pairwise is not None else np.zeros((len(photos), len(self.known)))
        return Looked(gather({name: tables[name] for name in names}), near, pairwise, quality)

    def decide_with(
        self, decisions: Decisions, photos: Photos, looked: Looked, encounters: bool = False
    ) -> Answered:
        """Answer from what the sources said, by this run's decision or another one."""
        fused = decisions.fusion.score(looked.candidates)
        images = evidence_from_scores(looked.near, keep=100)
        rows = np.where(images.identities >= 0, self.known[images.identities], -1)
        owned = np.where(images.identities >= 0, self.owners[images.identities], NOBODY)
        proof = whose = proof_rows = None
        if looked.pairwise is not None:
            proof, whose, proof_rows = best_proof(looked.pairwise, self.owners, self.known)
        sides = np.array([s.side or "" for s in photos.subjects], dtype=np.str_)
        asked = decisions.fusion.sources
        seen = set(asked) == set(source_names(self.recipe)) or not set(asked) <= set(EXTRA)
        if "geometry" not in asked:
            proof = whose = None
        evidence = evidence_of(
            looked.candidates,
            fused,
            image_identities=owned if seen else None,
            image_scores=images.scores if seen else None,
            proof=proof,
            proof_identity=whose,
            quality=looked.quality,
            groups=sides if len(set(sides.tolist())) > 1 else None,
        )
        if encounters:
            evidence = self._together(photos, looked.candidates, fused, evidence)
        decision = decisions.decider.decide(evidence)
        why = reasons(decision, evidence, self.people, decisions.decider)
        return Answered(photos, decision, evidence, rows, proof_rows, why)

    def _member_scores(
        self, photos: Photos, vectors: NDArray[np.float32]
    ) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.floating] | None]:
        """Identity scores of every member, and scores of photos; both averaged over folds."""
        tables: dict[str, list[NDArray[np.float64]]] = {}
        near: NDArray[np.floating] | None = None
        folds = Counter(entry["member"] for entry in self.layout)
        for entry in self.layout:
            fold = self._folds[entry["member"], int(entry["fold"])]
            part = slice(int(entry["start"]), int(entry["stop"]))
            queries = np.asarray(vectors[:, part])
            gallery = np.asarray(self._vectors[self.known, part])
            views = int(entry["views"])
            if views:
                queries = queries.reshape(len(queries), views, -1)
                gallery = gallery.reshape(len(gallery), views, -1)
            scores = image_scores(fold, photos, queries, gallery, device=self.device)
            tables.setdefault(str(entry["member"]), []).append(
                identity_scores(
                    fold, scores, queries, gallery, self.owners, len(self.people), self.decide
                )
            )
            # A mean over folds, a sum over members: what the decision was fitted on out of fold.
            share = scores / np.float32(folds[entry["member"]])
            near = share if near is None else near + share
        return {name: np.mean(parts, axis=0) for name, parts in tables.items()}, near

    def _pairs(
        self,
        photos: Photos,
        files: KeypointFiles,
        mine: KeypointFiles,
        near: NDArray[np.floating] | None,
        progress: Progress,
    ) -> NDArray[np.float64]:
        """(Q, G) geometric scores; -inf where a pair was not looked at."""
        count = len(self.known)
        have = np.array([files.path(self.book.photos[i].image).is_file() for i in self.known], bool)
        columns = np.broadcast_to(np.arange(count), (len(photos), count))
        if self.decide.shortlist and near is not None and self.decide.shortlist < count:
            keep = self.decide.shortlist
            columns = np.argpartition(-near, keep - 1, axis=1)[:, :keep]
        pairs = np.stack(
            [np.repeat(np.arange(len(photos)), columns.shape[1]), columns.ravel()], axis=1
        )
        pairs = pairs[have[pairs[:, 1]]]
        queries = [s.key for s in _named_apart(photos.subjects)]
        gallery = [self.book.photos[i].image for i in self.known]
        table = match_rows(
            lambda i: mine.read(queries[i]),
            lambda i: files.read(gallery[i]),
            pairs,
            decide=self.decide,
            folder=None,
            data="",
            workers=cores(),
            progress=progress,
        )
        model = GeometryModel.load(self.run.path / "geometry.skops")
        found = np.full((len(photos), count), -np.inf)
        found[pairs[:, 0], pairs[:, 1]] = NOTHING
        found[table.query, table.gallery] = model.scores(table)
        return found

    def _votes(
        self, photos: Photos, files: KeypointFiles, mine: KeypointFiles
    ) -> NDArray[np.float64]:
        """(Q, N) votes of keypoints."""
        rows = [
            n for n, i in enumerate(self.known) if files.path(self.book.photos[i].image).is_file()
        ]
        gallery = [files.read(self.book.photos[self.known[n]].image) for n in rows]
        queries = [mine.read(s.key) for s in _named_apart(photos.subjects)]
        found = np.zeros((len(queries), len(self.people)))
        votes = lnbnn_scores(queries, gallery, self.owners[rows])
        found[:, : votes.shape[1]] = votes
        return found

    def _together(
        self,
        photos: Photos,
        candidates: Candidates,
        fused: NDArray[np.float64],
        evidence: Evidence,
    ) -> Evidence:
        """Give every photo of an encounter the mean scores of all of them."""
        names = np.array([s.group or s.key for s in photos.subjects], dtype=np.str_)
        real = candidates.identities >= 0
        floor = np.where(real, fused, np.inf).min(axis=1)
        dense = np.repeat(floor[:, None], len(self.people), axis=1)
        rows, columns = np.nonzero(real)
        dense[rows, candidates.identities[rows, columns]] = fused[rows, columns]
        joined, order = by_encounter(dense, names)
        together = joined[np.searchsorted(order, names)]
        sorted_ = evidence_from_scores(together)
        return Evidence(
            sorted_.identities, sorted_.scores, quality=evidence.quality, groups=evidence.groups
        )


def _named_apart(subjects: Sequence[Subject]) -> list[Subject]:
    """New photos under keys that no photo of the catalogue has: names may repeat."""
    found = []
    for s in subjects:
        status = s.image.path.stat()
        key = f"{s.key} {status.st_size} {status.st_mtime_ns} {s.box}"
        found.append(Subject(key, s.image, s.box, s.identity, s.group, s.side, s.date))
    return found


def reasons(
    decision: Decision, evidence: Evidence, people: NDArray[np.str_], decider: Decider
) -> tuple[str, ...]:
    """Why each photo got its answer, in one sentence."""
    found = []
    policy = decider.chosen
    ranked_only = isinstance(decider.policy, Rates) and not decider.policy.held
    for row in range(len(evidence)):
        first = int(decision.ranked[row, 0])
        lead = int(evidence.identities[row, 0]) if evidence.identities.shape[1] else NOBODY
        lead_name = str(people[lead]) if lead >= 0 else "nobody"
        score = float(evidence.scores[row, 0]) if lead >= 0 else -FAR
        if decision.cannot_tell[row]:
            text = "cannot tell: the photo shows too little"
        elif first == UNKNOWN and lead < 0:
            text = "new: there is no candidate"
        elif first == UNKNOWN:
            text = (
                f"new: {lead_name} comes nearest, {-decision.margin[row]:.2f} below the level of "
                f"{policy}"
            )
        elif ranked_only:
            text = "first of the ranking; at the rates asked for, new ones cannot be told apart"
        elif first != lead:
            text = f"proven by geometry, though {lead_name} scores higher"
        else:
            rest = evidence.scores[row, 1] if evidence.scores.shape[1] > 1 else -FAR
            second = int(evidence.identities[row, 1]) if evidence.scores.shape[1] > 1 else NOBODY
            text = f"{decision.margin[row]:.2f} above the level of {policy}"
            if second >= 0:
                text += f", {score - float(rest):.2f} ahead of {people[second]}"
        found.append(text)
    return tuple(found)


def layout_of(shapes: Mapping[tuple[str, int], tuple[int, ...]]) -> list[dict[str, Any]]:
    """Where each member's and fold's vector lies in a row of the catalogue.

    Args:
        shapes: Member and fold to the shape of one photo's vector.
    """
    layout: list[dict[str, Any]] = []
    at = 0
    for (member, fold), shape in shapes.items():
        width = int(np.prod(shape))
        layout.append(
            {
                "member": member,
                "fold": fold,
                "start": at,
                "stop": at + width,
                "views": shape[0] if len(shape) > 1 else 0,
            }
        )
        at += width
    return layout


@dataclass(frozen=True)
class OneAnswer:
    """The answer to one photo or marked animal.

    Attributes:
        subject: What was asked.
        row: Its row in ``named`` and ``answered``.
        named: All answers of the call, by name.
        answered: The same with what spoke for them.
        identifier: What answered.
    """

    subject: Subject
    row: int
    named: Named
    answered: Answered
    identifier: Identifier


class Answering:
    """A loaded run, and whether photos of one encounter are one question."""

    def __init__(self, identifier: Identifier, *, encounters: bool) -> None:
        self._identifier, self._encounters = identifier, encounters

    def answers(
        self, new: NewImages, progress: Progress
    ) -> Iterator[tuple[Image, OneAnswer | Problem]]:
        """Decode all photos, cut to their boxes where there are any, and answer them together."""
        identifier = self._identifier
        if new.survey is not None:
            listed = subjects_of(new.survey)
            boxes = {s.key: s.box for s in listed if s.box is not None}
            problems: Sequence[Problem] = ()
        else:
            boxes, problems = boxes_beside(new.source, new.images)
        photos = identifier.open_photos(new.images, None, progress, boxes)
        by_name = {image.name: image for image in new.images}
        for problem in (*problems, *photos.problems):
            name = problem.name.partition("#")[0]
            yield by_name.get(name, new.images[0]), problem
        if not len(photos):
            return
        answered = identifier.answer(photos, progress, encounters=self._encounters)
        subjects = photos.subjects
        names = named(
            [s.key for s in subjects],
            [s.group or s.key for s in subjects],
            np.full(len(subjects), -1),
            answered.decision,
            identifier.people,
            identifier.unknown,
        )
        for row, subject in enumerate(subjects):
            yield subject.image, OneAnswer(subject, row, names, answered, identifier)
