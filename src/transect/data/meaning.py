"""What the numbers of a survey's masks mean: classes, objects, background, or nothing at all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.images import read_labels
from transect.data.masks import MaskFacts
from transect.errors import TransectError
from transect.types import MaskKind

__all__ = ["BACKGROUND", "VOID", "Meaning", "meaning_of"]

VOID = ("ignore", "ignored", "void", "unlabelled", "unlabeled", "don't care", "dontcare")
"""Names in classes.csv whose pixels count for nothing."""
BACKGROUND = ("background", "_background_", "bg")
"""Names in classes.csv that mean what 0 means."""

_SAMPLE = 32
"""Masks that are looked at piece by piece to tell objects from classes; our guess."""
_SMALL = 100
"""Class numbers are taken to be at most this where 255 means "not labelled"; our guess."""
_MANY = 64
"""More classes than any survey that we know of has; our guess."""


_INVERTED = 0.85
"""Share of foreground from which binary masks may be inverted; our guess."""


@dataclass(frozen=True)
class Meaning:
    """How masks are to be read.

    Attributes:
        kind: binary, classes or instances.
        values: Those that stand for a class, or for the foreground, ascending.
        void: Values whose pixels count for nothing.
        background: Values besides 0 that mean background.
        why: What tells so, for the user: a clause.
        notes: What else was noticed, a sentence each.
    """

    kind: MaskKind
    values: tuple[int, ...]
    void: tuple[int, ...] = ()
    background: tuple[int, ...] = ()
    why: str = ""
    notes: tuple[str, ...] = ()


def meaning_of(
    paths: Sequence[Path],
    facts: Sequence[MaskFacts],
    *,
    names: Mapping[int, str] | None = None,
    told: MaskKind | None = None,
    objects: str = "",
) -> Meaning:
    """Tell what the numbers of masks mean, from what they hold and what is said of them.

    One number besides 0 in all masks (or 1 in some and 255 in others) is binary. Numbers of
    pieces that hang together, counted 1, 2, 3 ... to another end in each mask, or hardly ever the
    same in two masks, are objects. Few numbers that recur, in several pieces, are classes. What
    could be either is asked, not guessed.

    Args:
        paths: The mask files.
        facts: What each holds, in the same order.
        names: Of classes.csv: value to name, also those of background and void.
        told: What the user or ``survey.json`` says.
        objects: Why what may be classes or objects is to be taken for objects; "" asks.

    Returns:
        The meaning.

    Raises:
        TransectError: If the numbers look like a drawing with soft edges, or may mean several
            things.
    """
    names = names or {}
    background = tuple(v for v, name in names.items() if v and name.lower() in BACKGROUND)
    void, notes = _void(facts, names, told)
    aside = {0, *background, *void}
    found = [sorted(set(fact.values.tolist()) - aside) for fact in facts]
    union = tuple(sorted({v for values in found for v in values}))
    _refuse_soft_edges(paths, facts, union, told)
    if told is not None:
        kind, why = told, "as you say"
    else:
        kind, why = _guess(paths, facts, found, union, names, bool(background), objects)
    if kind != "instances" and len(union) > 1 and not background and not _has_zero(facts):
        notes += ("no mask holds 0: every pixel is taken to belong to a class",)
    if kind == "binary" and (share := 1 - _share(facts, 0)) > _INVERTED:
        notes += (
            f"{100 * share:.0f} % of the mask pixels are foreground ({_shown(union)}): if the "
            "objects are the black ones, the masks are inverted; save them the other way round",
        )
    return Meaning(kind, union, void, background, why, notes)


def _has_zero(facts: Sequence[MaskFacts]) -> bool:
    """Whether any mask has background."""
    return any(0 in fact.values for fact in facts)


def _void(
    facts: Sequence[MaskFacts], names: Mapping[int, str], told: MaskKind | None
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Values that are not labelled: those named so, -1, and 255 beside small class numbers."""
    named = tuple(v for v, name in names.items() if name.lower() in VOID)
    if any(-1 in fact.values for fact in facts):
        note = "-1 in the masks is read as void (not labelled)"
        more, notes = _void_255(facts, names, told, named)
        return (-1, *more), (note, *notes)
    return _void_255(facts, names, told, named)


