"""Whether an image holds anything at all: the empty head, the area and the surest pixels, weighed.

A head trained beside the masks knows the whole image but is badly calibrated after a short
training, and the masks know what it does not: how much they found and how sure they are of it. A
logistic regression on held-out images weighs the three; the decisions then tune one threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.run import RunFolder
from transect.segment.blending import log_odds
from transect.tabular.binary import fit_binary, predict_binary

__all__ = ["Emptiness", "evidence_of", "fit_emptiness"]

_LEAST = 20  # empty and filled images that a fit must see of each; our guess


def evidence_of(head: float, maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """What speaks for an object in an image.

    Args:
        head: Probability of the image-level heads that there is one; 1 without such heads.
        maps: (T, H, W) probabilities, the first of the foreground.

    Returns:
        (3,): log-odds of the head; logarithm of 1 + the thousandths of the image above one half;
        log-odds of the mean of its surest hundredth.
    """
    flat = maps[0].ravel()
    top = max(1, flat.size // 100)
    surest = float(np.partition(flat, flat.size - top)[-top:].mean())
    area = 1000 * float(np.mean(flat > 0.5))
    odds = log_odds(np.array([head, surest]))
    return np.array([odds[0], np.log1p(area), odds[1]], np.float64)


class Emptiness:
    """The fitted weights of a run, or the head alone where nothing was fitted.

    Attributes:
        fitted: Whether evidence is weighed.
    """

    def __init__(self, noted: Mapping[str, Any] | None) -> None:
        """Take what ``fit_emptiness`` noted; None for nothing."""
        self._noted = noted
        self.fitted = noted is not None

    @staticmethod
    def of(run: RunFolder) -> Emptiness:
        """Read ``empty.json``, if there is one."""
        there = (run.path / "empty.json").is_file()
        return Emptiness(run.read_json("empty.json") if there else None)

    def filled(
        self, head: float, maps: NDArray[np.float32], *, held_out: str | None = None
    ) -> float:
        """Probability that an image holds an object.

        Args:
            head: As in ``evidence_of``.
            maps: As there.
            held_out: Name of a held-out image: its own part took no part in the fit.

        Returns:
            In [0, 1]; the head's own where nothing was fitted.
        """
        if self._noted is None:
            return head
        fit = self._noted["final"]
        if held_out is not None:
            fit = self._noted["nested"][str(self._noted["part_of"][held_out])]
        return float(predict_binary(fit, evidence_of(head, maps)[None])[0])


def fit_emptiness(
    run: RunFolder,
    evidence: Mapping[str, NDArray[np.float64]],
    filled: Mapping[str, bool],
    part_of: Mapping[str, int],
) -> None:
    """Weigh the evidence on held-out images and write ``empty.json``.

    Args:
        run: The run.
        evidence: Image to its (3,) numbers.
        filled: Image to whether its mask holds an object.
        part_of: Image to its part; each part gets a fit without it.

    Nothing is written where a fit would see fewer than 20 empty or 20 filled images.
    """
    names = list(evidence)
    features = np.stack([evidence[name] for name in names])
    truth = np.array([filled[name] for name in names], np.bool_)
    parts = np.array([part_of[name] for name in names])
    sets = {str(part): parts != part for part in sorted(set(parts.tolist()))}
    if any(min(truth[rows].sum(), (~truth[rows]).sum()) < _LEAST for rows in sets.values()):
        return

    def fit(rows: NDArray[np.bool_]) -> dict[str, Any]:
        weights = np.ones(int(rows.sum()))
        return fit_binary(features[rows], truth[rows], weights, models=("logistic",))

    run.write_json(
        "empty.json",
        {
            "final": fit(np.ones(len(names), np.bool_)),
            "nested": {part: fit(rows) for part, rows in sets.items()},
            "part_of": dict(part_of),
        },
    )
