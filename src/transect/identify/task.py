"""Which one is it: the contract of a question, answered for individuals and none we know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.augment.validity import POLICIES
from transect.data.exchange import Instance
from transect.errors import TransectError
from transect.folds import read_folds, write_folds
from transect.identify import auto, demonstration
from transect.identify.deciding import decide_out_of_fold, expected_share
from transect.identify.doubts import keep_doubtful_names
from transect.identify.duplicates import duplicate_photos, resolve_duplicates
from transect.identify.facts import facts_of, write_catalogue
from transect.identify.folds import identity_folds
from transect.identify.held_out import held_out_candidates
from transect.identify.identifier import Identifier
from transect.identify.oof import embed_photos, score_held_out, write_counts
from transect.identify.pages import METRIC_WORDS, card_of, headline_of, sections_of
from transect.identify.photos import Photos, subjects_of
from transect.identify.predicting import Answering, OneAnswer
from transect.identify.scorers import source_names
from transect.identify.scoring import rows_of, scores_of, unit_values
from transect.identify.sides import SIDES
from transect.identify.training import fit_fold
from transect.identify.trivial import with_trivial
from transect.identify.writing import IdentityWriter, submit_identities
from transect.metrics.score import Score
from transect.models.embedding import NECKS
from transect.models.heads import HEADS
from transect.models.pooling import POOLINGS
from transect.openset.aggregation import TO_IDENTITY
from transect.openset.evidence import UNKNOWN
from transect.recipe import (
    Augment,
    Embedding,
    Folds,
    Geometry,
    IdentifyDecide,
    Member,
    Optimizer,
    Recipe,
    Schedule,
    Stage,
)
from transect.run import RunFolder
from transect.task import Limits, Rows, Section, Work, every
from transect.train.checkpoint_selection import KEEP
from transect.train.optim import OPTIMIZERS
from transect.train.plan import told
from transect.train.samplers import SAMPLERS
from transect.train.schedules import SCHEDULES
from transect.types import Image, Problem, Progress, Survey

__all__ = ["IdentifyTask"]


class IdentifyTask:
    """Ranked identities per photo or marked animal, "none we know" among them."""

    question = "identify"
    reads = (
        every(Augment, IdentifyDecide, Schedule)
        | every(Embedding, but=("head_start",))
        | every(Optimizer, but=("find_lr",))
        | every(Geometry, but=("scale", "overlap"))
        | every(
            Stage, but=("aux", "augment_rare", "data", "mixup", "round", "pseudo_share", "loss_on")
        )
        | every(Member, but=("weight",))
        | every(Folds, but=("stratify",))
        | {"Recipe.views"}
    )
    choices: Mapping[str, Collection[str]] = {
        "Geometry.fit": ("whole", "tile"),
        "Embedding.neck": tuple(NECKS),
        "Embedding.pooling": tuple(POOLINGS),
        "Embedding.head": (*HEADS, "siamese", "none"),
        "Optimizer.name": tuple(OPTIMIZERS),
        "Schedule.name": ("plateau", *SCHEDULES),
        "Augment.policy": POLICIES,
        "Stage.sampler": tuple(SAMPLERS),
        "Stage.curriculum": ("none", "easy_first", "large_first"),
        "Stage.start": ("previous", "best", "scratch"),
        "Stage.keep": KEEP,
        "Stage.average": ("none", "ema", "swa"),
        "Stage.loss_change": ("linear", "switch"),
        "Stage.freeze": ("none", "encoder", "all_but_head"),
        "Stage.precision": ("auto", "fp32", "bf16"),
        "Stage.mining": ("none", "lap", "lap_blocks", "random"),
        "IdentifyDecide.to_identity": TO_IDENTITY,
        "IdentifyDecide.sides": SIDES,
    }
    options = frozenset({"catalogue", "encounters", "pages"})

    def template(self) -> Recipe:
        """See ``task.Task``."""
        member = Member(network=Embedding(), stages=(Stage(),))
        return Recipe(question="identify", members=(member, member), decide=IdentifyDecide())

    def dataset(self, survey: Survey, scratch: Path, progress: Progress) -> Photos:
        """Cut all animals out; broken photos and copies are told and left out."""
        photos = Photos(
            subjects_of(survey),
            unknown=survey.unknown,
            scratch=scratch,
            prints=True,
            progress=lambda done, total: progress.step("decoding", done, total),
        )
        for problem in (*survey.problems, *photos.problems):
            progress.say(f"left out: {problem.name}: {problem.what}")
        return _without_copies(photos, progress)

    def plan(self, dataset: Photos, limits: Limits) -> Recipe:
        """See ``auto.plan``."""
        return auto.plan(
            dataset, budget_seconds=limits.seconds, device=limits.device, seed=limits.seed
        )

    def within_budget(self, recipe: Recipe, dataset: Photos, limits: Limits) -> Recipe:
        """See ``auto.within_budget``."""
        assert limits.seconds is not None
        return auto.within_budget(
            recipe, dataset, budget_seconds=limits.seconds, device=limits.device
        )

    def check(self, recipe: Recipe, dataset: Photos) -> None:
        """Two individuals at least, and sources that exist."""
        individuals = _individuals(dataset)
        if len(individuals) < 2:
            raise TransectError(
                "recognising needs photos of at least two individuals; there are "
                f"{len(individuals)}. Add photos, or names in identities.csv."
            )
        source_names(recipe)

    def divide(
        self, run: RunFolder, recipe: Recipe, dataset: Photos, progress: Progress
    ) -> tuple[Photos, NDArray[np.int64]]:
        """One unit per animal; folds by encounter, with unknown individuals in each."""
        facts = {
            "unknown": dataset.unknown, "channels": dataset.channels, "longest": dataset.longest
        }  # fmt: skip
        if not (run.path / "inputs.json").is_file():
            run.write_json("inputs.json", facts)
        decide = recipe.decide
        assert isinstance(decide, IdentifyDecide)
        return dataset.parted(decide.sides == "separate"), folds_of(run, recipe, dataset)

    def begin_round(self, work: Work[Photos], number: int) -> None:
        """Nothing: there are no pseudo-labels of identities yet."""

    def fit(self, work: Work[Photos], member: Member, fold: int, number: int) -> None:
        """Train a member without a fold; one without stages is only projected."""
        dataset = work.dataset
        rows = np.flatnonzero(work.folds != fold)
        write_counts(work.run, member, fold, dataset.classes()[rows], dataset.unknown)
        if member.stages:
            fit_fold(
                dataset,
                member,
                rows,
                folder=work.run.fold(member.name, fold),
                seed=work.recipe.seed * 1000 + fold,
                device=work.device,
                progress=told(work.progress, member.name, fold),
            )

    def after_member(self, work: Work[Photos], member: Member, number: int) -> None:
        """Extract embeddings of all photos by every fold's model."""
        embed_photos(
            work.run, work.recipe, member, work.dataset, work.folds,
            device=work.device, progress=work.progress,
        )  # fmt: skip

    def choose(self, work: Work[Photos]) -> None:
        """Nothing: all that is trained answers."""

    def predict_held_out(self, work: Work[Photos]) -> None:
        """Nothing more: embeddings are there, and scores are asked for by the decision."""

    def decide(self, work: Work[Photos]) -> Rows:
        """Ask every source, fuse, choose the policy for "none we know"; all nested."""
        individuals = _individuals(work.dataset)
        held_out = score_held_out(
            work.run,
            work.recipe,
            work.dataset,
            work.folds,
            individuals,
            device=work.device,
            progress=work.progress,
        )
        rows = decide_out_of_fold(
            work.run, work.recipe, work.dataset, held_out, individuals, work.progress
        )
        return with_trivial(rows, work, individuals)

    def scores(self, rows: Rows, run: RunFolder) -> dict[str, Score]:
        """Ranking, openness, calibration."""
        decide = run.recipe().decide
        assert isinstance(decide, IdentifyDecide)
        unknown = str(run.read_json("inputs.json")["unknown"])
        return scores_of(rows, unknown=unknown, top_k=decide.top_k)

    def unit_values(self, rows: Rows) -> tuple[str, NDArray[np.float64]]:
        """One over the place of the truth among five answers."""
        return "map@5", unit_values(rows)

    def conclude(self, work: Work[Photos], rows: Rows) -> None:
        """Facts for the report, doubtful names, the catalogue."""
        facts = facts_of(work, _individuals(work.dataset))
        work.run.write_json("facts.json", facts)
        keep_doubtful_names(work.run)
        write_catalogue(work)

    def open(
        self, run: RunFolder, *, device: str, options: Mapping[str, Any], progress: Progress
    ) -> Answering:
        """Load the models, the decision and the catalogue."""
        identifier = Identifier(run, device=device, catalogue=options.get("catalogue"))
        return Answering(identifier, encounters=bool(options.get("encounters", False)))

    def writer(
        self, run: RunFolder, images: Path, out: Path, options: Mapping[str, Any]
    ) -> IdentityWriter:
        """A table, and pages with the candidates side by side."""
        return IdentityWriter(out, pages=bool(options.get("pages", True)))

    def submit(
        self,
        run: RunFolder,
        answers: Iterator[tuple[Image, OneAnswer | Problem]],
        problems: Sequence[Problem],
        out: Path,
    ) -> None:
        """``Image,Id`` with five identities each."""
        submit_identities(str(run.read_json("inputs.json")["unknown"]), answers, problems, out)

    def truth_rows(
        self, run: RunFolder, truth: Survey, answers: Iterator[tuple[Image, OneAnswer]]
    ) -> Rows:
        """Answers against a survey's own identities."""
        decide = run.recipe().decide
        assert isinstance(decide, IdentifyDecide)
        names = {s.key: str(s.identity) for s in subjects_of(truth)}
        found = [answer for _, answer in answers]
        if not found:
            return Rows((), np.zeros(0, np.int64), ())
        identifier = found[0].identifier
        number = {str(name): i for i, name in enumerate(identifier.people)}
        real = [names[one.subject.key] for one in found]
        own = np.array([number.get(name, UNKNOWN) for name in real], np.int64)
        sides = np.array([one.subject.side or "" for one in found], dtype=np.str_)
        known = identifier.reachable(sides, own) != UNKNOWN
        every_name = np.array(list(names.values()), dtype=np.str_)
        return rows_of(
            found[0].named,
            [n if there else identifier.unknown for n, there in zip(real, known, strict=True)],
            [one.row for one in found],
            unknown=identifier.unknown,
            share=expected_share(decide, every_name, identifier.unknown),
        )

    def headline(self, run: RunFolder) -> list[tuple[str, str, str]]:
        """The main score, and the rates of both mistakes."""
        return headline_of(run)

    def metric_words(self) -> Mapping[str, str]:
        """One phrase for every metric."""
        return METRIC_WORDS

    def sections(self, run: RunFolder) -> Sequence[Section]:
        """Survey, probabilities, sources and policies, mistakes."""
        return sections_of(run)

    def advice(self, run: RunFolder) -> list[str]:
        """Nothing beyond what holds for every question."""
        return []

    def card(self, run: RunFolder) -> dict[str, Any]:
        """Survey and decision."""
        return card_of(run)

    def simulate(self, folder: Path, *, seed: int, progress: Progress) -> Path:
        """Flukes of whales."""
        return demonstration.simulate(folder, seed=seed, progress=progress)

    def held_out(self, run: RunFolder, survey: Survey, image: Image) -> list[Instance]:
        """Candidates by networks and decisions that did not see the photo."""
        return list(held_out_candidates(run, image.name))

    def judge(
        self,
        run: RunFolder,
        root: Path,
        predict: Callable[..., dict[str, Any]],
        *,
        device: str,
        progress: Progress,
    ) -> list[str]:
        """Beside each of the run's own sources alone."""
        photos = self.dataset(demonstration.opened(root), run.path / "cache", progress)
        folds = folds_of(run, run.recipe(), photos)
        return demonstration.judge(run, root, photos, folds, device=device, progress=progress)


