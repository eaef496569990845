"""How many: the contract of a question, answered for counts from dots or totals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.augment.validity import POLICIES
from transect.count import auto, demonstration
from transect.count.calibrate import calibrate
from transect.count.deciding import decide_out_of_fold
from transect.count.detecting import check_detectors
from transect.count.dividing import divided, inputs_of, settled
from transect.count.doubts import keep_doubtful_counts
from transect.count.held_out import held_out_dots
from transect.count.maps import predict_held_out
from transect.count.page import METRIC_WORDS, card_of, headline_of, sections_of
from transect.count.pictures import CountPictures
from transect.count.predicting import CountAnswer, CountPredictor, Predicting, predictor_of
from transect.count.reclassify import Reclassifier, classifier_of, fit_classifier, maps_only
from transect.count.scalecheck import write_training_look
from transect.count.scoring import scores_of
from transect.count.targets import TARGETS
from transect.count.totals import TotalPictures, decide_totals, plan_totals
from transect.count.training import fit_fold
from transect.count.truth import rows_against
from transect.count.writing import CountWriter, submit_counts
from transect.data.exchange import Instance
from transect.data.tiff import ArrayReader
from transect.errors import TransectError
from transect.folds import folds_once
from transect.metrics.score import Score
from transect.models.centres import CENTRES
from transect.models.decoders import ATTENTIONS, DECODERS
from transect.models.detectors import DETECTORS
from transect.models.embedding import NECKS
from transect.models.pooling import POOLINGS
from transect.recipe import (
    Augment,
    CountDecide,
    Embedding,
    Folds,
    Geometry,
    Member,
    Network,
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
from transect.types import Image, Problem, Progress, Survey

__all__ = ["CountTask"]

_OTHER_STAGES = (
    "aux", "data", "round", "pseudo_share", "mining", "mining_noise", "mining_reuse",
    "augment_rare", "mixup", "adversarial",
)  # fmt: skip


class CountTask:
    """Counts per image and class with intervals, and a point per object where dots were given."""

    question = "count"
    reads = (
        every(Augment, CountDecide, Folds, Member, Schedule)
        | every(Optimizer, but=("find_lr",))
        | every(Network, but=("image_head", "pixel_head", "deep_supervision"))
        | every(Geometry, but=("margin", "aspect"))
        | every(Stage, but=_OTHER_STAGES)
        | every(Recipe, but=("drop_views", "drop_stages", "blend", "pseudo"))
        # The second network of ``reclassify`` is an embedding with a layer of classes.
        | {f"Embedding.{name}" for name in ("backbone", "weights", "pooling", "dim", "neck")}
        | {f"Embedding.{name}" for name in ("dropout", "head", "stem_stride", "coordconv")}
    )
    choices: Mapping[str, Collection[str]] = {
        "Geometry.fit": ("tile", "whole"),
        "Network.decoder": (*DECODERS, *DETECTORS),
        "Network.centre": ("none", *CENTRES),
        "Network.encoder_attention": tuple(ATTENTIONS),
        "Network.decoder_attention": tuple(ATTENTIONS),
        "Embedding.neck": tuple(NECKS),
        "Embedding.pooling": tuple(POOLINGS),
        "Optimizer.name": tuple(OPTIMIZERS),
        "Schedule.name": ("plateau", *SCHEDULES),
        "Augment.policy": POLICIES,
        "Stage.sampler": (
            "uniform",
            "foreground",
            "object",
            "class_aware",
            "coverage",
            "weighted",
            "oversample",
        ),
        "Stage.curriculum": ("none", "easy_first", "large_first"),
        "Stage.start": ("previous", "best", "scratch"),
        "Stage.keep": KEEP,
        "Stage.average": ("none", "ema", "swa"),
        "Stage.loss_change": ("linear", "switch"),
        "Stage.freeze": ("none", "encoder", "all_but_head"),
        "Stage.precision": ("auto", "fp32", "bf16"),
        "Stage.loss_on": ("crop", "padded"),
        "CountDecide.target": (*TARGETS, "boxes"),
    }
    options = frozenset({"formats", "scale"})

    def template(self) -> Recipe:
        """See ``task.Task``."""
        member = Member(network=Network(), stages=(Stage(),))
        return Recipe(question="count", members=(member, member), decide=CountDecide())

    def dataset(
        self, survey: Survey, scratch: Path, progress: Progress
    ) -> CountPictures | TotalPictures:
        """Decode all training photos; a survey of totals becomes ``TotalPictures``."""
        if survey.points is None:
            totals = TotalPictures(survey, progress)
            for problem in (*survey.problems, *totals.problems):
                progress.say(f"left out: {problem.name}: {problem.what}")
            return totals
        pictures = CountPictures(
            survey,
            scratch=scratch,
            progress=lambda done, total: progress.step("decoding", done, total),
        )
        problems = (*survey.problems, *pictures.problems)
        for problem in problems:
            progress.say(f"left out: {problem.name}: {problem.what}")
        if not pictures.photos or pictures.counts.sum() < 2:
            first = f" (left out first: {problems[0].what})" if problems else ""
            raise TransectError(
                f"{survey.root} has {len(pictures.photos)} readable training photos with "
                f"{pictures.counts.sum():.0f} dots{first}; at least 2 dots are needed. Add dotted "
                "photos."
            )
        return pictures

    def plan(self, dataset: CountPictures | TotalPictures, limits: Limits) -> Recipe:
        """See ``auto.plan``, or ``totals.plan_totals`` where there are no dots."""
        if isinstance(dataset, TotalPictures):
            return plan_totals(dataset, seed=limits.seed)
        return auto.plan(
            dataset, budget_seconds=limits.seconds, device=limits.device, seed=limits.seed
        )

    def within_budget(
        self, recipe: Recipe, dataset: CountPictures | TotalPictures, limits: Limits
    ) -> Recipe:
        """See ``auto.within_budget``. Totals take seconds anyway."""
        assert limits.seconds is not None
        if isinstance(dataset, TotalPictures):
            return recipe
        return auto.within_budget(
            recipe, dataset, budget_seconds=limits.seconds, device=limits.device
        )

    def check(self, recipe: Recipe, dataset: CountPictures | TotalPictures) -> None:
        """Refuse networks where there are no dots, and recipes of another question."""
        if not isinstance(recipe.decide, CountDecide):
            raise TransectError(f"recipe {recipe.name} does not count. Choose one that does.")
        check_detectors(recipe)
        if isinstance(dataset, TotalPictures) and any(m.stages for m in recipe.members):
            raise TransectError(
                f"recipe {recipe.name} learns from dots, and {dataset.survey.root} has totals "
                "only. Leave --recipe out, or dot some photos and write points.csv."
            )

    def divide(
        self,
        run: RunFolder,
        recipe: Recipe,
        dataset: CountPictures | TotalPictures,
        progress: Progress,
    ) -> tuple[CountPictures | TotalPictures, NDArray[np.int64]]:
        """One unit per photo, or per block where photos are few."""
        if isinstance(dataset, TotalPictures):
            return dataset, folds_once(run.path / "folds.csv", dataset.table(), recipe.folds)
        units, folds = divided(run, dataset, recipe, progress)
        if not (run.path / "inputs.json").is_file():
            run.write_json("inputs.json", inputs_of(units, recipe))
        return units, folds

    def begin_round(self, work: Work[CountPictures | TotalPictures], number: int) -> None:
        """Nothing: counting has no rounds."""

    def fit(
        self,
        work: Work[CountPictures | TotalPictures],
        member: Member,
        fold: int,
        number: int,
    ) -> None:
        """Train a network of maps, or the second one that looks again at what was found."""
        dataset = work.dataset
        if isinstance(dataset, TotalPictures):
            return
        task = settled(work.run, work.recipe)
        tell = told(work.progress, member.name, fold)
        if isinstance(member.network, Embedding):
            if task.decide.reclassify:
                fit_classifier(
                    work.run, dataset, member, work.folds, fold, seed=work.recipe.seed,
                    device=work.device, progress=tell,
                )  # fmt: skip
            return
        fit_fold(work, dataset, member, task, fold, progress=tell)

    def after_member(
        self, work: Work[CountPictures | TotalPictures], member: Member, number: int
    ) -> None:
        """Nothing: members do not see each other."""

    def choose(self, work: Work[CountPictures | TotalPictures]) -> None:
        """Nothing: all that is trained answers."""

    def predict_held_out(self, work: Work[CountPictures | TotalPictures]) -> None:
        """Maps of what every fold held out."""
        if isinstance(work.dataset, TotalPictures):
            return
        for fold in work.used:
            predict_held_out(
                work.run, maps_only(work.recipe), settled(work.run, work.recipe), work.dataset,
                work.folds, fold, device=work.device, progress=work.progress,
            )  # fmt: skip

    def decide(self, work: Work[CountPictures | TotalPictures]) -> Rows:
        """Choose how maps become counts, fit intervals, match points; all nested."""
        run, recipe, dataset = work.run, work.recipe, work.dataset
        if isinstance(dataset, TotalPictures):
            return decide_totals(dataset, recipe, run, work.folds, work.progress)
        spacing = float(run.read_json("inputs.json")["spacing"])
        return decide_out_of_fold(
            run, dataset, settled(run, recipe), work.folds, spacing_px=spacing, seed=recipe.seed,
            progress=work.progress, classify_of=_second_looks(work, dataset),
        )  # fmt: skip

    def scores(self, rows: Rows, run: RunFolder) -> dict[str, Score]:
        """Errors of counts, coverage and width of intervals, precision and recall of points."""
        classes = [str(name) for name in run.read_json("inputs.json")["classes"]]
        decide = run.recipe().decide
        assert isinstance(decide, CountDecide)
        return scores_of(rows, classes, nominal=decide.interval)

    def unit_values(self, rows: Rows) -> tuple[str, NDArray[np.float64]]:
        """Minus the absolute error of every unit's total."""
        total, real = rows["predicted"].sum(axis=1), rows["truth"].sum(axis=1)
        return "error_saved", -np.abs(total - real)

    def conclude(self, work: Work[CountPictures | TotalPictures], rows: Rows) -> None:
        """Doubtful counts, and how held-out photos look, for the scale check."""
        run, dataset, folds = work.run, work.dataset, work.folds
        if isinstance(dataset, CountPictures):
            held_out = sorted({dataset.blocks[i].photo for i in np.flatnonzero(folds == 0)})
            predictor = CountPredictor(run, device=work.device)
            write_training_look(run, dataset, predictor, held_out[:12])
        keep_doubtful_counts(run)

    def open(
        self, run: RunFolder, *, device: str, options: Mapping[str, Any], progress: Progress
    ) -> Predicting:
        """Load the networks, or the regressors of totals."""
        return Predicting(predictor_of(run, device=device), run, options)

    def writer(
        self, run: RunFolder, images: Path, out: Path, options: Mapping[str, Any]
    ) -> CountWriter:
        """Tables, points, maps, overlays."""
        return CountWriter(run, images, out, options)

    def submit(
        self,
        run: RunFolder,
        answers: Iterator[tuple[Image, CountAnswer | Problem]],
        problems: Sequence[Problem],
        out: Path,
    ) -> None:
        """``test_id`` and one rounded count per class."""
        submit_counts(run.read_json("inputs.json")["classes"], answers, problems, out)

    def truth_rows(
        self, run: RunFolder, truth: Survey, answers: Iterator[tuple[Image, CountAnswer]]
    ) -> Rows:
        """Counts, points and boxes against a survey's own."""
        return rows_against(run, truth, answers)

    def headline(self, run: RunFolder) -> list[tuple[str, str, str]]:
        """Error beside that of the mean, coverage, F1 of points."""
        return headline_of(run)

    def metric_words(self) -> Mapping[str, str]:
        """One phrase for every metric."""
        return METRIC_WORDS

    def sections(self, run: RunFolder) -> Sequence[Section]:
        """Counts against truth, ways of counting, confusion, worst, scale."""
        return sections_of(run)

    def advice(self, run: RunFolder) -> list[str]:
        """Nothing beyond what holds for every question."""
        return []

    def card(self, run: RunFolder) -> dict[str, Any]:
        """Use, intervals and limits."""
        return card_of(run)

    def calibrate(
        self, run: RunFolder, pilot: Path, *, scale: float, device: str, progress: Progress
    ) -> dict[str, Any]:
        """See ``calibrate.calibrate``."""
        return calibrate(run.path, pilot, scale=scale, device=device, progress=progress)

    def simulate(self, folder: Path, *, seed: int, progress: Progress) -> Path:
        """A colony from above."""
        return demonstration.simulate(folder, seed=seed, progress=progress)

    def held_out(self, run: RunFolder, survey: Survey, image: Image) -> list[Instance]:
        """Dots by networks and decisions that did not see the photo."""
        return list(held_out_dots(run, image.name))

    def judge(
        self,
        run: RunFolder,
        root: Path,
        predict: Callable[..., dict[str, Any]],
        *,
        device: str,
        progress: Progress,
    ) -> list[str]:
        """Beside always answering the mean."""
        return demonstration.judge(run, root, predict, device=device, progress=progress)


def _second_looks(
    work: Work[Any], pictures: CountPictures
) -> Callable[[int], Callable[[NDArray[np.float64]], NDArray[np.float64]] | None]:
    """For every block the classifier that has not seen it; none without a second network."""
    decide = work.recipe.decide
    second = classifier_of(work.recipe) if getattr(decide, "reclassify", False) else None
    loaded: dict[int, Reclassifier] = {}

    def classify_of(i: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
        if second is None:
            return None
        fold = int(work.folds[i])
        if fold not in loaded:
            classes = len(pictures.classes)
            loaded[fold] = Reclassifier(work.run, second, [fold], classes, device=work.device)
        reader = ArrayReader(pictures.pixels(i))
        return lambda points: loaded[fold].probabilities(reader, pictures.images[i], points)

    return classify_of
