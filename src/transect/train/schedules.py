"""How the learning rate moves: each shape is a pure function of the place in the stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from transect.errors import TransectError, unknown_name
from transect.recipe import Schedule

__all__ = ["SCHEDULES", "Plateau", "check", "cycle_bounds", "cycle_of", "factor"]

_ONE_CYCLE_RISE = 0.3  # as in torch's OneCycleLR and fastai
_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1 / 25e4


def cycle_bounds(epochs: int, cycles: int) -> tuple[int, ...]:
    """Where the cycles of a stage begin and end, in whole epochs.

    Returns:
        ``cycles + 1`` numbers from 0 to ``epochs``; a cycle that would have no epoch is left out.

    Example:
        >>> cycle_bounds(10, 3)
        (0, 3, 7, 10)
    """
    return tuple(sorted({round(k * epochs / cycles) for k in range(cycles + 1)}))


def cycle_of(epoch: int, bounds: tuple[int, ...]) -> int:
    """The cycle (from 0) that an epoch (from 0) belongs to.

    Example:
        >>> [cycle_of(epoch, (0, 3, 7)) for epoch in (0, 2, 3, 6)]
        [0, 0, 1, 1]
    """
    return sum(epoch >= bound for bound in bounds[1:-1])


def check(schedule: Schedule) -> None:
    """Refuse a schedule that contradicts itself.

    Raises:
        TransectError: On an unknown name, plateau together with cycles, or numbers out of range.
    """
    if schedule.name not in SCHEDULES and schedule.name != "plateau":
        raise unknown_name("schedule.name", schedule.name, [*SCHEDULES, "plateau"])
    if schedule.cycles < 1:
        raise TransectError(f"schedule.cycles must be at least 1; got {schedule.cycles}.")
    if schedule.name == "plateau" and schedule.cycles > 1:
        raise TransectError(
            f"schedule plateau lowers the rate when the metric stalls and cannot have cycles; got "
            f"cycles={schedule.cycles}. Set cycles=1, or take cosine_restarts."
        )
    if not 0 <= schedule.warmup < 1:
        raise TransectError(f"schedule.warmup must be in [0, 1); got {schedule.warmup}.")
    if schedule.name == "noam" and schedule.warmup_epochs < 1:
        raise TransectError(
            f"schedule.warmup_epochs must be at least 1 for noam; got {schedule.warmup_epochs}."
        )


def factor(
    schedule: Schedule, step: int, steps_total: int, epoch: int, *, epochs: int | None = None
) -> float:
    """Factor on the base learning rate.

    Args:
        schedule: The shape and its numbers. ``plateau`` gives its warm-up only: the rest depends
            on the metric, see ``Plateau``.
        step: Updates done in the stage, in [0, steps_total].
        steps_total: Updates of the stage.
        epoch: Epochs done in the stage.
        epochs: Of the stage; given, cycles begin and end with whole epochs.

    Returns:
        A number >= 0. ``warmup`` multiplies constant, cosine, poly, step and plateau by a linear
        rise; noam, one_cycle and the triangles have their own.

    Example:
        >>> cosine = Schedule("cosine", warmup=0, floor=0)
        >>> [round(factor(cosine, step, 100, 0), 2) for step in (0, 50, 100)]
        [1.0, 0.5, 0.0]
    """
    t, cycle = _place(schedule.cycles, step, steps_total, epochs)
    shape = SCHEDULES.get(schedule.name, _constant)
    value = shape(schedule, t, cycle, epoch)
    rise = schedule.warmup * steps_total
    if schedule.name in _OWN_WARMUP or step + 1 >= rise:
        return value
    return value * (step + 1) / rise


def _place(cycles: int, step: int, steps_total: int, epochs: int | None) -> tuple[float, int]:
    """Progress within the present cycle, in [0, 1], and the cycle's number."""
    units = epochs if epochs else cycles
    bounds = cycle_bounds(units, cycles) if epochs else tuple(range(cycles + 1))
    position = units * step / max(1, steps_total)
    cycle = min(sum(position >= bound for bound in bounds[1:-1]), len(bounds) - 2)
    length = bounds[cycle + 1] - bounds[cycle]
    return min(1.0, (position - bounds[cycle]) / length), cycle


