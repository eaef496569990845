"""Tables that DeepForest and HerdNet read: told and written here, read as any table of objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transect.data.exchange import Annotations, Pictures
from transect.data.formats.head import Head
from transect.data.formats.table import objects_of, write_rows
from transect.files import spreadsheet_safe

__all__ = ["matches_deepforest", "matches_herdnet", "write_deepforest", "write_herdnet"]


def matches_deepforest(head: Head) -> bool:
    """Whether a table is DeepForest's: image_path and xmin."""
    return head.has("image_path", "xmin", "ymin", "xmax", "ymax")


def matches_herdnet(head: Head) -> bool:
    """Whether a table is HerdNet's: images,x,y,labels."""
    return head.has("images", "x", "y", "labels")


def write_deepforest(
    annotations: Annotations, path: Path, *, pictures: Pictures | None = None
) -> list[Path]:
    """Write ``image_path,xmin,ymin,xmax,ymax,label``, positions from the outer corner."""
    scored = any(i.confidence is not None for _, i in objects_of(annotations))
    rows: list[Sequence[Any]] = [
        (
            spreadsheet_safe(picture.name),
            *(v + 0.5 for v in i.box or ()),
            spreadsheet_safe(i.label),
            *(["" if i.confidence is None else i.confidence] if scored else []),
        )
        for picture, i in objects_of(annotations)
    ]
    header = ["image_path", "xmin", "ymin", "xmax", "ymax", "label", *(["score"] if scored else [])]
    return write_rows(path, header, rows)


def write_herdnet(
    annotations: Annotations, path: Path, *, pictures: Pictures | None = None
) -> list[Path]:
    """Write ``images,x,y,labels``, positions at pixel centres."""
    rows: list[Sequence[Any]] = [
        (spreadsheet_safe(picture.name), *(i.point or ()), spreadsheet_safe(i.label))
        for picture, i in objects_of(annotations)
    ]
    return write_rows(path, ["images", "x", "y", "labels"], rows)
