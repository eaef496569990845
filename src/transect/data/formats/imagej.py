"""ImageJ: ROI files and RoiSet zips (by roifile, ``[imagej]``), and tables of results.

ImageJ counts outlines and sub-pixel points from the outer corner, whole points by pixel.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.cells import numbers
from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.folder import stem_of
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.formats.stems import files_below, picture_of
from transect.data.outlines import one_ring
from transect.data.shapes import rings_of
from transect.data.tables import read_table
from transect.errors import TransectError
from transect.files import atomic_path, safe_join

__all__ = ["NAME", "matches", "matches_results", "read", "read_results", "write"]

NAME = "imagej"
_LIMIT = 512 << 20  # bytes of all ROIs of one zip
_ROIS = 1_000_000
_ENDINGS = ("_RoiSet", "-RoiSet", " RoiSet", "_rois", "_ROIs", ".rois")


def matches(head: Head) -> bool:
    """Whether a path is a ROI, a zip of ROIs, or a folder of them."""
    if head.is_dir:
        first = next(iter(files_below(head.path, (".roi", ".zip"))), None)
        return first is not None and matches(Head(first))
    if head.suffix == ".zip":
        try:
            with zipfile.ZipFile(head.path) as packed:
                return any(name.lower().endswith(".roi") for name in packed.namelist()[:100])
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            return False
    return head.suffix == ".roi" and head.start.startswith((b"Iout", b"toor"))


def read(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read ROIs: one file or zip per picture, called after it (``NAME_RoiSet.zip``).

    Polygons, freehand and traced outlines, composites, rectangles, ovals and points are read. The
    class is the property ``class`` of a ROI, if it has one.

    Args:
        path: A .roi, a .zip, or a folder of them.
        pictures: The pictures.

    Returns:
        The annotations; lines and faulty ROIs are left out and listed.

    Raises:
        TransectError: If roifile is missing, or there is no ROI.
    """
    files = [path] if path.is_file() else files_below(path, (".roi", ".zip"))
    if not files:
        raise TransectError(f"{path} has no .roi and no .zip. Name the folder of the ROIs.")
    _roifile(path)  # without it there is nothing to read
    root = path if path.is_dir() else path.parent
    builder = Builder(pictures)
    for file in files:
        shown = file.relative_to(root).as_posix()
        try:
            name = builder.picture(picture_of(stem_of(shown), _ENDINGS, pictures))
            rois = _rois(file)
        except TransectError as error:
            builder.problem(shown, error, objects=0, pictures=1)
            continue
        for inner, data in rois.items():
            where = f"{file.name}: {inner[:80]!r}"
            try:
                for instance in _instances(_decoded(data, where), where, builder):
                    builder.add(name, instance)
            except TransectError as error:
                builder.problem(shown, error)
    return builder.done()


def write(annotations: Annotations, path: Path, *, pictures: Pictures | None = None) -> list[Path]:
    """Write ``NAME_RoiSet.zip`` per picture into a folder; open them in the ROI Manager.

    Args:
        annotations: Pictures with masks need their size.
        path: The folder.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If roifile is missing.
    """
    written = []
    for picture in annotations.pictures:
        target = safe_join(path, stem_of(picture.name) + "_RoiSet.zip")
        with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as packed:
            for number, instance in enumerate(picture.instances, start=1):
                roi = _roi(instance, picture, f"{number:06d}")
                packed.writestr(f"{number:06d}.roi", roi.tobytes())
        written.append(target)
    return written


def matches_results(head: Head) -> bool:
    """Whether a table is ImageJ's: Label, X and Y, and a column without a name."""
    return head.has("label", "x", "y") and head.columns[0] == ""


