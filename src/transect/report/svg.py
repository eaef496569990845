"""Drawing charts as SVG: axes with round ticks, marks, legends; colours come from the page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["HEIGHT", "WIDTH", "Axes", "Data", "Svg", "cut", "tick_text", "ticks"]

WIDTH, HEIGHT = 480, 300
"""Of a chart, in its own units; letters of 13 units can be read on a phone 360 px wide."""

_LETTER = 6.7  # mean width of a letter of 13 units


class Svg(str):
    """Text that is known to be a drawing of ours, with everything from outside escaped.

    Attributes:
        data: What is drawn, for tables and for papers; None for a drawing of words.
    """

    data: Data | None = None

    @property
    def heading(self) -> str:
        """What the drawing shows, with a capital."""
        return f"{self.data.title[:1].upper()}{self.data.title[1:]}" if self.data else ""


@dataclass(frozen=True)
class Data:
    """The numbers behind a chart.

    Attributes:
        kind: How they are drawn: line, dots or bars.
        title: What is shown.
        x_label: With its unit.
        y_label: With its unit.
        series: Name to its columns: x, y, and low and high where there are intervals.
    """

    kind: str
    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Mapping[str, Sequence[Any]]]

    def of(self, drawing: Svg) -> Svg:
        """The drawing that shows these."""
        drawing.data = self
        return drawing


@dataclass
class Axes:
    """One chart under construction, in data coordinates.

    Attributes:
        x: Lowest and highest value of the horizontal axis.
        y: Of the vertical axis.
        title: Read aloud instead of the drawing.
        x_label: Below the axis.
        y_label: Above it, at the left.
        left: Margin for tick labels.
        height: Of the drawing.
        head: Space above the plotting area, for the label of y or a word above a line.
        parts: What was drawn so far.
        legend: Class and name of each series; to be set before anything is drawn.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    title: str
    x_label: str = ""
    y_label: str = ""
    left: float = 52
    height: float = HEIGHT
    head: float = 30
    parts: list[str] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)

    @property
    def top(self) -> float:
        """First unit of the plotting area; labels and legend stand above."""
        return self.head + 18 * max(0, self._legend_rows() - (0 if self.y_label else 1))

    @property
    def bottom(self) -> float:
        """Last unit of the plotting area."""
        return self.height - (44 if self.x_label else 26)

    def px(self, value: float) -> float:
        """Horizontal place of a value."""
        low, high = self.x
        return self.left + (value - low) / (high - low) * (WIDTH - 16 - self.left)

    def py(self, value: float) -> float:
        """Vertical place of a value."""
        low, high = self.y
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)

    def line(self, points: Iterable[tuple[float, float]], css: str) -> None:
        """A line through points; it breaks where a value is missing."""
        runs: list[list[str]] = [[]]
        for x, y in points:
            if math.isfinite(x) and math.isfinite(y):
                runs[-1].append(f"{self.px(x):.1f},{self.py(y):.1f}")
            elif runs[-1]:
                runs.append([])
        for run in runs:
            if len(run) == 1:  # a line of one point would not be seen
                x0, y0 = run[0].split(",")
                self.parts.append(f'<circle class="{css} dot" cx="{x0}" cy="{y0}" r="3"/>')
            elif run:
                self.parts.append(f'<polyline class="{css} line" points="{" ".join(run)}"/>')

    def area(
        self, x: Sequence[float], low: Sequence[float], high: Sequence[float], css: str
    ) -> None:
        """The strip between two lines."""
        there = [f"{self.px(a):.1f},{self.py(b):.1f}" for a, b in zip(x, high, strict=True)]
        back = [f"{self.px(a):.1f},{self.py(b):.1f}" for a, b in zip(x, low, strict=True)]
        self.parts.append(f'<polygon class="{css} area" points="{" ".join(there + back[::-1])}"/>')

    def segment(self, x0: float, y0: float, x1: float, y1: float, css: str) -> None:
        """A straight line."""
        self.parts.append(
            f'<line class="{css}" x1="{self.px(x0):.1f}" y1="{self.py(y0):.1f}" '
            f'x2="{self.px(x1):.1f}" y2="{self.py(y1):.1f}"/>'
        )

    def dot(self, x: float, y: float, css: str, *, radius: float = 4, tip: str = "") -> None:
        """A point; ``tip`` is shown when the mouse rests on it."""
        inner = f"<title>{html.escape(tip)}</title></circle>" if tip else "</circle>"
        self.parts.append(
            f'<circle class="{css} dot" cx="{self.px(x):.1f}" cy="{self.py(y):.1f}" '
            f'r="{radius:g}">{inner}'
        )

    def box(self, x0: float, y0: float, x1: float, y1: float, css: str, *, tip: str = "") -> None:
        """A filled rectangle between two corners."""
        left, right = sorted((self.px(x0), self.px(x1)))
        top, bottom = sorted((self.py(y0), self.py(y1)))
        inner = f"<title>{html.escape(tip)}</title></rect>" if tip else "</rect>"
        self.parts.append(
            f'<rect class="{css} fill" x="{left:.1f}" y="{top:.1f}" '
            f'width="{max(0.5, right - left):.1f}" height="{max(0.0, bottom - top):.1f}">{inner}'
        )

    def text(
        self, x: float, y: float, text: str, css: str = "tick", *, anchor: str = "start"
    ) -> None:
        """Letters at a place in the drawing's units (not in data coordinates)."""
        self.parts.append(
            f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{html.escape(text)}</text>"
        )

    def draw(
        self,
        *,
        x_ticks: Sequence[tuple[float, str]] | None = None,
        y_ticks: Sequence[tuple[float, str]] | None = None,
        grid: str = "y",
        axis: bool = True,
    ) -> Svg:
        """Put axes around the marks.

        Args:
            x_ticks: Places and words; None makes round numbers, () none.
            y_ticks: Likewise.
            grid: Which axes have lines across: any of x and y.
            axis: Draw the line below the marks.
        """
        marks, self.parts = self.parts, []
        right = WIDTH - 16
        for value, word in _numbers(self.y, 5) if y_ticks is None else y_ticks:
            y = self.py(value)
            if "y" in grid:
                self.parts.append(
                    f'<line class="grid" x1="{self.left:g}" y1="{y:.1f}" '
                    f'x2="{right}" y2="{y:.1f}"/>'
                )
            room = int((self.left - 10) / _LETTER)
            self.text(self.left - 8, y + 4, cut(word, room), anchor="end")
        for value, word in self._fitting() if x_ticks is None else x_ticks:
            x = self.px(value)
            if "x" in grid:
                self.parts.append(
                    f'<line class="grid" x1="{x:.1f}" y1="{self.top:g}" '
                    f'x2="{x:.1f}" y2="{self.bottom:g}"/>'
                )
            half = len(word) * _LETTER / 2
            self.text(min(max(x, half), WIDTH - half), self.bottom + 17, word, anchor="middle")
        if axis:
            self.parts.append(
                f'<line class="axis" x1="{self.left:g}" y1="{self.bottom:g}" '
                f'x2="{right}" y2="{self.bottom:g}"/>'
            )
        self.parts += marks
        if self.x_label:
            middle = (self.left + right) / 2
            self.text(middle, self.height - 6, self.x_label, "label", anchor="middle")
        if self.y_label:
            self.text(4, 15, self.y_label, "label")
        self._draw_legend()
        name = html.escape(self.title, quote=True)
        return Svg(
            f'<svg viewBox="0 0 {WIDTH} {self.height:g}" role="img" aria-label="{name}">'
            + "".join(self.parts)
            + "</svg>"
        )

    def _fitting(self) -> list[tuple[float, str]]:
        """Round numbers below the drawing, as many as stand side by side without touching."""
        room = WIDTH - 16 - self.left
        for count in (6, 5, 4, 3):
            found = _numbers(self.x, count)
            if sum(len(word) * _LETTER + 12 for _, word in found) <= room:
                return found
        return _numbers(self.x, 2)

    def _legend_places(self) -> list[tuple[float, int]]:
        """Where each entry of the legend begins, and in which row."""
        places = []
        x, row = 4.0, 0
        for _, name in self.legend:
            width = 26 + len(cut(name, 40)) * _LETTER
            if x > 4 and x + width > WIDTH:
                x, row = 4.0, row + 1
            places.append((x, row))
            x += width
        return places

    def _legend_rows(self) -> int:
        return self._legend_places()[-1][1] + 1 if self.legend else 0

    def _draw_legend(self) -> None:
        base = 33 if self.y_label else 15
        for (css, name), (x, row) in zip(self.legend, self._legend_places(), strict=True):
            y = base + 18 * row
            self.parts.append(
                f'<rect class="{css} fill key" x="{x + 0:.1f}" y="{y - 9}" '
                'width="10" height="10" rx="2"/>'
            )
            self.text(x + 15, y, cut(name, 40), "tick")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers within an interval, about ``count`` of them.

    Example:
        >>> ticks(0, 1), ticks(3, 104)
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [20.0, 40.0, 60.0, 80.0, 100.0])
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - raw))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def tick_text(value: float) -> str:
    """A short number: no trailing zeros, thousands as k and M.

    Example:
        >>> [tick_text(v) for v in (0.0, 0.25, 1500, 20_000, 3_000_000, 1e-5)]
        ['0', '0.25', '1500', '20k', '3M', '1e-05']
    """
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    if size >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{np.float64(value):.6g}" if size >= 1e-4 or size == 0 else f"{value:.0e}"


def _numbers(limits: tuple[float, float], count: int) -> list[tuple[float, str]]:
    return [(value, tick_text(value)) for value in ticks(*limits, count)]


def cut(text: str, letters: int) -> str:
    """A text of at most so many letters."""
    return text if len(text) <= letters else text[: max(1, letters - 1)] + "…"
