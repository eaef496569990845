"""Folders of masks as tools lay them out: Cellpose (``_masks``), nnU-Net, CVAT's colour masks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Annotations, Builder, Pictures
from transect.data.folder import list_pictures, stem_of
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.formats.label_images import instances_of, painted, visible
from transect.data.images import read_image, read_labels
from transect.data.png import write_png
from transect.data.tally import Tally
from transect.errors import TransectError
from transect.files import safe_join

__all__ = [
    "cellpose_made",
    "cvat_pictures",
    "matches_cellpose",
    "matches_cvat",
    "matches_nnunet",
    "nnunet_pictures",
    "read_cellpose",
    "read_cvat",
    "read_nnunet",
    "write_cellpose",
]

_MASKS = re.compile(r"(.*)_(?:cp_)?masks")
_CASE = re.compile(r"(.*)_(\d{4})")
_PICTURES, _CLASSES, _OBJECTS = "JPEGImages", "SegmentationClass", "SegmentationObject"


# --- Cellpose -----------------------------------------------------------------------------------


def matches_cellpose(head: Head) -> bool:
    """Whether a folder holds ``NAME_masks.tif`` (or .png) beside pictures."""
    if not head.is_dir or (head.path / "images").is_dir() or (head.path / "masks").is_dir():
        return False
    return any(_MASKS.fullmatch(stem_of(name)) for name in list_pictures(head.path)[0])


def read_cellpose(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read Cellpose's label images: every number is an object of its own.

    Args:
        path: The folder.
        pictures: The pictures, if they lie elsewhere.

    Returns:
        The annotations; masks without a picture are left out and listed. A picture without a
        mask file has not been segmented yet.

    Raises:
        TransectError: If there is no such mask.
    """
    files = list_pictures(path)[0] if path.is_dir() else {}
    masks = {m[1]: p for name, p in files.items() if (m := _MASKS.fullmatch(stem_of(name)))}
    if not masks:
        raise TransectError(f"{path} has no NAME_masks.tif. Save masks as TIFF or PNG in Cellpose.")
    pictures = pictures or Pictures(path)
    builder = Builder(pictures)
    for stem, file in masks.items():
        shown = file.relative_to(path).as_posix()
        options = (stem, f"{stem}_img", f"{stem}_image", stem.removesuffix("_img"))
        name = next((f for o in options if (f := pictures.find(o))), None)
        try:
            labels = read_labels(file)
            if name is None:
                raise TransectError(f"{shown} has no picture called {stem}. Add it.")
            if pictures.size(name) != labels.shape:
                raise TransectError(f"{shown} is of another size than {name}. Save it again.")
        except TransectError as error:
            builder.problem(shown, error, objects=0, pictures=1)
            continue
        name = builder.picture(name)
        for instance in instances_of(labels, ("object",)):
            builder.add(name, instance)
    known = {pictures.find(o) for stem in masks for o in (stem, f"{stem}_img", f"{stem}_image")}
    for name in pictures.paths:
        if name not in known and not _MASKS.fullmatch(stem_of(name)):
            builder.unlabelled(builder.picture(name))
            builder.reread("no mask file: not labelled yet", objects=0, pictures=1)
    return builder.done()


def cellpose_made(annotations: Annotations) -> Annotations:
    """What label images can tell apart: objects that lie under others are told."""
    tally = Tally(annotations.told)
    pictures = []
    for picture in annotations.pictures:
        kept = list(picture.instances)
        if kept and picture.size_hw is not None:
            kept = visible(kept, picture.size_hw, tally)
        other = sum(i.label != "object" for i in kept)
        if other:
            tally.tell("cellpose numbers objects and names no class", lost=False, objects=other)
        plain = tuple(replace(i, label="object") for i in kept)
        pictures.append(replace(picture, instances=plain))
    return replace(annotations, pictures=tuple(pictures), classes=("object",), told=tally.done())


