"""What is decided on the out-of-fold maps of a run: the counter, its intervals, the points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.count.box_scoring import box_columns
from transect.count.choosing import Choice, choose_counter, parts_of
from transect.count.counters import Evidence
from transect.count.decisions import Classify, Decisions, unseen_factor
from transect.count.detections import Detections
from transect.count.gallery import keep_worst
from transect.count.maps import Drawn, oof_map
from transect.count.measures import PEAK_LEVELS, Measured, measure
from transect.count.pictures import CountPictures
from transect.count.scoring import constant_answers, rows_of
from transect.count.tables import write_table
from transect.count.training import Task
from transect.count.windows import window_counts
from transect.ensemble.conformal import fit_intervals, measured_coverage
from transect.errors import TransectError
from transect.metrics.count import PointMatch, match_points
from transect.run import RunFolder
from transect.task import Rows
from transect.types import Progress

__all__ = ["decide_out_of_fold"]


def decide_out_of_fold(
    run: RunFolder,
    pictures: CountPictures,
    task: Task,
    folds: NDArray[np.int64],
    *,
    spacing_px: float,
    seed: int,
    progress: Progress,
    classify_of: Callable[[int], Classify | None] = lambda i: None,
) -> Rows:
    """Fit all decisions on the out-of-fold maps, score them nested, write what was found.

    Args:
        run: Gets ``decide.json``, ``regressors/``, ``oof/counts.csv``, ``oof/points.csv``.
        pictures: With dots.
        task: What the maps are.
        folds: Fold of every block.
        spacing_px: Usual distance of dots in pixels of the pictures.
        seed: Of regressors.
        progress: Told what was chosen.
        classify_of: From the number of a block to the second look at its objects, by networks
            that have not seen it.

    Returns:
        Counts, intervals and points of every block by decisions that were fitted without it.
    """
    radius, blur = _peak_shape(task, run, spacing_px)
    rows, maps, measured = [], [], []
    for i, image in enumerate(pictures.images):
        cells = oof_map(run, task, image)
        if cells is None:
            continue
        rows.append(i)
        maps.append(cells)
        measured.append(
            measure(cells, task.decide, radius=radius, blur=blur, classify=classify_of(i))
        )
        progress.step("measuring maps", len(rows), len(pictures.images))
    truth = pictures.counts[rows]
    groups = [pictures.images[i].group for i in rows]
    own_folds = folds[rows]
    evidence = Evidence(
        measured,
        [_window_truth(pictures, i, cells, one) for i, cells, one in zip(rows, maps, measured,
                                                                         strict=True)],
        truth,
        own_folds,
        np.unique([g or f"\0{i}" for i, g in enumerate(groups)], return_inverse=True)[1],
        merged=task.decide.merge_classes,
    )  # fmt: skip
    parts = parts_of(own_folds, groups, seed)
    choice = choose_counter(evidence, parts, task.decide, seed=seed)
    counted = ("all classes",) if choice.counter.merged else pictures.classes
    for line in _choice_lines(counted, choice):
        progress.say(line)
    radius_px = task.decide.match_radius or spacing_px / 2
    heights, height = _point_heights(maps, measured, pictures, rows, parts, radius_px)
    with_total = np.column_stack([choice.out_of_fold, choice.out_of_fold.sum(axis=1)])
    real = np.column_stack([truth, truth.sum(axis=1)])
    nominal = task.decide.interval
    named = groups if any(group is not None for group in groups) else None
    names = None if named is None else [g if g is not None else f"#{i}" for i, g in
                                        enumerate(groups)]  # fmt: skip
    intervals = tuple(
        fit_intervals(with_total[:, k], real[:, k], nominal=nominal, groups=names)
        for k in range(with_total.shape[1])
    )
    coverage = _coverage(with_total[:, -1], real[:, -1], nominal, names)
    areas = [image.size_hw[0] * image.size_hw[1] for image in pictures.images]
    decisions = Decisions(
        pictures.classes,
        choice.counter,
        intervals,
        coverage,
        height,
        radius_px,
        radius,
        blur,
        float(np.sqrt(np.mean(areas))) if pictures.divided else None,
        len(set(groups)) if pictures.divided else 0,
    )
    if unseen_factor(decisions.sites, nominal) > 1:
        progress.say(
            f"intervals: {decisions.sites} photos or groups say little of new places, so intervals "
            f"allow for a factor of {unseen_factor(decisions.sites, nominal):.1f} either way, "
            "which is a guess and not measured"
        )
    decisions.save(run)
    sums = decisions.survey_total(choice.out_of_fold, groups, [areas[i] for i in rows])
    run.write_json(
        "oof/totals.json",
        [
            [name, float(real[:, k].sum()), *entry]
            for k, (name, entry) in enumerate(zip((*pictures.classes, "all"), sums, strict=True))
        ],
    )
    matches = _matches(maps, measured, pictures, rows, decisions, heights, run)
    nested = _nested_intervals(with_total[:, -1], real[:, -1], nominal, names, parts)
    _write_counts(run, pictures, rows, choice.out_of_fold, truth, nested, own_folds)
    keep_worst(run, pictures)
    constant = constant_answers(truth, parts)
    run.write_json("oof/choice.json", _choice_record(counted, choice, task))
    tables = [m.confusion for m in matches if m.confusion is not None]
    if tables:
        run.write_json("oof/confusion.json", np.sum(tables, axis=0).tolist())
    return rows_of(
        [pictures.images[i].name for i in rows],
        groups,
        own_folds,
        choice.out_of_fold,
        truth,
        intervals=nested,
        constant=constant,
        matches=matches,
        boxes=_boxes(maps, pictures, rows, merged=task.decide.merge_classes),
    )


def _boxes(
    maps: Sequence[Drawn], pictures: CountPictures, rows: Sequence[int], *, merged: bool
) -> dict[str, NDArray[np.generic]] | None:
    """What average precision is counted from, where detectors looked."""
    found = [one for one in maps if isinstance(one, Detections)]
    if not found:
        return None
    truth = [pictures.boxes(i) for i in rows]
    return box_columns(found, [(boxes, kinds * (not merged)) for boxes, kinds in truth])


def _peak_shape(task: Task, run: RunFolder, spacing_px: float) -> tuple[int, float]:
    """How far apart peaks are, and the smoothing before, both in cells."""
    scale = float(run.read_json("inputs.json")["scale"])
    apart = 0.35 * spacing_px * scale / task.decide.downscale  # our choice
    width = task.target_px / (3 if task.decide.target == "squares" else 2)
    return max(1, round(apart)), max(0.5, width / task.decide.downscale)


def _window_truth(
    pictures: CountPictures, i: int, cells: Drawn, measured: Measured
) -> NDArray[np.float64]:
    """Dots of every class in every window of a block."""
    classes = len(pictures.classes)
    if measured.windows is None:
        return np.zeros((0, classes))
    points, kinds = pictures.dots(i)
    at = cells.to_cells(points)
    return np.stack(
        [window_counts(at[kinds == k], measured.windows) for k in range(classes)], axis=1
    ).astype(np.float64)


def _coverage(
    counts: NDArray[np.float64], truth: NDArray[np.float64], nominal: float,
    names: Sequence[str] | None,
) -> dict[str, Any] | None:  # fmt: skip
    """The measured coverage of the total's interval, or None with too little to measure it on."""
    try:
        return asdict(measured_coverage(counts, truth, nominal=nominal, groups=names))
    except TransectError:
        return None


