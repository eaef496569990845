"""CVAT: XML "for images 1.1"; positions count from the outer corner."""

from __future__ import annotations

import xml.sax.saxutils
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data import rle
from transect.data.exchange import Annotations, Builder, Instance, Pictures
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.outlines import ellipse_ring, turned_box
from transect.data.shapes import window_of
from transect.errors import TransectError
from transect.files import write_text

__all__ = ["NAME", "matches", "read", "write"]

NAME = "cvat"
_SHAPES = ("polygon", "box", "points", "mask", "ellipse", "tag", "polyline", "cuboid", "skeleton")


def matches(head: Head) -> bool:
    """Whether a file is CVAT's XML."""
    if head.suffix != ".xml":
        return False
    return b"<annotations" in head.start and (b"<image" in head.start or b"<meta" in head.start)


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read CVAT's XML for images.

    Polygons, boxes (turned ones become polygons), points, masks, ellipses and tags (a word about
    the whole picture) are read, image by image; entities and external references are refused.

    Args:
        path: The XML file.
        pictures: Where sizes are looked up that the file does not tell.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: If it is no such XML.
    """
    builder = Builder(pictures)
    labels: list[str] = []
    for node in _nodes(path):
        if node.tag == "label":
            name = next((c.text for c in node if c.tag == "name"), None)
            if name:
                labels.append(checked.label(name, f"{path.name}: label"))
            continue
        where = f"{path.name}: image {str(node.get('name'))[:80]!r}"
        try:
            size = checked.size(node.get("height"), node.get("width"), where)
            split = {"test": "test"}.get(str(node.get("subset", "")).lower())
            text = checked.text(node.get("name"), f"{where}: name")
            name = builder.picture(text, size, split=split)
        except TransectError as error:
            shapes = sum(child.tag in _SHAPES for child in node)
            builder.problem(path.name, error, objects=shapes, pictures=1)
            continue
        for i, child in enumerate(node):
            if child.tag not in _SHAPES:
                continue
            try:
                for instance in _instances(child, f"{where}, {child.tag} {i}", name, builder):
                    builder.add(name, instance)
            except TransectError as error:
                builder.problem(path.name, error)
    return builder.done(labels)


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write CVAT's XML for images; what has holes or pieces becomes a mask.

    Args:
        annotations: Every picture needs its size.
        path: The XML file.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size.
    """
    names = "".join(f"<label><name>{_text(c)}</name></label>" for c in annotations.classes)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<annotations>",
        "  <version>1.1</version>",
        f"  <meta><task><labels>{names}</labels></task></meta>",
    ]
    for number, picture in enumerate(annotations.pictures):
        if picture.size_hw is None:
            raise TransectError(
                f"the size of {picture.name} is not known, and CVAT needs it. Name the folder of "
                "the pictures with --images."
            )
        height, width = picture.size_hw
        name = _quoted(picture.name)
        lines.append(f'  <image id="{number}" name={name} width="{width}" height="{height}">')
        lines += [f"    {_element(i, picture.size_hw)}" for i in picture.instances]
        lines.append("  </image>")
    write_text(path, "\n".join([*lines, "</annotations>"]) + "\n")
    return [path]


def _nodes(path: Path) -> Iterator[Any]:
    """The labels and images of the file, one at a time; each is forgotten after use."""
    import xml.etree.ElementTree as plain

    import defusedxml
    from defusedxml import ElementTree

    try:
        if path.stat().st_size > checked.XML_LIMIT:
            raise TransectError(f"{path} is larger than {checked.XML_LIMIT >> 20} MiB. Split it.")
        with path.open("rb") as handle:
            root = None
            for event, node in ElementTree.iterparse(handle, events=("start", "end")):
                root = node if root is None else root
                if root.tag != "annotations":
                    raise TransectError(f"{path} is not CVAT's XML. Export 'CVAT for images 1.1'.")
                if event == "end" and node.tag in ("image", "label"):
                    yield node
                if event == "end" and node.tag == "image":
                    node.clear()
                    root.clear()
                if event == "end" and node.tag == "track":
                    raise TransectError(
                        f"{path} is an export for video. Export 'CVAT for images 1.1' instead."
                    )
    except defusedxml.DefusedXmlException as error:
        raise TransectError(
            f"{path} declares entities or outside references, which we refuse. Remove its DOCTYPE."
        ) from error
    except (plain.ParseError, ValueError, LookupError, UnicodeError) as error:
        raise TransectError(
            f"{path} is not valid XML ({str(error)[:120]}). Export again."
        ) from error
    except OSError as error:
        raise TransectError(f"{path} cannot be read ({error.strerror}). Restore it.") from error


def _points(text: Any, where: str, least: int) -> NDArray[np.float64]:
    """``x,y;x,y`` as (K, 2), ours."""
    pairs = [p.split(",") for p in checked.long_text(text, where).split(";") if p]
    return checked.ring(pairs, where, least=least) - 0.5


