"""The audit from first file to last finding: every step is one call into this room."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transect.audit.crops import find_backgrounds, find_crops
from transect.audit.duplicates import find_duplicates
from transect.audit.findings import AuditReport, Finding, Link, in_order, links_of
from transect.audit.leaks import (
    leak_findings,
    name_hint,
    propose_groups,
    shared_findings,
    shared_sets,
)
from transect.audit.look import cluster, contact_sheet, next_images, png
from transect.audit.marks import coordinate_findings, mark_findings
from transect.audit.mosaics import find_seams, mosaic_picture, reassemble
from transect.audit.prints import Prints, chosen, take_prints
from transect.audit.quality import feature_facts, picture_findings, problem_findings
from transect.audit.shift import Shift, adversarial_validation
from transect.audit.spread import spread_facts, spread_findings, survey_table
from transect.data.describe import fold_table
from transect.data.folder import list_images, list_new, with_table
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.folds import read_folds
from transect.types import Image, Progress, Quiet, Survey

__all__ = ["audit"]

_MOST_CROPS = 5000
_MOSAICS_SHOWN = 6
_PAIRS_SHOWN = 32
_SHIFTED = 0.7  # AUROC above which new pictures are called different; our guess


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
        question: segment, count or identify, if the folder could answer several.
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
        keypoints=thorough and len(images) <= _MOST_CROPS,
        threads=threads,
        progress=_step(progress, "looking at pictures"),
    )
    findings = [*opened.findings, *picture_findings(prints, images)]
    findings += coordinate_findings(opened.root, images)
    looks = _Looks(begun, seconds)
    if survey is not None:
        if looks.may("annotations"):
            findings += mark_findings(survey, progress=_step(progress, "looking at annotations"))
        findings += shared_findings(shared_sets(survey), images, division)
    links, mosaics, pictures = _links(prints, images, progress, looks, thorough=thorough)
    findings += _copies(links, survey) + leak_findings(links, images, division)
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
        "features": feature_facts(prints),
        "distributions": spread_facts(joined),
        "clusters": np.bincount(clusters).tolist() if len(clusters) else [],
        "links": _counted(links),
        "crops_looked_for": thorough and len(images) <= _MOST_CROPS,
        "left_out": looks.left_out,
    }
    weights: dict[str, float] = {}
    if new is not None:
        more, weights, facts["shift"] = _new(prints, new, images, threads, seed, progress)
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
class _Looks:
    """How long an audit may take, and what it left out to keep that."""

    begun: float
    seconds: float | None
    left_out: list[str] = field(default_factory=list)

    def may(self, what: str) -> bool:
        """Whether there is time for a further look; noted if not."""
        late = self.seconds is not None and time.perf_counter() - self.begun > self.seconds
        if late:
            self.left_out.append(what)
        return not late


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


def _links(
    prints: Prints,
    images: Sequence[Image],
    progress: Progress,
    looks: _Looks,
    *,
    thorough: bool,
) -> tuple[list[Link], list[Mapping[str, tuple[int, int]]], dict[str, bytes]]:
    """All pairs that belong together, the mosaics, and pictures of both."""
    progress.step("comparing", 0, 4, "copies")
    copies = find_duplicates(prints)
    links = []
    for kind in ("copy", "near-copy", "turned"):
        of_kind = copies.kind == kind
        links += links_of(prints.names, copies.pairs[of_kind], kind, copies.correlation[of_kind])
    known = {(int(a), int(b)) for a, b in copies.pairs}
    pictures = {}
    if len(copies.pairs):
        rows = copies.pairs[:_PAIRS_SHOWN].ravel()
        pictures["copies, in pairs"] = contact_sheet(prints, rows, columns=8)
    progress.step("comparing", 1, 4, "adjoining tiles")
    seams = find_seams(prints) if looks.may("adjoining tiles") else ()
    layouts = reassemble(seams)
    place = {t: (n, cell) for n, layout in enumerate(layouts) for t, cell in layout.items()}
    for seam in seams:
        # A tile whose every seam was dropped, since it would lie on another, has no place.
        if {seam.first, seam.second} <= place.keys() and (
            place[seam.first][0] == place[seam.second][0]
        ):
            a, b = sorted((prints.names[seam.first], prints.names[seam.second]))
            links.append(Link(a, b, "adjoining", seam.agreement))
            known.add((min(seam.first, seam.second), max(seam.first, seam.second)))
    for number, layout in enumerate(layouts[:_MOSAICS_SHOWN], start=1):
        pictures[f"mosaic {number}"] = png(mosaic_picture(layout, prints.grey))
    progress.step("comparing", 2, 4, "crops")
    if thorough and len(prints) <= _MOST_CROPS and looks.may("crops"):
        paths = {image.name: image.path for image in images}
        pairs, agree = find_crops(prints, paths, known=known)
        links += links_of(prints.names, pairs, "crop", agree)
        known |= {(int(a), int(b)) for a, b in pairs}
    progress.step("comparing", 3, 4, "backgrounds")
    if looks.may("backgrounds"):
        pairs, agree = find_backgrounds(prints, known=known)
        links += links_of(prints.names, pairs, "background", agree)
    progress.step("comparing", 4, 4)
    names = [{prints.names[t]: cell for t, cell in layout.items()} for layout in layouts]
    return links, list(names), pictures


def _copies(links: Sequence[Link], survey: Survey | None) -> list[Finding]:
    """Copies, and copies that stand under two labels."""
    found = []
    for kind, text in (
        ("copy", "are the same file, byte for byte"),
        ("near-copy", "are nearly the same picture"),
        ("turned", "are one picture mirrored or turned"),
    ):
        some = [link for link in links if link.kind == kind]
        if some:
            found.append(
                Finding(
                    "duplicate",
                    "warning",
                    tuple(dict.fromkeys(n for k in some for n in (k.first, k.second))),
                    f"{len(some)} pairs {text} (first: {some[0].first} and {some[0].second}).",
                    "Keep one of each, or give both one group.",
                )
            )
    if survey is None:
        return found
    label = _labels(survey)
    torn = [
        k
        for k in links
        if k.kind in ("copy", "near-copy")
        and k.first in label
        and k.second in label
        and label[k.first] != label[k.second]
    ]
    if torn:
        k = torn[0]
        found.append(
            Finding(
                "two-labels",
                "fault",
                tuple(dict.fromkeys(n for k in torn for n in (k.first, k.second))),
                f"{len(torn)} photos stand under two labels (first: {k.first} is "
                f"{label[k.first]}, {k.second} is {label[k.second]}).",
                "Find out which is right, and correct the other.",
            )
        )
    return found


def _labels(survey: Survey) -> dict[str, str]:
    """A word for each image's truth, if it is one word: identity, counts, or a share of pixels."""
    if survey.identities is not None:
        known = survey.identities[survey.identities["identity"] != survey.unknown]
        return {str(n): str(w) for n, w in zip(known["image"], known["identity"], strict=True)}
    table = fold_table(survey)
    if "count" in table and survey.question == "count":
        return {
            str(n): f"{c:g} objects" for n, c in zip(table["image"], table["count"], strict=True)
        }
    if "coverage" in table:
        # Masks of resized copies differ by less than a twentieth of the picture.
        share = table["coverage"].to_numpy(float)
        return {
            str(n): f"{5 * round(20 * c)} % foreground"
            for n, c in zip(table["image"], share, strict=True)
        }
    return {}


