"""The charts of the report: small functions from numbers to SVG; all words are escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transect.report.svg import HEIGHT, WIDTH, Axes, Data, Svg, cut, tick_text

__all__ = [
    "Interval",
    "bars",
    "fold_dots",
    "histogram",
    "intervals",
    "lines",
    "matrix",
    "reliability_diagram",
    "scatter",
    "threshold_curve",
]

Interval = tuple[str, float, float, float]
"""A name, a value, and the lower and upper end of its interval."""

_SERIES = 6  # colours of the page; more series share the last one
_MOST_POINTS = 1500


def lines(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    y_range: tuple[float, float] | None = None,
    marks: Mapping[str, float] | None = None,
) -> Svg:
    """Curves, such as loss and score over epochs.

    Args:
        series: Name to x and y; gaps (nan) break the line. The first six have a colour each.
        title: Read aloud instead of the drawing.
        x_label: With its unit.
        y_label: With its unit.
        y_range: Of the axis; None: what the data span, the outermost 1 % of wild values cut.
        marks: Vertical lines: word to x, e.g. where a stage begins.

    Returns:
        The drawing.
    """
    data = {name: _thinned(x, y) for name, (x, y) in series.items()}
    data = {name: (x, y) for name, (x, y) in data.items() if np.isfinite(y).any()}
    if not data:
        return _empty(title)
    xs = np.concatenate([x for x, _ in data.values()])
    ys = np.concatenate([y for _, y in data.values()])
    axes = Axes(_span(xs, pad=0), y_range or _span(ys, robust=True), title, x_label, y_label)
    if len(data) > 1:
        axes.legend = [(_css(i), name) for i, name in enumerate(data)]
    for word, place in (marks or {}).items():
        if axes.x[0] <= place <= axes.x[1]:
            axes.segment(place, axes.y[0], place, axes.y[1], "mark")
            axes.text(axes.px(place) + 4, axes.top + 11, word, "tick")
    for i, (x, y) in enumerate(data.values()):
        inside = np.where(np.isfinite(y), np.clip(y, *axes.y), np.nan)
        axes.line(zip(x, inside, strict=True), _css(i))
    columns = {name: {"x": x.tolist(), "y": y.tolist()} for name, (x, y) in data.items()}
    return Data("line", title, x_label, y_label, columns).of(axes.draw())


def threshold_curve(
    thresholds: ArrayLike,
    scores: ArrayLike,
    best: float,
    *,
    title: str,
    x_label: str = "threshold",
    y_label: str = "score",
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
) -> Svg:
    """A score over a setting, with the chosen one marked.

    Args:
        thresholds: (K,) ascending.
        scores: (K,).
        best: The chosen threshold.
        title: Read aloud instead of the drawing.
        x_label: The setting.
        y_label: The score.
        low: (K,) lower end of its spread, e.g. over folds.
        high: (K,) upper end.
    """
    x, y = np.asarray(thresholds, float), np.asarray(scores, float)
    if not np.isfinite(y).any():
        return _empty(title)
    ends = [y] if low is None or high is None else [y, np.asarray(low), np.asarray(high)]
    axes = Axes(_span(x, pad=0), _span(np.concatenate(ends)), title, x_label, y_label)
    if low is not None and high is not None:
        axes.area(list(x), list(np.asarray(low, float)), list(np.asarray(high, float)), "s0")
    axes.line(zip(x, y, strict=True), "s0")
    at = float(np.interp(best, x, y))
    axes.segment(best, axes.y[0], best, at, "mark")
    axes.dot(best, at, "s1", radius=5.5, tip=f"{best:.3g}: {at:.4g}")
    right = axes.px(best) < WIDTH * 0.65
    axes.text(
        axes.px(best) + (10 if right else -10),
        max(axes.py(at) - 9, axes.top + 8),
        f"{tick_text(round(best, 4))}  →  {at:.3f}",
        "value",
        anchor="start" if right else "end",
    )
    columns = {y_label: {"x": x.tolist(), "y": y.tolist()}}
    return Data("line", title, x_label, y_label, columns).of(axes.draw())


def histogram(
    groups: Mapping[str, ArrayLike],
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    bins: int = 24,
    log: bool = False,
) -> Svg:
    """How values are distributed; several groups (training and new pictures) overlap, as shares.

    Args:
        groups: Name to values.
        title: Read aloud instead of the drawing.
        x_label: Of the values.
        y_label: ``images`` for one group; several are always drawn as shares.
        bins: Of equal width.
        log: Take the values' decimal logarithm; values of 0 or less are left out.
    """
    data = {name: np.asarray(values, float).ravel() for name, values in groups.items()}
    data = {
        name: v[np.isfinite(v) & (v > 0)] if log else v[np.isfinite(v)] for name, v in data.items()
    }
    data = {name: np.log10(v) if log else v for name, v in data.items() if len(v)}
    if not data:
        return _empty(title)
    everything = np.concatenate(list(data.values()))
    low, high = _span(everything, pad=0)
    edges = np.linspace(low, high, bins + 1)
    heights = {
        name: np.histogram(v, edges)[0] / (len(v) if len(data) > 1 else 1)
        for name, v in data.items()
    }
    most = max(float(h.max()) for h in heights.values())
    y_label = "share" if len(data) > 1 else y_label
    axes = Axes((low, high), (0, most * 1.06), title, x_label, y_label)
    if len(data) > 1:
        axes.legend = [(_css(i), name) for i, name in enumerate(data)]
    gap = (high - low) / bins * 0.05
    for i, (name, height) in enumerate(heights.items()):
        for k in np.flatnonzero(height):
            words = f"{name}: {_word(edges[k], log)} to {_word(edges[k + 1], log)}: {height[k]:.3g}"
            clear = " clear" if len(data) > 1 else ""
            axes.box(edges[k] + gap, 0, edges[k + 1] - gap, height[k], _css(i) + clear, tip=words)
    middles = ((edges[:-1] + edges[1:]) / 2).tolist()
    table = Data(
        "bars", title, f"log10 of {x_label}" if log else x_label, y_label,
        {name: {"x": middles, "y": height.tolist()} for name, height in heights.items()},
    )  # fmt: skip
    if not log:
        return table.of(axes.draw())
    powers = range(math.ceil(low), math.floor(high) + 1)
    if len(powers) < 2:
        places = [(v, tick_text(_round(10**v))) for v in (low, (low + high) / 2, high)]
        return table.of(axes.draw(x_ticks=places))
    return table.of(axes.draw(x_ticks=[(float(p), tick_text(10.0**p)) for p in powers]))


def bars(values: Mapping[str, float], *, title: str, unit: str = "", most: int = 30) -> Svg:
    """Horizontal bars with their numbers, the longest list cut.

    Args:
        values: Name to value, 0 or more, in the order in which they shall stand.
        title: Read aloud instead of the drawing.
        unit: Behind each number.
        most: Bars drawn; the rest is added up in a last one.
    """
    shown = {name: max(0.0, float(v)) for name, v in values.items() if math.isfinite(v)}
    if not shown:
        return _empty(title)
    if len(shown) > most:
        rest = list(shown.items())[most - 1 :]
        shown = dict(list(shown.items())[: most - 1])
        shown[f"{len(rest)} more"] = sum(v for _, v in rest)
    top = max(shown.values()) or 1.0
    axes = Axes(
        (0, top * 1.18),
        (len(shown), 0),
        title,
        left=_left(shown),
        height=32 + 24 * len(shown),
        head=6,
    )
    words = []
    for i, (name, value) in enumerate(shown.items()):
        axes.box(0, i + 0.18, value, i + 0.82, "s0", tip=f"{name}: {value:.6g}{unit}")
        axes.text(axes.px(value) + 6, axes.py(i + 0.5) + 4, f"{_number(value)}{unit}", "value")
        words.append((i + 0.5, name))
    names, sizes = list(shown), list(shown.values())
    columns: dict[str, dict[str, list[Any]]] = {"": {"x": names, "y": sizes}}
    drawn = axes.draw(x_ticks=(), y_ticks=words, grid="", axis=False)
    return Data("bars", title, "", unit.strip(), columns).of(drawn)


def reliability_diagram(
    said: ArrayLike,
    seen: ArrayLike,
    counts: ArrayLike,
    *,
    title: str,
    also: tuple[ArrayLike, ArrayLike] | None = None,
) -> Svg:
    """Said probability against what came true; on the diagonal, words are true.

    Args:
        said: (K,) mean probability of each bin.
        seen: (K,) share of true ones in it.
        counts: (K,) how many it holds: the size of the dot.
        title: Read aloud instead of the drawing.
        also: Said and seen before calibration, drawn paler.
    """
    x, y, n = (np.asarray(v, float) for v in (said, seen, counts))
    if len(x) == 0:
        return _empty(title)
    axes = Axes((0, 1), (0, 1), title, "predicted probability", "share that came true")
    if also is not None:
        axes.legend = [("s0", "calibrated"), ("s1", "as predicted")]
    axes.segment(0, 0, 1, 1, "ideal")
    if also is not None:
        axes.line(zip(np.asarray(also[0], float), np.asarray(also[1], float), strict=True), "s1")
    axes.line(zip(x, y, strict=True), "s0")
    for a, b, count in zip(x, y, n, strict=True):
        radius = 3 + 5 * math.sqrt(count / n.max())
        axes.dot(a, b, "s0", radius=radius, tip=f"said {a:.2f}, seen {b:.2f}, {count:.0f} cases")
    columns = {"": {"x": x.tolist(), "y": y.tolist(), "cases": n.tolist()}}
    return Data("dots", title, axes.x_label, axes.y_label, columns).of(axes.draw(grid="xy"))


def scatter(
    x: ArrayLike,
    y: ArrayLike,
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    names: Sequence[str] | None = None,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    identity: bool = True,
) -> Svg:
    """Points with the line on which both values agree, such as predicted against true counts.

    Args:
        x: (N,) e.g. truth.
        y: (N,) e.g. prediction.
        title: Read aloud instead of the drawing.
        x_label: Of x.
        y_label: Of y.
        names: (N,) shown when the mouse rests on a point.
        low: (N,) lower ends of intervals of y.
        high: (N,) upper ends.
        identity: Draw the line and give both axes one range.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    keep = np.flatnonzero(np.isfinite(a) & np.isfinite(b))
    if len(keep) == 0:
        return _empty(title)
    if len(keep) > _MOST_POINTS:  # evenly, so that the same data give the same drawing
        keep = keep[np.linspace(0, len(keep) - 1, _MOST_POINTS).astype(int)]
    ends = (
        [b] if low is None or high is None else [b, np.asarray(low, float), np.asarray(high, float)]
    )
    if identity:
        both = _span(np.concatenate([a, *ends]), floor=0 if min(a.min(), b.min()) >= 0 else None)
        axes = Axes(both, both, title, x_label, y_label)
        axes.segment(both[0], both[0], both[1], both[1], "ideal")
    else:
        axes = Axes(_span(a), _span(np.concatenate(ends)), title, x_label, y_label)
    if low is not None and high is not None:
        bottom, top = np.asarray(low, float), np.asarray(high, float)
        for i in keep:
            held = bottom[i] <= a[i] <= top[i] if identity else True
            axes.segment(a[i], bottom[i], a[i], top[i], "whisker" if held else "whisker out")
    radius = 4 if len(keep) < 300 else 2.5
    for i in keep:
        tip = f"{names[int(i)]}: {a[i]:.4g}, {b[i]:.4g}" if names is not None else ""
        axes.dot(a[i], b[i], "s0 clear", radius=radius, tip=tip)
    own: dict[str, list[Any]] = {"x": a[keep].tolist(), "y": b[keep].tolist()}
    if low is not None and high is not None:
        own |= {"low": bottom[keep].tolist(), "high": top[keep].tolist()}
    if names is not None:
        own["name"] = [names[int(i)] for i in keep]
    return Data("dots", title, x_label, y_label, {"": own}).of(axes.draw(grid="xy"))


