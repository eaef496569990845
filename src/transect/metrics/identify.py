"""How good identities are: ranked guesses, open-set accuracy, and the price of each mistake."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.errors import TransectError

__all__ = [
    "OpenSetRates",
    "Rate",
    "auroc",
    "baks",
    "baks_baus",
    "baus",
    "coverage_at_precision",
    "map_at_k",
    "open_set_rates",
    "top_k",
    "wilson",
]


def map_at_k(ranked: Sequence[Sequence[str]], truth: Sequence[str], k: int = 5) -> float:
    """Mean of 1 / rank of the true label among the first k distinct guesses; 0 if it is not there.

    "None we know" is an ordinary label. A guess repeated counts once, so what follows moves up.

    Args:
        ranked: Guesses of every picture, best first.
        truth: The one true label of every picture.
        k: 5 in the whale competition.

    Returns:
        In [0, 1].

    Example:
        >>> map_at_k([["a", "a", "b"], ["new", "c"]], ["b", "new"])
        0.75
    """
    return float(_ranks(ranked, truth, k, reciprocal=True).mean())


def top_k(ranked: Sequence[Sequence[str]], truth: Sequence[str], k: int = 1) -> float:
    """Share of pictures whose true label is among the first k distinct guesses."""
    return float(_ranks(ranked, truth, k, reciprocal=False).mean())


def baks(predicted: Sequence[str], truth: Sequence[str], known: Collection[str]) -> float:
    """Balanced accuracy on known samples: mean over known individuals of their own accuracy.

    Args:
        predicted: One identity per picture.
        truth: The true ones.
        known: Identities of the catalogue.

    Returns:
        In [0, 1]; nan if no picture shows a known individual.
    """
    said, real = _pair(predicted, truth)
    return _balanced(said == real, truth, known, inside=True)


def baus(
    predicted: Sequence[str],
    truth: Sequence[str],
    known: Collection[str],
    unknown: str = "unknown",
) -> float:
    """Balanced accuracy on unknown samples: mean over strangers of how often they are called so.

    Args:
        predicted: One identity per picture.
        truth: The true ones; all pictures labelled ``unknown`` count as one stranger.
        known: Identities of the catalogue.
        unknown: The label that means "none we know".

    Returns:
        In [0, 1]; nan if no picture shows a stranger.
    """
    said, _ = _pair(predicted, truth)
    return _balanced(said == unknown, truth, known, inside=False)


def baks_baus(
    predicted: Sequence[str],
    truth: Sequence[str],
    known: Collection[str],
    unknown: str = "unknown",
) -> float:
    """Geometric mean of ``baks`` and ``baus``: AnimalCLEF's score, 0 if one kind is ignored.

    If the pictures show only known individuals, or only strangers, it is the other's value.
    """
    both = np.array([baks(predicted, truth, known), baus(predicted, truth, known, unknown)])
    both = both[~np.isnan(both)]
    return float(np.prod(both) ** (1 / len(both))) if len(both) else float("nan")


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive outscores a negative; ties count half.

    Args:
        scores: (N,) higher means more likely positive.
        positive: (N,) bool.

    Returns:
        In [0, 1]; nan if one kind is missing.
    """
    from scipy.stats import rankdata

    values, kind = np.asarray(scores, np.float64), np.asarray(positive, bool)
    many, few = int(kind.sum()), int((~kind).sum())
    if many == 0 or few == 0:
        return float("nan")
    return float((rankdata(values)[kind].sum() - many * (many + 1) / 2) / (many * few))


def coverage_at_precision(
    confidence: ArrayLike, right: ArrayLike, precision: float = 0.95
) -> tuple[float, float]:
    """Largest share of pictures that can be answered while this share of answers is right.

    Args:
        confidence: (N,) higher is surer.
        right: (N,) bool, whether the answer is right.
        precision: Wanted share of right answers.

    Returns:
        (coverage in [0, 1], confidence from which to answer; inf if nothing can be answered).
        Equal confidences are answered together or not at all.
    """
    score, good = np.asarray(confidence, np.float64), np.asarray(right, bool)
    if score.size == 0:
        return 0.0, float("inf")
    order = np.argsort(-score, kind="stable")
    score, good = score[order], good[order]
    share = np.cumsum(good) / np.arange(1, good.size + 1)
    last_of_tie = np.append(score[1:] != score[:-1], True)
    usable = np.flatnonzero((share >= precision) & last_of_tie)
    if usable.size == 0:
        return 0.0, float("inf")
    return float((usable[-1] + 1) / good.size), float(score[usable[-1]])


