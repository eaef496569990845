"""The contract of a question: all that the pipeline asks of segment, count, identify and others.

A question is one object that answers these members; ``pipeline.tasks`` lists ours, and a test
trains, scores and reports a fourth one that stands in its own file. The pipeline owns the order of
things, the run folder, budgets, folds, devices, problems and pages; a question owns what differs:
its data, its networks, its prediction, its decision and its metrics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Instance
from transect.errors import TransectError
from transect.files import atomic_path
from transect.metrics.score import Score
from transect.recipe import Member, Recipe
from transect.run import RunFolder
from transect.types import Image, Problem, Progress, Survey

__all__ = [
    "Annotatable",
    "Calibratable",
    "Dataset",
    "Exportable",
    "Limits",
    "NewImages",
    "Predictor",
    "Reviewable",
    "Rows",
    "Section",
    "Sweeping",
    "Task",
    "TrainedNetwork",
    "Work",
    "Writer",
    "every",
    "used_folds",
]

D = TypeVar("D", bound="Dataset")
A = TypeVar("A")
D_contra = TypeVar("D_contra", bound="Dataset", contravariant=True)
A_co = TypeVar("A_co", covariant=True)
A_contra = TypeVar("A_contra", contravariant=True)


class Dataset(Protocol):
    """The decoded training images of a survey; everything else of it is the question's own."""

    @property
    def problems(self) -> Sequence[Problem]:
        """Files that could not be decoded, each with its sentence."""
        ...


@dataclass(frozen=True)
class Limits:
    """What a training may take.

    Attributes:
        seconds: For everything that is still to come; None is no limit.
        device: Where networks train: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        seed: Of everything random.
        settings: The user's own fields, path to JSON text as ``--set`` takes them: ``auto`` plans
            the rest around them. They are put in again afterwards.
    """

    seconds: float | None
    device: str
    seed: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Work(Generic[D]):
    """A training under way: what every step of it may look at.

    Attributes:
        run: The run folder.
        recipe: With every number settled.
        dataset: The units that folds divide, as ``Task.divide`` gave them.
        folds: (N,) fold of every unit.
        device: Where networks run.
        progress: Told what happens.
    """

    run: RunFolder
    recipe: Recipe
    dataset: D
    folds: NDArray[np.int64]
    device: str
    progress: Progress

    @property
    def used(self) -> range:
        """The folds that are trained."""
        return used_folds(self.recipe)


def every(*records: type, but: Collection[str] = ()) -> frozenset[str]:
    """All fields of some records as ``Record.field``, for ``Task.reads``.

    Args:
        records: Dataclasses of ``recipe``.
        but: Names of fields, of any of them, that are not read.

    Example:
        >>> from transect.recipe import Folds
        >>> sorted(every(Folds, but=("group", "seed", "stratify")))
        ['Folds.count', 'Folds.use']
    """
    return frozenset(
        f"{record.__name__}.{f.name}"
        for record in records
        for f in dataclasses.fields(record)
        if f.name not in but
    )


def used_folds(recipe: Recipe) -> range:
    """The folds of a recipe that are trained: 0 .. use - 1."""
    return range(recipe.folds.use or recipe.folds.count)


