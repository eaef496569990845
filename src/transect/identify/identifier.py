"""A run ready to answer: its models, its decision, and the individuals that it knows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.catalogue.store import Catalogue
from transect.errors import TransectError
from transect.identify.belongings import catalogue_of, keypoints_of
from transect.identify.deciding import Decisions, evidence_of
from transect.identify.geometry import GeometryModel, KeypointFiles
from transect.identify.oof import digest_of_networks, fold_model, geometry_file
from transect.identify.photos import Photos, Subject
from transect.identify.predictor import Features, QueryScores, Scorers, score_queries
from transect.identify.scorers import EXTRA, FoldModel, joined_vectors, raw_vectors, source_names
from transect.identify.sides import reachable
from transect.openset.aggregation import by_encounter
from transect.openset.decider import Decider, Decision
from transect.openset.evidence import FAR, NOBODY, UNKNOWN, Evidence, evidence_from_scores
from transect.openset.fusion import Candidates
from transect.openset.rates import Rates
from transect.recipe import IdentifyDecide, Recipe
from transect.run import RunFolder
from transect.task import used_folds
from transect.types import Progress

KEPT = 50  # individuals that an encounter's photos are joined for

__all__ = ["Answered", "Identifier", "layout_of", "reasons"]


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


class Identifier:
    """A run ready to answer: its models, its decision, and the catalogue it answers from.

    Attributes:
        people: Names of the catalogue's individuals, sorted.
        unknown: The label of none we know.
        needed: The scorers whose word counts in the run's decision; the others are not asked.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        device: str,
        catalogue: Path | None = None,
        held_out: Mapping[str, int] | None = None,
        fold: int | None = None,
    ) -> None:
        """Open a run.

        Args:
            run: The run folder.
            device: Where the networks run.
            catalogue: The known individuals; None takes the run's own.
            held_out: Photo to its fold: with ``fold``, photos of that fold are not known.
            fold: Answer as this fold alone did out of fold; None answers by all of them.
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
        self.book = Catalogue.open(catalogue or catalogue_of(run.path))
        about = self.book.about
        self.layout = [dict(entry) for entry in about["layout"]]
        made_by = about.get("networks")
        if made_by is not None and made_by != digest_of_networks(run, self.layout):
            raise TransectError(
                f"{self.book.folder} holds vectors of other networks than those of {run.path}. Use "
                "the run that made it."
            )
        named = [i for i, p in enumerate(self.book.photos) if p.identity != self.unknown]
        names = np.array([p.identity for p in self.book.photos], dtype=np.str_)
        self.people = np.unique(names[named])
        if held_out is not None:
            named = [i for i in named if held_out.get(self.book.photos[i].image) != fold]
        self.known = np.array(named, np.int64)
        self.owners = np.searchsorted(self.people, names[self.known]).astype(np.int64)
        self.fold = fold
        self.needed = needed_scorers(recipe, self.decisions)
        self._folds: dict[tuple[str, int], FoldModel] = {
            (member.name, number): fold_model(run, member, number)
            for member in recipe.members
            for number in used_folds(recipe)
            if any(e["member"] == member.name for e in self.layout)
        }

    def open_photos(
        self,
        subjects: Sequence[Subject],
        scratch: Path | None,
        progress: Progress,
    ) -> Photos:
        """Decode animals on new photos as the run's own were, cut to their boxes."""
        return Photos(
            subjects,
            unknown=self.unknown,
            channels=self.channels,
            longest=self.longest,
            scratch=scratch,
            progress=lambda done, total: progress.step("decoding", done, total),
        )

    def vectors(self, photos: Photos, progress: Progress) -> NDArray[np.float32]:
        """(Q, D) all members' and folds' vectors side by side, as the catalogue keeps them."""
        everybody = tuple(dict.fromkeys(str(entry["member"]) for entry in self.layout))
        found = self._embedded(photos, everybody, progress)
        parts = [
            found[entry["member"], int(entry["fold"])].reshape(len(photos), -1)
            for entry in self.layout
        ]
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(photos), 1), np.float32)

    def answer(self, photos: Photos, progress: Progress, *, encounters: bool = False) -> Answered:
        """Answer photos.

        Args:
            photos: Of ``open_photos``.
            progress: Told what happens.
            encounters: Photos of one encounter are one question, and get one answer.
        """
        scores = self.score(photos, progress, self.needed)
        return self.decide_with(self.decisions, photos, scores, encounters)

    def score(
        self, photos: Photos, progress: Progress, names: Sequence[str] | None = None
    ) -> QueryScores:
        """Ask scorers about photos.

        Args:
            photos: Of ``open_photos``.
            progress: Told what happens.
            names: Scorers that are asked; None asks all of the recipe.
        """
        if not len(self.people):
            raise TransectError("the catalogue knows no individual. Add photos with names.")
        every = source_names(self.recipe)
        asked = tuple(name for name in every if names is None or name in names)
        places = set(asked) & set(EXTRA) or (
            self.decide.abstain is not None and set(EXTRA) & set(every)
        )
        # Keypoints of queries are nobody's once they are answered, and a run may be read-only.
        with tempfile.TemporaryDirectory(prefix="transect-") as scratch:
            mine = KeypointFiles.of(Path(scratch), self.decide)
            counts = mine.take(photos.subjects, progress) if places else None
            queries = Features(
                rows=np.arange(len(photos)),
                owners=np.full(len(photos), UNKNOWN, np.int64),
                sides=photos.sides(),
                vectors=self._embedded(photos, asked, progress),
                keypoints=lambda i: mine.read(photos.subjects[i].key),
                counts=counts,
            )
            return score_queries(self._scorers(asked), queries, self._gallery(asked), progress)

    def decide_with(
        self,
        decisions: Decisions,
        photos: Photos,
        scores: QueryScores,
        encounters: bool = False,
    ) -> Answered:
        """Answer from what the scorers said, by this run's decision or another one."""
        fused = decisions.fusion.score(scores.candidates)
        evidence = evidence_of(scores, fused, decisions.fusion.sources, photos.sides())
        if encounters:
            evidence = self._together(photos, scores.candidates, fused, evidence)
        decision = decisions.decider.decide(evidence)
        why = reasons(decision, evidence, self.people, decisions.decider)
        return Answered(photos, decision, evidence, scores.image_rows, scores.proof_rows, why)

    def reachable(self, sides: NDArray[np.str_], own: NDArray[np.int64]) -> NDArray[np.int64]:
        """The truth of photos: their individual, or ``UNKNOWN`` where it has no comparable photo.

        Args:
            sides: (Q,) flanks; '' where nobody said.
            own: (Q,) number of each one's individual, or ``UNKNOWN``.
        """
        gallery = np.array([self.book.photos[i].side for i in self.known], dtype=np.str_)
        return reachable(own, sides, self.owners, gallery, self.decide.sides)

    def _used(self, members: Sequence[str]) -> list[tuple[str, int]]:
        """Members and folds that answer."""
        return [
            (name, fold)
            for name, fold in self._folds
            if name in members and self.fold in (None, fold)
        ]

    def _embedded(
        self, photos: Photos, members: Sequence[str], progress: Progress
    ) -> dict[tuple[str, int], NDArray[np.float32]]:
        """Vectors of new photos by member and fold."""
        shared: dict[str, list[tuple[NDArray[np.float32], float]]] = {}
        found: dict[tuple[str, int], NDArray[np.float32]] = {}
        used = self._used(members)
        for done, (name, fold) in enumerate(used):
            model = self._folds[name, fold]
            raw = shared.get(name) or raw_vectors(
                model,
                photos,
                np.arange(len(photos)),
                self.decide,
                views=self.recipe.views,
                device=self.device,
            )
            if not model.member.stages:  # one network for all folds
                shared[name] = raw
            found[name, fold] = joined_vectors(model, raw)
            progress.step("extracting embeddings", done + 1, len(used))
        return found

    def _scorers(self, names: tuple[str, ...]) -> Scorers:
        """The fitted scorers, of one fold or of all."""
        models: dict[str, dict[int, FoldModel]] = {}
        for name, fold in self._used(names):
            models.setdefault(name, {})[fold] = self._folds[name, fold]
        geometry = None
        if "geometry" in names:
            geometry = GeometryModel.load(geometry_file(self.run, self.fold))
        people = tuple(str(name) for name in self.people)
        return Scorers(names, models, people, self.decide, self.device, geometry)

    def _gallery(self, names: Sequence[str]) -> Features:
        """The catalogue's photos of known individuals."""
        photos = [self.book.photos[i] for i in self.known]
        files = keypoints_of(self.book.folder, self.decide)
        if set(EXTRA) & set(names):
            lost = [p.image for p in photos if not files.path(p.image).is_file()]
            if lost:
                raise TransectError(
                    f"{len(lost)} photos of {self.book.folder} have no keypoints there (first: "
                    f"{lost[0]}), which this run compares. Copy the catalogue's whole folder, or "
                    "remove these photos and add them again."
                )
        stored, vectors = self.book.embeddings(), {}
        for entry in self.layout:
            place = str(entry["member"]), int(entry["fold"])
            if place in self._used(names):
                columns = stored[:, int(entry["start"]) : int(entry["stop"])]
                whole = len(self.known) == len(stored)  # a million photos are not copied
                part = np.asarray(columns if whole else columns[self.known])
                views = int(entry["views"])
                vectors[place] = part.reshape(len(part), views, -1) if views else part
        return Features(
            rows=self.known,
            owners=self.owners,
            sides=np.array([p.side for p in photos], dtype=np.str_),
            vectors=vectors,
            keypoints=lambda i: files.read(photos[i].image),
            counts=np.zeros(len(photos), np.int64),
        )

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
        keep = min(KEPT, len(self.people))
        identities = np.full((len(names), keep), NOBODY, np.int64)
        scores = np.full((len(names), keep), -FAR)
        order = np.argsort(names, kind="stable")
        for rows in np.split(order, np.unique(names[order], return_index=True)[1][1:]):
            there = real[rows]
            # Whoever is no candidate of any photo stands at the mean floor: the first of those do.
            people = np.union1d(candidates.identities[rows][there], np.arange(keep))
            dense = np.repeat(floor[rows, None], len(people), axis=1)
            photo, place = np.nonzero(there)
            at = np.searchsorted(people, candidates.identities[rows][photo, place])
            dense[photo, at] = fused[rows][photo, place]
            one = evidence_from_scores(by_encounter(dense, names[rows])[0], keep=keep)
            identities[rows] = np.where(one.identities < 0, NOBODY, people[one.identities])
            scores[rows] = one.scores
        return Evidence(identities, scores, quality=evidence.quality, groups=evidence.groups)


def needed_scorers(recipe: Recipe, decisions: Decisions) -> tuple[str, ...]:
    """The scorers that a decision listens to, those that make its shortlists included."""
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    every = source_names(recipe)
    networks = {name for name in every if name not in EXTRA}
    needed = set(decisions.fusion.used)
    policies = set(decisions.decider.chosen.split("+"))
    if "override" in policies and "geometry" in every:
        needed.add("geometry")
    if policies & {"first_drop", "sum"} or (decide.shortlist and needed & set(EXTRA)):
        needed |= networks
    return tuple(name for name in every if name in needed)


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