def read_results(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read ImageJ's table of results: Label is the picture, X and Y the dot.

    Args:
        path: The CSV.
        pictures: Where sizes are looked up.

    Returns:
        The annotations; faulty rows are left out and listed.

    Raises:
        TransectError: If it is no such table.
    """
    table, problems = read_table(path, [])
    if not {"label", "x", "y"} <= set(table.columns):
        raise TransectError(f"{path} needs the columns Label,X,Y. Switch 'Display label' on.")
    builder = Builder(pictures)
    builder.rows(problems)
    x, y = numbers(table["x"]), numbers(table["y"])
    whole = bool((x % 1 == 0).all() and (y % 1 == 0).all())
    shift = 0.0 if whole else -0.5
    for i, label in enumerate(table["label"].tolist()):
        where = f"{path.name} line {table['line'].iloc[i]}"
        try:
            # The label of a slice or a ROI stands behind the picture's: "a.tif:0001-0020".
            name = checked.text(label, f"{where}: Label").split(":")[0]
            place = float(x[i]) + shift, float(y[i]) + shift
            if place[0] != place[0] or place[1] != place[1]:
                raise TransectError(f"{where} must have numbers for X and Y. Correct it.")
            builder.add(builder.picture(name), Instance(point=place))
        except TransectError as error:
            builder.problem(path.name, error)
    return builder.done()


def _roifile(path: Path) -> Any:
    """The library."""
    try:
        import roifile
    except ImportError as error:
        raise TransectError(
            f"{path} holds ImageJ ROIs, and roifile reads them. Install it: pip install "
            "transect[imagej], or save the results table as CSV."
        ) from error
    return roifile


def _rois(file: Path) -> dict[str, bytes]:
    """The content of every ROI of a file or zip."""
    if file.suffix.lower() == ".roi":
        return {file.name: checked.read_bytes(file, _LIMIT)}
    return _unpacked(file)


def _unpacked(file: Path) -> dict[str, bytes]:
    """The ROIs of a zip, within bounds."""
    try:
        with zipfile.ZipFile(file) as packed:
            items = [i for i in packed.infolist() if i.filename.lower().endswith(".roi")]
            if len(items) > _ROIS or sum(i.file_size for i in items) > _LIMIT:
                raise TransectError(f"{file} unpacks to more than {_LIMIT >> 20} MiB. Split it.")
            return {i.filename: packed.read(i) for i in items}
    except TransectError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds on strangers' bytes
        raise TransectError(
            f"{file} is a broken zip ({str(error)[:80]}). Save it again."
        ) from error


def _decoded(data: bytes, where: str) -> Any:
    """One ROI."""
    try:
        return _roifile(Path(where)).ImagejRoi.frombytes(data)
    except TransectError:
        raise
    except Exception as error:  # roifile may raise anything on strangers' bytes
        what = f"{where} is no ImageJ ROI ({str(error)[:80]}). Save it again."
        raise TransectError(what) from error


def _instances(roi: Any, where: str, builder: Builder) -> list[Instance]:
    """The objects of one ROI: one, or one per point."""
    kind = roi.roitype.name
    words = _words(roi.props)
    common: dict[str, Any] = {
        "label": checked.label(words.get("class"), f"{where}: class"),
        "identity": checked.optional_text(words.get("identity"), f"{where}: identity"),
        "confidence": checked.confidence(words.get("confidence"), f"{where}: confidence"),
    }
    if kind == "POINT":
        shift = 0.0 if roi.subpixel_coordinates is None else -0.5
        dots = _points(roi.coordinates(), where, 1) + shift
        if len(dots) > 1:
            builder.reread("points of one ROI: an object each")
        return [Instance(**common, point=(x, y)) for x, y in dots.tolist()]
    if kind == "RECT" and not roi.composite:
        if roi.subpixelrect:
            x, y, w, h = roi.xd, roi.yd, roi.widthd, roi.heightd
        else:
            x, y, w, h = roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top
        corners = checked.box((x - 0.5, y - 0.5, x + w - 0.5, y + h - 0.5), where)
        return [Instance(**common, box=corners)]
    if kind not in ("POLYGON", "FREEHAND", "TRACED", "OVAL", "RECT"):
        raise TransectError(f"{where} is a {kind.lower()}, which has no area. Draw an outline.")
    if kind == "OVAL":
        builder.reread("oval read as an outline")
    rings = [_points(ring, where, 3) - 0.5 for ring in roi.coordinates(multi=True)]
    if len(rings) == 1:
        return [Instance(**common, parts=((rings[0],),))]
    return [Instance(**common, parts=(tuple(rings),))]  # a composite: even-odd over its paths


def _points(values: Any, where: str, least: int) -> NDArray[np.float64]:
    """Coordinates as (K, 2), checked."""
    return checked.ring(np.asarray(values, np.float64).tolist(), where, least=least)


def _words(text: str) -> Mapping[str, str]:
    """The properties of a ROI: lines ``key: value``."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _roi(instance: Instance, picture: Picture, name: str) -> Any:
    """One object as a ROI."""
    library = _roifile(Path(picture.name))
    if instance.has_area:
        ring = one_ring(rings_of(instance, picture.size_hw)) + 0.5
        roi = library.ImagejRoi.frompoints(ring.astype(np.float32), name=name)
        roi.roitype = library.ROI_TYPE.POLYGON
    elif instance.box is not None:
        x0, y0, x1, y1 = (v + 0.5 for v in instance.box)
        roi = library.ImagejRoi()
        roi.roitype, roi.name = library.ROI_TYPE.RECT, name
        roi.options = library.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.left, roi.top, roi.right, roi.bottom = (int(v) for v in (x0, y0, x1, y1))
        roi.xd, roi.yd, roi.widthd, roi.heightd = x0, y0, x1 - x0, y1 - y0
    else:
        place = np.array([instance.point], np.float32) + np.float32(0.5)
        roi = library.ImagejRoi.frompoints(place, name=name)
        roi.roitype = library.ROI_TYPE.POINT
    said = {"identity": instance.identity, "confidence": instance.confidence}
    lines = [f"class: {instance.label}", *(f"{k}: {v}" for k, v in said.items() if v is not None)]
    roi.props = "\n".join(lines)
    return roi
