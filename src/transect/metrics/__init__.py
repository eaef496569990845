"""Metrics: each says what it takes, which way is better, and what nothing against nothing is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transect.errors import unknown_name
from transect.metrics import calibration, classify, count, identify, instances, segment, spread

__all__ = ["METRICS", "Metric", "calibration", "classify", "count", "higher_is_better"]
__all__ += ["identify", "instances", "segment", "spread", "title_of"]


class Metric(NamedTuple):
    """A score by name.

    Attributes:
        function: Called with prediction and truth; gives a number, or one per image.
        higher_is_better: Which way is better.
        what: One line for a table.
    """

    function: Callable[..., Any]
    higher_is_better: bool
    what: str


def _per_image(score: Callable[..., Any]) -> Callable[..., NDArray[np.float64]]:
    """Apply a score of one label image to (N, H, W), or to lists of images of any size."""

    def scores(predicted: Any, truth: Any) -> NDArray[np.float64]:
        return np.array([score(a, b) for a, b in zip(predicted, truth, strict=True)])

    return scores


METRICS: dict[str, Metric] = {
    # Masks: (N, H, W) against (N, H, W), one value per image.
    "salt_map": Metric(segment.salt_map, True, "share of IoU thresholds .50-.95 exceeded"),
    "iou": Metric(segment.iou, True, "intersection over union; both empty is 1"),
    "dice": Metric(segment.dice, True, "Dice coefficient; both empty is 1"),
    "boundary_distance": Metric(segment.boundary_distance, False, "mean outline distance, px"),
    "boundary_score": Metric(segment.boundary_score, True, "outline share within 2 px"),
    # Instances: label images, one value per image.
    "ap": Metric(
        _per_image(lambda a, b: instances.ap(a, b).mean()), True, "instance AP over IoU .50-.95"
    ),
    "ap50": Metric(
        _per_image(lambda a, b: instances.ap(a, b, (0.5,))[0]), True, "instance AP at IoU .5"
    ),
    "pq": Metric(
        _per_image(lambda a, b: instances.panoptic_quality(a, b)[0]), True, "panoptic quality"
    ),
    "f1": Metric(_per_image(instances.f1), True, "instance F1 at IoU .5"),
    # Counts: (N, C) against (N, C), one value.
    "rmse": Metric(count.rmse, False, "mean over classes of the root mean squared error"),
    "mae": Metric(count.mae, False, "mean absolute error in objects"),
    # Classes: (N,) against (N,), one value.
    "accuracy": Metric(classify.accuracy, True, "share of right answers"),
    "balanced_accuracy": Metric(
        classify.balanced_accuracy, True, "mean over classes of the share that was found"
    ),
    "macro_f1": Metric(classify.macro_f1, True, "mean over classes of F1"),
    "f2": Metric(classify.f_beta_each, True, "F2 of the labels of an image"),
    "auroc": Metric(classify.auroc, True, "area under the curve, mean over labels"),
    "weighted_kappa": Metric(classify.weighted_kappa, True, "quadratic weighted kappa"),
    "f_beta": Metric(classify.f_beta, True, "F score of a yes-or-no answer"),
    "log_loss": Metric(classify.log_loss, False, "mean -log probability of the truth"),
    "brier": Metric(calibration.brier, False, "mean squared error of probabilities"),
    "ece": Metric(
        calibration.expected_calibration_error, False, "gap between probability and frequency"
    ),
    # Identities: ranked guesses per picture against labels, one value.
    "map_at_5": Metric(identify.map_at_k, True, "mean 1/rank within five guesses"),
    "top_1": Metric(identify.top_k, True, "share of right first guesses"),
}


def higher_is_better(name: str) -> bool:
    """Which way a metric is better.

    Args:
        name: A name of ``METRICS``; a class may follow it after a colon, as in ``mae:pups``. Scores
            of individuals write the number of guesses, as in ``map5``.

    Raises:
        TransectError: If there is no such metric.

    Example:
        >>> higher_is_better("map5"), higher_is_better("mae:pups")
        (True, False)
    """
    base = re.sub(r"^map\d+$", "map_at_5", name.partition(":")[0])
    if base not in METRICS:
        raise unknown_name("a metric", base, METRICS)
    return METRICS[base].higher_is_better


_TITLES = {
    "salt_map": "mean precision over IoU .50-.95",
    "iou": "IoU",
    "dice": "Dice",
    "boundary_distance": "distance of outlines in px",
    "boundary_score": "outlines within 2 px",
    "ap": "object AP over IoU .50-.95",
    "ap50": "object AP at IoU .50",
    "pq": "panoptic quality",
    "f1": "F1",
    "rmse": "root mean squared error in objects",
    "mae": "mean error in objects",
    "mae_classes": "mean error of a class in objects",
    "bias": "bias in objects",
    "relative_error": "error of the total",
    "mae_of_the_mean": "mean error of always the mean",
    "rmse_of_the_mean": "root mean squared error of always the mean",
    "coverage": "coverage of intervals",
    "interval_width": "width of intervals in objects",
    "naive_width": "width of plain quantiles in objects",
    "macro_f1": "macro F1",
    "f2": "F2 of labels",
    "auroc": "AUROC",
    "weighted_kappa": "weighted kappa",
    "log_loss": "log loss",
    "ece": "calibration error",
    "map5": "mean 1/rank of five guesses",
    "map5_as_split": "mean 1/rank, unweighted",
    "known_top1": "known, first guess right",
    "known_top5": "known, among five guesses",
    "false_new": "known called new",
    "false_match": "unknown given a name",
    "wrong_match": "known given a wrong name",
    "baks": "balanced accuracy, known",
    "baus": "balanced accuracy, unknown",
    "baks_baus": "geometric mean of both",
    "auroc_new": "AUROC of known against new",
    "coverage_at_95": "answered at 95 % right",
    "confidence_for_95": "probability for 95 % right",
    "calibration_error": "calibration error",
    "cannot_tell": "cannot tell",
}


def title_of(name: str) -> str:
    """A metric in the field's words, as pages and sentences show it.

    Args:
        name: As ``metrics.json`` has it; a class may follow after a colon.

    Example:
        >>> title_of("mae:pups"), title_of("my_own")
        ('mean error in objects, pups', 'my own')
    """
    base, _, one = name.partition(":")
    title = _TITLES.get(base, base.replace("_", " "))
    return f"{title}, {one}" if one else title
