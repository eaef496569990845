"""All pairs of pictures that belong together, gathered from every comparison."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transect.audit.crops import find_backgrounds, find_crops
from transect.audit.duplicates import find_duplicates
from transect.audit.findings import Finding, Link, links_of
from transect.audit.fingerprints import Prints
from transect.audit.look import contact_sheet, png
from transect.audit.mosaics import find_seams, mosaic_picture, reassemble
from transect.data.describe import fold_table
from transect.types import Image, Progress, Survey

__all__ = ["MOST_CROPS", "Looks", "copy_findings", "counted", "find_links"]

MOST_CROPS = 5000
"""Crops are looked for among so many pictures at most."""
_MOSAICS_SHOWN = 6
_PAIRS_SHOWN = 32


@dataclass(frozen=True)
class Looks:
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


def find_links(
    prints: Prints,
    images: Sequence[Image],
    progress: Progress,
    looks: Looks,
    *,
    thorough: bool,
) -> tuple[list[Link], list[Mapping[str, tuple[int, int]]], dict[str, bytes]]:
    """Find all pairs that belong together, each kind only among pairs of no surer kind.

    Args:
        prints: Of all pictures.
        images: The pictures; crops open their files again.
        progress: Told what is compared.
        looks: What there is time for.
        thorough: Also look for crops.

    Returns:
        The pairs, the mosaics (name to row and column of a tile), and PNGs of copies and mosaics
        by title.
    """
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
    if thorough and len(prints) <= MOST_CROPS and looks.may("crops"):
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


def copy_findings(links: Sequence[Link], survey: Survey | None) -> list[Finding]:
    """Tell of copies, and of copies that stand under two labels.

    Args:
        links: From ``find_links``.
        survey: Whose labels are compared; None compares none.

    Returns:
        The findings.
    """
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
    """A word for each image's truth: identity, labels, counts, or a share of pixels."""
    if survey.identities is not None:
        known = survey.identities[survey.identities["identity"] != survey.unknown]
        return {str(n): str(w) for n, w in zip(known["image"], known["identity"], strict=True)}
    if survey.labels is not None:
        marks = survey.labels[list(survey.classes)].to_numpy().astype(bool)
        words = (
            ", ".join(c for c, there in zip(survey.classes, row, strict=True) if there) or "none"
            for row in marks
        )
        return dict(zip(survey.labels["image"].tolist(), words, strict=True))
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


def counted(links: Sequence[Link]) -> dict[str, int]:
    """Count links.

    Args:
        links: From ``find_links``.

    Returns:
        Kind to number.
    """
    out: dict[str, int] = {}
    for link in links:
        out[link.kind] = out.get(link.kind, 0) + 1
    return out
