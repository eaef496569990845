"""Formats that are known by name and not read: what shows them, and what to export instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transect.data.formats.head import Head
from transect.data.images import IMAGE_SUFFIXES
from transect.errors import TransectError

__all__ = ["REFUSED", "Refused", "refusal"]


@dataclass(frozen=True)
class Refused:
    """A format that is not read.

    Attributes:
        name: As people call it.
        shows: Whether a path is one.
        instead: What to do instead, a sentence.
        first: Whether it is asked before the formats that are read, one of which it resembles.
    """

    name: str
    shows: Callable[[Head], bool]
    instead: str
    first: bool = False


def refusal(found: Refused, head: Head) -> TransectError:
    """The error for a path of a refused format."""
    return TransectError(f"{head.path} is {found.name}, which is not read. {found.instead}")


def _ends(*suffixes: str) -> Callable[[Head], bool]:
    """A test of the name's end."""
    return lambda head: not head.is_dir and head.path.name.lower().endswith(suffixes)


def _starts(*magic: bytes) -> Callable[[Head], bool]:
    """A test of the first bytes."""
    return lambda head: not head.is_dir and head.start.startswith(magic)


def _keys(*keys: str) -> Callable[[Head], bool]:
    """A test of the keys of the JSON object, or of the first in a JSON list."""
    return lambda head: set(keys) <= head.first.keys()


def _either(*tests: Callable[[Head], bool]) -> Callable[[Head], bool]:
    """Any of several tests."""
    return lambda head: any(test(head) for test in tests)


def _seg_npy(head: Head) -> bool:
    """Whether a file is Cellpose's, or a folder holds such files."""
    if head.is_dir:
        return next(head.path.glob("*_seg.npy"), None) is not None
    return head.path.name.endswith("_seg.npy")


def _brush_pngs(head: Head) -> bool:
    """Whether a folder holds a PNG per brush label, as Label Studio exports them."""
    return (
        head.is_dir and next(head.path.glob("task-*-annotation-*-by-*-tag-*.png"), None) is not None
    )


def _no_header(head: Head) -> bool:
    """Whether a table begins with a row: it names a picture and holds four numbers, or blanks."""
    cells = head.columns
    named = any(Path(c).suffix in IMAGE_SUFFIXES for c in cells)
    figures = sum(c.replace(".", "", 1).removeprefix("-").isdigit() for c in cells)
    blank = len(cells) == 6 and not any(cells[1:5])
    return named and (figures >= 2 or blank)


