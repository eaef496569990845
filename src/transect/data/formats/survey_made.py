"""What a survey folder makes of annotations before it is written, and tells of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from transect.data.exchange import Annotations, Instance
from transect.data.formats.label_images import visible
from transect.data.outlines import box_ring
from transect.data.tally import Tally

__all__ = ["made"]


def made(annotations: Annotations) -> Annotations:
    """What a survey makes of annotations, told: what its masks and tables cannot say apart.

    Boxes of a class that also has outlines are filled into the masks, or the masks would call
    them background; an object thinner than a pixel becomes the pixel at its middle; one that lies
    wholly under others is left out.

    Args:
        annotations: Any.

    Returns:
        What ``survey_folder.write`` will write.
    """
    tally = Tally(annotations.told)
    solid = {i.label for p in annotations.pictures for i in p.instances if i.has_area}
    pictures = []
    for picture in annotations.pictures:
        kept = _among_outlines(picture.instances, solid, tally)
        if picture.size_hw is not None and any(i.has_area for i in kept):
            kept = visible(kept, picture.size_hw, tally)
        pictures.append(replace(picture, instances=_said(kept, tally)))
    return replace(annotations, pictures=tuple(pictures), told=tally.done())


def _among_outlines(
    instances: Sequence[Instance], solid: Collection[str], tally: Tally
) -> list[Instance]:
    """Boxes of classes with outlines as outlines; of others they stay boxes."""
    kept = []
    for i in instances:
        if i.box is not None and not i.has_area and i.identity is None and solid:
            if i.label in solid:
                tally.tell("box among outlines, filled into the masks", lost=False, objects=1)
                i = replace(i, parts=((box_ring(*i.box),),), box=None)
            else:
                why = "box of a class without outlines: in boxes.csv, background in the masks"
                tally.tell(why, lost=False, objects=1)
        kept.append(i)
    return kept


def _said(instances: Sequence[Instance], tally: Tally) -> tuple[Instance, ...]:
    """What the tables can say of a picture: words, each once, and identities without a class."""
    kept: list[Instance] = []
    words: set[str] = set()
    for i in instances:
        drawn = i.has_area or i.box is not None or i.point is not None
        if i.identity is None and not drawn:
            if i.label in words:
                tally.tell("same word about a picture twice", objects=1)
                continue
            words.add(i.label)
        elif i.identity is not None and (i.has_area or i.point is not None):
            tally.tell("drawn and identified: in two tables of the survey", lost=False, objects=1)
        elif i.identity is not None and i.label != "object":
            tally.tell("class of an identified individual not kept", lost=False, objects=1)
        kept.append(i)
    return tuple(kept)