def _sheets(prints: Prints, clusters: Any) -> dict[str, bytes]:
    """One contact sheet per cluster."""
    out = {}
    for number in range(int(clusters.max()) + 1 if len(clusters) else 0):
        rows = np.flatnonzero(clusters == number)
        step = max(1, len(rows) // 32)
        title = f"cluster {number + 1}: {len(rows)} pictures"
        out[title] = contact_sheet(prints, rows[::step], most=32)
    return out


def _new(
    prints: Prints,
    new: Path,
    images: Sequence[Image],
    threads: int | None,
    seed: int,
    progress: Progress,
) -> tuple[list[Finding], dict[str, float], dict[str, Any]]:
    """Copies between DATA and NEW, and the shift."""
    others, problems = list_new(new)
    fresh = take_prints(others, threads=threads, progress=_step(progress, "looking at new"))
    found = problem_findings((*problems, *fresh.problems))
    both = _together(prints, fresh)
    pairs = find_duplicates(both).pairs
    across = pairs[(pairs[:, 0] < len(prints)) & (pairs[:, 1] >= len(prints))]
    if len(across):
        names = tuple(dict.fromkeys(prints.names[a] for a in across[:, 0].tolist()))
        found.append(
            Finding(
                "leak",
                "fault",
                names,
                f"{len(names)} pictures stand in {new} as well (first: {names[0]}).",
                "A score on them says nothing: remove them from one of the two.",
            )
        )
    rows = [i for i, image in enumerate(images) if image.split != "test"]
    usable = {image.name for i, image in enumerate(images) if i in set(rows)}
    own = chosen(prints, np.array([i for i, n in enumerate(prints.names) if n in usable], np.int64))
    shift = adversarial_validation(own, fresh, seed=seed)
    found += _shift_findings(shift, len(fresh))
    weights = dict(zip(own.names, shift.weights.tolist(), strict=True))
    record = {
        "auroc": round(shift.auroc, 4),
        "interval": [round(v, 4) for v in shift.interval],
        "reasons": [list(r) for r in shift.reasons[:8]],
        "scale": round(shift.scale, 4),
        "scale_interval": [round(v, 4) for v in shift.scale_interval],
        "effective_share": round(shift.effective, 4),
        "new_images": len(fresh),
    }
    return found, weights, record


def _shift_findings(shift: Shift, count: int) -> list[Finding]:
    """A warning where new pictures are of another sort, and where their scale differs."""
    found = []
    if shift.interval[0] > _SHIFTED:
        why = "; ".join(f"{n} {a:.3g} -> {b:.3g}" for n, _, a, b in shift.reasons[:3])
        found.append(
            Finding(
                "shift",
                "warning",
                (),
                f"the {count} new pictures are told apart from the survey's with AUROC "
                f"{shift.auroc:.2f}, by {why}.",
                "Do not trust scores from the survey alone: annotate some of the new pictures, or "
                f"train with the importance weights ({100 * shift.effective:.0f} % of the survey "
                "is left in effect).",
            )
        )
    low, high = shift.scale_interval
    if low > 1.15 or high < 1 / 1.15:
        found.append(
            Finding(
                "scale",
                "warning",
                (),
                f"things appear {shift.scale:.2f} times as large in the new pictures "
                f"(95 % interval {low:.2f} to {high:.2f}).",
                f"Resize the new pictures by {1 / shift.scale:.2f}, or train with scale "
                "augmentation that covers it.",
            )
        )
    return found


def _together(a: Prints, b: Prints) -> Prints:
    """Prints of two sets in a row."""
    names = ("md5", "hashes", "flat", "grey", "colour", "features", "size_hw", "channels")
    parts: dict[str, Any] = {
        name: np.concatenate([getattr(a, name), getattr(b, name)])
        for name in (*names, "edges", "edge_length")
    }
    return Prints(
        names=(*a.names, *b.names),
        keypoints=(*a.keypoints, *b.keypoints),
        descriptors=(*a.descriptors, *b.descriptors),
        **parts,
    )


def _next(prints: Prints, survey: Survey | None, images: Sequence[Image], count: int) -> list[int]:
    """Rows to annotate next, unlike those that are annotated."""
    done: list[int] = []
    if survey is not None:
        labelled = {image.name for image in survey.training()}
        done = [i for i, name in enumerate(prints.names) if name in labelled]
        if len(done) == len(prints):
            done = []
    return next_images(prints, count=count, done=done)


def _counted(links: Sequence[Link]) -> dict[str, int]:
    """Number of links of each kind."""
    out: dict[str, int] = {}
    for link in links:
        out[link.kind] = out.get(link.kind, 0) + 1
    return out


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
