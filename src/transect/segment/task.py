"""Where is it: the contract of a question, answered for masks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.augment.validity import POLICIES
from transect.data.exchange import Instance
from transect.data.survey import fold_table
from transect.errors import TransectError
from transect.folds import folds_once
from transect.metrics.score import Score
from transect.models.centres import CENTRES
from transect.models.decoders import ATTENTIONS, DECODERS
from transect.recipe import (
    Augment,
    Folds,
    Geometry,
    Member,
    Network,
    Optimizer,
    PseudoRound,
    Recipe,
    Schedule,
    SegmentDecide,
    Stage,
)
from transect.run import RunFolder
from transect.segment import auto, demonstration, shortening
from transect.segment.blending import answering, check_blend, check_gate, gates_of
from transect.segment.cascade import check_mask_channels
from transect.segment.choosing import Choices, choose
from transect.segment.dataset import MaskDataset
from transect.segment.deciding import decide_out_of_fold
from transect.segment.evidence import keep_doubtful_masks, keep_evidence
from transect.segment.exporting import networks_of
from transect.segment.findings import advice
from transect.segment.held_out import held_out_masks
from transect.segment.neighbours import check_neighbours, write_neighbours
from transect.segment.oof import OutOfFold, parts_of, predict_held_out
from transect.segment.page import METRIC_WORDS, card_of, headline_of, sections_of
from transect.segment.predicting import MaskAnswer, Predictor
from transect.segment.pseudo import check_rounds
from transect.segment.rates import settle_rates
from transect.segment.rounds import begin_round, fit_member, write_member_channels
from transect.segment.scoring import METRICS_OF, picture_scores, scores_of
from transect.segment.trivial import GreyThreshold, fit_grey, trivial_values
from transect.segment.weighing import weigh_emptiness, weigh_members
from transect.segment.writing import MaskWriter, submit_masks
from transect.task import Limits, Rows, Section, TrainedNetwork, Work, every
from transect.train.checkpoint_selection import KEEP
from transect.train.optim import OPTIMIZERS
from transect.train.schedules import SCHEDULES
from transect.types import Image, Problem, Progress, Survey

__all__ = ["SegmentTask"]

_STAGE_OF_OTHERS = (
    "adversarial",
    "augment_rare",
    "mixup",
    "mining",
    "mining_noise",
    "mining_reuse",
    "optimizer",
    "schedule",
)


class SegmentTask:
    """A mask per image: binary, classes, or one label per object."""

    question = "segment"
    reads = every(Network, Augment, Optimizer, Schedule, Folds, PseudoRound, SegmentDecide) | every(
        Recipe, Member
    ).union(every(Geometry, but=("margin", "aspect")), every(Stage, but=_STAGE_OF_OTHERS))
    choices: Mapping[str, Collection[str]] = {
        "Geometry.fit": ("tile", "whole"),
        "Network.decoder": tuple(DECODERS),
        "Network.centre": ("none", *CENTRES),
        "Network.encoder_attention": tuple(ATTENTIONS),
        "Network.decoder_attention": tuple(ATTENTIONS),
        "Optimizer.name": tuple(OPTIMIZERS),
        "Schedule.name": ("plateau", *SCHEDULES),
        "Augment.policy": POLICIES,
        "Stage.sampler": (
            "uniform", "foreground", "object", "class_aware", "coverage", "weighted", "hard",
            "oversample",
        ),
        "Stage.curriculum": ("none", "easy_first", "large_first"),
        "Stage.data": ("train", "pseudo", "mixed", "teacher"),
        "Stage.start": ("previous", "best", "scratch"),
        "Stage.keep": KEEP,
        "Stage.average": ("none", "ema", "swa"),
        "Stage.loss_change": ("linear", "switch"),
        "Stage.freeze": ("none", "encoder", "all_but_head"),
        "Stage.precision": ("auto", "fp32", "bf16"),
        "Stage.loss_on": ("crop", "padded"),
        "SegmentDecide.crf": ("never", "if_better", "always"),
    }  # fmt: skip
    options = frozenset({"formats"})

    def template(self) -> Recipe:
        """See ``task.Task``."""
        member = Member(network=Network(), stages=(Stage(),))
        return Recipe(question="segment", members=(member, member), decide=SegmentDecide())

    def dataset(self, survey: Survey, scratch: Path, progress: Progress) -> MaskDataset:
        """Decode all training images and masks; broken ones are told and left out."""
        dataset = MaskDataset(
            survey,
            scratch=scratch,
            progress=lambda done, total: progress.step("decoding", done, total),
        )
        for problem in (*survey.problems, *dataset.problems):
            progress.say(f"left out: {problem.name}: {problem.what}")
        if len(dataset.images) < 2:
            raise TransectError(
                f"{survey.root} has {len(dataset.images)} readable training images; at least "
                "2 are needed. Add images with masks."
            )
        return dataset

    def plan(self, dataset: MaskDataset, limits: Limits) -> Recipe:
        """See ``auto.plan``."""
        return auto.plan(
            dataset,
            budget_seconds=limits.seconds,
            device=limits.device,
            seed=limits.seed,
            settings=limits.settings,
        )

    def within_budget(self, recipe: Recipe, dataset: MaskDataset, limits: Limits) -> Recipe:
        """See ``shortening.within_budget``."""
        assert limits.seconds is not None
        return shortening.within_budget(
            recipe, dataset, budget_seconds=limits.seconds, device=limits.device
        )

    def settle_rates(self, recipe: Recipe, dataset: MaskDataset, device: str) -> Recipe:
        """See ``rates.settle_rates``."""
        return settle_rates(recipe, dataset, device=device)

    def check(self, recipe: Recipe, dataset: MaskDataset) -> None:
        """Refuse rounds, blends, channels and gates that contradict each other."""
        check_rounds(recipe)
        check_blend(recipe)
        check_mask_channels(recipe)
        check_gate(recipe)
        check_neighbours(recipe, dataset.kind)

    def divide(
        self, run: RunFolder, recipe: Recipe, dataset: MaskDataset, progress: Progress
    ) -> tuple[MaskDataset, NDArray[np.int64]]:
        """One unit per image."""
        if not (run.path / "inputs.json").is_file():
            run.write_json("inputs.json", _inputs(dataset, recipe))
        table = fold_table(dataset.survey)
        table = table[table["image"].isin([image.name for image in dataset.images])]
        folds = folds_once(run.path / "folds.csv", table.reset_index(drop=True), recipe.folds)
        return dataset, folds

    def begin_round(self, work: Work[MaskDataset], number: int) -> None:
        """Draw weights before round 0; pseudo-labels before the others."""
        begin_round(work, number)

    def fit(self, work: Work[MaskDataset], member: Member, fold: int, number: int) -> None:
        """Train a member's stages of one round on one fold."""
        fit_member(work, member, fold, number)

    def after_member(self, work: Work[MaskDataset], member: Member, number: int) -> None:
        """Write the masks that later members take as channels."""
        write_member_channels(work, member, number)

    def choose(self, work: Work[MaskDataset]) -> None:
        """Which snapshots and views answer, for each part by the other parts."""
        choose(
            work.run, work.recipe, work.dataset, work.folds,
            device=work.device, progress=work.progress,
        )  # fmt: skip

    def predict_held_out(self, work: Work[MaskDataset]) -> None:
        """Maps of what every fold held out."""
        choices = Choices.of(work.run)
        for member in dict.fromkeys((*answering(work.recipe), *gates_of(work.recipe))):
            for fold in work.used:
                predict_held_out(work, member, fold, choices.nested)

    def decide(self, work: Work[MaskDataset]) -> Rows:
        """Tune what turns maps into masks; score each image by what was tuned without it."""
        run, recipe, dataset, folds = work.run, work.recipe, work.dataset, work.folds
        weigh_members(run, recipe, dataset, folds)
        write_neighbours(run, recipe, dataset.images, folds, work.progress)
        weigh_emptiness(run, recipe, dataset, folds)
        decisions = decide_out_of_fold(work.run, work.recipe, dataset, work.folds, work.progress)
        out_of_fold = OutOfFold(work.run, work.recipe, dataset.images)
        number = {image.name: i for i, image in enumerate(dataset.images)}
        chosen = [number[image.name] for image in out_of_fold.images]
        classes = len(dataset.survey.classes)
        scored = [
            picture_scores(
                decisions.answer(out_of_fold, dataset, i), dataset.labels(i), dataset.kind, classes
            )
            for i in chosen
        ]
        parts = parts_of(work.folds, chosen)
        grey, nested = fit_grey(dataset, parts)
        run.write_json("oof/trivial.json", grey.to_json())
        trivial = trivial_values(dataset, chosen, [nested[parts[i]] for i in chosen])
        rows = _rows(out_of_fold.images, scored, work.folds[chosen])
        return replace(rows, trivial=trivial)

    def scores(self, rows: Rows, run: RunFolder) -> dict[str, Score]:
        """Means over images."""
        return scores_of(rows, run.data()["mask_kind"])

    def unit_values(self, rows: Rows) -> tuple[str, NDArray[np.float64]]:
        """The main metric of every image."""
        main = next(m for names in METRICS_OF.values() for m in names if m in rows.values)
        for kind in METRICS_OF.values():
            if set(kind) <= set(rows.values):
                main = kind[0]
        return main, np.asarray(rows[main], np.float64)

    def conclude(self, work: Work[MaskDataset], rows: Rows) -> None:
        """Worst and best images, calibration, doubtful masks, facts for the report."""
        run, dataset = work.run, work.dataset
        out_of_fold = OutOfFold(run, work.recipe, dataset.images)
        decisions = decide_out_of_fold(run, work.recipe, dataset, work.folds, work.progress)
        keep_evidence(run, dataset, out_of_fold, decisions, rows, self.unit_values(rows)[0])
        keep_doubtful_masks(run, dataset, out_of_fold, rows)
        run.write_json("facts.json", _facts(dataset, work.folds))

    def open(
        self, run: RunFolder, *, device: str, options: Mapping[str, Any], progress: Progress
    ) -> Predictor:
        """Load every member with the snapshots of all trained folds."""
        return Predictor(run, device=device)

    def writer(
        self, run: RunFolder, images: Path, out: Path, options: Mapping[str, Any]
    ) -> MaskWriter:
        """Masks as files."""
        return MaskWriter(run, out, options)

    def submit(
        self,
        run: RunFolder,
        answers: Iterator[tuple[Image, MaskAnswer | Problem]],
        problems: Sequence[Problem],
        out: Path,
    ) -> None:
        """``id,rle_mask``."""
        submit_masks(run.read_json("inputs.json")["mask_kind"], answers, problems, out)

    def truth_rows(
        self, run: RunFolder, truth: Survey, answers: Iterator[tuple[Image, MaskAnswer]]
    ) -> Rows:
        """Every image's metrics against its mask."""
        facts = run.read_json("inputs.json")
        dataset = MaskDataset(truth)
        number = {image.name: i for i, image in enumerate(dataset.images)}
        images, scored, scored_numbers = [], [], []
        for image, answer in answers:
            if image.name in number:
                labels = dataset.labels(number[image.name])
                classes = len(facts["classes"])
                scored.append(picture_scores(answer.whole(), labels, facts["mask_kind"], classes))
                images.append(image)
                scored_numbers.append(number[image.name])
        rows = _rows(images, scored, np.full(len(images), -1))
        if not (run.oof() / "trivial.json").is_file() or not images:
            return rows
        grey = GreyThreshold(**run.read_json("oof/trivial.json"))
        trivial = trivial_values(dataset, scored_numbers, [grey] * len(images))
        return replace(rows, trivial=trivial)

    def headline(self, run: RunFolder) -> list[tuple[str, str, str]]:
        """Three metrics and the number of images."""
        return headline_of(run)

    def metric_words(self) -> Mapping[str, str]:
        """One phrase for every metric."""
        return METRIC_WORDS

    def sections(self, run: RunFolder) -> Sequence[Section]:
        """Coverage and folds, calibration, decisions, worst and best images."""
        return sections_of(run)

    def advice(self, run: RunFolder) -> list[str]:
        """See ``findings.advice``."""
        return advice(run, run.recipe(), run.read_json("metrics.json"))

    def card(self, run: RunFolder) -> dict[str, Any]:
        """Use, data and limits."""
        return card_of(run)

    def simulate(self, folder: Path, *, seed: int, progress: Progress) -> Path:
        """Seismic patches with salt."""
        return demonstration.simulate(folder, seed=seed, progress=progress)

    def networks(self, run: RunFolder) -> list[TrainedNetwork]:
        """All snapshots that answer, for other programs."""
        return networks_of(run)

    def held_out(self, run: RunFolder, survey: Survey, image: Image) -> list[Instance]:
        """Masks by networks and decisions that did not see the image."""
        return list(held_out_masks(run, survey, image))

    def judge(
        self,
        run: RunFolder,
        root: Path,
        predict: Callable[..., dict[str, Any]],
        *,
        device: str,
        progress: Progress,
    ) -> list[str]:
        """Beside all-empty masks and a grey threshold."""
        return demonstration.judge(run.path, root, device=device, progress=progress)