def fold_dots(scores: Mapping[str, ArrayLike], *, title: str, x_label: str = "score") -> Svg:
    """One dot per fold (or seed) with their mean, one row per metric or member.

    Args:
        scores: Name to one value per fold.
        title: Read aloud instead of the drawing.
        x_label: What is measured.
    """
    rows = {name: np.asarray(v, float).ravel() for name, v in scores.items()}
    rows = {name: v[np.isfinite(v)] for name, v in rows.items() if np.isfinite(v).any()}
    if not rows:
        return _empty(title)
    span = _span(np.concatenate(list(rows.values())))
    axes = Axes(
        span, (len(rows), 0), title, x_label, left=_left(rows), height=34 + 34 * len(rows) + 44
    )
    words = []
    for i, (name, values) in enumerate(rows.items()):
        mean, y = float(values.mean()), i + 0.5
        axes.segment(values.min(), y, values.max(), y, "whisker")
        for fold, value in enumerate(values):
            axes.dot(value, y, "s0 clear", radius=4.5, tip=f"{name}, fold {fold}: {value:.4g}")
        axes.segment(mean, y - 0.3, mean, y + 0.3, "mean")
        place = min(max(axes.px(mean), axes.left + 20), WIDTH - 36)
        axes.text(place, axes.py(i) + 4, _number(mean), "value", anchor="middle")
        words.append((y, name))
    columns = {name: {"x": v.tolist(), "y": [name] * len(v)} for name, v in rows.items()}
    return Data("dots", title, x_label, "", columns).of(axes.draw(y_ticks=words, grid="x"))


