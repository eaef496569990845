"""Names that are probably slips of other names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from transect.audit.findings import Finding

__all__ = ["class_typos"]


def class_typos(counts: Mapping[str, int], *, what: str = "class") -> list[Finding]:
    """Names that are probably one name spelt in two ways.

    Names that differ in their digits are never taken for one; of two alike, the one must be at
    least ten times rarer, unless they differ in nothing but case, spaces and hyphens.

    Args:
        counts: Name to number of rows.
        what: ``class`` or ``identity``.

    Example:
        >>> [f.images for f in class_typos({"adult": 90, "adlut": 1, "pup": 20})]
        [('adlut', 'adult')]
        >>> class_typos({"adult_females": 90, "adult_males": 3, "subadult_males": 2})
        []
    """
    found = []
    plain: dict[str, list[str]] = {}
    for name in counts:
        plain.setdefault(re.sub(r"[\s_\-]+", "", name).casefold(), []).append(name)
    pairs = [tuple(sorted(same, key=lambda n: counts[n])[:2]) for same in plain.values()]
    doubles = [pair for pair in pairs if len(pair) == 2]
    if what == "class" and len(counts) <= 500:
        names = sorted(counts, key=lambda n: (counts[n], n))
        for i, rare in enumerate(names):
            for usual in names[i + 1 :]:
                digits = re.findall(r"\d+", rare) == re.findall(r"\d+", usual)
                if digits and counts[rare] * 10 <= counts[usual] and _misspelt(rare, usual):
                    doubles.append((rare, usual))
    for rare, usual in dict.fromkeys(doubles):
        found.append(
            Finding(
                "typo",
                "warning",
                (rare, usual),
                f"the {what} {rare!r} ({counts[rare]} rows) looks like {usual!r} "
                f"({counts[usual]} rows) spelt in another way.",
                f"Rename it to {usual!r} if they are one.",
            )
        )
    return found


def _misspelt(rare: str, usual: str) -> bool:
    """Whether two names differ by a slip: one letter of a word, two of a word of eight or more.

    Word by word, since males and females, or adult and subadult, are no misspellings.
    """
    words = [re.findall(r"\w+", name.lower().replace("_", " ")) for name in (rare, usual)]
    if len(words[0]) != len(words[1]) or len(rare) < 3:
        return False
    return all(
        _slips(a, b) <= (2 if min(len(a), len(b)) >= 8 else 1)
        if min(len(a), len(b)) >= 3
        else a == b
        for a, b in zip(*words, strict=True)
    )


def _slips(a: str, b: str) -> int:
    """Letters put in, left out, replaced or exchanged with their neighbour; 3 for 3 or more."""
    if abs(len(a) - len(b)) > 2:
        return 3
    before, row = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        following = [i]
        for j, y in enumerate(b, start=1):
            cost = min(row[j] + 1, following[-1] + 1, row[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2]:
                cost = min(cost, before[j - 2] + 1)
            following.append(cost)
        before, row = row, following
    return min(3, row[-1])