def wilson(hits: int, total: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share: honest for small numbers and for shares near 0 and 1.

    Example:
        >>> [round(float(v), 3) for v in wilson(0, 20)]
        [0.0, 0.161]
    """
    if total == 0:
        return 0.0, 1.0
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2))
    share = hits / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = (
        z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    )
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % Wilson interval.

    Attributes:
        value: hits / total; nan if total is 0.
        low: Lower end.
        high: Upper end.
        hits: How often it happened.
        total: How often it could have.
    """

    value: float
    low: float
    high: float
    hits: int
    total: int


@dataclass(frozen=True)
class OpenSetRates:
    """The three ways of being wrong about an individual.

    Attributes:
        false_new: Known individuals that were called new.
        false_match: Strangers that were given a known name.
        wrong_match: Known individuals that were given another's name.
    """

    false_new: Rate
    false_match: Rate
    wrong_match: Rate


def open_set_rates(
    predicted: Sequence[str],
    truth: Sequence[str],
    known: Collection[str],
    unknown: str = "unknown",
) -> OpenSetRates:
    """Rates of false-new, false-match and wrong-match, each with its interval.

    Args:
        predicted: One identity per picture.
        truth: The true ones.
        known: Identities of the catalogue.
        unknown: The label that means "none we know".
    """
    said, real = _pair(predicted, truth)
    familiar = _is_known(real, known)
    new = said == unknown
    return OpenSetRates(
        _rate(new & familiar, familiar),
        _rate(~new & ~familiar, ~familiar),
        _rate(~new & familiar & (said != real), familiar),
    )


def _rate(event: NDArray[np.bool_], could: NDArray[np.bool_]) -> Rate:
    """A share of the cases in which it could happen."""
    hits, total = int(event.sum()), int(could.sum())
    return Rate(hits / total if total else float("nan"), *wilson(hits, total), hits, total)


def _balanced(
    right: NDArray[np.bool_], truth: Sequence[str], known: Collection[str], *, inside: bool
) -> float:
    """Mean over individuals (known or not) of their mean of ``right``."""
    real = np.asarray(truth)
    chosen = _is_known(real, known) == inside
    if not chosen.any():
        return float("nan")
    _, person = np.unique(real[chosen], return_inverse=True)
    return float((np.bincount(person, right[chosen]) / np.bincount(person)).mean())


def _is_known(truth: NDArray[np.generic], known: Collection[str]) -> NDArray[np.bool_]:
    """Which pictures show an individual of the catalogue."""
    names = set(known)
    return np.array([name in names for name in truth.tolist()], bool)


def _ranks(
    ranked: Sequence[Sequence[str]], truth: Sequence[str], k: int, *, reciprocal: bool
) -> NDArray[np.float64]:
    """1 / rank (or 1) where the truth is among the first k distinct guesses, else 0."""
    if len(ranked) != len(truth) or not len(truth):
        raise TransectError(
            f"there must be one list of guesses per truth; got {len(ranked)} and {len(truth)}."
        )
    values = np.zeros(len(truth))
    for i, (guesses, label) in enumerate(zip(ranked, truth, strict=True)):
        distinct = list(dict.fromkeys(guesses))[:k]
        if label in distinct:
            values[i] = 1 / (distinct.index(label) + 1) if reciprocal else 1.0
    return values


def _pair(
    predicted: Sequence[str], truth: Sequence[str]
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Both as arrays of one length."""
    said, real = np.asarray(predicted), np.asarray(truth)
    if said.shape != real.shape:
        raise TransectError("give one identity per picture, in the order of the truth.")
    return said, real
