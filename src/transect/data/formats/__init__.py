"""Annotation formats, one file each: whether a path is one, its reader, its writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from transect.data.exchange import Annotations, Pictures
from transect.data.formats import (
    camtrap,
    coco,
    cvat,
    dicom,
    dotted,
    geo,
    identities,
    kaggle,
    labelme,
    labelstudio,
    survey_folder,
    table,
    via,
    yolo,
)
from transect.errors import TransectError, unknown_name

__all__ = ["FORMATS", "Format", "detect", "format_of"]


class Read(Protocol):
    """Reads a path; sizes that the format does not tell are looked up in the pictures."""

    def __call__(self, path: Path, *, pictures: Pictures | None = None) -> Annotations:
        """Read."""


class Write(Protocol):
    """Writes annotations to a path and says which files were written."""

    def __call__(
        self, annotations: Annotations, path: Path, *, pictures: Pictures | None = None
    ) -> list[Path]:
        """Write."""


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: As the user calls it.
        what: One line on it.
        matches: Whether an existing path is of this format.
        read: Its reader.
        write: Its writer, or None if we do not write it.
        suffixes: Of the files it writes; () if it writes a folder.
    """

    name: str
    what: str
    matches: Callable[[Path], bool]
    read: Read
    write: Write | None
    suffixes: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format(
            "survey",
            "our folder: images/, masks/, points.csv, ...",
            survey_folder.matches,
            survey_folder.read,
            survey_folder.write,
        ),
        Format("coco", "COCO JSON", coco.matches, coco.read, coco.write, (".json",)),
        Format("via", "VGG Image Annotator", via.matches, via.read, via.write, (".json", ".csv")),
        Format(
            "labelstudio",
            "Label Studio JSON",
            labelstudio.matches,
            labelstudio.read,
            labelstudio.write,
            (".json",),
        ),
        Format(
            "geo",
            "GeoJSON or GeoPackage beside GeoTIFFs",
            geo.matches,
            geo.read,
            geo.write,
            (".geojson", ".gpkg", ".json"),
        ),
        Format("cvat", "CVAT for images 1.1", cvat.matches, cvat.read, cvat.write, (".xml",)),
        Format("kaggle", "id,rle_mask", kaggle.matches, kaggle.read, kaggle.write, (".csv",)),
        Format(
            "identities",
            "Image,Id",
            identities.matches,
            identities.read,
            identities.write,
            (".csv",),
        ),
        Format("table", "image,x,y,class", table.matches, table.read, table.write, (".csv",)),
        Format("camtrap", "Camtrap-DP data package", camtrap.matches, camtrap.read, camtrap.write),
        Format("dotted", "pairs of plain and dotted photos", dotted.matches, dotted.read, None),
        Format("yolo", "YOLO text files", yolo.matches, yolo.read, yolo.write),
        Format("labelme", "LabelMe JSON files", labelme.matches, labelme.read, labelme.write),
        Format("dicom", "DICOM slices", dicom.matches, dicom.read, None),
        Format(
            "folders",
            "a folder per individual",
            identities.matches_folder,
            identities.read_folder,
            identities.write_folder,
        ),
    )
}
"""All formats; ``detect`` asks them in this order."""


def format_of(name: str) -> Format:
    """The format of a name.

    Raises:
        TransectError: If there is none.
    """
    if name not in FORMATS:
        raise unknown_name("the format", name, FORMATS)
    return FORMATS[name]


def detect(path: Path) -> str:
    """Tell the format of a file or folder from its content.

    Args:
        path: An existing file or folder.

    Returns:
        A name of ``FORMATS``.

    Raises:
        TransectError: If the path is missing, cannot be read, or fits no format.
    """
    try:
        if not path.exists():
            raise TransectError(f"{path} does not exist. Name the annotations' file or folder.")
        found = next((f.name for f in FORMATS.values() if f.matches(path)), None)
    except OSError as error:
        raise TransectError(f"{path} cannot be read ({error.strerror}). Restore it.") from error
    if found is None:
        raise TransectError(
            f"the format of {path} is none that we know by its content. Say which it is with "
            f"--from: {', '.join(FORMATS)}."
        )
    return found
