"""Which weights a stage keeps: a pure function of the scores so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transect.errors import TransectError, unknown_name
from transect.recipe import Stage
from transect.train.schedules import cycle_bounds, cycle_of

__all__ = ["KEEP", "Score", "best_epoch", "check_keep", "kept", "stale_epochs"]

KEEP = ("last", "best", "cycle_end", "cycle_best", "best_k", "best_each")


@dataclass(frozen=True)
class Score:
    """An evaluated epoch.

    Attributes:
        epoch: Epochs done, from 1.
        metric: What is watched; higher is better.
        metrics: Everything that was measured.
    """

    epoch: int
    metric: float
    metrics: Mapping[str, float] = field(default_factory=dict)


def check_keep(stage: Stage) -> None:
    """Refuse rules that can keep nothing.

    Raises:
        TransectError: On an unknown rule, or when every cycle is dropped.
    """
    if stage.keep not in KEEP:
        raise unknown_name(f"keep of stage {stage.name}", stage.keep, KEEP)
    cycles = len(cycle_bounds(stage.epochs, stage.schedule.cycles)) - 1
    if stage.drop_first and stage.drop_first >= cycles:
        raise TransectError(
            f"stage {stage.name} has {cycles} cycles and drop_first={stage.drop_first} would drop "
            f"them all. Set drop_first below {cycles}, or schedule.cycles above "
            f"{stage.drop_first}."
        )
    if stage.keep == "best_k" and stage.keep_k < 1:
        raise TransectError(f"keep_k of stage {stage.name} must be at least 1; got {stage.keep_k}.")


def best_epoch(scores: Sequence[Score]) -> int | None:
    """The epoch of the highest metric, the earliest of equals; None without scores."""
    return max(scores, key=lambda s: (_number(s.metric), -s.epoch)).epoch if scores else None


def stale_epochs(scores: Sequence[Score], epoch: int) -> int:
    """Epochs since the best one."""
    best = best_epoch(scores)
    return epoch - best if best is not None else 0


def kept(stage: Stage, scores: Sequence[Score], *, final: bool) -> tuple[tuple[int, float], ...]:
    """The epochs whose weights the stage holds on to after the last of ``scores``.

    Args:
        stage: Its rule, cycles and numbers.
        scores: Evaluated epochs in order.
        final: Whether the stage ends here, by plan or early.

    Returns:
        (epoch, weight) pairs, the weights summing to 1; best first for ``best`` and ``best_k``
        (weights ``keep_decay ** rank``, salt 28th place), else in order of epochs.

    Example:
        >>> scores = [Score(1, 0.5), Score(2, 0.7), Score(3, 0.6)]
        >>> kept(Stage(epochs=3, keep="best_k", keep_k=2, keep_decay=0.5), scores, final=True)
        ((2, 0.666...), (3, 0.333...))
    """
    if not scores:
        return ()
    bounds = cycle_bounds(stage.epochs, stage.schedule.cycles)
    allowed = [s for s in scores if cycle_of(s.epoch - 1, bounds) >= stage.drop_first]
    last = scores[-1].epoch
    if stage.keep == "last":
        return ((last, 1.0),) if final else ()
    if stage.keep in {"best", "best_k"}:
        count = 1 if stage.keep == "best" else stage.keep_k
        ranked = sorted(allowed, key=lambda s: (-_number(s.metric), s.epoch))[:count]
        epochs = [s.epoch for s in ranked]
    elif stage.keep == "best_each":
        names = {name for s in allowed for name in s.metrics}
        best = {
            max(allowed, key=lambda s: (_number(s.metrics.get(n)), -s.epoch)).epoch for n in names
        }
        epochs = sorted(best | ({last} if final else set()))
    elif stage.keep == "cycle_end":
        epochs = [s.epoch for s in allowed if s.epoch in bounds[1:]]
    else:
        cycles: dict[int, list[Score]] = {}
        for score in allowed:
            cycles.setdefault(cycle_of(score.epoch - 1, bounds), []).append(score)
        epochs = [e for group in cycles.values() if (e := best_epoch(group)) is not None]
    if not epochs and final:  # stopped early, before the first epoch that the rule would keep
        epochs = [last]
    decay = stage.keep_decay if stage.keep == "best_k" else 1.0
    weights = [decay**rank for rank in range(len(epochs))]
    return tuple((e, w / sum(weights)) for e, w in zip(epochs, weights, strict=True))


def _number(metric: float | None) -> float:
    """A metric that is missing or not a number is worse than any other."""
    return metric if metric is not None and metric == metric else float("-inf")
