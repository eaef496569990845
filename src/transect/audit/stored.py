"""The audit that a run keeps: made before training, read by the report and by leak-free scores."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transect.audit.findings import AuditReport, Finding, Link
from transect.audit.leaks import Shared, groups_of, leak_findings, shared_findings, shared_sets
from transect.audit.run_audit import audit
from transect.data.describe import fingerprint
from transect.errors import TransectError
from transect.files import atomic_path, read_json, spreadsheet_safe, write_json
from transect.types import Image, Progress, Survey

__all__ = [
    "Kept",
    "Leaks",
    "audit_once",
    "closing_groups",
    "fill_report",
    "keep_audit",
    "keep_doubts",
    "kept_audit",
    "leaks_of",
    "run_groups",
]

_FILE, _FOLDER, _DOUBTS = "audit.json", "audit", "oof/doubts.json"
_PART = re.compile(r"(@\d+,\d+|#\d+)$")  # a block of a photo, an animal on a photo


@dataclass(frozen=True)
class Kept:
    """What a run knows of its survey's faults and leaks.

    Attributes:
        report: The audit, without folds.
        shared: Sets of images that the tables hold together.
        groups: Image to group, as the survey has them.
        splits: Image to split, of images in links and sets that are not for training.
    """

    report: AuditReport
    shared: tuple[Shared, ...]
    groups: Mapping[str, str]
    splits: Mapping[str, str]

    def images(self) -> tuple[Image, ...]:
        """The images of links and sets, with what decides whether a fold parts them."""
        names = dict.fromkeys(
            [n for k in self.report.links for n in (k.first, k.second)]
            + [n for s in self.shared for n in s.images]
        )
        return tuple(
            Image(
                n, Path(n), (1, 1), 1, group=self.groups.get(n), split=self.splits.get(n, "train")
            )
            for n in names
        )


@dataclass(frozen=True)
class Leaks:
    """Pictures of a run that something on the other side of their fold gave away.

    Attributes:
        units: Names as in ``folds.csv`` (a block of a photo and an animal on one count apart) to
            the kind of what gave them away.
        pairs: Kind to how many pairs or sets are parted.
    """

    units: Mapping[str, str]
    pairs: Mapping[str, int]


def audit_once(
    survey: Survey,
    run: Path,
    *,
    seconds: float | None = None,
    threads: int | None = None,
    progress: Progress,
) -> None:
    """Audit a survey before training on it, quickly, and keep what was found in the run folder.

    A run that has an audit of the same data keeps it.

    Args:
        survey: Opened.
        run: The run folder.
        seconds: About how long it may take beyond looking at every picture once.
        threads: How many decode.
        progress: Told what happens.
    """
    now = fingerprint(survey)["sha256"]
    if (run / _FILE).is_file() and read_json(run / _FILE).get("sha256") == now:
        return
    report = audit(survey, thorough=False, seconds=seconds, threads=threads, progress=progress)
    keep_audit(report, survey, run)
    serious = [f for f in report.findings if f.severity != "note"]
    for finding in serious[:5]:
        progress.say(f"audit: {finding.text} {finding.fix}")
    if len(serious) > 5:
        progress.say(f"audit: {len(serious) - 5} more findings are in the report")


def keep_audit(report: AuditReport, survey: Survey, run: Path) -> None:
    """Write an audit into a run folder: ``audit.json``, pictures beside it.

    Args:
        report: Made without folds, so that it stays true whatever they are.
        survey: What was audited.
        run: The run folder.
    """
    files = {}
    for number, (title, data) in enumerate(report.pictures.items()):
        files[f"{number:02d}.png"] = title
        with atomic_path(run / _FOLDER / f"{number:02d}.png") as temporary:
            temporary.write_bytes(data)
    shared = shared_sets(survey)
    record = report.to_json() | {
        "pictures": files,
        "shared": [dataclasses.asdict(s) for s in shared],
        "own_groups": groups_of(survey),
        "sha256": fingerprint(survey)["sha256"],
        "splits": {i.name: i.split for i in survey.images if i.split != "train"},
    }
    write_json(run / _FILE, record)


def kept_audit(run: Path) -> Kept | None:
    """Read the audit of a run.

    Args:
        run: The run folder.

    Returns:
        The audit; None if the run was trained without one.

    Raises:
        TransectError: If ``audit.json`` is damaged.
    """
    if not (run / _FILE).is_file():
        return None
    value = read_json(run / _FILE)
    try:
        pictures = {
            str(title): (run / _FOLDER / name).read_bytes()
            for name, title in value["pictures"].items()
            if re.fullmatch(r"\d+\.png", name) and (run / _FOLDER / name).is_file()
        }
        report = AuditReport(
            tuple(_finding(f) for f in value["findings"]),
            dict(value["facts"]),
            tuple(Link(str(a), str(b), str(k), float(s)) for a, b, k, s in value["links"]),
            dict(value["groups"]),
            pictures=pictures,
        )
        return Kept(
            report,
            tuple(
                Shared(str(s["kind"]), str(s["label"]), tuple(map(str, s["images"])))
                for s in value["shared"]
            ),
            {str(n): str(g) for n, g in value["own_groups"].items()},
            {str(n): str(g) for n, g in value["splits"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TransectError(
            f"{run / _FILE} is not complete ({error!r}). Make it again: transect audit DATA --run "
            f"{run}."
        ) from error


def run_groups(run: Path) -> dict[str, str]:
    """Group of every image of a run's survey that has one.

    Args:
        run: The run folder.

    Returns:
        Image to group; empty without an audit.
    """
    kept = kept_audit(run)
    return dict(kept.groups) if kept is not None else {}


def closing_groups(run: Path) -> dict[str, str]:
    """Groups that also keep together what the audit found to belong together: copies, neighbours.

    Args:
        run: The run folder.

    Returns:
        Image to group, of images whose own group would part them from others; empty without an
        audit.
    """
    kept = kept_audit(run)
    return dict(kept.report.groups) if kept is not None else {}


def keep_doubts(findings: Sequence[Finding], run: Path) -> None:
    """Write what out-of-fold predictions say against labels, for the report.

    Args:
        findings: From ``doubtful_values`` and its kin; none is a result, too.
        run: The run folder.
    """
    write_json(run / _DOUBTS, [dataclasses.asdict(finding) for finding in findings])


def leaks_of(run: Path) -> Leaks:
    """Which pictures of a run have a twin, a neighbour or a sibling in another fold.

    Args:
        run: The run folder, with ``folds.csv`` and a kept audit.

    Returns:
        The pictures with reasons. Parts of one photo in several folds give each other away, too.

    Raises:
        TransectError: If the run has no audit.
    """
    kept = kept_audit(run)
    if kept is None:
        raise TransectError(
            f"{run} was trained without an audit, so its leaks are not known. Make one: transect "
            f"audit DATA --run {run}."
        )
    folds = _folds(run)
    of_image: dict[str, list[str]] = defaultdict(list)
    for unit in folds:
        of_image[_image(unit)].append(unit)
    units: dict[str, str] = {}
    pairs: Counter[str] = Counter()

    def judge(kind: str, images: Collection[str]) -> None:
        members = [unit for name in images for unit in of_image.get(name, ())]
        if len({folds[unit] for unit in members}) > 1:
            pairs[kind] += 1
            units.update({unit: units.get(unit, kind) for unit in members})

    for link in kept.report.links:
        judge(link.kind, (link.first, link.second))
    for shared in kept.shared:
        judge(shared.kind, shared.images)
    for name in of_image:
        judge("one photo", (name,))
    return Leaks(units, dict(pairs))


def fill_report(
    page: Any,
    run: Path,
    metrics: Mapping[str, Any],
    score_without: Callable[[Path, Collection[str]], Mapping[str, Any]],
) -> None:
    """Add the audit, the leaks across folds, the score without them, and doubtful labels.

    Args:
        page: A ``report.page.Page``; it is passed in because this room stands beside that one.
        run: The run folder.
        metrics: The scores as split.
        score_without: The question's own scoring without some pictures.
    """
    kept = kept_audit(run)
    if kept is None:
        page.section("Audit").text("This run was trained without an audit.")
        return
    folds = {_image(unit): fold for unit, fold in _folds(run).items()}
    images = kept.images()
    more = leak_findings(kept.report.links, images, folds)
    more += shared_findings(kept.shared, images, folds)
    path = run / _DOUBTS
    more += [_finding(f) for f in read_json(path)] if path.is_file() else []
    own = [f for f in kept.report.findings if f.kind != "leak" or f.severity == "fault"]
    dataclasses.replace(kept.report, findings=(*more, *own)).fill(page)
    leaks = leaks_of(run)
    if not leaks.units:
        page.text("No copy, neighbour or sibling of a picture stands in another fold.")
        return
    page.heading("The score without leaks")
    page.text(
        f"{len(leaks.units)} pictures have a copy, a neighbour or a sibling in another fold, that "
        "a model was trained on. Without them the score is:"
    )
    free = score_without(run, leaks.units)
    rows = [
        (name, record["value"], free[name]["value"] if name in free else None)
        for name, record in metrics.items()
    ]
    page.table(("metric", "as split", "leak-free"), rows)
    if not free:
        page.note("Nothing is left: every scored picture was given away.", kind="warn")


def _folds(run: Path) -> dict[str, int]:
    """Picture, block or animal to its fold."""
    path = run / "folds.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {_bare(row["image"]): int(row["fold"]) for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise TransectError(f"{path} cannot be read ({error}). Restore it.") from error


def _bare(cell: str) -> str:
    """A name without the apostrophe that keeps a spreadsheet from running it."""
    return cell[1:] if cell[:1] == "'" and spreadsheet_safe(cell[1:]) == cell else cell


def _image(unit: str) -> str:
    """The photo of a block or an animal."""
    return _PART.sub("", unit)


def _finding(value: Mapping[str, Any]) -> Finding:
    """A finding that was written as JSON."""
    return Finding(
        str(value["kind"]),
        value["severity"],
        tuple(str(name) for name in value["images"]),
        str(value["text"]),
        str(value["fix"]),
    )
