"""What an audit tells: findings, pairs of pictures that belong together, and the report of both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["AuditReport", "Finding", "Link", "Severity"]

Severity = Literal["fault", "warning", "note"]
_ORDER = {"fault": 0, "warning": 1, "note": 2}
_SHOWN = 5
_NAMED = 12  # images of a group of findings that are named on a page


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a survey, or may be.

    Attributes:
        kind: A short word for the sort of thing: ``unreadable``, ``duplicate``, ``leak`` ...
        severity: ``fault`` (training on it is wrong), ``warning`` (look at it) or ``note``
            (worth knowing; the exit code stays 0).
        images: The images it is about, as many as there are.
        text: One sentence: what is wrong, where.
        fix: One sentence: what to do.
    """

    kind: str
    severity: Severity
    images: tuple[str, ...]
    text: str
    fix: str


@dataclass(frozen=True)
class Link:
    """Two images that belong together, so that no fold or split may part them.

    Attributes:
        first: Name of the one.
        second: Name of the other; the names stand in order.
        kind: ``copy``, ``near-copy``, ``turned``, ``adjoining``, ``crop``, ``background``.
        strength: In [0, 1], how sure it is: a correlation of pixels.
    """

    first: str
    second: str
    kind: str
    strength: float


@dataclass(frozen=True)
class AuditReport:
    """All that an audit found.

    Attributes:
        findings: Faults first, then warnings, then notes.
        facts: JSON values that are no faults: numbers, distributions, times.
        links: Pairs of images that belong together.
        groups: Image to proposed group, only for images whose group would change.
        mosaics: Reassembled mosaics: for each, image to (row, column).
        pictures: Title to PNG bytes: mosaics, contact sheets, pairs.
        weights: Image of DATA to its importance weight for NEW; empty without NEW.
        next_images: Images that are worth annotating next, best first.
    """

    findings: tuple[Finding, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    mosaics: tuple[Mapping[str, tuple[int, int]], ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    next_images: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether there is neither a fault nor a warning."""
        return all(finding.severity == "note" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """JSON values of everything but the pictures."""
        return {
            "clean": self.clean,
            "findings": [
                {
                    "kind": f.kind,
                    "severity": f.severity,
                    "images": list(f.images),
                    "text": f.text,
                    "fix": f.fix,
                }
                for f in self.findings
            ],
            "facts": dict(self.facts),
            "links": [[k.first, k.second, k.kind, round(k.strength, 4)] for k in self.links],
            "groups": dict(self.groups),
            "mosaics": [{n: list(p) for n, p in m.items()} for m in self.mosaics],
            "weights": {n: round(w, 4) for n, w in self.weights.items()},
            "next_images": list(self.next_images),
        }

    def lines(self) -> tuple[str, ...]:
        """The report as lines for a terminal: a headline, then every finding with its mend."""
        count = Counter(str(finding.severity) for finding in self.findings)
        head = ", ".join(f"{count[s]} {s}{'s' * (count[s] != 1)}" for s in _ORDER if count[s])
        out = [f"{self.facts.get('images', 0)} images looked at: {head or 'nothing found'}"]
        out += [f"{'read':<22}{note}" for note in self.facts.get("notes", ())]
        for f in self.findings:
            names = ", ".join(f.images[:_SHOWN])
            more = f" and {len(f.images) - _SHOWN} more" if len(f.images) > _SHOWN else ""
            out.append(f"{f.severity:<8}{f.kind:<14}{f.text}")
            if names and names not in f.text:
                out.append(f"{'':<22}{names}{more}")
            out.append(f"{'':<22}-> {f.fix}")
        if self.groups:
            out.append(f"{len(self.groups)} images get a group that keeps them together")
        return tuple(out)

    def _totals(self) -> str:
        """What was looked at and found, in one sentence."""
        count = Counter(str(finding.severity) for finding in self.findings)
        found = ", ".join(f"{count[s]} {s}{'s' * (count[s] != 1)}" for s in _ORDER if count[s])
        return f"{self.facts.get('images', 0)} images were looked at: {found}."

    def fill(self, page: Any) -> None:
        """Add everything to a page of the report room.

        Args:
            page: A ``report.page.Page``; it is passed in because this room stands beside that one.
        """
        import cv2

        page.section("Audit", lead="What is broken in the survey, what leaks, and what to do.")
        for note in self.facts.get("notes", ()):
            page.text(f"{note[0].upper()}{note[1:]}.")
        if self.findings:
            page.text(self._totals())
            page.table(
                ("severity", "kind", "how many", "what", "what to do", "images"),
                [_grouped(group) for group in groups_of_findings(self.findings)],
            )
        else:
            page.text(f"{self.facts.get('images', 0)} images looked at, nothing found.")
        shown = []
        for title, data in self.pictures.items():
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if picture is not None:
                shown.append((picture[..., ::-1] if picture.ndim == 3 else picture, title))
        if shown:
            page.pictures(shown, large=True)


def groups_of_findings(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings that need the same thing to be done, together: fifty missing files are one."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        shape = re.sub(r"\S*[/.\d]\S*", "", finding.fix)  # without names and numbers
        groups.setdefault((finding.severity, finding.kind, shape), []).append(finding)
    return list(groups.values())


def _grouped(group: Sequence[Finding]) -> tuple[str, str, int, str, str, str]:
    """A row of a table for findings of one kind."""
    first = group[0]
    text = first.text if len(group) == 1 else f"{first.text} And {len(group) - 1} like it."
    names = list(dict.fromkeys(name for finding in group for name in finding.images))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    shown = ", ".join(names[:_NAMED]) + more
    return first.severity, first.kind, len(group), text, first.fix, shown


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Faults before warnings before notes, otherwise as they came."""
    return tuple(sorted(findings, key=lambda f: _ORDER[f.severity]))


def links_of(
    names: Sequence[str], pairs: NDArray[np.int64], kind: str, strength: NDArray[np.floating]
) -> list[Link]:
    """Links from (P, 2) row numbers and (P,) strengths."""
    out = []
    for (a, b), s in zip(pairs.tolist(), strength.tolist(), strict=True):
        first, second = sorted((names[a], names[b]))
        out.append(Link(first, second, kind, float(s)))
    return out