def folds_of(run: RunFolder, recipe: Recipe, photos: Photos) -> NDArray[np.int64]:
    """The fold of every photo; written once."""
    path = run.path / "folds.csv"
    keys = [s.key for s in photos.subjects]
    if path.exists():
        return read_folds(path, keys)
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    share = expected_share(decide, photos.named(), photos.unknown)
    folds = identity_folds(
        photos.named().tolist(),
        photos.groups() if recipe.folds.group else None,
        count=recipe.folds.count,
        share_unknown=share or 0.0,
        unknown=photos.unknown,
        seed=recipe.folds.seed,
    )
    write_folds(path, keys, folds)
    return folds


def _individuals(photos: Photos) -> NDArray[np.str_]:
    """Names of the individuals, sorted."""
    names = photos.named()
    return np.unique(names[names != photos.unknown])


def _without_copies(photos: Photos, progress: Progress) -> Photos:
    """Leave out copies of photos, and photos that stand under several names."""
    found = duplicate_photos(photos.prints)
    if not found:
        return photos
    sizes = [s.image.size_hw[0] * s.image.size_hw[1] for s in photos.subjects]
    out, ambiguous = resolve_duplicates(
        found, photos.named().tolist(), sizes, unknown=photos.unknown
    )
    for rows in ambiguous:
        names = sorted({str(photos.subjects[r].identity) for r in rows})
        progress.say(
            f"ambiguous: {photos.subjects[rows[0]].key} stands under {', '.join(names)}; its "
            f"{len(rows)} copies are left out. Keep the right one."
        )
    copies = len(out) - sum(len(rows) for rows in ambiguous)
    if copies:
        progress.say(f"copies: {copies} photos are copies of others and are left out")
    keep = np.setdiff1d(np.arange(len(photos)), out)
    return photos.take(keep)