@dataclass(frozen=True)
class Rows:
    """What came out for every unit (image, block, animal): all scores are functions of it.

    Kept as ``oof/rows.npz``, so that scores can be counted again without some units (leaks), for
    single folds, or against another run, without asking the networks again.

    Attributes:
        names: (N,) units, as in ``folds.csv``.
        folds: (N,) the fold that held each out; -1 where none did.
        groups: (N,) site, flight, encounter or slide; "" where there is none.
        values: Column name to (N, ...) numbers; which columns is the question's own affair.
        trivial: For answers that need no training, the (N,) values that ``Task.unit_values`` would
            give them; their names stand behind "no better than". The verdict on a run rests on
            them.
    """

    names: tuple[str, ...]
    folds: NDArray[np.int64]
    groups: tuple[str, ...]
    values: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    trivial: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = {len(self.names), len(self.folds), len(self.groups)}
        counts |= {len(column) for column in (*self.values.values(), *self.trivial.values())}
        assert len(counts) == 1, f"columns of different lengths: {sorted(counts)}"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, column: str) -> NDArray[Any]:
        """One column."""
        return self.values[column]

    @property
    def sampling_groups(self) -> list[str]:
        """(N,) what a bootstrap draws together: the group, or the unit itself without one."""
        return [group or f"#{i}" for i, group in enumerate(self.groups)]

    @property
    def weights(self) -> NDArray[np.float64]:
        """(N,) what each unit counts in the main metric: the column ``weight``, else one."""
        if "weight" in self.values:
            return np.asarray(self.values["weight"], np.float64)
        return np.ones(len(self), np.float64)

    def take(self, chosen: NDArray[np.bool_]) -> Rows:
        """The rows where ``chosen`` (N,) is true."""
        kept = np.flatnonzero(chosen).tolist()
        return Rows(
            tuple(self.names[i] for i in kept),
            self.folds[chosen],
            tuple(self.groups[i] for i in kept),
            {name: column[chosen] for name, column in self.values.items()},
            {name: column[chosen] for name, column in self.trivial.items()},
        )

    def without(self, names: Collection[str]) -> Rows:
        """The rows of all other units."""
        return self.take(np.array([name not in names for name in self.names], bool))

    def save(self, path: Path) -> None:
        """Write them, whole or not at all."""
        arrays: dict[str, NDArray[np.generic]] = {
            "names": np.array(self.names, np.str_),
            "folds": self.folds,
            "groups": np.array(self.groups, np.str_),
        }
        arrays |= {f"value:{name}": column for name, column in self.values.items()}
        arrays |= {f"trivial:{name}": column for name, column in self.trivial.items()}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    @staticmethod
    def load(path: Path) -> Rows:
        """Read what ``save`` wrote.

        Raises:
            TransectError: If the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                values, trivial = (
                    {name.removeprefix(f"{kind}:"): stored[name] for name in stored.files
                     if name.startswith(f"{kind}:")}
                    for kind in ("value", "trivial")
                )  # fmt: skip
                return Rows(
                    tuple(stored["names"].tolist()),
                    stored["folds"].astype(np.int64),
                    tuple(stored["groups"].tolist()),
                    values,
                    trivial,
                )
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise TransectError(
                f"{path} cannot be read ({error}). Go on with the run to make it again: transect "
                "train DATA --resume."
            ) from error


@dataclass(frozen=True)
class NewImages:
    """Images to be answered.

    Attributes:
        images: Those whose header could be read.
        source: The folder or file that they come from; tables beside it may say more of them.
        survey: The survey that they belong to, where their truth is known; else None.
    """

    images: Sequence[Image]
    source: Path
    survey: Survey | None = None


class Predictor(Protocol[A_co]):
    """The networks of a run, loaded once, with its decision: what answers new images."""

    def answers(self, new: NewImages, progress: Progress) -> Iterator[tuple[Image, A_co | Problem]]:
        """The answer to every image, in order; a problem in its place if it cannot be read.

        An image with several marked animals comes once for each of them.
        """
        ...


class Writer(Protocol[A_contra]):
    """Writes answers as files: some as they come, tables at the end."""

    def add(self, image: Image, answer: A_contra) -> None:
        """Take one answer; what needs the image's pixels is written now."""
        ...

    def finish(self, progress: Progress) -> dict[str, Any]:
        """Write what belongs to all of them.

        Returns:
            ``files`` and whatever else the caller of ``predict`` is told.
        """
        ...


@dataclass(frozen=True)
class Section:
    """A part of the report that a question adds to the common frame.

    Attributes:
        place: After which part of the frame it stands: top, data, score, decisions, examples. What
            is added at the top stands in the head of the page: up to three large pictures.
        fill: Called with the page (``report.page.Page``), which begins the section itself.
    """

    place: str
    fill: Any