REFUSED: tuple[Refused, ...] = (
    Refused(
        "Cellpose's _seg.npy",
        _seg_npy,
        "It is a Python pickle, which could run code; in Cellpose save masks as PNG or TIFF "
        "(NAME_masks.png) and convert their folder.",
    ),
    Refused(
        "a Python pickle",
        _either(_ends(".pkl", ".pickle", ".npy", ".npz", ".pt", ".joblib"), _starts(b"\x80\x04")),
        "It could run code; write the annotations as CSV or COCO JSON.",
    ),
    Refused("an ilastik project", _ends(".ilp"), "Export the segmentation as TIFF or PNG masks."),
    Refused("a SLEAP project", _ends(".slp"), "Export COCO JSON, or a CSV of image,x,y,class."),
    Refused("an Imaris file", _ends(".ims"), "Export spots as CSV and surfaces as TIFF masks."),
    Refused(
        "a table of DeepLabCut",
        lambda head: head.columns[:1] == ("scorer",),
        "Write one row per animal: image,x,y,class.",
    ),
    Refused(
        "an HDF5 file",
        _starts(b"\x89HDF"),
        "Export masks as TIFF or PNG, and positions as CSV.",
    ),
    Refused("a MATLAB file", _ends(".mat"), "Write its positions as CSV: image,x,y,class."),
    Refused(
        "an export of Labelbox",
        _either(_ends(".ndjson"), _keys("data_row", "projects"), _keys("Labeled Data")),
        "Export COCO from Labelbox.",
    ),
    Refused("V7 Darwin JSON", _keys("item", "annotations"), "Export COCO from V7."),
    Refused("Datumaro JSON", _keys("categories", "items"), "Export COCO 1.0 from CVAT."),
    Refused(
        "a Supervisely annotation",
        _either(_keys("size", "objects"), _keys("classes", "projectType")),
        "Export COCO from Supervisely.",
    ),
    Refused(
        "a VoTT project",
        _either(_keys("asset", "regions"), _keys("assets", "tags")),
        "Export Pascal VOC or CSV from VoTT.",
    ),
    Refused(
        "CreateML JSON",
        lambda head: (
            "annotations" in head.first and bool({"image", "imagefilename"} & head.first.keys())
        ),
        "Export COCO or Pascal VOC instead.",
    ),
    Refused("VIA 3 JSON", _keys("project", "file", "view"), "Export COCO, or use VIA 2."),
    Refused("a FiftyOne data set", _keys("samples"), "Export COCO from FiftyOne."),
    Refused("SuperAnnotate JSON", _keys("metadata", "instances"), "Export COCO instead."),
    Refused(
        "a manifest of SageMaker",
        _either(_ends(".manifest"), _keys("source-ref")),
        "Convert it to COCO JSON.",
    ),
    Refused(
        "Label Studio's CSV",
        lambda head: {"annotator", "lead_time"} <= set(head.columns),
        "Export JSON from Label Studio.",
        first=True,
    ),
    Refused(
        "a folder of Label Studio's brush PNGs",
        _brush_pngs,
        "Its names do not say which picture is meant; export JSON, which holds the brush, too.",
        first=True,
    ),
    Refused(
        "a table of OpenImages",
        lambda head: {"imageid", "labelname", "xmin", "xmax"} <= set(head.columns),
        "Its positions are shares of the picture; export COCO, e.g. by FiftyOne.",
        first=True,
    ),
    Refused(
        "a table of QuPath's measurements",
        lambda head: (
            "image" in head.columns and any(c.startswith("centroid_x") for c in head.columns)
        ),
        "Export GeoJSON from QuPath (File, Export objects), which has the outlines.",
        first=True,
    ),
    Refused(
        "a table of CellProfiler",
        lambda head: "imagenumber" in head.columns and "objectnumber" in head.columns,
        "Save the objects as label images (ConvertObjectsToImage, uint16) into masks/.",
        first=True,
    ),
    Refused(
        "a report of BIIGLE",
        lambda head: {"annotation_label_id", "points"} <= set(head.columns),
        "Export COCO from BIIGLE.",
    ),
    Refused(
        "a table without a header (as of keras-retinanet, make-sense)",
        _no_header,
        "Write the names of its columns as the first line, e.g. "
        "image_path,xmin,ymin,xmax,ymax,label or label,x,y,width,height,image.",
    ),
    Refused("a QuPath project", _ends(".qpproj", ".qpdata"), "Export GeoJSON from QuPath."),
    Refused("a Timelapse database", _ends(".ddb", ".tdb"), "Export CSV from Timelapse."),
    Refused("KML", _ends(".kml", ".kmz"), "Save it as GeoJSON in QGIS."),
    Refused("a part of a shapefile", _ends(".dbf", ".shx"), "Name the .shp beside it."),
    Refused("an old Excel file", _ends(".xls"), "Save it as .xlsx or as CSV."),
    Refused("a spreadsheet of LibreOffice", _ends(".ods"), "Save it as .xlsx or as CSV."),
    Refused("Parquet", _starts(b"PAR1"), "Write it as CSV."),
    Refused("a TFRecord", _ends(".tfrecord", ".tfrecords", ".record"), "Export COCO instead."),
    Refused("NIfTI", _ends(".nii", ".nii.gz"), "Export its slices as PNG or TIFF."),
    Refused("a GIMP or Photoshop file", _ends(".xcf", ".psd"), "Export the mask as PNG."),
    Refused(
        "an archive",
        _ends(".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"),
        "Unpack it and name the file or folder inside.",
    ),
)
"""Asked in this order, after all formats that are read (but see ``first``)."""
