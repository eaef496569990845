"""The charts of a page as figures for papers: SVG and PDF by matplotlib, their numbers as CSV."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transect.files import atomic_path, spreadsheet_safe
from transect.report.svg import Data, Svg

__all__ = ["write_figures"]

_WIDTH_MM, _HEIGHT_MM = 85, 64
"""One column of most journals."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#6b7684")
"""Okabe and Ito, Color Universal Design, 2008: told apart by colour-blind readers, too."""

_STYLE: Any = {
    "font.size": 7, "axes.linewidth": 0.5, "lines.linewidth": 1, "lines.markersize": 3,
    "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none",
    "svg.hashsalt": "transect", "pdf.fonttype": 42, "legend.frameon": False,
}  # fmt: skip


def write_figures(drawings: Sequence[tuple[str, Svg]], folder: Path) -> list[Path]:
    """Write every chart of a page anew; what was there before is removed.

    Args:
        drawings: Title and drawing, in the order of the page.
        folder: Gets ``01-title.csv``, and ``.svg`` and ``.pdf`` where matplotlib is installed.

    Returns:
        The files.
    """
    if folder.is_dir():
        shutil.rmtree(folder)
    written: list[Path] = []
    for title, drawing in drawings:
        data = drawing.data
        if data is None:
            continue
        words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]
        stem = f"{len({p.stem for p in written}) + 1:02d}-{words}"
        written.append(_write_numbers(data, folder / f"{stem}.csv"))
        written += _draw(data, folder / stem)
    return written


def _write_numbers(data: Data, path: Path) -> Path:
    """A row per mark: its series and its columns."""
    columns = list(dict.fromkeys(c for series in data.series.values() for c in series))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["series", *columns])
        for name, series in data.series.items():
            cells = (series.get(column, [""] * len(series["x"])) for column in columns)
            for row in zip(*cells, strict=True):
                writer.writerow([spreadsheet_safe(str(cell)) for cell in (name, *row)])
    return path


def _draw(data: Data, stem: Path) -> list[Path]:
    """SVG and PDF; none without matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return []
    written = []
    with mpl.rc_context(_STYLE):
        figure = Figure((_WIDTH_MM / 25.4, _HEIGHT_MM / 25.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _marks(axes, data)
        axes.set(xlabel=data.x_label, ylabel=data.y_label)
        if len([name for name in data.series if name]) > 1 and data.kind in ("line", "bars"):
            axes.legend(fontsize=6)
        for suffix, nothing in ((".svg", {"Date": None}), (".pdf", {"CreationDate": None})):
            with atomic_path(stem.with_suffix(suffix)) as temporary:
                figure.savefig(temporary, format=suffix[1:], metadata=nothing)
            written.append(stem.with_suffix(suffix))
    return written


def _marks(axes: Any, data: Data) -> None:
    """Draw the series of a chart."""
    if data.kind == "matrix":
        names = list(data.series)
        axes.imshow([list(series["y"]) for series in data.series.values()], cmap="Blues")
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        return
    for number, (name, series) in enumerate(data.series.items()):
        x, y = list(series["x"]), list(series["y"])
        colour = _COLOURS[min(number, len(_COLOURS) - 1)]
        if data.kind == "line":
            axes.plot(x, y, color=colour, label=name)
        elif data.kind == "bars" and x and isinstance(x[0], str):
            axes.barh(x[::-1], y[::-1], color=colour)
            axes.set_xlabel(data.y_label)
        elif data.kind == "bars":
            width = (x[1] - x[0]) * 0.95 if len(x) > 1 else 1.0
            axes.bar(x, y, width, color=colour, alpha=0.6, label=name)
        elif data.kind == "intervals":
            ends = [
                [max(0.0, v - low) for v, low in zip(x, series["low"], strict=True)],
                [max(0.0, high - v) for v, high in zip(x, series["high"], strict=True)],
            ]
            axes.errorbar(x, y, xerr=ends, fmt="o", color=colour, capsize=2)
            axes.axvline(0, color="0.6", linewidth=0.5, linestyle="--")
        else:
            if "low" in series:
                axes.vlines(x, series["low"], series["high"], color=colour, alpha=0.35)
            axes.plot(x, y, "o", color=colour, alpha=0.7, markeredgewidth=0)