def intervals(
    rows: Sequence[Interval],
    *,
    title: str,
    x_label: str = "",
    reference: float | None = None,
    reference_word: str = "",
) -> Svg:
    """Values with intervals around a reference: coverage at its promise, gains at zero.

    Args:
        rows: Name, value, low, high.
        title: Read aloud instead of the drawing.
        x_label: What is measured.
        reference: A vertical line; intervals that do not reach it stand out.
        reference_word: Beside the line.
    """
    kept = [row for row in rows if all(map(math.isfinite, row[1:]))]
    if not kept:
        return _empty(title)
    numbers = [v for row in kept for v in row[1:]] + ([] if reference is None else [reference])
    axes = Axes(
        _span(np.array(numbers)),
        (len(kept), 0),
        title,
        x_label,
        left=_left([row[0] for row in kept]),
        height=34 + 30 * len(kept) + 44,
    )
    if reference is not None:
        axes.segment(reference, 0, reference, len(kept), "mark")
        axes.text(axes.px(reference), axes.top - 6, reference_word, "tick", anchor="middle")
    words = []
    for i, (name, value, low, high) in enumerate(kept):
        y = i + 0.5
        off = reference is not None and not low <= reference <= high
        axes.segment(low, y, high, y, "whisker wide")
        tip = f"{name}: {value:.4g} ({low:.4g} to {high:.4g})"
        axes.dot(value, y, "s1" if off else "s0", radius=5, tip=tip)
        words.append((y, name))
    labels, values, lows, highs = (list(column) for column in zip(*kept, strict=True))
    columns = {"": {"x": values, "y": labels, "low": lows, "high": highs}}
    return Data("intervals", title, x_label, "", columns).of(axes.draw(y_ticks=words, grid="x"))