def _void_255(
    facts: Sequence[MaskFacts],
    names: Mapping[int, str],
    told: MaskKind | None,
    named: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The values named as not labelled, and 255 where it means so."""
    sets = [set(fact.values.tolist()) - {0, -1} for fact in facts]
    others = sorted({v for values in sets for v in values} - {255, *named})
    together = any(255 in values and len(values) > 1 for values in sets)
    few = others and others[-1] <= _SMALL and len(others) <= _MANY
    if 255 in names or not few or told == "instances" or not (together or len(others) > 1):
        return named, ()
    if not any(255 in values for values in sets):
        return named, ()
    share = _share(facts, 255)
    if share > max(0.5, _share(facts, 0)):
        raise TransectError(
            f"255 fills {100 * share:.0f} % of the masks, beside {_shown(others)}: is it "
            "background, or not labelled? Write 255,background or 255,void into classes.csv "
            "(header: value,name); if 0 is a class, give it another number."
        )
    shown = _shown(others)
    note = (
        f"255 stands beside {shown} in the masks and is read as void (not labelled), as VOC and "
        "Cityscapes mean it; if it is a class, write 255 and its name into classes.csv"
    )
    return (*named, 255), (note,)


def _share(facts: Sequence[MaskFacts], value: int) -> float:
    """The share of all pixels that have a value."""
    pixels = sum(int(fact.pixels[fact.values == value].sum()) for fact in facts)
    return pixels / max(sum(int(fact.pixels.sum()) for fact in facts), 1)


def _guess(
    paths: Sequence[Path],
    facts: Sequence[MaskFacts],
    found: Sequence[Sequence[int]],
    union: Sequence[int],
    names: Mapping[int, str],
    has_background: bool,
    objects: str,
) -> tuple[MaskKind, str]:
    """The kind, and what tells it."""
    most = max((len(values) for values in found), default=0)
    if most <= 1 and (len(union) <= 1 or set(union) == {1, 255}):
        return "binary", f"one value besides 0: {_shown(union) or 'none'}"
    classes = {v for v, n in names.items() if v and n.lower() not in (*VOID, *BACKGROUND)}
    if len(classes) > 1 and set(union) <= classes:
        return "classes", "classes.csv names them"
    if len(union) == 2 and not has_background and not _has_zero(facts) and not classes:
        raise _asked(
            paths,
            f"hold {_shown(union)} and never 0, so which of them is background is not told",
            "Write it into classes.csv as VALUE,background (header: value,name)",
        )
    if not _has_zero(facts) and len(union) <= _MANY:
        return "classes", f"every pixel has one of {_shown(union)}"
    filled = [i for i, values in enumerate(found) if values]
    sample = sorted(filled, key=lambda i: -len(found[i]))[:_SAMPLE]
    looked = [_pieces(read_labels(paths[i]), found[i]) for i in sample]
    kind, why = _by_pieces([found[i] for i in filled], union, looked)
    if kind is None and objects and len(classes) <= 1:
        return "instances", f"{why}, and {objects}"
    if kind is None or (kind == "instances" and len(classes) > 1):
        what = f"classes.csv names {len(classes)} classes, and " if len(classes) > 1 else ""
        raise _asked(
            paths,
            f"may mean classes or objects: {what}{why}",
            "Say which with --masks classes or --masks instances",
        )
    return kind, why


def _by_pieces(
    found: Sequence[Sequence[int]], union: Sequence[int], looked: Sequence[_Look]
) -> tuple[MaskKind | None, str]:
    """Objects or classes, by pieces, numbering and recurrence; None if both are likely."""
    lengths = Counter(map(len, found))
    counted = float(np.mean([list(v) == list(range(1, len(v) + 1)) for v in found]))
    times = sum(map(len, found)) / len(union)  # masks that a number is in
    whole = float(np.mean([look.whole for look in looked]))
    if whole < 0.8:
        if len(union) > 256:
            return None, f"{len(union)} values, many of them in several pieces"
        return "classes", f"the same {_shown(union)} in several masks or pieces"
    if counted >= 0.9 and (len(lengths) > 1 or len(found) == 1):
        return "instances", "each mask counts its pieces 1, 2, 3 ..."
    if len(union) > _MANY:
        return "instances", f"{len(union)} values, each of one piece"
    several = max(lengths) > 1
    chance = math.prod(1 / math.factorial(min(look.values, 20)) for look in looked)
    if several and all(look.ordered for look in looked) and chance < 0.01:
        # skimage, scipy and OpenCV number pieces row by row; classes do so by chance only.
        return "instances", "each mask numbers its pieces from top to bottom"
    if several and len(found) >= 4 and times <= 1.25 and len(union) >= 8:
        return "instances", f"{len(union)} values that hardly recur, each of one piece"
    few = len(union) <= 10 and sum(map(len, found)) <= 1.5 * len(found)
    if (not several and times > 1.25) or (few and counted < 0.9 and times >= 2.5):
        return "classes", f"the same {_shown(union)} in several masks, few in each"
    return None, f"{_shown(union)} are in the masks, each of one piece"


@dataclass(frozen=True)
class _Look:
    """The pieces of one mask: how many values, the share in one piece, whether numbered down."""

    values: int
    whole: float
    ordered: bool


def _pieces(labels: NDArray[np.int32], values: Sequence[int]) -> _Look:
    """Look at the pieces of the values of a mask that mean something."""
    from skimage.measure import label

    pieces = label(labels, background=0, connectivity=2)
    numbers, first = np.unique(pieces, return_index=True)
    owners = labels.ravel()[first[numbers > 0]]
    owners, places = owners[np.isin(owners, values)], first[numbers > 0]
    places = places[np.isin(labels.ravel()[places], values)]
    _, counts = np.unique(owners, return_counts=True)
    rising = bool((np.diff(places[np.argsort(owners, kind="stable")]) > 0).all())
    whole = float(np.mean(counts == 1)) if len(counts) else 1.0
    return _Look(len(values), whole, rising)


def _refuse_soft_edges(
    paths: Sequence[Path],
    facts: Sequence[MaskFacts],
    union: Sequence[int],
    told: MaskKind | None,
) -> None:
    """A mask that went through JPEG or a smooth resize has numbers along its edges."""
    jpeg = any(path.suffix.lower() in (".jpg", ".jpeg") for path in paths)
    if len(union) <= (2 if jpeg else 8) or max(union) > 255 or told == "instances":
        return
    total = sum(int(f.pixels.sum()) for f in facts)
    ends = sum(int(f.pixels[(f.values <= 12) | (f.values >= 243)].sum()) for f in facts)
    bright = sum(int(f.pixels[f.values >= 243].sum()) for f in facts)
    greys = [i for i, fact in enumerate(facts) if len(fact.foreground) > (2 if jpeg else 8)]
    if not greys:
        return
    worst = max(greys, key=lambda i: len(facts[i].values))
    high = max(union) >= 254
    usual = high and ends > 0.85 * total and bright > 0.25 * (total - ends)
    if usual or _crumbled(read_labels(paths[worst])):
        raise TransectError(
            f"masks must have one number per class; {len(facts[worst].values)} greys are in "
            f"{paths[worst]}, as JPEG or resizing leaves them. Save masks as PNG with only 0 and "
            "255, or one number per class, and resize them to the nearest pixel."
        )


def _crumbled(labels: NDArray[np.int32]) -> bool:
    """Whether most values of a mask lie in crumbs of a few pixels, as along soft edges."""
    from skimage.measure import label

    pieces = label(labels, background=0, connectivity=2)
    numbers, first, areas = np.unique(pieces, return_index=True, return_counts=True)
    owners = labels.ravel()[first[numbers > 0]]
    _, index, counts = np.unique(owners, return_inverse=True, return_counts=True)
    if not len(counts):
        return False
    mean_area = np.bincount(index, areas[numbers > 0]) / counts
    return bool(np.median(counts) >= 2 and np.median(mean_area) <= 4)  # our guess


def _asked(paths: Sequence[Path], what: str, mend: str) -> TransectError:
    """The question for what may mean several things."""
    return TransectError(f"the masks in {_folder(paths)} {what}. {mend}.")


def _folder(paths: Sequence[Path]) -> Path:
    """The folder of the masks."""
    return next((p for path in paths[:1] for p in path.parents if p.name == "masks"), Path("masks"))


def _shown(values: Sequence[int]) -> str:
    """A few numbers, and how many more."""
    shown = ", ".join(map(str, values[:6]))
    return f"{shown} and {len(values) - 6} more" if len(values) > 6 else shown
