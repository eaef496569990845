"""Annotation formats, one file each: whether a path is one, its reader, its writer."""

from __future__ import annotations

import textwrap
from pathlib import Path

from transect.data.formats import (
    camtrap,
    coco,
    coco_results,
    colour_masks,
    cvat,
    dicom,
    dotdotgoose,
    dotted,
    geo,
    identities,
    image_labels,
    imagej,
    kaggle,
    labelme,
    labelstudio,
    mask_folders,
    megadetector,
    napari,
    qupath,
    survey_folder,
    survey_made,
    table,
    tool_tables,
    via,
    voc,
    yolo,
)
from transect.data.formats.format import Format
from transect.data.formats.head import Head
from transect.data.formats.refused import REFUSED, refusal
from transect.errors import TransectError, unknown_name

__all__ = ["FORMATS", "Format", "detect", "format_lines", "format_of"]


_SHAPES = frozenset({"outline", "box", "dot", "word"})
_SAID = frozenset({"identity", "confidence"})
_ALL = _SHAPES | _SAID | {"empty"}

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format(
            "cvat-masks",
            "CVAT segmentation masks: labelmap.txt and colours",
            colour_masks.matches_cvat,
            colour_masks.read_cvat,
            colour_masks.write_cvat,
            frozenset({"outline", "empty"}),
            own_pictures=True,
            pictures_in=colour_masks.cvat_pictures,
            make=colour_masks.cvat_made,
        ),
        Format(
            "voc-masks",
            "VOC segmentation: JPEGImages, SegmentationClass, SegmentationObject",
            colour_masks.matches_voc,
            colour_masks.read_voc,
            own_pictures=True,
            pictures_in=colour_masks.cvat_pictures,
            unwritten="write cvat-masks, which has VOC's folders and colours",
        ),
        Format(
            "nnunet",
            "nnU-Net raw data set: imagesTr, labelsTr, dataset.json",
            mask_folders.matches_nnunet,
            mask_folders.read_nnunet,
            mask_folders.write_nnunet,
            frozenset({"outline", "empty", "unlabelled"}),
            own_pictures=True,
            pictures_in=mask_folders.nnunet_pictures,
            make=mask_folders.nnunet_made,
        ),
        Format(
            "dsb2018",
            "a folder per picture: ID/images/ID.png, ID/masks/*.png (DSB 2018)",
            mask_folders.matches_dsb,
            mask_folders.read_dsb,
            own_pictures=True,
            unwritten="a file per object; write cellpose",
        ),
        Format(
            "colour-masks",
            "images/ and masks/ in colours that no table names",
            colour_masks.matches_colours,
            colour_masks.read_colours,
            own_pictures=True,
            unwritten="write cvat-masks, which names its colours",
        ),
        Format(
            "survey",
            "our folder: images/, masks/, points.csv, ...",
            survey_folder.matches,
            survey_folder.read,
            survey_folder.write,
            _SHAPES | {"identity", "empty", "unlabelled"},
            own_pictures=True,
            make=survey_made.made,
        ),
        Format("coco", "COCO JSON", coco.matches, coco.read, coco.write, _ALL, (".json",)),
        Format(
            "coco-results",
            "COCO results list beside its ground truth",
            coco_results.matches,
            coco_results.read,
            coco_results.write,
            frozenset({"outline", "box", "confidence", "empty"}),
            (".json",),
            make=megadetector.made,
        ),
        Format(
            "megadetector",
            "MegaDetector batch output JSON",
            megadetector.matches,
            megadetector.read,
            megadetector.write,
            frozenset({"box", "confidence", "empty"}),
            (".json",),
            make=megadetector.made,
        ),
        Format(
            "dotdotgoose",
            "DotDotGoose .pnt",
            dotdotgoose.matches,
            dotdotgoose.read,
            dotdotgoose.write,
            frozenset({"dot", "empty"}),
            (".pnt",),
        ),
        Format(
            "via",
            "VGG Image Annotator JSON or CSV",
            via.matches,
            via.read,
            via.write,
            _ALL - {"word"},
            (".json", ".csv"),
            make=via.made,
        ),
        Format(
            "labelstudio",
            "Label Studio JSON or JSON-MIN",
            labelstudio.matches,
            labelstudio.read,
            labelstudio.write,
            _ALL | {"unlabelled"},
            (".json",),
        ),
        Format(
            "qupath",
            "QuPath GeoJSON, one per picture",
            qupath.matches,
            qupath.read,
            qupath.write,
            _ALL - {"word"},
        ),
        Format(
            "geo",
            "GeoJSON, GeoPackage or shapefile beside GeoTIFFs",
            geo.matches,
            geo.read,
            geo.write,
            _ALL - {"word"},
            (".geojson", ".gpkg", ".shp", ".json"),
        ),
        Format(
            "cvat", "CVAT for images 1.1 XML", cvat.matches, cvat.read, cvat.write, _ALL, (".xml",)
        ),
        Format(
            "voc",
            "Pascal VOC XML files, as labelImg writes them",
            voc.matches,
            voc.read,
            voc.write,
            frozenset({"box", "identity", "confidence", "empty"}),
        ),
        Format(
            "kaggle",
            "run-length codes: id,rle_mask",
            kaggle.matches,
            kaggle.read,
            kaggle.write,
            frozenset({"outline", "empty"}),
            (".csv",),
        ),
        Format(
            "imagej",
            "ImageJ ROI files and RoiSet zips",
            imagej.matches,
            imagej.read,
            imagej.write,
            _ALL - {"word"},
        ),
        Format(
            "imagej-results",
            "ImageJ table of results: Label,X,Y",
            imagej.matches_results,
            imagej.read_results,
            unwritten="ImageJ does not read it back; write imagej (ROIs)",
        ),
        Format(
            "napari",
            "napari layers as CSV: points and shapes",
            napari.matches,
            napari.read,
            napari.write,
            _ALL - {"word"},
        ),
        Format(
            "wildlife",
            "wildlife-datasets metadata: image_id,identity,path,bbox",
            identities.matches_wildlife,
            identities.read,
            identities.write_wildlife,
            frozenset({"box", "word", "identity"}),
            (".csv",),
            make=identities.named_ones,
        ),
        Format(
            "identities",
            "Image,Id, HappyWhale: image,species,individual_id",
            identities.matches,
            identities.read,
            identities.write,
            frozenset({"word", "identity"}),
            (".csv",),
            make=identities.one_each,
        ),
        Format(
            "deepforest",
            "DeepForest: image_path,xmin,ymin,xmax,ymax,label",
            tool_tables.matches_deepforest,
            table.read,
            tool_tables.write_deepforest,
            frozenset({"box", "confidence"}),
            (".csv",),
        ),
        Format(
            "herdnet",
            "HerdNet: images,x,y,labels",
            tool_tables.matches_herdnet,
            table.read,
            tool_tables.write_herdnet,
            frozenset({"dot"}),
            (".csv",),
        ),
        Format(
            "table",
            "image,x,y,class or image,x0,y0,x1,y1,class",
            table.matches,
            table.read,
            table.write,
            frozenset({"box", "dot", "identity", "confidence"}),
            (".csv",),
        ),
        Format(
            "camtrap",
            "Camtrap-DP data package",
            camtrap.matches,
            camtrap.read,
            camtrap.write,
            frozenset({"box", "word", "identity", "confidence", "empty"}),
        ),
        Format(
            "dotted",
            "pairs of plain and dotted photos",
            dotted.matches,
            dotted.read,
            own_pictures=True,
            unwritten="dots are not painted into photos; write table",
            pictures_in=dotted.plain_folder,
        ),
        Format(
            "yolo",
            "YOLO text files: boxes, polygons, pose, labelImg",
            yolo.matches,
            yolo.read,
            yolo.write,
            frozenset({"outline", "box", "confidence", "empty"}),
            own_pictures=True,
        ),
        Format(
            "labelme",
            "LabelMe JSON files",
            labelme.matches,
            labelme.read,
            labelme.write,
            _SHAPES - {"word"} | {"identity", "empty"},
        ),
        Format(
            "dicom",
            "DICOM slices",
            dicom.matches,
            dicom.read,
            unwritten="holds pictures, no annotations",
        ),
        Format(
            "cellpose",
            "Cellpose label images: NAME_masks.png or .tif",
            mask_folders.matches_cellpose,
            mask_folders.read_cellpose,
            mask_folders.write_cellpose,
            frozenset({"outline", "empty"}),
            make=mask_folders.cellpose_made,
        ),
        Format(
            "labels",
            "labels of pictures: image,label",
            image_labels.matches,
            image_labels.read,
            image_labels.write,
            frozenset({"word", "empty"}),
            (".csv",),
            make=image_labels.made,
        ),
        Format(
            "class-folders",
            "a folder per class, below train, val, test (ImageFolder)",
            image_labels.matches_folders,
            image_labels.read_folders,
            own_pictures=True,
            unwritten="would copy every picture; write labels",
        ),
        Format(
            "folders",
            "a folder per individual",
            identities.matches_folder,
            identities.read_folder,
            identities.write_folder,
            frozenset({"word", "identity"}),
            own_pictures=True,
            make=identities.one_each,
        ),
    )
}
"""All formats; ``detect`` asks them in this order."""