def matrix(counts: ArrayLike, labels: Sequence[str], *, title: str, most: int = 12) -> Svg:
    """A confusion matrix: rows are the truth, columns the prediction, shades shares of the row.

    Args:
        counts: (C, C).
        labels: (C,) names.
        title: Read aloud instead of the drawing.
        most: Classes drawn, those with the most truth first.
    """
    table: NDArray[np.float64] = np.asarray(counts, float)
    if table.size == 0:
        return _empty(title)
    order = np.sort(np.argsort(-table.sum(axis=1), kind="stable")[:most])
    table, names = table[np.ix_(order, order)], [labels[i] for i in order.tolist()]
    size = len(names)
    axes = Axes(
        (0, size),
        (size, 0),
        title,
        "predicted",
        "truth",
        left=_left(names),
        height=min(HEIGHT + 60, 30 + 40 * size) + 44,
    )
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1e-12)
    for i in range(size):
        for j in range(size):
            level = math.ceil(float(shares[i, j]) * 5)
            tip = f"{names[i]} taken for {names[j]}: {table[i, j]:g} ({shares[i, j]:.0%})"
            axes.box(j + 0.03, i + 0.03, j + 0.97, i + 0.97, f"heat{level}", tip=tip)
            css = "cell strong" if level > 3 else "cell"
            place = (axes.px(j + 0.5), axes.py(i + 0.5) + 4)
            axes.text(*place, tick_text(_round(table[i, j])), css, anchor="middle")
    room = max(2, int((WIDTH - 16 - axes.left) / size / 7.2) - 1)
    drawn = axes.draw(
        x_ticks=[(j + 0.5, cut(name, room)) for j, name in enumerate(names)],
        y_ticks=[(i + 0.5, name) for i, name in enumerate(names)],
        grid="",
    )
    columns = {name: {"x": names, "y": table[i].tolist()} for i, name in enumerate(names)}
    return Data("matrix", title, "predicted", "truth", columns).of(drawn)