def _instances(node: Any, where: str, name: str, builder: Builder) -> list[Instance]:
    """The objects of one element: one, or one per dot."""
    label = checked.label(node.get("label"), f"{where}: label")
    words = {a.get("name"): a.text for a in node if a.tag == "attribute"}
    builder.unkept(words, "identity", "score")
    common: dict[str, Any] = {
        "label": label,
        "identity": checked.optional_text(words.get("identity"), f"{where}: identity"),
        "confidence": checked.confidence(words.get("score"), f"{where}: score"),
    }

    def get(key: str, default: Any = None) -> float:
        return checked.number(node.get(key, default), f"{where}: {key}")

    if node.tag == "polygon":
        return [Instance(**common, parts=((_points(node.get("points"), where, 3),),))]
    if node.tag == "points":
        dots = _points(node.get("points"), where, 1).tolist()
        if len(dots) > 1:
            builder.reread(f"{len(dots)} points of one element read as a dot each")
        return [Instance(**common, point=(x, y)) for x, y in dots]
    if node.tag == "tag":
        return [Instance(**common)]
    if node.tag == "ellipse":
        centre = get("cx") - 0.5, get("cy") - 0.5
        ring = ellipse_ring(*centre, get("rx"), get("ry"), degrees=get("rotation", 0))
        builder.reread("ellipse read as an outline")
        return [Instance(**common, parts=((ring,),))]
    if node.tag == "box":
        values = tuple(get(key) - 0.5 for key in ("xtl", "ytl", "xbr", "ybr"))
        corners = checked.box(values, where)  # type: ignore[arg-type]
        degrees = get("rotation", 0)
        if degrees % 360 == 0:
            return [Instance(**common, box=corners)]
        builder.reread("turned box read as an outline")
        return [Instance(**common, parts=((turned_box(corners, degrees),),))]
    if node.tag == "mask":
        size_hw = builder.size(name, "its mask needs it")
        return [Instance(**common, counts=_mask_counts(node, where, size_hw))]
    raise TransectError(f"{where} has no area that we read. Draw a polygon, box, mask or points.")


def _mask_counts(node: Any, where: str, size_hw: tuple[int, int]) -> tuple[int, ...]:
    """CVAT's mask: counts row by row within a window, as our counts of the whole picture."""
    keys = ("left", "top", "width", "height")
    left, top, width, height = (checked.integer(node.get(k), f"{where}: {k}") for k in keys)
    fits = min(left, top) >= 0 and left + width <= size_hw[1] and top + height <= size_hw[0]
    if not fits or min(width, height) < 1 or size_hw[0] * size_hw[1] > rle.MASK_LIMIT_PX:
        raise TransectError(f"{where} leaves its picture. Export it again.")
    text = checked.long_text(node.get("rle"), where)
    try:
        counts = [int(v) for v in text.split(",")]
    except ValueError:
        raise TransectError(f"{where}: rle must be whole numbers. Export it again.") from None
    # Row by row is column by column of the turned window.
    window = rle.mask_of_counts(counts, (width, height), where=where).T
    return tuple(rle.counts_of(window, top=top, left=left, size_hw=size_hw))


def _element(instance: Instance, size_hw: tuple[int, int]) -> str:
    """One object as an element."""
    words = {"identity": instance.identity, "score": instance.confidence}
    inner = "".join(
        f'<attribute name="{k}">{_text(str(v))}</attribute>'
        for k, v in words.items()
        if v is not None
    )
    head = f'label={_quoted(instance.label)} source="manual" occluded="0"'
    if instance.parts and len(instance.parts) == 1 and len(instance.parts[0]) == 1:
        points = (instance.parts[0][0] + 0.5).tolist()
        text = ";".join(f"{x!r},{y!r}" for x, y in points)
        return f'<polygon {head} points="{text}" z_order="0">{inner}</polygon>'
    if instance.has_area:
        window, top, left = window_of(instance, size_hw)
        window = window if window.size else np.zeros((1, 1), np.bool_)
        counts = ", ".join(map(str, rle.counts_of(window.T)))
        place = f'left="{left}" top="{top}" width="{window.shape[1]}" height="{window.shape[0]}"'
        return f'<mask {head} rle="{counts}" {place} z_order="0">{inner}</mask>'
    if instance.box is not None:
        keys = ("xtl", "ytl", "xbr", "ybr")
        place = " ".join(
            f'{k}="{float(v) + 0.5!r}"' for k, v in zip(keys, instance.box, strict=True)
        )
        return f'<box {head} {place} z_order="0">{inner}</box>'
    if instance.point is not None:
        x, y = (float(v) for v in instance.point)
        return f'<points {head} points="{x + 0.5!r},{y + 0.5!r}" z_order="0">{inner}</points>'
    return f'<tag label={_quoted(instance.label)} source="manual">{inner}</tag>'


def _text(value: str) -> str:
    """A text for XML."""
    return xml.sax.saxutils.escape(value)


def _quoted(value: str) -> str:
    """An attribute's value for XML, with quotes."""
    return xml.sax.saxutils.quoteattr(value)
