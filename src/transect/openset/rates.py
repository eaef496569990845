"""Policy of stated rates: how often a known one may be called new, and a new one be given a name.

The user chooses one of the rates, or both. The level is a quantile of what queries of that kind
reached out of fold, so the rate holds for new photos of the same survey whatever the share of
unknown among them. What is compared with the level is the leader's own score: a softmax over the
candidates parted the two kinds no better on new photos, and its rates did not carry over to the
whole gallery, which has more candidates than that of a fold (docs/experiments.md, 2026-11-28).
Where both are asked for and no level holds both, nobody is called new: the
ranking of the known is given, beside the probability of being new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.openset.evidence import FAR, UNKNOWN, Evidence, FitOptions, clipped, insert_unknown
from transect.recipe import IdentifyDecide

__all__ = ["RATES", "Rates", "check_rates", "holds_rates", "rates_sentence", "softened"]

RATES = "rates"
_CHANCE = 0.6  # AUROC below which the two kinds are hardly told apart; our guess


@dataclass(frozen=True)
class Rates:
    """A leader at or above the level is believed.

    Attributes:
        level: Below it a query is new.
        held: 1 if the level holds what was asked for; 0 if nothing does, and only the ranking of
            the known is given.
    """

    name: ClassVar[str] = RATES
    level: float
    held: int = 1

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """Candidates at or above the level, "none we know", the rest; without a level, last."""
        if not self.held:
            everybody = np.where(evidence.scores[:, 0] > -FAR, top_k, 0)
            return insert_unknown(evidence.identities, everybody, top_k)
        strong = evidence.scores >= self.level
        return insert_unknown(evidence.identities, strong.sum(axis=1), top_k)

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """The leader's score less the level."""
        return evidence.scores[:, 0] - self.level

    @staticmethod
    def fit(evidence: Evidence, truth: NDArray[np.int64], options: FitOptions) -> Rates:
        """Choose the level.

        Raises:
            TransectError: If no rate is asked for, or one is not between 0 and 1.
        """
        check_rates(options.false_new, options.false_match)
        lead = evidence.scores[:, 0]
        known = np.sort(lead[truth != UNKNOWN])
        unknown = np.sort(lead[truth == UNKNOWN])
        levels = []
        if options.false_new is not None:
            levels.append(_level_of_false_new(known, options.false_new))
        if options.false_match is not None:
            levels.append(_level_of_false_match(unknown, options.false_match))
        real = [level for level in levels if level is not None]
        if len(real) < len(levels):  # too few photos for a level: the middle of the two kinds
            middle = [float(np.median(part)) for part in (known, unknown) if len(part)]
            return Rates(clipped(np.mean(middle)), 0)
        held = len(real) == 1 or real[0] >= real[1]
        return Rates(clipped(np.mean(real)), int(held))


def rates_sentence(
    policy: Rates, asked: tuple[float | None, float | None], found: Mapping[str, Mapping[str, Any]]
) -> str:
    """What was asked for and what came of it, in one or two sentences.

    Args:
        policy: The fitted one.
        asked: Largest shares of known called new, and of new given a name; None: not asked.
        found: Metrics out of fold: ``false_new``, ``false_match`` and ``auroc_new``, each with a
            value, where there are any.
    """
    kinds = ("known ones called new", "new ones given a name")
    wanted = [
        f"{words} at most {rate:.0%}"
        for words, rate in zip(kinds, asked, strict=True)
        if rate is not None
    ]
    came = [
        f"{words} {found[name]['value']:.3f}"
        for words, name in (
            ("false new", "false_new"),
            ("false match", "false_match"),
            ("AUROC of new against known", "auroc_new"),
        )
        if name in found
    ]
    text = f"asked: {' and '.join(wanted)}; out of fold: {', '.join(came)}"
    parted = found["auroc_new"]["value"] if "auroc_new" in found else 1.0
    if policy.held and parted < _CHANCE:
        text += (
            ". The scores hardly tell new ones from known ones (.5 is chance): those called new "
            "are little likelier new than others, so use the ranking of the known"
        )
    if policy.held:
        return f"{text}."
    return (
        f"{text}. No level holds what was asked, so nobody is called new: use the ranking and the "
        "column new_probability, or ask for other rates."
    )


def holds_rates(decide: IdentifyDecide) -> bool:
    """Whether a recipe asks for rates, not for the policy that maximises MAP@k."""
    return decide.false_new is not None or decide.false_match is not None


def check_rates(false_new: float | None, false_match: float | None) -> None:
    """Refuse rates that are none.

    Raises:
        TransectError: If neither is given, or one is not between 0 and 1.
    """
    if false_new is None and false_match is None:
        raise TransectError(
            "the policy rates needs a rate to hold. Set decide.false_new=0.1, decide.false_match, "
            "or both."
        )
    for name, rate in (("false_new", false_new), ("false_match", false_match)):
        if rate is not None and not 0 < rate < 1:
            raise TransectError(
                f"decide.{name} is a share between 0 and 1; got {rate}. Set e.g. decide.{name}=0.1."
            )


def softened(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """(Q, K) softmax over the candidates of each query; 0 where there is nobody."""
    real = scores > -FAR
    top = np.where(real[:, :1], scores[:, :1], 0.0)
    power = np.exp(np.where(real, (scores - top) / temperature, -np.inf))
    return power / np.maximum(power.sum(axis=1, keepdims=True), 1e-300)


def _level_of_false_new(known: NDArray[np.float64], rate: float) -> float | None:
    """The highest level that at most this share of known queries stays below, if there is one.

    Of n exchangeable values and one more, the new one lies below the j-th with probability at most
    j / (n + 1): the quantile of conformal prediction (Vovk et al. 2005).
    """
    place = int(np.floor(rate * (len(known) + 1)))
    return float(known[place - 1]) if place else None


def _level_of_false_match(unknown: NDArray[np.float64], rate: float) -> float | None:
    """The lowest level that at most this share of unknown queries reaches, if there is one."""
    place = int(np.floor(rate * (len(unknown) + 1)))
    return float(np.nextafter(unknown[-place], np.inf)) if place else None