def _css(i: int) -> str:
    return f"s{min(i, _SERIES - 1)}"


def _left(names: Sequence[str] | Mapping[str, object]) -> float:
    """The margin that names of rows need, at most two fifths of the drawing."""
    return min(WIDTH * 0.4, 18 + 6.9 * max(len(name) for name in names))


def _span(
    values: NDArray[np.floating],
    *,
    pad: float = 0.06,
    robust: bool = False,
    floor: float | None = None,
) -> tuple[float, float]:
    """A range that holds the values, never of width zero."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if robust and len(finite) > 20:
        inner_low, inner_high = (float(v) for v in np.percentile(finite, [1, 99]))
        if high - low > 4 * (inner_high - inner_low) > 0:
            low, high = inner_low, inner_high
    if high - low < 1e-12 * max(1.0, abs(high)):
        room = 0.5 * abs(high) or 0.5
        return low - room, high + room
    room = pad * (high - low)
    low = low - room if floor is None else max(floor, low - room)
    return low, high + room


def _thinned(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most 400 points: of longer curves the means of equal stretches."""
    a, b = np.asarray(x, float).ravel(), np.asarray(y, float).ravel()
    if len(a) <= 400:
        return a, b
    cuts = np.linspace(0, len(a), 401).astype(int)[:-1]
    width = np.diff([*cuts, len(a)])
    return np.add.reduceat(a, cuts) / width, np.add.reduceat(b, cuts) / width


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def _word(value: float, log: bool) -> str:
    return f"{10**value if log else value:.3g}"


def _empty(title: str) -> Svg:
    """What stands where there is nothing to draw."""
    axes = Axes((0, 1), (0, 1), title, height=90)
    axes.text(WIDTH / 2, 46, "nothing to show", "label", anchor="middle")
    return axes.draw(x_ticks=(), y_ticks=(), grid="", axis=False)
