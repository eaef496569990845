"""From probabilities to labels: calibration, then thresholds, cuts or weights, tuned together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.ensemble.calibration import (
    Calibration,
    calibrate,
    calibration_from_json,
    cross_calibrated,
)
from transect.errors import TransectError
from transect.metrics import classify
from transect.recipe import ClassifyDecide
from transect.types import LabelKind

__all__ = ["HEADLINES", "Rule", "fit_rule", "measure", "metric_of"]

HEADLINES: dict[str, str] = {"single": "accuracy", "several": "f2", "grades": "weighted_kappa"}
"""The metric of each kind that ``auto`` stands for."""

_LEAST = 1e-6  # of a probability
_KINDS = ("temperature", "logistic", "isotonic")
_GAIN = 1e-3  # of log loss by which a calibration must be better than none; our choice
_CUTS = 40  # places tried for a threshold or a cut; our choice
_FEW = 10  # images with a label below which it gets no threshold of its own; our choice
_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the rarity by which probabilities are weighed

Array = NDArray[np.float64]
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """How probabilities become labels.

    Attributes:
        kind: single, several or grades.
        calibration: Applied to every probability; rows are then brought to sum 1 again unless
            ``several``. None leaves them.
        numbers: single: (C,) weights of the probabilities, of which the largest wins; several:
            (C,) thresholds; grades: (C - 1,) cuts of the expected grade.
    """

    kind: LabelKind
    calibration: Calibration | None
    numbers: tuple[float, ...]

    def probabilities(self, p: NDArray[np.floating]) -> Array:
        """Calibrated (N, C)."""
        found = np.asarray(p, np.float64)
        if self.calibration is not None:
            found = np.asarray(self.calibration(found), np.float64)
        return _proper(found, self.kind)

    def answers(self, calibrated: Array) -> Marks:
        """(N, C) labels of calibrated probabilities."""
        numbers = np.array(self.numbers)
        if self.kind == "several":
            return np.asarray(calibrated >= numbers)
        if self.kind == "grades":
            chosen = np.searchsorted(numbers, expected_grade(calibrated), side="right")
        else:
            chosen = (calibrated * numbers).argmax(axis=1)
        return np.eye(calibrated.shape[1], dtype=bool)[chosen]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        calibration = None if self.calibration is None else self.calibration.to_json()
        return {"kind": self.kind, "calibration": calibration, "numbers": list(self.numbers)}

    @staticmethod
    def from_json(value: Any) -> Rule:
        """Read back what ``to_json`` gave."""
        try:
            stored = value["calibration"]
            numbers = tuple(float(v) for v in value["numbers"])
            if value["kind"] not in HEADLINES or not np.isfinite(numbers).all():
                raise ValueError(value["kind"])
            made = None if stored is None else calibration_from_json(stored)
            return Rule(value["kind"], made, numbers)
        except (KeyError, TypeError, ValueError) as error:
            raise TransectError(
                f"decide.json holds no rule for labels ({error}). Restore it, or train again."
            ) from error


def metric_of(decide: ClassifyDecide, kind: LabelKind) -> str:
    """The metric that a decision maximises."""
    return HEADLINES[kind] if decide.metric == "auto" else decide.metric


def expected_grade(p: Array) -> Array:
    """(N,) mean of the grades 0, 1, ... by their probabilities."""
    return np.asarray(p @ np.arange(p.shape[1]))


def measure(metric: str, p: Array, answers: Marks, truth: Marks, kind: LabelKind) -> float:
    """A metric of some rows; more is better.

    Args:
        metric: A name of ``ClassifyDecide.metric``.
        p: (N, C) probabilities.
        answers: (N, C).
        truth: (N, C).
        kind: Of the labels.
    """
    if kind == "several":
        if metric == "log_loss":
            return -classify.log_loss(p, truth.astype(np.int64))
        if metric == "auroc":
            return classify.auroc(p, truth)
        if metric == "f2":
            return float(classify.f_beta_each(answers, truth).mean())
        if metric == "accuracy":  # all labels of an image right
            return float((answers == truth).all(axis=1).mean())
        return classify.macro_f1(answers, truth)
    said, real = answers.argmax(axis=1), truth.argmax(axis=1)
    if metric == "log_loss":
        return -classify.log_loss(p, real)
    if metric == "auroc":
        return classify.auroc(p, real)
    by_name: dict[str, Callable[..., float]] = {
        "accuracy": classify.accuracy,
        "balanced_accuracy": classify.balanced_accuracy,
        "macro_f1": classify.macro_f1,
        "weighted_kappa": classify.weighted_kappa,
    }
    return by_name[metric](said, real)


def fit_rule(
    p: NDArray[np.floating],
    truth: Marks,
    parts: NDArray[np.int64],
    kind: LabelKind,
    decide: ClassifyDecide,
    *,
    calibration: str | None = None,
) -> Rule:
    """Tune a rule on out-of-fold probabilities.

    Args:
        p: (N, C).
        truth: (N, C).
        parts: (N,) folds, to compare choices on rows that did not fit them.
        kind: Of the labels.
        decide: What is fixed, and the metric.
        calibration: ``none`` or a kind, if it is settled; None compares them if ``decide`` says so.

    Returns:
        The rule.
    """
    name = calibration or best_calibration(p, truth, parts, kind, decide)
    made = None if name == "none" else calibrate(p, truth, name)
    bare = Rule(kind, made, ())
    calibrated, metric = bare.probabilities(p), metric_of(decide, kind)
    if kind == "several":
        numbers = _thresholds(calibrated, truth, parts, metric, decide)
    elif kind == "grades":
        numbers = _cuts(calibrated, truth, metric, decide)
    else:
        numbers = _class_weights(calibrated, truth, metric)
    return Rule(kind, made, tuple(float(v) for v in numbers))


def best_calibration(
    p: NDArray[np.floating],
    truth: Marks,
    parts: NDArray[np.int64],
    kind: LabelKind,
    decide: ClassifyDecide,
) -> str:
    """The calibration that a recipe names, or the one that pays on rows that did not fit it."""
    if decide.calibrate != "best":
        return decide.calibrate
    if len(np.unique(parts)) < 2:
        return "temperature"
    real = truth.astype(np.int64) if kind == "several" else truth.argmax(axis=1)
    losses = {"none": classify.log_loss(_proper(np.asarray(p, np.float64), kind), real) - _GAIN}
    for name in _KINDS:
        made = cross_calibrated(p, truth, parts, name)
        losses[name] = classify.log_loss(_proper(np.asarray(made, np.float64), kind), real)
    return min(losses, key=lambda name: losses[name])


def _proper(p: Array, kind: LabelKind) -> Array:
    """Probabilities away from 0 and 1; rows that sum to 1 where labels exclude each other."""
    kept = np.clip(p, _LEAST, 1 - _LEAST)
    return kept if kind == "several" else kept / kept.sum(axis=1, keepdims=True)


def _class_weights(p: Array, truth: Marks, metric: str) -> Array:
    """Weights by a power of the rarity: 0 answers with the likeliest label."""
    share = np.maximum(truth.mean(axis=0), 1 / len(truth))
    if metric not in ("balanced_accuracy", "macro_f1"):
        return np.ones(p.shape[1])
    real = truth.argmax(axis=1)
    score = classify.balanced_accuracy if metric == "balanced_accuracy" else classify.macro_f1
    found = [score((p * share**-power).argmax(axis=1), real) for power in _POWERS]
    return np.asarray(share ** -_POWERS[int(np.argmax(found))])


def _thresholds(
    p: Array, truth: Marks, parts: NDArray[np.int64], metric: str, decide: ClassifyDecide
) -> Array:
    """One threshold for all labels, or one for each where that pays on other rows."""
    if decide.threshold is not None:
        return np.full(p.shape[1], decide.threshold)
    if metric in ("log_loss", "auroc"):
        return np.full(p.shape[1], 0.5)
    one = _one_threshold(p, truth, metric)
    gains = []
    for part in np.unique(parts) if len(np.unique(parts)) > 1 else ():
        own = parts == part
        shared = _one_threshold(p[~own], truth[~own], metric)
        apart = _each_threshold(p[~own], truth[~own], metric, shared)
        gains.append(
            measure(metric, p[own], p[own] >= apart, truth[own], "several")
            - measure(metric, p[own], p[own] >= shared, truth[own], "several")
        )
    return _each_threshold(p, truth, metric, one) if gains and np.mean(gains) > 0 else one


def _one_threshold(p: Array, truth: Marks, metric: str) -> Array:
    """The best common threshold."""
    tried = np.unique(np.quantile(p, np.linspace(0, 1, 4 * _CUTS + 1)[1:-1]))
    found = [measure(metric, p, p >= t, truth, "several") for t in tried]
    return np.full(p.shape[1], tried[int(np.argmax(found))])


def _each_threshold(p: Array, truth: Marks, metric: str, start: Array) -> Array:
    """A threshold for every label with enough images, one label after another, twice around."""
    thresholds = start.copy()
    marks = p >= thresholds
    for c in [*range(p.shape[1])] * 2:
        if truth[:, c].sum() < _FEW:
            continue
        tried = np.unique(np.quantile(p[:, c], np.linspace(0, 1, _CUTS + 1)[1:-1]))
        tried = np.concatenate([[thresholds[c]], tried])  # first: it stays unless one is better
        found = _scores_of_label(metric, marks, truth, c, p[:, c] >= tried[:, None])
        thresholds[c] = tried[int(np.argmax(found))]
        marks[:, c] = p[:, c] >= thresholds[c]
    return thresholds


def _scores_of_label(metric: str, marks: Marks, truth: Marks, c: int, tried: Marks) -> Array:
    """(T,) the metric if label c were given as each of ``tried`` (T, N) says; all else stays."""
    own, said = truth[:, c], marks[:, c]
    if metric == "accuracy":
        wrong = (marks != truth).sum(axis=1) - (said != own)
        return np.asarray(((wrong == 0) & (tried == own)).mean(axis=1))
    if metric == "f2":
        right = (marks & truth).sum(axis=1) - (said & own)
        weighed = 4 * truth.sum(axis=1) + marks.sum(axis=1) - said + tried
        each = 5 * (right + (tried & own)) / np.maximum(weighed, 1)
        return np.asarray(np.where(weighed > 0, each, 1).mean(axis=1))
    hits = (tried & own).sum(axis=1)  # macro F1 is a mean over labels
    return np.asarray(2 * hits / np.maximum(tried.sum(axis=1) + own.sum(), 1))


def _cuts(p: Array, truth: Marks, metric: str, decide: ClassifyDecide) -> Array:
    """Where grades part on the scale of the expected grade, one cut after another, three times."""
    cuts = np.arange(p.shape[1] - 1) + 0.5
    if decide.cuts == "half" or metric in ("log_loss", "auroc"):
        return cuts
    expected, eye = expected_grade(p), np.eye(p.shape[1], dtype=bool)
    steps = np.linspace(-0.48, 0.48, _CUTS // 2 + 1)

    def score(some: Array) -> float:
        answers = eye[np.searchsorted(some, expected, side="right")]
        return measure(metric, p, answers, truth, "grades")

    for _ in range(3):
        for k in range(len(cuts)):
            tried = [
                np.concatenate([cuts[:k], [k + 0.5 + s], cuts[k + 1 :]]) for s in (0.0, *steps)
            ]
            found = [score(some) for some in (cuts, *tried)]
            cuts = (cuts, *tried)[int(np.argmax(found))]
    return cuts