class Task(Protocol[D, A]):
    """A question. D is its dataset, A the answer to one image."""

    @property
    def question(self) -> str:
        """Its name: segment, count, identify, ..."""
        ...

    @property
    def reads(self) -> frozenset[str]:
        """The recipe's fields that it honours, as ``Record.field``; others must be defaults."""
        ...

    @property
    def choices(self) -> Mapping[str, Collection[str]]:
        """For fields that take a word: the words that it knows."""
        ...

    @property
    def options(self) -> frozenset[str]:
        """What ``predict`` may be asked beyond images and folder: formats, scale, ..."""
        ...

    def template(self) -> Recipe:
        """A recipe with every kind of field that ``auto`` may set, to check ``--set`` against."""
        ...

    # From a survey to a plan.

    def dataset(self, survey: Survey, scratch: Path, progress: Progress) -> D:
        """Decode the training images once.

        Raises:
            TransectError: If nothing is left to train on.
        """
        ...

    def plan(self, dataset: D, limits: Limits) -> Recipe:
        """What ``auto`` chooses for a survey, a device and a time; ``why`` says why."""
        ...

    def within_budget(self, recipe: Recipe, dataset: D, limits: Limits) -> Recipe:
        """A given recipe, shortened to a time."""
        ...

    def check(self, recipe: Recipe, dataset: D) -> None:
        """Refuse what cannot be trained, before anything long begins.

        Raises:
            TransectError: With what to change.
        """
        ...

    def divide(
        self, run: RunFolder, recipe: Recipe, dataset: D, progress: Progress
    ) -> tuple[D, NDArray[np.int64]]:
        """The units and the fold of each, and ``inputs.json``: what prediction must know."""
        ...

    # Training.

    def begin_round(self, work: Work[D], number: int) -> None:
        """Before the members of round 0 (labelled images), 1, 2, ... (pseudo-labels)."""
        ...

    def fit(self, work: Work[D], member: Member, fold: int, number: int) -> None:
        """Train a member without a fold; jobs of one round may run in processes of their own."""
        ...

    def after_member(self, work: Work[D], member: Member, number: int) -> None:
        """Once a member's folds are trained: what later members or the decision take from it."""
        ...

    # Prediction and decision.

    def choose(self, work: Work[D]) -> None:
        """Settle what of the trained answers (views, stages), for each part without that part."""
        ...

    def predict_held_out(self, work: Work[D]) -> None:
        """Write every member's predictions of the units that it did not see, below ``oof/``."""
        ...

    def decide(self, work: Work[D]) -> Rows:
        """Fit the decision on out-of-fold predictions and write ``decide.json``.

        Returns:
            What every unit got by a decision that was fitted without it.
        """
        ...

    def scores(self, rows: Rows, run: RunFolder) -> dict[str, Score]:
        """Every metric of some rows, the main one first; empty without rows."""
        ...

    def unit_values(self, rows: Rows) -> tuple[str, NDArray[np.float64]]:
        """What two runs are compared by, unit by unit: its name and (N,) values, more is better."""
        ...

    def conclude(self, work: Work[D], rows: Rows) -> None:
        """Keep what the report shows and later commands need."""
        ...

    # New images.

    def open(
        self, run: RunFolder, *, device: str, options: Mapping[str, Any], progress: Progress
    ) -> Predictor[A]:
        """Load a run to answer new images.

        Raises:
            TransectError: On an option that the run cannot honour.
        """
        ...

    def writer(
        self, run: RunFolder, images: Path, out: Path, options: Mapping[str, Any]
    ) -> Writer[A]:
        """What writes the answers to ``images`` into ``out``."""
        ...

    def submit(
        self,
        run: RunFolder,
        answers: Iterator[tuple[Image, A | Problem]],
        problems: Sequence[Problem],
        out: Path,
    ) -> None:
        """Write the competition's file.

        Args:
            run: The run that answers.
            answers: Made as they are asked for.
            problems: Files that are known beforehand to be unreadable.
            out: The file.

        Raises:
            TransectError: On a problem that would leave a hole in the file.
        """
        ...

    def truth_rows(self, run: RunFolder, truth: Survey, answers: Iterator[tuple[Image, A]]) -> Rows:
        """Rows of answers to a survey whose truth is known."""
        ...

    # Pages.

    def headline(self, run: RunFolder) -> list[tuple[str, str, str]]:
        """The figures that a reader wants first: name, value, small print."""
        ...

    def metric_words(self) -> Mapping[str, str]:
        """One phrase for every metric."""
        ...

    def sections(self, run: RunFolder) -> Sequence[Section]:
        """What the report shows beyond the common frame."""
        ...

    def advice(self, run: RunFolder) -> list[str]:
        """What to try next, each line resting on what the run shows."""
        ...

    def card(self, run: RunFolder) -> dict[str, Any]:
        """The model card's sections, see ``report.card``."""
        ...

    # The demo.

    def simulate(self, folder: Path, *, seed: int, progress: Progress) -> Path:
        """Write a simulated survey with known truth; gives its folder."""
        ...

    def judge(
        self,
        run: RunFolder,
        root: Path,
        predict: Callable[..., dict[str, Any]],
        *,
        device: str,
        progress: Progress,
    ) -> list[str]:
        """Lines that compare a run on the simulated survey with trivial answers.

        Args:
            run: Trained on ``root``.
            root: From ``simulate``.
            predict: Answers a folder: (images, out, options) as ``pipeline.answering.predict``.
            device: Where networks run.
            progress: Told what happens.
        """
        ...