def _nested_intervals(
    counts: NDArray[np.float64], truth: NDArray[np.float64], nominal: float,
    names: Sequence[str] | None, parts: NDArray[np.int64],
) -> NDArray[np.float64]:  # fmt: skip
    """Intervals (N, 2) of every block, fitted on the other parts."""
    ends = np.column_stack([counts, counts])
    for part in np.unique(parts):
        others = parts != part
        if others.sum() < 2:
            continue
        own = None if names is None else [n for n, keep in zip(names, others, strict=True) if keep]
        fitted = fit_intervals(counts[others], truth[others], nominal=nominal, groups=own)
        ends[parts == part] = fitted(counts[parts == part])
    # As ``Decisions.interval`` does: an interval holds its own count.
    return np.column_stack([np.minimum(ends[:, 0], counts), np.maximum(ends[:, 1], counts)])


def _point_heights(
    maps: Sequence[Drawn], measured: Sequence[Measured], pictures: CountPictures,
    rows: Sequence[int], parts: NDArray[np.int64], radius: float,
) -> tuple[NDArray[np.float64], float]:  # fmt: skip
    """The least height of a point with the best F1: nested for every block, and over all."""
    hits = np.zeros((len(rows), len(PEAK_LEVELS), 2))
    for n, i in enumerate(rows):
        truth, _ = pictures.dots(i)
        together = measured[n].together
        places = maps[n].to_pixels(together[:, :2])
        for k, level in enumerate(PEAK_LEVELS):
            match = match_points(places[together[:, 2] >= level], truth, radius)
            hits[n, k] = len(match.pairs), match.predicted + match.truth

    def best(chosen: NDArray[np.bool_]) -> float:
        total = hits[chosen].sum(axis=0)
        return PEAK_LEVELS[int((2 * total[:, 0] / np.maximum(total[:, 1], 1)).argmax())]

    nested = np.full(len(rows), 0.5)
    for part in np.unique(parts):
        nested[parts == part] = best(parts != part)
    return nested, best(np.ones(len(rows), bool))