def _rows(
    images: Sequence[Image], scored: Sequence[Mapping[str, float]], folds: NDArray[np.int64]
) -> Rows:
    """One row per image, one column per metric."""
    columns = scored[0] if scored else {}
    return Rows(
        tuple(image.name for image in images),
        np.asarray(folds, np.int64),
        tuple(image.group or "" for image in images),
        {name: np.array([row[name] for row in scored], np.float64) for name in columns},
    )


def _inputs(dataset: MaskDataset, recipe: Recipe) -> dict[str, Any]:
    """What prediction must know of the survey."""
    return {
        "mask_kind": dataset.kind,
        "classes": list(dataset.survey.classes),
        "class_values": list(dataset.survey.class_values),
        "planes": list(dataset.planes),
        "members": {
            member.name: dataset.inputs(member.geometry).to_json() for member in recipe.members
        },
    }


def _facts(dataset: MaskDataset, folds: NDArray[np.int64]) -> dict[str, Any]:
    """What the report says of the survey and its folds."""
    return {
        "coverage": np.round(dataset.coverage, 5).tolist(),
        "folds": [
            {
                "fold": fold,
                "pictures": int(np.sum(folds == fold)),
                "coverage": float(dataset.coverage[folds == fold].mean()),
                "empty": float(np.mean(dataset.coverage[folds == fold] == 0)),
            }
            for fold in np.unique(folds).tolist()
        ],
    }
