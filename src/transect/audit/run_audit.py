"""The audit from first file to last finding: every step is one call into this room."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transect.audit.findings import AuditReport, Finding, in_order
from transect.audit.fingerprints import Prints, take_prints
from transect.audit.leaks import (
    leak_findings,
    name_hint,
    propose_groups,
    shared_findings,
    shared_sets,
)
from transect.audit.look import cluster, contact_sheet, next_images
from transect.audit.marks import coordinate_findings, mark_findings
from transect.audit.new_data import compare_new
from transect.audit.pairs import MOST_CROPS, Looks, copy_findings, counted, find_links
from transect.audit.quality import feature_facts, picture_findings, problem_findings
from transect.audit.spread import spread_facts, spread_findings, survey_table
from transect.data.describe import fold_table
from transect.data.folder import list_images, with_table
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.folds import read_folds
from transect.types import Image, Progress, Quiet, Survey

__all__ = ["audit"]


def audit(
    survey_or_root: Survey | Path,
    new: Path | None = None,
    *,
    question: str | None = None,
    folds: Path | Mapping[str, int] | None = None,
    next_count: int = 0,
    threads: int | None = None,
    seed: int = 0,
    thorough: bool = True,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Look at everything that can be wrong with a survey before training on it.

    Args:
        survey_or_root: An opened survey, or its folder. A folder that cannot be opened as a
            survey is a finding, and its pictures are looked at all the same.
        new: A folder of new pictures: copies, shift and weights are told.
        question: segment, count, identify or classify, if the folder could answer several.
        folds: A ``folds.csv`` (image, fold), or image to fold: leaks are told across folds.
        next_count: How many images to name that are worth annotating next.
        threads: How many threads decode; None is one per core.
        seed: Of clusters and classifiers.
        thorough: False leaves out crops, and the clustering of pictures to look at.
        seconds: Once this time is spent, looks that can be done without are left out, and
            ``facts["left_out"]`` names them; None looks at everything.
        progress: Told what happens.

    Returns:
        The report. ``report.clean`` is False if there is a fault or a warning.

    Raises:
        TransectError: If there is no picture at all, or ``folds`` cannot be read.
    """
    progress = progress or Quiet()
    begun = time.perf_counter()
    opened = _open(survey_or_root, question, progress)
    images, survey = opened.images, opened.survey
    division = _folds(folds, images)
    prints = take_prints(
        images,
        keypoints=thorough and len(images) <= MOST_CROPS,
        threads=threads,
        progress=_step(progress, "looking at pictures"),
    )
    findings = [*opened.findings, *picture_findings(prints, images)]
    findings += coordinate_findings(opened.root, images)
    looks = Looks(begun, seconds)
    if survey is not None:
        if looks.may("annotations"):
            findings += mark_findings(survey, progress=_step(progress, "looking at annotations"))
        findings += shared_findings(shared_sets(survey), images, division)
    links, mosaics, pictures = find_links(prints, images, progress, looks, thorough=thorough)
    findings += copy_findings(links, survey) + leak_findings(links, images, division)
    hint = name_hint(images)
    findings += [hint] if hint else []
    table = fold_table(survey) if survey is not None else None
    joined = survey_table(prints, table, division)
    findings += spread_findings(joined)
    clusters = cluster(prints, seed=seed) if thorough else np.zeros(0, np.int64)
    pictures.update(_sheets(prints, clusters))
    facts: dict[str, Any] = {
        "images": len(images),
        "readable": len(prints),
        "question": survey.question if survey is not None else None,
        "notes": list(survey.notes) if survey is not None else [],
        "features": feature_facts(prints),
        "distributions": spread_facts(joined),
        "clusters": np.bincount(clusters).tolist() if len(clusters) else [],
        "links": counted(links),
        "crops_looked_for": thorough and len(images) <= MOST_CROPS,
        "left_out": looks.left_out,
    }
    weights: dict[str, float] = {}
    if new is not None:
        more, weights, facts["shift"] = compare_new(
            prints, new, images, threads, seed, _step(progress, "looking at new")
        )
        findings += more
    named: tuple[str, ...] = ()
    if next_count:
        named = tuple(prints.names[i] for i in _next(prints, survey, images, next_count))
    facts["seconds"] = round(time.perf_counter() - begun, 2)
    return AuditReport(
        findings=in_order(_once(findings)),
        facts=facts,
        links=tuple(links),
        groups=propose_groups(links, images),
        mosaics=tuple(mosaics),
        pictures=pictures,
        weights=weights,
        next_images=named,
    )


