"""Labels that out-of-fold predictions contradict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transect.audit.findings import Finding

__all__ = ["doubtful_answers", "doubtful_labels", "doubtful_values"]


def doubtful_labels(
    chance: NDArray[np.floating], labels: NDArray[np.integer], names: Sequence[str]
) -> list[Finding]:
    """Class or identity labels that confident out-of-fold predictions contradict.

    A class counts as predicted where its chance comes within a deviation of the mean chance that
    its own members get; an image is doubtful if the best such class is not its label.

    Args:
        chance: (N, C) probabilities, out of fold.
        labels: (N,) class of each, 0 .. C - 1; negative for none.
        names: (N,) images.

    Returns:
        One finding with the doubtful images, the most doubtful first, or nothing.

    References:
        Northcutt, Jiang and Chuang 2021: confident learning, pruned by normalised margin; their
        limit is the mean itself, which overlooks half of the errors in well separated classes.
    """
    chance = np.asarray(chance, np.float64)
    labelled = labels >= 0
    limits = np.full(chance.shape[1], np.inf)
    for c in range(chance.shape[1]):
        members = labelled & (labels == c)
        if members.any():
            limits[c] = chance[members, c].mean() - chance[members, c].std()
    above = np.where(chance >= limits, chance, -1.0)
    best = above.argmax(axis=1)
    confident = above.max(axis=1) >= 0
    own = chance[np.arange(len(labels)), np.clip(labels, 0, None)]
    margin = chance.max(axis=1) - own
    bad = np.flatnonzero(labelled & confident & (best != labels) & (margin > 0))
    if not len(bad):
        return []
    order = bad[np.argsort(-margin[bad], kind="stable")]
    return [
        Finding(
            "label-noise",
            "warning",
            tuple(names[i] for i in order),
            f"{len(order)} of {int(labelled.sum())} labels are contradicted by predictions of "
            "models that had not seen them.",
            "Look at them from the first on, and correct those that are wrong.",
        )
    ]


def doubtful_answers(
    said: Sequence[str],
    sure: NDArray[np.floating],
    labels: Sequence[str],
    names: Sequence[str],
    *,
    least: float = 0.95,
) -> list[Finding]:
    """Identities that an almost certain out-of-fold answer contradicts.

    Confident learning needs many pictures of each class; individuals have few, so the calibrated
    probability of the answer decides alone.

    Args:
        said: (N,) first answers, out of fold.
        sure: (N,) their calibrated probabilities.
        labels: (N,) identities of the table.
        names: (N,) photos.
        least: Probability from which an answer counts; our choice.

    Returns:
        One finding with the doubtful photos, the surest contradiction first, or nothing.
    """
    bad = [i for i in range(len(names)) if sure[i] >= least and said[i] != labels[i]]
    if not bad:
        return []
    order = sorted(bad, key=lambda i: (-float(sure[i]), names[i]))
    first = order[0]
    return [
        Finding(
            "label-noise",
            "warning",
            tuple(names[i] for i in order),
            f"{len(order)} of {len(names)} identities are contradicted by answers that are at "
            f"least {least:.0%} sure (first: {names[first]} is {labels[first]} in the table, and "
            f"{said[first]} by its looks).",
            "Look at them from the first on, and correct those that are wrong.",
        )
    ]


def doubtful_values(
    agreement: NDArray[np.floating],
    confidence: NDArray[np.floating],
    names: Sequence[str],
    *,
    what: str = "masks",
) -> list[Finding]:
    """Masks or counts that disagree with a prediction which is sure of itself.

    Args:
        agreement: (N,) in [0, 1], e.g. the Dice of the out-of-fold mask with the given one.
        confidence: (N,) in [0, 1], e.g. the mean of max(p, 1 - p) over the pixels near objects.
        names: (N,) images.
        what: The word for the annotation.

    Returns:
        One finding: images whose agreement is far below that of images of like confidence
        (more than 3.5 robust deviations, Iglewicz and Hoaglin 1993, and below 0.5).
    """
    agreement = np.asarray(agreement, np.float64)
    sure = confidence >= np.nanmedian(confidence)
    middle = np.nanmedian(agreement[sure])
    spread = max(1.4826 * float(np.nanmedian(np.abs(agreement[sure] - middle))), 0.02)
    bad = np.flatnonzero(sure & ((middle - agreement) / spread > 3.5) & (agreement < 0.5))
    if not len(bad):
        return []
    order = bad[np.argsort(agreement[bad], kind="stable")]
    return [
        Finding(
            "label-noise",
            "warning",
            tuple(names[i] for i in order),
            f"{len(order)} {what} disagree with predictions that are sure of themselves (agreement "
            f"below 0.5, usually {middle:.2f}).",
            "Look at them from the first on, and correct those that are wrong.",
        )
    ]
