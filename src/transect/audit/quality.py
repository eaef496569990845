"""What is wrong with the pictures themselves: unreadable, blank, odd-sized, turned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from transect.audit.findings import Finding
from transect.audit.fingerprints import Prints
from transect.types import Image, Problem

__all__ = ["picture_findings", "problem_findings"]

RARE_SHARE = 0.02
"""A size that fewer pictures have is odd, where nine in ten are of one size; our guess."""


def picture_findings(prints: Prints, images: Sequence[Image]) -> list[Finding]:
    """Faults that the pictures alone betray.

    Args:
        prints: Of all pictures that could be decoded.
        images: The same and others, with what their headers say.

    Returns:
        Unreadable, blank or flat, odd-sized, turned pictures, and odd channels or types.
    """
    found = []
    for problem in prints.problems:
        found.append(
            Finding(
                "unreadable",
                "fault",
                (problem.name,),
                problem.what,
                "Restore the file, or remove it with its annotation.",
            )
        )
    flat = tuple(n for n, f in zip(prints.names, prints.flat, strict=True) if f)
    if flat:
        found.append(
            Finding(
                "blank",
                "warning",
                flat,
                f"{len(flat)} of {len(prints)} pictures have no detail: all pixels are nearly "
                "equal.",
                "Look whether the camera or the export failed; remove them if so.",
            )
        )
    found += _odd_sizes(images)
    for what, values in (
        ("channels", [str(i.channels) for i in images]),
        ("number type", [i.dtype for i in images]),
    ):
        usual, rare = _usual(values)
        if rare:
            names = tuple(images[i].name for i in rare)
            found.append(
                Finding(
                    "odd-format",
                    "warning",
                    names,
                    f"{len(names)} pictures have another {what} than the rest ({usual}).",
                    "Save them as the rest is saved; mixed formats are a hint of another source.",
                )
            )
    return found


def _odd_sizes(images: Sequence[Image]) -> list[Finding]:
    """Pictures of another size than nearly all; those with the sides exchanged apart."""
    found = []
    count = Counter(image.size_hw for image in images)
    if len(images) < 10:
        return []
    size, times = count.most_common(1)[0]
    turned = tuple(i.name for i in images if i.size_hw == size[::-1] and size[0] != size[1])
    if turned and times >= 0.8 * len(images):
        found.append(
            Finding(
                "rotated",
                "warning",
                turned,
                f"{len(turned)} pictures are {size[1]} x {size[0]}, the rest {size[0]} x "
                f"{size[1]} (height x width): they lie on their side.",
                "Turn them upright, with their annotations.",
            )
        )
    if times < 0.9 * len(images):
        return found
    odd = tuple(
        i.name
        for i in images
        if i.size_hw != size
        and i.name not in turned
        and count[i.size_hw] <= max(1, RARE_SHARE * len(images))
    )
    if odd:
        found.append(
            Finding(
                "odd-size",
                "warning",
                odd,
                f"{len(odd)} pictures differ in size from the other {times} ({size[0]} x "
                f"{size[1]} pixels, height x width).",
                "Look whether they were cut or scaled by mistake.",
            )
        )
    return found


def _usual(values: Sequence[str]) -> tuple[str, list[int]]:
    """The usual value, and where a rare other one stands; nothing if the survey is mixed."""
    if len(values) < 10:
        return "", []
    usual, times = Counter(values).most_common(1)[0]
    rare = [i for i, value in enumerate(values) if value != usual]
    return usual, rare if times >= (1 - RARE_SHARE) * len(values) else []


_KINDS = (
    ("unreadable", ("cannot be read", "is empty (zero bytes)", "is damaged", "truncated")),
    ("swapped", ("swapped", "exchanged")),
    ("outside", ("outside", "beyond")),
    ("twice", ("stands twice", "same dot", "names", "again")),
    ("link", ("is a link out",)),
)


def problem_findings(problems: Sequence[Problem]) -> list[Finding]:
    """Findings from what opening the survey complained of."""
    found = []
    for problem in problems:
        what = problem.what.lower()
        kind = next((k for k, words in _KINDS if any(w in what for w in words)), "annotation")
        if kind == "annotation" and not problem.name.endswith((".csv", ".json")):
            kind = "mask" if problem.name.startswith("masks/") else "unreadable"
        text, _, fix = problem.what.rstrip().rpartition(". ")
        found.append(
            Finding(
                kind,
                "fault",
                (problem.name,),
                (text + ".") if text else problem.what,
                fix or "Correct the file.",
            )
        )
    return found


def feature_facts(prints: Prints) -> dict[str, list[float]]:
    """The 5th, 50th and 95th percentile of every cheap feature."""
    from transect.audit.fingerprints import FEATURES

    if not len(prints):
        return {}
    levels = np.percentile(prints.features, (5, 50, 95), axis=0)
    return {name: [round(float(v), 4) for v in levels[:, i]] for i, name in enumerate(FEATURES)}
