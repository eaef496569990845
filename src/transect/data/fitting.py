"""Annotations made to fit: the files of their pictures, and what a format can hold.

Nothing is changed or left out here without being told in the annotations that come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from transect.data.exchange import Annotations, Instance, Picture, Pictures
from transect.data.shapes import box_of
from transect.data.tally import Tally
from transect.data.turning import turned
from transect.types import Problem

__all__ = ["HOLDABLE", "cut_to_pictures", "fitted", "matched"]

HOLDABLE = ("outline", "box", "dot", "word", "identity", "confidence", "empty", "unlabelled")
"""What a format may be able to hold: objects of four kinds, what is said of them, and pictures
with nothing on them or that nobody has looked at."""
_SEEN_PX = 0.01  # less than this is rounding


def matched(annotations: Annotations, pictures: Pictures) -> Annotations:
    """Give every annotated picture the name of its file; those without one are told and left out.

    Annotations of a photo that its EXIF turns, drawn before it was turned, are turned with it.

    Args:
        annotations: As read.
        pictures: The files.

    Returns:
        The annotations with the files' names and sizes.
    """
    found: dict[str, Picture] = {}
    problems, tally = list(annotations.problems), Tally(annotations.told)
    matches = pictures.matcher.all(picture.name for picture in annotations.pictures)
    for how in dict.fromkeys(matches.told.values()):
        tally.tell(
            f"name read {how}", lost=False, pictures=sum(h == how for h in matches.told.values())
        )

    def lost(picture: Picture, why: str, what: str) -> None:
        problems.append(Problem(picture.name, what))
        tally.tell(why, objects=len(picture.instances), pictures=1)

    for picture in annotations.pictures:
        key = matches.found.get(picture.name)
        size_hw = None if key is None else pictures.size(key)
        if key is None:
            what = f"{picture.name} {matches.refused[picture.name]}; left out. Add it to "
            lost(
                picture, "no picture of that name", f"{what}{pictures.folder}, or correct the name."
            )
            continue
        if size_hw is None:
            what = f"{picture.name} cannot be read as a picture; left out. Restore it."
            lost(picture, "picture cannot be read", what)
            continue
        if key in found:  # one path, written in two ways
            more = (*found[key].instances, *picture.instances)
            found[key] = replace(found[key], instances=more)
            continue
        if picture.size_hw not in (None, size_hw):
            orientation = pictures.orientation(key)
            assert picture.size_hw is not None
            if orientation < 5 or picture.size_hw[::-1] != size_hw:
                what = f"{picture.name} was annotated at {picture.size_hw[0]} x "
                what += f"{picture.size_hw[1]} pixels and is {size_hw[0]} x {size_hw[1]} (height "
                what += "x width); left out. Export the annotations for this very file."
                lost(picture, "annotated at another size", what)
                continue
            picture = turned(picture, orientation)
            why = f"turned as the photo's EXIF says (orientation {orientation})"
            tally.tell(why, lost=False, objects=len(picture.instances), pictures=1)
        found[key] = replace(picture, name=key, size_hw=size_hw)
    return replace(
        annotations,
        pictures=tuple(found.values()),
        problems=tuple(problems),
        told=tally.done(),
    )


def cut_to_pictures(annotations: Annotations) -> Annotations:
    """Cut boxes to their pictures; leave out what lies wholly outside, or stands there twice.

    A picture reaches from -0.5 to its width minus 0.5. Dots have a pixel of slack on the far
    side, where tools differ.

    Of boxes and dots that are equal to the last digit in place, class and identity one is kept, as
    Ultralytics does (ultralytics/yolov5#12176, "duplicate labels removed"): nobody draws a box
    twice to the last digit, while merged exports hold it twice. Each is told, for rounded
    positions of crowded objects may coincide (ultralytics/ultralytics#8515).

    Args:
        annotations: Pictures without a size are passed over.

    Returns:
        The annotations.
    """
    problems, tally = list(annotations.problems), Tally(annotations.told)

    seen: set[tuple[object, ...]] = set()

    def cut(instance: Instance, picture: Picture) -> Instance | None:
        if not instance.has_area and (instance.box or instance.point):
            key = (picture.name, instance.label, instance.identity, instance.box, instance.point)
            if key in seen:
                what = f"{picture.name}: the same {instance.label!r} stands twice; one is left out."
                problems.append(Problem(picture.name, what))
                tally.tell("the same object twice", objects=1)
                return None
            seen.add(key)
        if picture.size_hw is None:
            return instance
        height, width = picture.size_hw
        extent = box_of(instance, picture.size_hw) if instance.counts is None else None
        if instance.point is not None and extent is None:
            x, y = instance.point
            inside = -0.5 <= x <= width and -0.5 <= y <= height
        elif extent is not None:
            x0, y0 = max(extent[0], -0.5), max(extent[1], -0.5)
            x1, y1 = min(extent[2], width - 0.5), min(extent[3], height - 0.5)
            inside = x0 < x1 and y0 < y1
            if inside and instance.box is not None and (x0, y0, x1, y1) != instance.box:
                moved = max(abs(a - b) for a, b in zip((x0, y0, x1, y1), extent, strict=True))
                if moved > _SEEN_PX:
                    tally.tell("box cut to its picture", lost=False, objects=1)
                return replace(instance, box=(x0, y0, x1, y1))
        else:
            return instance
        if inside:
            return instance
        place = instance.point if extent is None else tuple(round(v, 2) for v in extent)
        what = f"{picture.name} ({width} x {height}): the {instance.label!r} at {place} lies "
        problems.append(Problem(picture.name, f"{what}outside and is left out. Correct it."))
        tally.tell("outside its picture", objects=1)
        return None

    return _mapped(annotations, cut, problems, tally)


def fitted(annotations: Annotations, holds: Iterable[str], name: str) -> Annotations:
    """Make of annotations what a format can hold.

    Outlines become boxes where it holds no outlines, and boxes outlines where it holds no boxes.

    Args:
        annotations: Any.
        holds: Of ``HOLDABLE``.
        name: Of the format, for what is told.

    Returns:
        What can be written without loss; everything else is told.
    """
    holds = frozenset(holds)
    problems, tally = list(annotations.problems), Tally(annotations.told)

    def fit(instance: Instance, picture: Picture) -> Instance | None:
        if instance.has_area and "outline" not in holds and "box" in holds:
            box = box_of(instance, picture.size_hw)
            if box is None:
                tally.tell(f"{name} holds boxes, and a mask is empty", objects=1)
                return None
            tally.tell(f"{name} holds boxes: outline written as its box", lost=False, objects=1)
            instance = replace(instance, parts=(), counts=None, box=box, point=None)
        plain = not instance.has_area and instance.point is None
        if instance.box is not None and plain and "box" not in holds and "outline" in holds:
            tally.tell(f"{name} holds masks: box written as a filled one", lost=False, objects=1)
        for said in ("identity", "confidence"):
            if getattr(instance, said) is not None and said not in holds:
                tally.tell(f"{name} holds no {said}", lost=False, objects=1)
                instance = replace(instance, **{said: None})  # type: ignore[arg-type]
        kind = kind_of(instance)
        if kind in holds or (kind == "box" and "outline" in holds):
            return instance
        if instance.identity is not None and "word" in holds:
            tally.tell(f"{name} holds no {kind}: identity kept alone", lost=False, objects=1)
            return replace(instance, parts=(), counts=None, box=None, point=None)
        plural = {"outline": "outlines", "box": "boxes", "dot": "dots", "word": "words"}[kind]
        tally.tell(f"{name} holds no {plural}", objects=1)
        return None

    made = _mapped(annotations, fit, problems, tally)
    tally = Tally(made.told)
    kept = []
    for picture in made.pictures:
        if not picture.labelled and "unlabelled" not in holds:
            tally.tell(f"not labelled yet, and {name} cannot say so", pictures=1)
        elif picture.labelled and not picture.instances and "empty" not in holds:
            tally.tell(f"{name} names no picture with nothing on it", pictures=1)
        else:
            kept.append(picture)
    return replace(made, pictures=tuple(kept), told=tally.done())


def kind_of(instance: Instance) -> str:
    """outline, box, dot or word: what an object is first of all."""
    if instance.has_area:
        return "outline"
    if instance.box is not None:
        return "box"
    return "dot" if instance.point is not None else "word"


def _mapped(
    annotations: Annotations,
    change: Callable[[Instance, Picture], Instance | None],
    problems: list[Problem],
    tally: Tally,
) -> Annotations:
    """Every object changed, or left out."""
    pictures = []
    for picture in annotations.pictures:
        made = (change(i, picture) for i in picture.instances)
        pictures.append(replace(picture, instances=tuple(i for i in made if i is not None)))
    # An identity without a place says nothing of a class.
    every = (i for p in pictures for i in p.instances)
    left = dict.fromkeys(i.label for i in every if kind_of(i) != "word" or i.identity is None)
    known = [c for c in annotations.classes if c in left]
    return Annotations(
        tuple(pictures),
        tuple(dict.fromkeys([*known, *left])),
        tuple(problems),
        tally.done(),
    )
