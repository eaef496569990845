"""Which mask belongs to which image."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transect.data.folder import list_pictures, stem_of
from transect.data.names import Matcher, Matches
from transect.errors import TransectError
from transect.types import Image, Problem

__all__ = ["Pairs", "pair_masks"]

_WORDS = "masks?|cp_masks|labels?|seg|segmentation|gt|ground_?truth|annotations?"
_CITY = "gt(?:fine|coarse)_(?:label|instance)(?:train)?ids"
_MASK = re.compile(rf"(?:[-_. ](?:{_WORDS}|{_CITY}))+$", re.IGNORECASE)
_MASK_FRONT = re.compile(rf"^(?:{_WORDS})[-_. ]", re.IGNORECASE)
_IMAGE = re.compile(r"(?:_\d{4}|[-_. ](?:img|images?|raw|photo|sat|leftimg8bit))$", re.IGNORECASE)
_IMAGE_FRONT = re.compile(r"^(?:img|images?|photo)[-_. ]", re.IGNORECASE)
"""What tools add to a name: Cellpose ``_masks``, nnU-Net ``_0000`` on images, Cityscapes, ..."""


@dataclass(frozen=True)
class Pairs:
    """Masks by image.

    Attributes:
        masks: Image name to mask file.
        problems: Masks that belong to no image, or to no one in particular.
        notes: How names were paired that are not equal.
        objects: Why the masks are likely to number objects, if their names say so.
    """

    masks: Mapping[str, Path]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    objects: str = ""


def pair_masks(root: Path, images: Sequence[Image]) -> Pairs:
    """Give every image its mask: the same path below its folder, whatever its suffix.

    Where names differ by what Cellpose, nnU-Net, Cityscapes and people add to them (``_masks``,
    ``_0000``), they are paired without it.

    Args:
        root: A survey with ``masks/``.
        images: Its images.

    Returns:
        The pairs.

    Raises:
        TransectError: If not one mask belongs to an image.
    """
    folder = root / "masks"
    files, problems = list_pictures(folder)
    problems = [Problem(f"masks/{p.name}", p.what) for p in problems]
    by_name = {image.name: image for image in images}
    # a.jpg.png is the mask of a.jpg where there is an a.png, too.
    asked = {name: stem_of(name) if stem_of(name) in by_name else name for name in files}
    matches = Matcher(by_name).all(asked.values())
    found = _found(asked, matches)
    notes: tuple[str, ...] = ()
    unread = {stem_of(name) for name in list_pictures(root / "images")[0] if name not in by_name}
    left = [n for n in files if n not in found and stem_of(n) not in unread]
    if left:
        spare = [image for image in by_name if image not in found.values()]
        more, notes = _by_convention(left, spare)
        found.update(more)
    if not found:
        example = next(iter(files), None)
        what = f"masks/{example} has no image" if example else "it is empty"
        raise TransectError(
            f"no mask in {folder} has the name of an image ({what}; an image is "
            f"images/{images[0].name}). Give each mask its image's name."
        )
    for name in left:
        if name not in found:
            why = _why(matches.refused.get(asked[name], "has the name of another mask"))
            what = f"masks/{name} {why}. Rename it, or remove it."
            problems.append(Problem(f"masks/{name}", what))
    doubtful = matches.doubtful | _shared_stems(by_name, found.values())
    unsure = tuple(sorted(doubtful - set(found.values())))
    if unsure:
        what = f"images/{unsure[0]} has no mask that is surely its own: several files share names"
        what += f" (so have {len(unsure) - 1} more)" if len(unsure) > 1 else ""
        problems.append(Problem(unsure[0], f"{what}. Rename them.", unsure))
    masks = {image: files[mask] for mask, image in found.items()}
    cellpose = bool(notes) and all(stem_of(mask).endswith("_masks") for mask in found)
    objects = "Cellpose calls its masks so" if cellpose else ""
    return Pairs(masks, tuple(problems), notes, objects)


def _found(asked: Mapping[str, str], matches: Matches) -> dict[str, str]:
    """Mask to image; of masks whose names come to the same, none."""
    found = {mask: matches.found[text] for mask, text in asked.items() if text in matches.found}
    owners = Counter(found.values())
    return {mask: image for mask, image in found.items() if owners[image] == 1}


def _by_convention(
    masks: Iterable[str], images: Iterable[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Pair names without what tools add to them, where that leaves one of each."""
    ways: dict[str, tuple[list[str], list[str]]] = {}
    for place, names in enumerate((masks, images)):
        for name in names:
            ways.setdefault(_plain(name, of_mask=place == 0), ([], []))[place].append(name)
    pairs = {m[0]: i[0] for m, i in ways.values() if len(m) == len(i) == 1}
    if not pairs:
        return {}, ()
    mask, image = next(iter(pairs.items()))
    what = f"{len(pairs)} masks are paired with images by what their names share"
    return pairs, (f"{what} (first: masks/{mask} with images/{image})",)


def _plain(name: str, *, of_mask: bool) -> str:
    """A path without suffix and without what a tool adds to the name of an image or a mask."""
    above, slash, base = stem_of(name).rpartition("/")
    back, front = (_MASK, _MASK_FRONT) if of_mask else (_IMAGE, _IMAGE_FRONT)
    return f"{above}{slash}{front.sub('', back.sub('', base), count=1)}".lower()


def _shared_stems(images: Iterable[str], paired: Iterable[str]) -> set[str]:
    """Images called as one with a mask, but for the suffix: the mask may be theirs."""
    with_mask = set(paired)
    stems = {stem_of(name) for name in with_mask}
    return {name for name in images if name not in with_mask and stem_of(name) in stems}


def _why(refusal: str) -> str:
    """The clause of a refusal, for a mask."""
    if refusal.startswith("is not among"):
        return "has no image of that name"
    if refusal.startswith("has"):
        return refusal
    return f"does not say which image it belongs to: it {refusal}"
