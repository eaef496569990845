"""What is it: the contract of a question, answered with labels of whole images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.audit import closing_groups
from transect.augment.validity import POLICIES
from transect.classify import auto, demonstration
from transect.classify.concluding import keep_doubtful_labels, keep_worst
from transect.classify.dataset import LabelledImages, labelled_images
from transect.classify.held_out import held_out_labels
from transect.classify.members import facts_of, keep_vectors, logistic_path, stored_vectors
from transect.classify.network import embedding_of, regresses
from transect.classify.oof import decide_out_of_fold, predict_held_out
from transect.classify.page import advice_of, card_of, headline_of, sections_of
from transect.classify.predicting import Labeller, Labels
from transect.classify.rules import metric_of
from transect.classify.scoring import METRIC_WORDS, METRICS_OF, rows_of, scores_of, unit_values
from transect.classify.training import fit_fold, fit_logistic
from transect.classify.writing import LabelWriter, submit_labels
from transect.data.exchange import Instance
from transect.ensemble.calibration import CALIBRATIONS
from transect.errors import TransectError
from transect.folds import folds_once
from transect.metrics.score import Score
from transect.models.embedding import NECKS
from transect.models.pooling import POOLINGS
from transect.predict.views import VIEWS
from transect.recipe import (
    Augment,
    ClassifyDecide,
    Embedding,
    Folds,
    Geometry,
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
from transect.train.schedules import SCHEDULES
from transect.types import Image, LabelKind, Problem, Progress, Survey

__all__ = ["ClassifyTask"]

_STAGE_OF_OTHERS = (
    "adversarial", "aux", "curriculum", "data", "loss_on", "mining", "mining_noise", "mining_reuse",
    "pseudo_share", "round",
)  # fmt: skip
_NETWORK = ("backbone", "weights", "pooling", "dim", "neck", "dropout", "head", "head_start")


class ClassifyTask:
    """One label, several labels or a grade for every image, with probabilities."""

    question = "classify"
    reads = (
        every(Augment, ClassifyDecide, Folds, Schedule)
        | every(Optimizer, but=("find_lr",))
        | every(Geometry, but=("scale", "overlap", "resize_hw", "border", "margin"))
        | every(Stage, but=_STAGE_OF_OTHERS)
        | every(Member, but=("weight",))
        | {f"Embedding.{name}" for name in (*_NETWORK, "stem_stride", "coordconv")}
        | {"Recipe.views", "Recipe.view_mean"}
    )
    choices: Mapping[str, Collection[str]] = {
        "Geometry.fit": ("whole",),
        "Embedding.neck": tuple(NECKS),
        "Embedding.pooling": tuple(POOLINGS),
        "Embedding.head": ("linear",),
        "Embedding.head_start": ("random", "logistic"),
        "Folds.stratify": ("class", "kind", "depth"),
        "Optimizer.name": tuple(OPTIMIZERS),
        "Schedule.name": ("plateau", *SCHEDULES),
        "Augment.policy": POLICIES,
        "Stage.sampler": ("uniform", "class_aware", "frequency", "oversample", "weighted"),
        "Stage.start": ("previous", "best", "scratch"),
        "Stage.keep": KEEP,
        "Stage.average": ("none", "ema", "swa"),
        "Stage.loss_change": ("linear", "switch"),
        "Stage.freeze": ("none", "encoder", "all_but_head"),
        "Stage.precision": ("auto", "fp32", "bf16"),
        "Recipe.views": tuple(VIEWS),
        "ClassifyDecide.metric": tuple({"auto", *(m for own in METRICS_OF.values() for m in own)}),
        "ClassifyDecide.sources": ("members", "mean", "logistic", "lightgbm"),
        "ClassifyDecide.calibrate": ("best", "none", *CALIBRATIONS),
        "ClassifyDecide.cuts": ("tuned", "half"),
    }
    options: frozenset[str] = frozenset()

    def template(self) -> Recipe:
        """See ``task.Task``."""
        member = Member(
            network=Embedding(head="linear"), geometry=Geometry(fit="whole"), stages=(Stage(),)
        )
        return Recipe(
            question="classify",
            members=(member, member),
            folds=Folds(stratify=("class",)),
            decide=ClassifyDecide(),
        )

    def dataset(self, survey: Survey, scratch: Path, progress: Progress) -> LabelledImages:
        """Decode the labelled images; broken ones are told and left out."""
        dataset = labelled_images(
            survey, scratch, lambda done, total: progress.step("decoding", done, total)
        )
        for problem in (*survey.problems, *dataset.problems):
            progress.say(f"left out: {problem.name}: {problem.what}")
        return dataset

    def plan(self, dataset: LabelledImages, limits: Limits) -> Recipe:
        """See ``auto.plan``."""
        return auto.plan(dataset, limits)

    def within_budget(self, recipe: Recipe, dataset: LabelledImages, limits: Limits) -> Recipe:
        """See ``auto.within_budget``."""
        return auto.within_budget(recipe, dataset, limits)

    def check(self, recipe: Recipe, dataset: LabelledImages) -> None:
        """Two labels at least, losses that fit their kind, and a metric that the kind has."""
        there = [c for c, n in zip(dataset.classes, dataset.truth.sum(axis=0), strict=True) if n]
        least = 1 if dataset.kind == "several" else 2
        if len(there) < least:
            raise TransectError(
                f"labels.csv must have two labels or more; every image is {''.join(there[:1])!r}. "
                "Add images of another label."
            )
        decide = recipe.decide
        assert isinstance(decide, ClassifyDecide)
        metric = metric_of(decide, dataset.kind)
        known = {*METRICS_OF[dataset.kind], "macro_f1"}
        if metric not in known:
            raise TransectError(
                f"decide.metric is {metric}, and labels of the kind '{dataset.kind}' have "
                f"{', '.join(sorted(known))}. Choose among those."
            )
        for member in recipe.members:
            _check_member(member, dataset.kind)

    def divide(
        self, run: RunFolder, recipe: Recipe, dataset: LabelledImages, progress: Progress
    ) -> tuple[LabelledImages, NDArray[np.int64]]:
        """One unit per image; folds share out labels, part no group and no copies."""
        if not (run.path / "inputs.json").is_file():
            inputs = {m.name: dataset.inputs(m.geometry).to_json() for m in recipe.members}
            facts = {"classes": list(dataset.classes), "label_kind": dataset.kind}
            run.write_json("inputs.json", facts | {"inputs": inputs})
        closing = closing_groups(run.path)
        own = np.flatnonzero(~dataset.external)
        images, rarest = [dataset.images[i] for i in own.tolist()], dataset.rarest[own]
        table = pd.DataFrame(
            {
                "image": [image.name for image in images],
                "class": [str(c) for c in rarest.tolist()],
                "kind": [image.kind for image in images],
                "depth": [image.depth for image in images],
                "group": [closing.get(image.name, image.group) for image in images],
            }
        )
        folds = np.full(len(dataset), -1, np.int64)
        folds[own] = folds_once(run.path / "folds.csv", table, recipe.folds)
        return dataset, folds

    def begin_round(self, work: Work[LabelledImages], number: int) -> None:
        """Vectors of all images by networks that are not trained, once for all folds."""
        for member in work.recipe.members:
            keep_vectors(
                work.run,
                work.recipe,
                member,
                work.dataset,
                device=work.device,
                progress=lambda done, total, name=member.name: work.progress.step(  # type: ignore[misc]
                    f"extracting vectors for {name}", done, total
                ),
            )

    def fit(self, work: Work[LabelledImages], member: Member, fold: int, number: int) -> None:
        """Train a member without a fold; one without stages is a logistic regression."""
        rows = np.flatnonzero(work.folds != fold)
        path, start = logistic_path(work.run, member, fold), None
        if not member.stages or embedding_of(member).head_start == "logistic":
            if member.stages and (path.parent / "done.json").is_file():
                return
            vectors = stored_vectors(work.run, member)[:, 0]
            start = fit_logistic(work.dataset, vectors, rows, work.folds)
        if not member.stages:
            assert start is not None
            start.save(path)
            return
        fit_fold(
            work.dataset,
            member,
            rows,
            folder=work.run.fold(member.name, fold),
            seed=work.recipe.seed * 1000 + fold,
            device=work.device,
            start=start,
            progress=told(work.progress, member.name, fold),
        )

    def after_member(self, work: Work[LabelledImages], member: Member, number: int) -> None:
        """Nothing: no member takes anything from another."""

    def choose(self, work: Work[LabelledImages]) -> None:
        """Nothing: all that is trained is compared by the decision."""

    def predict_held_out(self, work: Work[LabelledImages]) -> None:
        """See ``oof.predict_held_out``."""
        predict_held_out(work)

    def decide(self, work: Work[LabelledImages]) -> Rows:
        """See ``oof.decide_out_of_fold``."""
        return decide_out_of_fold(work)

    def scores(self, rows: Rows, run: RunFolder) -> dict[str, Score]:
        """Every metric of the kind of label, the tuned one first."""
        decide, kind = run.recipe().decide, run.read_json("inputs.json")["label_kind"]
        assert isinstance(decide, ClassifyDecide)
        return scores_of(rows, kind, metric_of(decide, kind))

    def unit_values(self, rows: Rows) -> tuple[str, NDArray[np.float64]]:
        """The share of an image's labels that are right: what all kinds have."""
        return unit_values(rows)

    def conclude(self, work: Work[LabelledImages], rows: Rows) -> None:
        """Labels that answers contradict, and the worst images with what was looked at."""
        keep_doubtful_labels(work.run, rows)
        keep_worst(work, rows)

    def open(
        self, run: RunFolder, *, device: str, options: Mapping[str, Any], progress: Progress
    ) -> Labeller:
        """Load the members that answer, and the decision."""
        return Labeller(run, device=device)

    def writer(
        self, run: RunFolder, images: Path, out: Path, options: Mapping[str, Any]
    ) -> LabelWriter:
        """One table."""
        return LabelWriter(out)

    def submit(
        self,
        run: RunFolder,
        answers: Iterator[tuple[Image, Labels | Problem]],
        problems: Sequence[Problem],
        out: Path,
    ) -> None:
        """``image,label``."""
        submit_labels(answers, problems, out)

    def truth_rows(
        self, run: RunFolder, truth: Survey, answers: Iterator[tuple[Image, Labels]]
    ) -> Rows:
        """Answers against a survey's own labels."""
        classes = facts_of(run, run.recipe()).classes
        assert truth.labels is not None
        strange = sorted(c for c in set(truth.classes) - set(classes) if truth.labels[c].any())
        if strange:
            raise TransectError(
                f"{truth.root} has the label {strange[0]!r}, which the run does not know (it knows "
                f"{', '.join(classes[:12])}). Leave those images out, or train on them."
            )
        marks = truth.labels.set_index("image").reindex(columns=list(classes), fill_value=0)
        found = [pair for pair in answers if pair[0].name in marks.index]
        names = [image.name for image, _ in found]
        shape = (len(names), len(classes))
        return rows_of(
            names,
            np.full(len(names), -1, np.int64),
            [image.group for image, _ in found],
            np.array([answer.p for _, answer in found]).reshape(shape),
            np.array([answer.said for _, answer in found], bool).reshape(shape),
            marks.loc[names].to_numpy(bool).reshape(shape),
        )

    def headline(self, run: RunFolder) -> list[tuple[str, str, str]]:
        """The main score, what answers, and the trivial answer beside it."""
        return headline_of(run)

    def metric_words(self) -> Mapping[str, str]:
        """One phrase for every metric."""
        return METRIC_WORDS

    def sections(self, run: RunFolder) -> Sequence[Section]:
        """Labels, confusion, reliability, sources, the worst images."""
        return sections_of(run)

    def advice(self, run: RunFolder) -> list[str]:
        """See ``page.advice_of``."""
        return advice_of(run)

    def card(self, run: RunFolder) -> dict[str, Any]:
        """Labels and decision."""
        return card_of(run)

    def simulate(self, folder: Path, *, seed: int, progress: Progress) -> Path:
        """See ``demonstration.simulate``."""
        return demonstration.simulate(folder, seed=seed, progress=progress)

    def held_out(self, run: RunFolder, survey: Survey, image: Image) -> list[Instance]:
        """Labels by networks and decisions that did not see the image."""
        return list(held_out_labels(run, image.name))

    def judge(
        self,
        run: RunFolder,
        root: Path,
        predict: Callable[..., dict[str, Any]],
        *,
        device: str,
        progress: Progress,
    ) -> list[str]:
        """Beside every source of the run alone, on the test images."""
        return demonstration.judge(run, root, predict)


