"""Names that may be one animal: each one's held-out photos are taken for the other's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transect.identify.duplicates import Merge
from transect.openset.fusion import Candidates, Fusion
from transect.tabular.binary import sigmoid

__all__ = ["LEVEL", "likely_twins"]

LEVEL = 0.5  # mean probability in both directions; our guess


def likely_twins(
    candidates: Candidates,
    scores: NDArray[np.float64],
    fusion: Fusion,
    truth: NDArray[np.int64],
    people: NDArray[np.str_],
    *,
    level: float = LEVEL,
) -> list[Merge]:
    """Propose pairs of names to look at; nothing is merged by itself.

    Args:
        candidates: Of Q out-of-fold queries.
        scores: (Q, K) fused, of models that had not seen the query.
        fusion: What made them.
        truth: (Q,) number of the identity; below 0 none.
        people: Names of the identities.
        level: Least mean probability that a photo of one name shows the other, both ways.

    Returns:
        Proposals, surest first.
    """
    odds = np.clip(np.where(np.isfinite(scores), scores, -50.0), -50, 50)
    if fusion.how in fusion.sources:  # a source's own score: its curve makes it a chance
        slope, offset = fusion.curves[fusion.sources.index(fusion.how)]
        odds = np.clip(odds * slope + offset, -50, 50)
    real = (candidates.identities >= 0) & np.isfinite(scores) & (truth >= 0)[:, None]
    rows, columns = np.nonzero(real)
    chance = np.zeros((len(people), len(people)))
    np.add.at(
        chance,
        (truth[rows], candidates.identities[rows, columns]),
        sigmoid(odds[rows, columns]),
    )
    photos = np.bincount(truth[truth >= 0], minlength=len(people))
    chance /= np.maximum(photos, 1)[:, None]
    both = np.minimum(chance, chance.T)
    found = []
    for a, b in zip(*np.nonzero(np.triu(both >= level, 1)), strict=True):
        keep, other = (a, b) if photos[a] >= photos[b] else (b, a)
        found.append(
            Merge(
                str(people[keep]),
                str(people[other]),
                float(chance[a, b] + chance[b, a]) / 2,
                int(photos[a] + photos[b]),
                f"held-out photos of each are taken for the other's ({both[a, b]:.2f})",
            )
        )
    return sorted(found, key=lambda m: (-m.score, m.keep, m.other))