def write_cellpose(
    annotations: Annotations, path: Path, *, pictures: Pictures | None = None
) -> list[Path]:
    """Write ``NAME_masks.png`` per picture, to be put beside the pictures.

    Args:
        annotations: As ``cellpose_made`` leaves them; every picture needs its size.
        path: The folder.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size, or more than 65535 objects.
    """
    written = []
    for picture in annotations.pictures:
        if picture.size_hw is None:
            raise TransectError(
                f"the size of {picture.name} is not known, and a mask needs it. Name the folder of "
                "the pictures with --images."
            )
        count = len(picture.instances)
        if count > 65535:
            raise TransectError(f"{picture.name} has {count} objects, and 65535 fit. Cut it.")
        image = painted(picture.instances, picture.size_hw, range(1, count + 1))
        target = safe_join(path, stem_of(picture.name) + "_masks.png")
        write_png(target, image.astype(np.uint16))
        written.append(target)
    return written


# --- nnU-Net ------------------------------------------------------------------------------------


def matches_nnunet(head: Head) -> bool:
    """Whether a folder is a raw data set of nnU-Net: imagesTr, labelsTr and dataset.json."""
    folder = head.path if head.is_dir else head.path.parent
    named = head.is_dir or head.path.name == "dataset.json"
    return named and (folder / "labelsTr").is_dir() and (folder / "dataset.json").is_file()


def nnunet_pictures(path: Path) -> Path:
    """The folder of its pictures."""
    return (path if path.is_dir() else path.parent) / "imagesTr"