def _check_member(member: Member, kind: LabelKind) -> None:
    """Refuse losses and starts that contradict the labels or the network."""
    network = embedding_of(member)
    if network.backbone == "siamese":
        raise TransectError(f"member {member.name} has the siamese branch. Name a timm network.")
    if not member.stages and network.neck != "none":
        raise TransectError(
            f"member {member.name} is not trained, so its neck would be noise. Set neck=none."
        )
    starts = network.head_start == "logistic" and bool(member.stages)
    if starts and (network.neck != "none" or regresses(member.stages)):
        raise TransectError(
            f"the last layer of member {member.name} cannot begin as a logistic regression: it "
            "needs neck=none and a loss on probabilities. Set network.head_start=random."
        )
    if member.stages and regresses(member.stages) and kind != "grades":
        raise TransectError(
            f"member {member.name} regresses a number ({member.stages[0].loss}), and only grades "
            "are numbers. Take ce or bce, or say --labels grades."
        )
    if kind == "several":
        softmax = [s.name for s in member.stages if "ce" in _loss_names(s)]
        if softmax:
            raise TransectError(
                f"stage {softmax[0]} of member {member.name} trains ce, which gives one label to "
                "each image, and images have several. Take bce, focal, lsep or multilabel_margin."
            )


def _loss_names(stage: Stage) -> set[str]:
    """Names of the losses of a stage."""
    from transect.losses import parse_loss

    texts = [text for text in (stage.loss, stage.loss_end) if text]
    return {term.name for text in texts for term in parse_loss(text).terms}
