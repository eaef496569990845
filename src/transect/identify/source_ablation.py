"""What some of a run's sources would have answered by themselves: the yardstick of a fusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from transect.errors import unknown_name
from transect.identify.deciding import Decisions, evidence_of
from transect.identify.oof import OutOfFold
from transect.identify.scorers import EXTRA
from transect.openset.decider import choose_decider, share_weights
from transect.openset.fusion import Candidates, fuse_out_of_fold
from transect.recipe import IdentifyDecide, Recipe

__all__ = ["decided_by", "kinds_of_sources"]


def kinds_of_sources(sources: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The sources that look at whole photos, and those that look at places on them.

    Example:
        >>> kinds_of_sources(("frozen", "geometry", "lnbnn"))
        {'networks only': ('frozen',), 'geometry only': ('geometry', 'lnbnn')}
    """
    places = tuple(name for name in sources if name in EXTRA)
    networks = tuple(name for name in sources if name not in EXTRA)
    found = {"networks only": networks, "geometry only": places}
    return {name: part for name, part in found.items() if part}


def decided_by(
    sources: Sequence[str], held_out: OutOfFold, recipe: Recipe, share: float | None
) -> Decisions:
    """Fuse and decide as a run does, with some of its sources only.

    Args:
        sources: One or more of the run's.
        held_out: What all sources say of the held-out photos.
        recipe: The run's.
        share: Expected share of unknown, see ``expected_share``.

    Returns:
        The decision that the run would have taken.

    Raises:
        TransectError: On a source that the run has not.
    """
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    whole = held_out.scores.candidates
    for name in sources:
        if name not in whole.sources:
            raise unknown_name("a source", name, whole.sources)
    planes = [whole.sources.index(name) for name in sources]
    part = Candidates(whole.identities, whole.scores[..., planes], tuple(sources))
    scores, fusion, _ = fuse_out_of_fold(
        part,
        held_out.truth,
        held_out.folds,
        "best",
        weights=share_weights(held_out.truth, share),
        power=decide.power,
        top_k=decide.top_k,
        seed=recipe.seed,
    )
    proven = "geometry" in sources
    sides = np.array([""] * len(held_out.rows), dtype=np.str_)
    own = replace(held_out.scores, candidates=part)
    decider, _ = choose_decider(
        evidence_of(own, scores, sources, sides),
        held_out.truth,
        replace(decide, policies=tuple(p for p in decide.policies if proven or p != "override")),
        share_new=share,
        seed=recipe.seed,
    )
    return Decisions(fusion, decider, share)