def _matches(
    maps: Sequence[Drawn], measured: Sequence[Measured], pictures: CountPictures,
    rows: Sequence[int], decisions: Decisions, heights: NDArray[np.float64], run: RunFolder,
) -> list[PointMatch]:  # fmt: skip
    """Match the points of every block, with heights that were not chosen on it; write them."""
    from dataclasses import replace

    found, lines = [], []
    for n, i in enumerate(rows):
        own = replace(decisions, height=float(heights[n]))
        points, kinds, confidence = own.points(maps[n], measured[n])
        truth, real = pictures.dots(i)
        told = not decisions.counter.merged
        match = match_points(
            points,
            truth,
            decisions.match_radius,
            predicted_class=kinds if told else None,
            true_class=real if told else None,
            classes=len(pictures.classes) if told else None,
        )
        found.append(match)
        hit = np.zeros(len(points), bool)
        hit[match.pairs[:, 0]] = True
        seen = np.zeros(len(truth), bool)
        seen[match.pairs[:, 1]] = True
        name = pictures.images[i].name
        words = [pictures.classes[k] if told and k >= 0 else "" for k in kinds.tolist()]
        for (x, y), right, sure, word in zip(points.tolist(), hit, confidence, words, strict=True):
            lines.append((name, f"{x:.1f}", f"{y:.1f}", "right" if right else "invented",
                          f"{sure:.3f}", word))  # fmt: skip
        for (x, y), there in zip(truth.tolist(), seen, strict=True):
            if not there:
                lines.append((name, f"{x:.1f}", f"{y:.1f}", "missed", "", ""))
    header = ("image", "x", "y", "fate", "confidence", "class")
    write_table(run.oof() / "points.csv", header, lines)
    return found


def _write_counts(
    run: RunFolder, pictures: CountPictures, rows: Sequence[int], counts: NDArray[np.float64],
    truth: NDArray[np.float64], ends: NDArray[np.float64], folds: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write the out-of-fold counts of every block beside the truth."""
    classes = pictures.classes
    header = ["image", "group", "fold", "true", "predicted", "low", "high"]
    header += [f"{what} {name}" for name in classes for what in ("true", "predicted")]
    lines = []
    for n, i in enumerate(rows):
        image = pictures.images[i]
        line: list[Any] = [image.name, image.group or "", int(folds[n]), f"{truth[n].sum():g}"]
        line += [f"{counts[n].sum():.2f}", f"{ends[n, 0]:.2f}", f"{ends[n, 1]:.2f}"]
        for k in range(len(classes)):
            line += [f"{truth[n, k]:g}", f"{counts[n, k]:.2f}"]
        lines.append(line)
    write_table(run.oof() / "counts.csv", header, lines)


def _choice_lines(classes: Sequence[str], choice: Choice) -> list[str]:
    """What was compared, for people."""
    lines = []
    for name, errors, method in zip(classes, choice.errors, choice.counter.methods, strict=True):
        compared = ", ".join(f"{key} {value:.2f}" for key, value in errors.items())
        lines.append(f"{name}: {method} kept (mean error out of fold: {compared})")
    if choice.confusion_error:
        before, after = choice.confusion_error
        what = "kept" if choice.unmixed else "dropped"
        lines.append(f"confusion correction {what}: mean error {before:.2f} -> {after:.2f}")
    return lines


def _choice_record(classes: Sequence[str], choice: Choice, task: Task) -> Mapping[str, Any]:
    """What was compared, for the report."""
    from transect.count.windows import feature_names

    names = list(feature_names(task.decide.pixel_thresholds, task.decide.blob_thresholds))
    if task.decide.reclassify:
        names += ["second look, sum", "second look, sum above .5"]
    return {
        "errors": dict(zip(classes, choice.errors, strict=True)),
        "kept": dict(zip(classes, choice.counter.methods, strict=True)),
        "unmixed": choice.unmixed,
        "confusion_error": list(choice.confusion_error),
        "features": list(names),
        "importance": {
            name: list(shares) for name, shares in zip(classes, choice.importance, strict=True)
        },
    }