def read_nnunet(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read the label images of nnU-Net: an object per class and picture, as in class masks.

    Args:
        path: The data set, or its dataset.json.
        pictures: The pictures, ``CASE_0000``; further channels are told and not taken.

    Returns:
        The annotations; what is faulty is left out and listed.

    Raises:
        TransectError: If it has no label images that are pictures.
    """
    root = path if path.is_dir() else path.parent
    names = _nnunet_labels(root / "dataset.json")
    files = list_pictures(root / "labelsTr")[0]
    if not files:
        raise TransectError(
            f"{root / 'labelsTr'} holds no PNG or TIFF. Volumes (.nii.gz) are not read: export "
            "their slices as PNG or TIFF."
        )
    pictures = pictures or Pictures(nnunet_pictures(root))
    builder = Builder(pictures)
    further = [n for n in pictures.paths if (m := _CASE.fullmatch(stem_of(n))) and m[2] != "0000"]
    for name in further:
        what = f"{name} is a further channel of its picture; passed over. Merge the channels."
        builder.problem(name, what, why="further channel of a picture", objects=0)
    for shown, file in files.items():
        found = pictures.find(f"{stem_of(shown)}_0000")
        try:
            if found is None:
                raise TransectError(
                    f"labelsTr/{shown} has no picture {stem_of(shown)}_0000. Add it."
                )
            labels = read_labels(file)
            if pictures.size(found) != labels.shape:
                raise TransectError(
                    f"labelsTr/{shown} is of another size than its picture. Mend it."
                )
            strange = sorted({*np.unique(labels).tolist()} - {0, *names})
            if strange:
                raise TransectError(
                    f"labelsTr/{shown} holds {strange[:5]}, which dataset.json does not name. "
                    "Add the labels."
                )
        except TransectError as error:
            builder.problem(shown, error, objects=0, pictures=1)
            continue
        name = builder.picture(found)
        for value, label in names.items():
            for instance in instances_of((labels == value).astype(np.int32), (label,)):
                if label.lower() == "ignore":
                    builder.problem(shown, f"{shown}: pixels to be ignored", why="ignore label")
                else:
                    builder.add(name, instance)
    return builder.done(names.values())


def _nnunet_labels(file: Path) -> dict[int, str]:
    """Values above 0 to names: version 2 writes name to value, version 1 the other way round."""
    root = checked.mapping(checked.read_json(file), file.name)
    found: dict[int, str] = {}
    for key, value in checked.mapping(root.get("labels"), f"{file.name}: labels").items():
        if isinstance(value, list):
            raise TransectError(f"{file} has regions of several labels. Write a label per number.")
        swapped = key.isdigit() and isinstance(value, str)
        number = checked.integer(key if swapped else value, f"{file.name}: labels")
        if number > 0:
            found[number] = checked.label(value if swapped else key, f"{file.name}: labels")
    return dict(sorted(found.items()))


# --- CVAT's segmentation masks ------------------------------------------------------------------


def matches_cvat(head: Head) -> bool:
    """Whether a folder has labelmap.txt beside colour masks."""
    folder = head.path
    return (
        head.is_dir
        and (folder / "labelmap.txt").is_file()
        and _folder_of_classes(folder) is not None
    )


def cvat_pictures(path: Path) -> Path:
    """The folder of its pictures."""
    return path / (_PICTURES if (path / _PICTURES).is_dir() else "images")


def read_cvat(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read CVAT's "Segmentation mask 1.1", or any colour masks with a labelmap.txt.

    With ``SegmentationObject`` every colour there is an object; without it there is one object per
    class and picture.

    Args:
        path: The folder with labelmap.txt, and SegmentationClass or masks.
        pictures: The pictures: JPEGImages or images.

    Returns:
        The annotations; colours that the map does not name are left out and listed.

    Raises:
        TransectError: If the map cannot be read.
    """
    folder = _folder_of_classes(path)
    if folder is None:
        raise TransectError(f"{path} has neither {_CLASSES} nor masks. Name CVAT's folder.")
    colours = _labelmap(path / "labelmap.txt")
    pictures = pictures or Pictures(cvat_pictures(path))
    builder = Builder(pictures)
    for shown, file in list_pictures(folder)[0].items():
        found = pictures.find(stem_of(shown))
        try:
            if found is None:
                raise TransectError(f"{folder.name}/{shown} has no picture of that name. Add it.")
            codes = _codes(file)
            if pictures.size(found) != codes.shape:
                raise TransectError(f"{folder.name}/{shown} is of another size than its picture.")
            apart = path / _OBJECTS / shown
            objects = _codes(apart) if apart.is_file() else None
        except TransectError as error:
            builder.problem(shown, error, objects=0, pictures=1)
            continue
        name = builder.picture(found)
        for code in np.unique(codes).tolist():
            label = colours.get(code)
            if label is None:
                rgb = (code >> 16, code >> 8 & 255, code & 255)
                what = (
                    f"{folder.name}/{shown} has the colour {rgb}, which labelmap.txt does not name."
                )
                builder.problem(
                    shown, f"{what} Add it.", why="colour that labelmap.txt does not name"
                )
            elif label.lower() != "background":
                inside = codes == code
                numbers = (
                    inside.astype(np.int32) if objects is None else np.where(inside, objects, 0)
                )
                for instance in instances_of(numbers, (label,)):
                    builder.add(name, instance)
    return builder.done(label for label in colours.values() if label.lower() != "background")


def _folder_of_classes(path: Path) -> Path | None:
    """The folder of the masks of classes."""
    return next((path / n for n in (_CLASSES, "masks") if (path / n).is_dir()), None)


def _labelmap(file: Path) -> Mapping[int, str]:
    """Colours as one number to names: lines ``label:r,g,b:parts:actions``."""
    found: dict[int, str] = {}
    for number, line in enumerate(checked.read_text(file, 1 << 20).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{file.name} line {number}"
        cells = line.split(":")
        values = cells[1].split(",") if len(cells) > 1 else []
        if len(values) != 3:
            raise TransectError(f"{where} is not 'label:r,g,b::'. Export it again.")
        red, green, blue = (checked.integer(v, where) for v in values)
        found[red << 16 | green << 8 | blue] = checked.label(cells[0].strip(), where)
    return found


def _codes(file: Path) -> NDArray[np.int32]:
    """A colour mask with each colour as one number, (H, W)."""
    image = read_image(file)
    if image.dtype != np.uint8:
        raise TransectError(f"{file.name} is no 8-bit picture. Export it again.")
    rgb = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    wide = rgb.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
