"""Pascal VOC: an XML per picture with boxes; corners are pixels counted from 1, both inside."""

from __future__ import annotations

import posixpath
import xml.etree.ElementTree as plain
import xml.sax.saxutils
from pathlib import Path
from typing import Any

from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.folder import stem_of
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.errors import TransectError
from transect.files import safe_join, write_text

__all__ = ["NAME", "matches", "read", "write"]

NAME = "voc"
_LIMIT = 64 << 20  # bytes of one file
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def matches(head: Head) -> bool:
    """Whether a file, or the first XML of a folder, is VOC's: <annotation> with <object>."""
    if head.is_dir:
        first = next(iter(_files(head.path)), None)
        return first is not None and matches(Head(first))
    start = head.start
    return head.suffix == ".xml" and b"<annotation>" in start and b"<filename>" in start


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read VOC files, as labelImg and the VOC challenge write them.

    A corner 1 is the first pixel, and the box holds both corner pixels. Files in which a corner
    is 0 count from 0 and from outer corners, as several tools write them.

    Sources: the VOC 2012 development kit, "the top-left pixel in the image has coordinates (1,1)";
    labelImg's author says the same of its files (HumanSignal/labelImg#19).

    Args:
        path: An XML file, or a folder of them at any depth.
        pictures: Where sizes are looked up that a file does not tell.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: If there is no such file.
    """
    files = [path] if path.is_file() else _files(path)
    if not files:
        raise TransectError(f"{path} has no .xml file. Name the folder of the annotations.")
    root = path if path.is_dir() else path.parent
    builder = Builder(pictures)
    found: list[tuple[str, str, Any]] = []
    for file in files:
        shown = file.relative_to(root).as_posix()
        try:
            node = _root(file)
            name = _name(node, shown, pictures)
            size = node.find("size")
            height, width = (
                None if size is None else size.findtext(k) for k in ("height", "width")
            )
            name = builder.picture(name, checked.size(height, width, shown))
            found += [
                (f"{shown}: object {i}", name, o) for i, o in enumerate(node.findall("object"))
            ]
        except TransectError as error:
            builder.problem(shown, error, objects=0, pictures=1)
    corners = [_corners(thing) for _, _, thing in found]
    from_zero = any(c is not None and 0 in c for c in corners)
    if from_zero:
        why = "corners counted from 0, for one of them is 0"
        builder.reread(why, objects=sum(c is not None for c in corners))
    low, high = (-0.5, -0.5) if from_zero else (-1.5, -0.5)
    for (where, name, thing), values in zip(found, corners, strict=True):
        try:
            if values is None:
                raise TransectError(f"{where} has no bndbox with numbers. Draw it again.")
            x0, y0, x1, y1 = values
            if thing.find("part") is not None:
                builder.reread("parts of an object not kept")
            builder.unkept({"difficult": (thing.findtext("difficult") or "0").strip()})
            label = checked.label((thing.findtext("name") or "").strip(), f"{where}: name")
            said = checked.optional_text(thing.findtext("identity"), f"{where}: identity")
            score = checked.confidence(thing.findtext("score"), f"{where}: score")
            box = checked.box((x0 + low, y0 + low, x1 + high, y1 + high), where)
            builder.add(name, Instance(label, box=box, identity=said, confidence=score))
        except TransectError as error:
            builder.problem(path.name, error)
    return builder.done()


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write an XML per picture into the folder ``path``; corners from 1, both inside.

    Args:
        annotations: Objects are boxes; every picture needs its size.
        path: The folder.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size.
    """
    written = []
    for picture in annotations.pictures:
        target = safe_join(path, stem_of(picture.name) + ".xml")
        write_text(target, _text(picture))
        written.append(target)
    return written


def _text(picture: Picture) -> str:
    """One picture as XML."""
    if picture.size_hw is None:
        raise TransectError(
            f"the size of {picture.name} is not known, and VOC needs it. Name the folder of the "
            "pictures with --images."
        )
    height, width = picture.size_hw
    folder, file = posixpath.split(picture.name)
    lines = [
        "<annotation>",
        f"  <folder>{_escaped(folder)}</folder>",
        f"  <filename>{_escaped(file)}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
        "  <segmented>0</segmented>",
    ]
    for i in picture.instances:
        x0, y0, x1, y1 = i.box or (0.0, 0.0, 0.0, 0.0)
        sides = zip(_SIDES, (x0 + 1.5, y0 + 1.5, x1 + 0.5, y1 + 0.5), strict=True)
        box = "".join(f"<{k}>{v:.10g}</{k}>" for k, v in sides)
        said = {"identity": i.identity, "score": i.confidence}
        more = "".join(f"<{k}>{_escaped(str(v))}</{k}>" for k, v in said.items() if v is not None)
        head = f"<name>{_escaped(i.label)}</name><pose>Unspecified</pose><truncated>0</truncated>"
        lines.append(
            f"  <object>{head}<difficult>0</difficult><bndbox>{box}</bndbox>{more}</object>"
        )
    return "\n".join([*lines, "</annotation>"]) + "\n"


def _files(folder: Path) -> list[Path]:
    """All XML files below a folder, sorted; links out of it are passed over."""
    inside = folder.resolve()
    return sorted(p for p in folder.rglob("*.xml") if p.resolve().is_relative_to(inside))


def _root(file: Path) -> Any:
    """The root of a file; entities and outside references are refused."""
    import defusedxml
    from defusedxml import ElementTree

    data = checked.read_bytes(file, _LIMIT)
    try:
        root = ElementTree.fromstring(data)
    except defusedxml.DefusedXmlException as error:
        raise TransectError(
            f"{file} declares entities or outside references, which we refuse. Remove its DOCTYPE."
        ) from error
    except (plain.ParseError, ValueError, LookupError) as error:
        raise TransectError(
            f"{file} is not valid XML ({str(error)[:120]}). Export again."
        ) from error
    if root.tag != "annotation":
        raise TransectError(
            f"{file} is not Pascal VOC's XML: it has no <annotation>. Export again."
        )
    return root


def _name(root: Any, shown: str, pictures: Pictures | None) -> str:
    """The picture: the file's own place with the suffix it tells, else what it names itself."""
    told = checked.text((root.findtext("filename") or "").strip(), f"{shown}: filename")
    suffix = posixpath.splitext(told)[1]
    folder, path = (root.findtext("folder") or "").strip(), (root.findtext("path") or "").strip()
    options = [stem_of(shown) + suffix, f"{folder}/{told}" if folder else told, told, path]
    if pictures is None:
        return options[1] if folder and "/" not in shown else options[0]
    return next((o for o in options if o and pictures.find(o)), options[0])


def _corners(thing: Any) -> tuple[float, float, float, float] | None:
    """The corners of an object as they stand, or None."""
    box = thing.find("bndbox")
    try:
        values = [] if box is None else [checked.number(box.findtext(k), k) for k in _SIDES]
    except TransectError:
        return None
    return (values[0], values[1], values[2], values[3]) if values else None


def _escaped(text: str) -> str:
    """A text for XML."""
    return xml.sax.saxutils.escape(text)
