"""Many small random numbers from one generator, drawn in blocks because single draws are slow."""

from __future__ import annotations

import numpy as np

__all__ = ["Draws"]

_BLOCK = 64


class Draws:
    """Uniform numbers on demand.

    A call of ``Generator.uniform`` costs about a microsecond; a picture needs thirty. One block
    is drawn at once instead, which also makes a sample's use of the generator a fixed amount
    unless noise or fields are drawn.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._ready: list[float] = rng.random(_BLOCK).tolist()

    def unit(self) -> float:
        """A number in [0, 1)."""
        if not self._ready:
            self._ready = self.rng.random(_BLOCK).tolist()
        return self._ready.pop()

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.unit()

    def around(self, largest: float) -> float:
        """A number in [-largest, largest)."""
        return largest * (2.0 * self.unit() - 1.0)

    def chance(self, probability: float) -> bool:
        """True with the given probability; nothing is drawn if it is 0 or 1."""
        if probability <= 0.0:
            return False
        return probability >= 1.0 or self.unit() < probability