def _constant(schedule: Schedule, t: float, cycle: int, epoch: int) -> float:
    return 1.0


def _cosine(schedule: Schedule, t: float, cycle: int, epoch: int) -> float:
    """Half a cosine from 1 to the floor, again in every cycle (SGDR, Loshchilov 2017)."""
    return schedule.floor + (1 - schedule.floor) * (1 + math.cos(math.pi * t)) / 2


def _triangular(schedule: Schedule, t: float, cycle: int, epoch: int) -> float:
    """Up from the floor to the peak and down again (CLR, Smith 2017)."""
    return schedule.floor + (schedule.peak - schedule.floor) * (1 - abs(2 * t - 1))


def _triangular2(schedule: Schedule, t: float, cycle: int, epoch: int) -> float:
    """The same with half the height in every further cycle."""
    return schedule.floor + (schedule.peak - schedule.floor) * (1 - abs(2 * t - 1)) / 2**cycle


def _one_cycle(schedule: Schedule, t: float, cycle: int, epoch: int) -> float:
    """Cosine rise over 30 % of the stage, cosine fall to almost nothing (Smith 2018)."""
    if t < _ONE_CYCLE_RISE:
        start, end, share = _ONE_CYCLE_START, 1.0, t / _ONE_CYCLE_RISE
    else:
        start, end, share = 1.0, _ONE_CYCLE_END, (t - _ONE_CYCLE_RISE) / (1 - _ONE_CYCLE_RISE)
    return schedule.peak * (end + (start - end) * (1 + math.cos(math.pi * share)) / 2)


def _noam(schedule: Schedule, t: float, cycle: int, epoch: int) -> float:
    """Per epoch e = 1, 2, ...: sqrt(w) * min(e**-.5, e * w**-1.5); 1 at e = w (salt 9th place)."""
    e, w = epoch + 1, schedule.warmup_epochs
    return math.sqrt(w) * min(e**-0.5, e * w**-1.5)


def _poly(schedule: Schedule, t: float, cycle: int, epoch: int) -> float:
    return float((1 - t) ** schedule.power)


def _step(schedule: Schedule, t: float, cycle: int, epoch: int) -> float:
    return float(schedule.factor ** sum(epoch >= at for at in schedule.step_epochs))


SCHEDULES: dict[str, Callable[[Schedule, float, int, int], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "cosine_restarts": _cosine,
    "triangular": _triangular,
    "triangular2": _triangular2,
    "one_cycle": _one_cycle,
    "noam": _noam,
    "poly": _poly,
    "step": _step,
}
_OWN_WARMUP = {"triangular", "triangular2", "one_cycle", "noam"}


class Plateau:
    """Lowers the rate by ``factor`` when the metric has not risen for ``patience`` epochs.

    Attributes:
        factor: What the base rate is multiplied by now.

    Example:
        >>> plateau = Plateau(Schedule("plateau", patience=1, factor=0.5, floor=0.1))
        >>> [plateau.update(metric) for metric in (1.0, 0.9, 0.8, 2.0, 1.0)]
        [1.0, 1.0, 0.5, 0.5, 0.5]
    """

    def __init__(self, schedule: Schedule) -> None:
        check(schedule)
        self._schedule = schedule
        self.factor = 1.0
        self._best = -math.inf
        self._stale = 0

    def update(self, metric: float) -> float:
        """Take in the metric of an epoch (higher is better) and return the new factor."""
        if metric > self._best:
            self._best, self._stale = metric, 0
            return self.factor
        self._stale += 1
        if self._stale > self._schedule.patience:
            self.factor = max(self._schedule.floor, self.factor * self._schedule.factor)
            self._stale = 0
        return self.factor

    def state_dict(self) -> dict[str, float]:
        """The state as plain numbers."""
        return {"factor": self.factor, "best": self._best, "stale": self._stale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        self.factor = float(state["factor"])
        self._best = float(state["best"])
        self._stale = int(state["stale"])