@dataclass(frozen=True)
class _Opened:
    """A folder as far as it could be opened."""

    root: Path
    images: tuple[Image, ...]
    survey: Survey | None
    findings: list[Finding]


def _open(given: Survey | Path, question: str | None, progress: Progress) -> _Opened:
    """Open the survey; if that fails, its pictures, with the reason as a finding."""
    if isinstance(given, Survey):
        return _Opened(given.root, given.images, given, problem_findings(given.problems))
    reason = ""
    for missing in (None, "unlabelled"):
        try:
            survey = open_survey(
                given,
                question=question,
                missing=missing,
                progress=_step(progress, "reading"),
            )
        except TransectError as error:
            reason = reason or str(error)
            continue
        findings = problem_findings(survey.problems)
        if reason:
            findings.append(_refused(reason))
        return _Opened(given, survey.images, survey, findings)
    images, problems = list_images(given, progress=_step(progress, "reading"))
    if (given / "images.csv").is_file():
        try:
            images, more = with_table(images, given / "images.csv")
            problems = (*problems, *more)
        except TransectError as error:
            reason = reason or str(error)
    findings = problem_findings(problems)
    if "no annotations" in reason:
        text = "the folder has no annotations; only its pictures were looked at."
        findings.append(Finding("annotation", "note", (), text, "Add them before training."))
    else:
        findings.append(_refused(reason))
    return _Opened(given, images, None, findings)


def _refused(reason: str) -> Finding:
    """The finding that training would refuse this survey."""
    text, _, fix = reason.rstrip().rpartition(". ")
    kind = "swapped" if "change places" in reason else "annotation"
    return Finding(kind, "fault", (), (text or reason).rstrip(".") + ".", fix or "Correct it.")


def _folds(
    folds: Path | Mapping[str, int] | None, images: Sequence[Image]
) -> Mapping[str, int] | None:
    """Image to fold."""
    if folds is None or not isinstance(folds, Path):
        return folds
    if not folds.is_file():
        raise TransectError(f"{folds} does not exist. Give the folds.csv of a run.")
    training = [image.name for image in images if image.split != "test"]
    return dict(zip(training, read_folds(folds, training).tolist(), strict=True))


def _sheets(prints: Prints, clusters: Any) -> dict[str, bytes]:
    """One contact sheet per cluster."""
    out = {}
    for number in range(int(clusters.max()) + 1 if len(clusters) else 0):
        rows = np.flatnonzero(clusters == number)
        step = max(1, len(rows) // 32)
        title = f"cluster {number + 1}: {len(rows)} pictures"
        out[title] = contact_sheet(prints, rows[::step], most=32)
    return out


def _next(prints: Prints, survey: Survey | None, images: Sequence[Image], count: int) -> list[int]:
    """Rows to annotate next, unlike those that are annotated."""
    done: list[int] = []
    if survey is not None:
        labelled = {image.name for image in survey.training()}
        done = [i for i, name in enumerate(prints.names) if name in labelled]
        if len(done) == len(prints):
            done = []
    return next_images(prints, count=count, done=done)


def _once(findings: Sequence[Finding]) -> list[Finding]:
    """Findings without repetition: the header and the decoder may complain of one file."""
    seen = set()
    out = []
    for finding in findings:
        key = (finding.kind, finding.images, finding.text)
        if key not in seen:
            seen.add(key)
            out.append(finding)
    return out


def _step(progress: Progress, phase: str) -> Callable[[int, int], None]:
    """A progress of a phase as the data room wants it."""
    return lambda done, total: progress.step(phase, done, total)
