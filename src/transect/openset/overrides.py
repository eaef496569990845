"""Two second thoughts on any policy: a geometric proof, and asking back from the gallery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from transect.openset.evidence import (
    FAR,
    NOBODY,
    UNKNOWN,
    Evidence,
    FitOptions,
    Policy,
    clipped,
    rewards,
)

__all__ = ["Override", "ReverseCheck", "best_from", "in_front"]


@dataclass(frozen=True)
class Override:
    """Policy 7: a geometric proof takes the first place, whatever the scores say (4th)."""

    name: ClassVar[str] = "override"
    base: Policy
    level: float

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """The base's answer, with the proven identity in front."""
        ranked = self.base.rank(evidence, top_k=top_k)
        if evidence.proof is None or evidence.proof_identity is None:
            return ranked
        proven = (evidence.proof >= self.level) & (evidence.proof_identity >= 0)
        return in_front(ranked, evidence.proof_identity, proven)

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """The base's, or where there is a proof at least its largest."""
        margin = self.base.margin(evidence)
        if evidence.proof is None or not len(margin):
            return margin
        return np.where(evidence.proof >= self.level, np.maximum(margin, margin.max()), margin)

    @staticmethod
    def fit(
        base: Policy, evidence: Evidence, truth: NDArray[np.int64], options: FitOptions
    ) -> Override:
        """The level from which on proofs gain most; out of reach if they never gain."""
        if evidence.proof is None or evidence.proof_identity is None:
            return Override(base, FAR)
        ranked = base.rank(evidence, top_k=options.top_k)
        usable = evidence.proof_identity >= 0
        moved = in_front(ranked, evidence.proof_identity, usable)
        gain = rewards(moved, truth, top_k=options.top_k) - rewards(
            ranked, truth, top_k=options.top_k
        )
        return Override(base, best_from(evidence.proof, gain * options.weights, usable))


@dataclass(frozen=True)
class ReverseCheck:
    """Policy 8: ask back (5th).

    If a query is answered "none we know", its runner-up is first nowhere else, and of all queries
    this one is the runner-up's best with a score at or above the level, the two change places.
    Looks at all queries of one call together.
    """

    name: ClassVar[str] = "reverse"
    base: Policy
    level: float

    def rank(self, evidence: Evidence, *, top_k: int = 5) -> NDArray[np.int64]:
        """The base's answer, with some runners-up in front."""
        ranked = self.base.rank(evidence, top_k=top_k)
        candidate, score = self._candidates(ranked, evidence)
        chosen = (candidate >= 0) & (score >= self.level)
        return in_front(ranked, candidate, chosen)

    def margin(self, evidence: Evidence) -> NDArray[np.float64]:
        """The base's; where the places were changed, a little above 0."""
        margin = self.base.margin(evidence)
        ranked = self.base.rank(evidence)
        candidate, score = self._candidates(ranked, evidence)
        return np.where((candidate >= 0) & (score >= self.level), np.abs(margin), margin)

    @staticmethod
    def _candidates(
        ranked: NDArray[np.int64], evidence: Evidence
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The runner-up of each query that may change places, and its score; else ``NOBODY``."""
        none = np.full(len(ranked), NOBODY, np.int64)
        if ranked.shape[1] < 2 or not len(ranked):
            return none, np.full(len(ranked), -FAR)
        rows, columns = np.nonzero(evidence.identities >= 0)
        names = evidence.identities[rows, columns]
        scores = evidence.scores[rows, columns]
        order = np.lexsort((rows, -scores, names))
        first = np.flatnonzero(np.diff(names[order], prepend=-9) != 0)
        best_query = dict(
            zip(names[order][first].tolist(), rows[order][first].tolist(), strict=True)
        )
        taken = set(ranked[:, 0].tolist())
        out = np.full(len(ranked), -FAR)
        for query in np.flatnonzero((ranked[:, 0] == UNKNOWN) & (ranked[:, 1] >= 0)):
            name = int(ranked[query, 1])
            if name not in taken and best_query.get(name) == query:
                none[query] = name
                out[query] = evidence.scores[query][evidence.identities[query] == name].max()
        return none, out

    @staticmethod
    def fit(
        base: Policy, evidence: Evidence, truth: NDArray[np.int64], options: FitOptions
    ) -> ReverseCheck:
        """The level from which on changing places gains most; out of reach if it never gains."""
        ranked = base.rank(evidence, top_k=options.top_k)
        candidate, score = ReverseCheck._candidates(ranked, evidence)
        usable = candidate >= 0
        moved = in_front(ranked, candidate, usable)
        gain = rewards(moved, truth, top_k=options.top_k) - rewards(
            ranked, truth, top_k=options.top_k
        )
        return ReverseCheck(base, best_from(score, gain * options.weights, usable))


def in_front(
    ranked: NDArray[np.int64], names: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Move or put one identity to the front of the chosen rows; the others keep their order."""
    out = ranked.copy()
    for row in np.flatnonzero(chosen):
        rest = ranked[row][ranked[row] != names[row]]
        out[row] = np.concatenate([[names[row]], rest])[: ranked.shape[1]]
    return out


def best_from(
    strength: NDArray[np.float64], gain: NDArray[np.float64], usable: NDArray[np.bool_]
) -> float:
    """The strength from which on the summed gain is largest; FAR if it is never above 0."""
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(-strength[rows], kind="stable")]
    if not len(rows):
        return FAR
    total = np.cumsum(gain[rows])
    last = np.flatnonzero(np.diff(strength[rows], append=-np.inf) != 0)
    at = last[int(total[last].argmax())]
    return clipped(strength[rows[at]]) if total[at] > 1e-12 else FAR
