"""Whether a run is worth using: its main score beside answers that need no training.

The comparison is paired: on the same out-of-fold units, the run's value minus the trivial
answer's, groups drawn with replacement. A run is called worth using if the whole 95 % interval of
the gain lies above zero, for every trivial answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from transect.metrics import higher_is_better, title_of
from transect.metrics.score import Score, Trivial, interval_text, scores_from_json, trusted
from transect.metrics.spread import bootstrap_statistic
from transect.run import RunFolder
from transect.task import Dataset, Rows, Task

__all__ = ["Verdict", "compared", "scored", "verdict_of", "verdict_on"]

D = TypeVar("D", bound=Dataset)
_DRAWS = 2000


@dataclass(frozen=True)
class Verdict:
    """Whether to use a run.

    Attributes:
        use: True, False, or None where it cannot be told.
        sentence: For people; it opens the report, the card and every answer.
    """

    use: bool | None
    sentence: str


def scored(task: Task[D, Any], rows: Rows, run: RunFolder) -> dict[str, Score]:
    """Every metric of some rows; the main one with the trivial answers beside it.

    Args:
        task: The question.
        rows: What came out.
        run: Whose.

    Returns:
        Metric name to score, the main one first; intervals only where they mean something.
    """
    groups = len(set(rows.sampling_groups))
    found = {name: score.honest(groups) for name, score in task.scores(rows, run).items()}
    if found and rows.trivial:
        main = next(iter(found))
        found[main] = replace(found[main], trivial=compared(task, rows, main, found[main].value))
    return found


def compared(task: Task[D, Any], rows: Rows, metric: str, value: float) -> tuple[Trivial, ...]:
    """The trivial answers of some rows beside the run's own, the best one first.

    Args:
        task: The question, whose ``unit_values`` are compared.
        rows: With ``trivial``.
        metric: The main one, for the direction of the trivial answers' scores.
        value: The run's, to see whether its units are what is compared.
    """
    (measure, own), weights = task.unit_values(rows), rows.weights
    sign = 1.0 if _more_is_better(metric) else -1.0
    mean = sign * float(np.average(own, weights=weights)) if weights.sum() else float("nan")
    other = not np.isclose(mean, value, rtol=1e-6, atol=1e-9)
    found = []
    for name, values in rows.trivial.items():
        known = np.isfinite(own) & np.isfinite(values) & (weights > 0)
        if not known.any():
            continue
        share = weights[known]
        gains = own[known] - values[known]
        groups = np.array(rows.sampling_groups, np.str_)[known]
        ends = bootstrap_statistic(_mean_of(gains, share), len(gains), groups, _DRAWS)
        interval, why = trusted(ends, len(set(groups.tolist())))
        found.append(
            Trivial(
                name,
                sign * float(np.average(values[known], weights=share)),
                float(np.average(gains, weights=share)),
                interval,
                why,
                measure if other else "",
            )
        )
    return tuple(sorted(found, key=lambda one: one.gain))


def _mean_of(
    gains: NDArray[np.float64], weights: NDArray[np.float64]
) -> Callable[[NDArray[np.intp]], float]:
    """The weighted mean gain of chosen units."""
    return lambda rows: float(np.average(gains[rows], weights=weights[rows]))


def verdict_of(run: RunFolder) -> Verdict:
    """The verdict on a run, from its ``metrics.json``; none before it is scored."""
    if not (run.path / "metrics.json").is_file():
        return verdict_on({})
    return verdict_on(scores_from_json(run.read_json("metrics.json")))


def verdict_on(scores: Mapping[str, Score]) -> Verdict:
    """The verdict that some scores allow.

    Args:
        scores: The main metric first, with its trivial answers.

    Example:
        >>> poor = Trivial("always answering the mean count", 5.0, -0.1, (-0.6, 0.4))
        >>> verdict_on({"mae": Score(5.1, (4.0, 6.0), count=40, trivial=(poor,))}).sentence
        'Do not use: no better than always answering the mean count (mean error in objects 5.1
         against 5; gain -0.1, 95 % interval -0.6 to 0.4, 40 units).'
    """
    main = next(iter(scores), None)
    if main is None or not scores[main].trivial:
        return Verdict(None, "Not judged: no trivial answer was measured beside this run.")
    score = scores[main]
    best = score.trivial[0]
    behind = [one for one in score.trivial if one.beaten is False]
    if behind:
        named = _listed([one.name for one in behind])
        return Verdict(
            False, f"Do not use: no better than {named} ({_figures(main, score, best)})."
        )
    unsure = next((one for one in score.trivial if one.beaten is None), None)
    if unsure is not None:
        return Verdict(
            None,
            f"Not judged: {unsure.why}, so a gain over {unsure.name} could be chance "
            f"({_figures(main, score, best)}).",
        )
    named = _listed([one.name for one in score.trivial])
    return Verdict(True, f"Worth using: better than {named} ({_figures(main, score, best)}).")


def _figures(metric: str, score: Score, best: Trivial) -> str:
    """The numbers that a verdict rests on, against the best trivial answer."""
    title, value = title_of(metric), score.value
    if best.measure:  # the main metric has no value of single units
        title, value = title_of(best.measure), best.value + best.gain
    text = f"{title} {_short(value)} against {_short(best.value)}; gain {_short(best.gain)}"
    if best.interval is not None:
        low, high = (_short(end) for end in best.interval)
        text += f", 95 % interval {low} to {high}"
    return f"{text}, {score.count} units"


def _short(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


def _listed(names: list[str]) -> str:
    """Names joined as a sentence joins them.

    Example:
        >>> _listed(["a"]), _listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _more_is_better(metric: str) -> bool:
    """Which way a metric is better; a question's own one that nobody listed: more is."""
    from transect.errors import TransectError

    try:
        return higher_is_better(metric)
    except TransectError:
        return True


def trivial_rows(score: Score) -> list[list[Any]]:
    """The trivial answers as rows of a table: name, score, gain, interval or why there is none."""
    return [
        [one.name, one.value, one.gain, interval_text(one.interval), one.why]
        for one in score.trivial
    ]
