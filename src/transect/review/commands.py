"""What the browser can ask for, and the change that each word makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transect.errors import TransectError, unknown_name
from transect.review import drawing
from transect.review.marks import Area, Mark, Surface, checked_label
from transect.review.sheets import Change
from transect.types import Image

__all__ = ["COMMANDS", "Place", "changes_of"]


@dataclass(frozen=True)
class Place:
    """Where a command is carried out.

    Attributes:
        image: The image.
        marks: Its marks now.
        surface: How they are drawn.
        classes: Their classes; individuals may have any name.
        new_ids: Ids that were never used on the image.
        proposed: What the run answers for the image.
        everywhere: Of individuals: every image with its marks.
    """

    image: Image
    marks: Sequence[Mark]
    surface: Surface
    classes: Sequence[str]
    new_ids: Iterator[str]
    proposed: Callable[[], Sequence[Mark]]
    everywhere: Callable[[], Iterator[tuple[str, Sequence[Mark]]]]

    def mark(self, id: object) -> Mark:
        """One of the marks.

        Raises:
            TransectError: If it is not there.
        """
        for mark in self.marks:
            if mark.id == id:
                return mark
        raise TransectError(f"there is no object {id!r} on {self.image.name}. Reload the page.")

    def label(self, label: object) -> str:
        """A class, checked; of individuals any name.

        Raises:
            TransectError: If the survey has no such class.
        """
        checked = checked_label(label)
        if self.surface != "individuals" and checked not in self.classes:
            raise unknown_name("a class", checked, self.classes)
        return checked

    def change(self, put: Sequence[Mark] = (), drop: Sequence[str] = ()) -> tuple[Change, ...]:
        """A change of this image."""
        return (Change(self.image.name, tuple(put), tuple(drop)),)


Asked = Mapping[str, Any]


def changes_of(asked: Asked, place: Place) -> tuple[Change, ...]:
    """What a command changes.

    Args:
        asked: What the browser sent: ``do`` names the command.
        place: Where.

    Returns:
        The changes; none if everything stays as it is. With ``accept`` the image is accepted in the
        same step.

    Raises:
        TransectError: If the command is none, or cannot be carried out.
    """
    word = asked.get("do")
    if not isinstance(word, str) or word not in COMMANDS:
        raise unknown_name("a command", str(word), COMMANDS)
    try:
        changes = COMMANDS[word](asked, place)
    except (KeyError, TypeError, ValueError) as error:
        raise TransectError(f"{word} was asked for without what it needs ({error}).") from error
    return (*changes, Change(place.image.name, accepted=True)) if asked.get("accept") else changes


def _brush(asked: Asked, place: Place) -> tuple[Change, ...]:
    """A stroke that adds to an object, or begins one."""
    points = drawing.points_of(asked["points"], place.image.size_hw)
    return _draw(drawing.stroke(points, float(asked["radius"]), place.image.size_hw), asked, place)


def _polygon(asked: Asked, place: Place) -> tuple[Change, ...]:
    """An outline whose inside is added to an object, or begins one."""
    points = drawing.points_of(asked["points"], place.image.size_hw)
    return _draw(drawing.filled(points, place.image.size_hw), asked, place)


def _draw(area: Area | None, asked: Asked, place: Place) -> tuple[Change, ...]:
    """Add pixels to an object, or take them from the one that is named or from all."""
    if place.surface != "areas":
        raise TransectError("this survey has no masks to draw on. Place dots or boxes.")
    if area is None:
        return ()
    chosen = asked.get("mark")
    if asked.get("erase"):
        losing = place.marks if chosen is None else [place.mark(chosen)]
        return place.change(*drawing.erased(losing, area))
    target = (
        Mark(next(place.new_ids), place.label(asked["label"]))
        if chosen is None
        else place.mark(chosen)
    )
    return place.change(*drawing.painted(place.marks, target, area))


def _split(asked: Asked, place: Place) -> tuple[Change, ...]:
    """Cut one object in two or more along a line."""
    points = drawing.points_of(asked["points"], place.image.size_hw)
    ids = [next(place.new_ids) for _ in range(16)]
    mark = place.mark(asked["mark"])
    if mark.area is None:
        raise TransectError("only objects with a mask can be split.")
    return place.change(drawing.cut(mark, points, ids))


def _merge(asked: Asked, place: Place) -> tuple[Change, ...]:
    """Make one object of several."""
    return place.change(*drawing.merged([place.mark(id) for id in asked["marks"]]))


def _add(asked: Asked, place: Place) -> tuple[Change, ...]:
    """A dot, a box or a word that was not there; without a place on places it is refused."""
    sent = Mark.from_json({"id": "", **asked["mark"]})
    if sent.area is not None or (place.surface == "places" and sent.dot is None is sent.box):
        raise TransectError("a new mark needs a dot or a box.")
    mark = _inside(replace(sent, id=next(place.new_ids), label=place.label(sent.label)), place)
    return place.change([mark])


def _move(asked: Asked, place: Place) -> tuple[Change, ...]:
    """A dot or a box at another place."""
    mark = place.mark(asked["mark"])
    if mark.area is not None:
        raise TransectError("a mask is not moved. Draw it again.")
    sent = Mark.from_json({**mark.to_json(), **asked["to"]})
    if (sent.dot is None) != (mark.dot is None) or (sent.box is None) != (mark.box is None):
        raise TransectError("a dot stays a dot, and a box a box.")
    moved = _inside(replace(mark, dot=sent.dot, box=sent.box), place)
    return place.change([moved]) if moved != mark else ()


def _relabel(asked: Asked, place: Place) -> tuple[Change, ...]:
    """Another class, or another individual."""
    label = place.label(asked["label"])
    marks = [place.mark(id) for id in asked["marks"]]
    other = [replace(mark, label=label) for mark in marks if mark.label != label]
    return place.change(other) if other else ()


def _label(asked: Asked, place: Place) -> tuple[Change, ...]:
    """Turn a word about the image on or off; where one alone can be, it takes the other's place."""
    label = place.label(asked["label"])
    there = [mark for mark in place.marks if mark.label == label]
    if asked.get("several"):
        if there:
            return place.change(drop=[mark.id for mark in there])
        return place.change([Mark(next(place.new_ids), label)])
    if there and len(place.marks) == 1:
        return ()
    gone = [mark.id for mark in place.marks]
    return place.change([Mark(next(place.new_ids), label)], gone)