@runtime_checkable
class Calibratable(Protocol):
    """A question whose answers can be corrected by a small pilot survey."""

    def calibrate(
        self, run: RunFolder, pilot: Path, *, scale: float, device: str, progress: Progress
    ) -> dict[str, Any]:
        """Fit the correction and keep it in the run."""
        ...


@runtime_checkable
class Annotatable(Protocol):
    """A question that says which images to annotate next."""

    def next_to_annotate(self, run: RunFolder, count: int) -> list[tuple[str, str]]:
        """Names of images, each with the reason."""
        ...


@runtime_checkable
class Reviewable(Protocol):
    """A question whose out-of-fold answers can be shown beside the annotations of a survey.

    ``transect review`` draws masks, dots, boxes, individuals and labels of any survey; it orders
    images by ``Task.unit_values``. This is what it shows beside them.
    """

    def held_out(self, run: RunFolder, survey: Survey, image: Image) -> Sequence[Instance]:
        """What the run answers for an image by networks and decisions that did not see it.

        Args:
            run: Finished.
            survey: With the images that the run was trained on; its annotations may be others.
            image: One of its images.

        Returns:
            Objects, or the candidates for who or what it is, the likeliest first; none for an
            image that the run did not hold out.
        """
        ...


@dataclass(frozen=True)
class TrainedNetwork:
    """A snapshot of a run with what other programs must know to use it.

    Attributes:
        name: Of the member, the fold and the snapshot.
        build: Makes the network with its weights, a torch module.
        in_channels: Channels of its input (C).
        size_hw: Sides of its input.
        activation: From its logits to its maps: sigmoid, softmax or none.
        weight: Its share in the mean of the run's networks; those of a run sum to 1.
        inputs: How pixels become its input: channels, normalisation and its numbers.
        planes: What its maps show.
    """

    name: str
    build: Callable[[], Any]
    in_channels: int
    size_hw: tuple[int, int]
    activation: str
    weight: float
    inputs: Mapping[str, Any]
    planes: tuple[str, ...]


@runtime_checkable
class Exportable(Protocol):
    """A question whose networks other programs can run."""

    def networks(self, run: RunFolder) -> Sequence[TrainedNetwork]:
        """All snapshots that answer."""
        ...


@runtime_checkable
class Sweeping(Protocol[D_contra]):
    """A question that can sweep the learning rate before training."""

    def settle_rates(self, recipe: Recipe, dataset: D_contra, device: str) -> Recipe:
        """The recipe with every ``find_lr`` replaced by the rate that was found."""
        ...