def format_of(name: str) -> Format:
    """The format of a name.

    Raises:
        TransectError: If there is none, or it is known and not read.
    """
    if name in FORMATS:
        return FORMATS[name]
    known = next((r for r in REFUSED if len(name) > 2 and name.lower() in r.name.lower()), None)
    if known is not None:
        raise TransectError(f"{known.name} is not read. {known.instead}")
    raise unknown_name("the format", name, FORMATS)


def detect(path: Path) -> str:
    """Tell the format of a file or folder from its content.

    Args:
        path: An existing file or folder.

    Returns:
        A name of ``FORMATS``.

    Raises:
        TransectError: If the path is missing, cannot be read, fits no format, or is of one that
            is known and not read.
    """
    try:
        if not path.exists():
            raise TransectError(f"{path} does not exist. Name the annotations' file or folder.")
        head = Head(path)
        known = next((r for r in REFUSED if r.first and r.shows(head)), None)
        found = None if known else next((f.name for f in FORMATS.values() if f.matches(head)), None)
        known = known if known or found else next((r for r in REFUSED if r.shows(head)), None)
    except OSError as error:
        raise TransectError(f"{path} cannot be read ({error.strerror}). Restore it.") from error
    if known is not None:
        raise refusal(known, head)
    if found is None:
        raise TransectError(
            f"the format of {path} is none that we know by its content. Say which it is with "
            f"--from: {', '.join(FORMATS)}."
        )
    return found


def format_lines() -> list[str]:
    """All formats for a help text: name, read and write, what it is; and those refused by name."""
    width = max(map(len, FORMATS))
    lines = ["formats:"]
    for one in FORMATS.values():
        able = "read, write" if one.write else "read"
        lines.append(f"  {one.name:<{width}}  {able:<11}  {one.what}")
        if one.unwritten:
            lines.append(f"  {'':<{width}}  {'':<11}  not written: {one.unwritten}")
    names = ", ".join(refused.name for refused in REFUSED)
    return [*lines, "", *textwrap.wrap(f"known and not read, with what to do instead: {names}", 98)]
