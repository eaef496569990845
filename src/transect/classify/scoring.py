"""Scores of labels: which metrics a kind has, with interval and the value of every fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transect.classify.rules import measure
from transect.metrics.classify import f_beta_each
from transect.metrics.score import Score
from transect.metrics.spread import bootstrap, bootstrap_statistic
from transect.task import Rows
from transect.types import LabelKind

__all__ = ["METRICS_OF", "METRIC_WORDS", "per_label", "rows_of", "scores_of", "unit_values"]

METRICS_OF: dict[LabelKind, tuple[str, ...]] = {
    "single": ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "auroc"),
    "several": ("f2", "macro_f1", "accuracy", "log_loss", "auroc"),
    "grades": ("weighted_kappa", "accuracy", "balanced_accuracy", "log_loss", "auroc"),
}
"""The metrics that are reported for a kind of label; what was tuned for comes first."""

METRIC_WORDS = {
    "accuracy": "share of images whose label, or all of whose labels, are right",
    "balanced_accuracy": "mean over labels of the share of their images that was found",
    "macro_f1": "mean over labels of F1, rare ones counting as much as frequent ones",
    "f2": "mean over images of F2: a label that is missed costs more than one too many",
    "weighted_kappa": "agreement of grades beyond chance, squared distances",
    "log_loss": "mean minus logarithm of the probability of the truth; lower is better",
    "auroc": "chance that an image with a label scores higher for it than one without",
}
_DRAWS = 300  # of an interval that is no mean over images; our choice

Marks = NDArray[np.bool_]


def rows_of(
    names: Sequence[str],
    folds: NDArray[np.int64],
    groups: Sequence[str | None],
    p: NDArray[np.floating],
    said: Marks,
    truth: NDArray[np.generic],
) -> Rows:
    """What came out, one row per image: ``p`` (N, C), ``said`` (N, C) and ``truth`` (N, C)."""
    values: Mapping[str, NDArray[np.generic]] = {
        "p": p.astype(np.float32),
        "said": said,
        "truth": truth.astype(bool),
    }
    return Rows(tuple(names), folds, tuple(group or "" for group in groups), values)


def scores_of(rows: Rows, kind: LabelKind, first: str) -> dict[str, Score]:
    """Every metric of a kind.

    Args:
        rows: From ``rows_of``.
        kind: Of the labels.
        first: The metric that stands first.

    Returns:
        Metric name to score; 95 % intervals by bootstrap over groups.
    """
    if not len(rows):
        return {}
    found = {}
    for name in dict.fromkeys((first, *METRICS_OF[kind])):
        value = _value(rows, name, kind)
        if np.isnan(value):
            continue
        numbers = [f for f in np.unique(rows.folds).tolist() if f >= 0]
        folds = tuple(_value(rows.take(rows.folds == f), name, kind) for f in numbers)
        known = tuple(v for v in folds if not np.isnan(v))
        found[name] = Score(value, _interval(rows, name, kind), known, len(rows))
    return found


def unit_values(rows: Rows) -> tuple[str, NDArray[np.float64]]:
    """What two runs are compared by, image by image: of one label, whether it is right."""
    return "f2", f_beta_each(rows["said"].astype(bool), rows["truth"].astype(bool))


def per_label(rows: Rows, kind: LabelKind) -> list[dict[str, float]]:
    """Of every label: images, precision, recall, F1 and area under the curve."""
    said, truth, p = rows["said"].astype(bool), rows["truth"].astype(bool), rows["p"]
    found = []
    for c in range(truth.shape[1]):
        hits = float((said[:, c] & truth[:, c]).sum())
        there, given = float(truth[:, c].sum()), float(said[:, c].sum())
        both = truth[:, c].any() and not truth[:, c].all()
        column = np.asarray(p[:, c], np.float64)
        found.append(
            {
                "images": there,
                "precision": hits / given if given else float("nan"),
                "recall": hits / there if there else float("nan"),
                "f1": 2 * hits / (there + given) if there + given else float("nan"),
                "auroc": measure("auroc", column[:, None], said[:, [c]], truth[:, [c]], "several")
                if both
                else float("nan"),
            }
        )
    return found


def _value(rows: Rows, name: str, kind: LabelKind) -> float:
    """A metric as it is reported: a loss is positive."""
    p = np.asarray(rows["p"], np.float64)
    value = measure(name, p, rows["said"].astype(bool), rows["truth"].astype(bool), kind)
    return -value if name == "log_loss" else value


def _interval(rows: Rows, name: str, kind: LabelKind) -> tuple[float, float]:
    """Of a mean by its values, of anything else by counting it again on every draw."""
    groups, each = rows.sampling_groups, _each(rows, name, kind)
    if each is not None:
        return bootstrap(each, groups=groups, rng=np.random.default_rng(0))
    p = np.asarray(rows["p"], np.float64)
    said, truth = rows["said"].astype(bool), rows["truth"].astype(bool)

    def again(drawn: NDArray[np.intp]) -> float:
        return measure(name, p[drawn], said[drawn], truth[drawn], kind)

    return bootstrap_statistic(again, len(rows), groups=groups, n=_DRAWS)


def _each(rows: Rows, name: str, kind: LabelKind) -> NDArray[np.float64] | None:
    """(N,) values whose mean is the metric; None for a metric that is no mean over images."""
    said, truth = rows["said"].astype(bool), rows["truth"].astype(bool)
    p = np.clip(np.asarray(rows["p"], np.float64), 1e-15, 1)
    by_name: dict[str, Callable[[], NDArray[np.float64]]] = {
        "accuracy": lambda: (said == truth).all(axis=1).astype(np.float64),
        "log_loss": lambda: (
            -np.log(np.clip(np.where(truth, p, 1 - p), 1e-15, 1)).mean(axis=1)
            if kind == "several"
            else -np.log(p[truth])
        ),
    }
    if kind == "several":
        by_name["f2"] = lambda: f_beta_each(said, truth)
    return by_name[name]() if name in by_name else None