def _drop(asked: Asked, place: Place) -> tuple[Change, ...]:
    """Delete marks."""
    return place.change(drop=[place.mark(id).id for id in asked["marks"]])


def _accept(asked: Asked, place: Place) -> tuple[Change, ...]:
    """Say that the image is as it should be, or that it is not yet."""
    return (Change(place.image.name, accepted=bool(asked["accepted"])),)


def _take(asked: Asked, place: Place) -> tuple[Change, ...]:
    """Put what the run answered in the place of all marks."""
    proposed = place.proposed()
    if not proposed:
        raise TransectError(f"the run has no answer for {place.image.name}.")
    new = [replace(mark, id=next(place.new_ids)) for mark in proposed]
    return place.change(new, [mark.id for mark in place.marks])


def _unite(asked: Asked, place: Place) -> tuple[Change, ...]:
    """Two names are one individual: every photo of the one gets the name of the other."""
    if place.surface != "individuals":
        raise TransectError("only individuals can be united.")
    gone, kept = checked_label(asked["gone"]), checked_label(asked["kept"])
    if not gone or not kept or gone == kept:
        raise TransectError("uniting needs two different names.")
    changes = []
    for image, marks in place.everywhere():
        own = tuple(replace(mark, label=kept) for mark in marks if mark.label == gone)
        if own:
            changes.append(Change(image, own))
    if not changes:
        raise TransectError(f"no photo shows {gone!r}.")
    return tuple(changes)


def _inside(mark: Mark, place: Place) -> Mark:
    """A mark moved into its image; boxes have their corners in order."""
    height, width = place.image.size_hw
    if mark.dot is not None:
        x, y = np.clip(mark.dot, -0.5, (width - 0.51, height - 0.51)).tolist()
        mark = replace(mark, dot=(x, y))
    if mark.box is not None:
        x0, y0, x1, y1 = mark.box
        xs = sorted(np.clip((x0, x1), -0.5, width - 0.5).tolist())
        ys = sorted(np.clip((y0, y1), -0.5, height - 0.5).tolist())
        if xs[1] - xs[0] < 1 or ys[1] - ys[0] < 1:
            raise TransectError("a box needs a width and a height of a pixel or more.")
        mark = replace(mark, box=(xs[0], ys[0], xs[1], ys[1]))
    return mark


COMMANDS: dict[str, Callable[[Asked, Place], tuple[Change, ...]]] = {
    "accept": _accept,
    "add": _add,
    "brush": _brush,
    "drop": _drop,
    "label": _label,
    "merge": _merge,
    "move": _move,
    "polygon": _polygon,
    "relabel": _relabel,
    "split": _split,
    "take": _take,
    "unite": _unite,
}
"""The words that a browser can say; undo and redo are the session's."""
