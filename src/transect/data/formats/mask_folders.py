"""Folders of label images as tools lay them out: Cellpose (``_masks``), nnU-Net, DSB 2018."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from transect.data.cells import numbers
from transect.data.exchange import Annotations, Builder, Instance, Pictures
from transect.data.folder import list_pictures, stem_of
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.formats.label_images import instances_of, painted, visible
from transect.data.formats.table import write_rows
from transect.data.images import read_image, read_labels
from transect.data.objects import OBJECTS_HEADER
from transect.data.png import write_png
from transect.data.runs import counts_of_labels
from transect.data.tables import read_table
from transect.data.tally import Tally
from transect.errors import TransectError
from transect.files import safe_join, spreadsheet_safe, write_json

__all__ = [
    "cellpose_made",
    "matches_cellpose",
    "matches_dsb",
    "matches_nnunet",
    "nnunet_made",
    "nnunet_pictures",
    "read_cellpose",
    "read_dsb",
    "read_nnunet",
    "write_cellpose",
    "write_nnunet",
]

_MASKS = re.compile(r"(.*)_(?:cp_)?masks")
_CASE = re.compile(r"(.*)_(\d{4})")


# --- Cellpose -----------------------------------------------------------------------------------


def matches_cellpose(head: Head) -> bool:
    """Whether a folder holds ``NAME_masks.tif`` (or .png) beside pictures."""
    if not head.is_dir or (head.path / "images").is_dir() or (head.path / "masks").is_dir():
        return False
    return any(_MASKS.fullmatch(stem_of(name)) for name in list_pictures(head.path)[0])


def read_cellpose(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read Cellpose's label images: every number is an object of its own.

    Cellpose names no class; an ``objects.csv`` (image,object,class), as we write it, does.

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
    classes = _classes_beside(path / "objects.csv", builder)
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
        for number, counts in counts_of_labels(labels):
            builder.add(name, Instance(classes.get((stem, number), "object"), counts=counts))
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
        if other := sum(i.label != "object" for i in kept):
            why = "classes are in objects.csv, which Cellpose does not read"
            tally.tell(why, lost=False, objects=other)
        pictures.append(replace(picture, instances=tuple(kept)))
    return replace(annotations, pictures=tuple(pictures), told=tally.done())


def write_cellpose(
    annotations: Annotations, path: Path, *, pictures: Pictures | None = None
) -> list[Path]:
    """Write ``NAME_masks.png`` per picture, to be put beside the pictures, and objects.csv.

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
    if annotations.classes not in ((), ("object",)):
        rows = [
            (spreadsheet_safe(stem_of(p.name)), k, spreadsheet_safe(i.label))
            for p in annotations.pictures
            for k, i in enumerate(p.instances, start=1)
        ]
        written += write_rows(path / "objects.csv", OBJECTS_HEADER, rows)
    return written


def _classes_beside(file: Path, builder: Builder) -> dict[tuple[str, int], str]:
    """Classes of numbered objects by the stem of their mask, if there is a table of them."""
    if not file.is_file():
        return {}
    table, problems = read_table(file, OBJECTS_HEADER)
    builder.rows(problems, why="row of objects.csv: class not known")
    rows = zip(table["image"], numbers(table["object"]), table["class"], strict=True)
    return {(str(name), int(k)): str(label) for name, k, label in rows if k == k and label}


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
        found = pictures.find(f"{stem_of(shown)}_0000") or pictures.find(stem_of(shown))
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


def nnunet_made(annotations: Annotations) -> Annotations:
    """What class masks can tell apart: objects under others, and of one class, are told."""
    tally = Tally(annotations.told)
    pictures = []
    for picture in annotations.pictures:
        kept = list(picture.instances)
        if kept and picture.size_hw is not None:
            kept = visible(kept, picture.size_hw, tally)
        labels = Counter(i.label for i in kept)
        if merged := sum(n for n in labels.values() if n > 1):
            why = "of one class on one picture: nnU-Net does not number objects"
            tally.tell(why, lost=False, objects=merged)
        pictures.append(replace(picture, instances=tuple(kept)))
    return replace(annotations, pictures=tuple(pictures), told=tally.done())


def write_nnunet(
    annotations: Annotations, path: Path, *, pictures: Pictures | None = None
) -> list[Path]:
    """Write a raw data set of nnU-Net 2: imagesTr, labelsTr and dataset.json, all PNG.

    A colour picture is one file ``CASE_0000.png`` with three channels, as nnU-Net's reader of
    natural images has it (its example: dataset 120, RoadSegmentation). Pictures that nobody has
    labelled go to imagesTs.

    Args:
        annotations: As ``nnunet_made`` leaves them.
        path: The folder, ``DatasetXXX_Name``; it must not hold a data set yet.
        pictures: The picture files.

    Returns:
        The files written, pictures aside.

    Raises:
        TransectError: If there are no pictures, or they cannot be PNGs of one kind.
    """
    if pictures is None:
        raise TransectError("nnU-Net needs the pictures. Name their folder with --images.")
    if (path / "dataset.json").exists():
        raise TransectError(f"{path} already holds a data set. Choose another folder.")
    classes, written, channels = list(annotations.classes), list[Path](), set[int]()
    for picture in annotations.pictures:
        key = pictures.find(picture.name)
        if key is None or picture.size_hw is None:
            raise TransectError(f"{picture.name} is not in {pictures.folder}. Add it.")
        case = stem_of(picture.name).replace("/", "__").replace(" ", "_")
        image = read_image(pictures.paths[key])
        channels.add(image.shape[2])
        flat = image[..., 0] if image.shape[2] == 1 else image
        folder = "imagesTr" if picture.labelled else "imagesTs"
        target = safe_join(path / folder, f"{case}_0000.png")
        if target.exists():
            raise TransectError(f"two pictures would be called {case}. Rename {picture.name}.")
        write_png(target, flat)
        if picture.labelled:
            values = [1 + classes.index(i.label) for i in picture.instances]
            mask = painted(picture.instances, picture.size_hw, values)
            target = safe_join(path / "labelsTr", f"{case}.png")
            few = len(classes) < 256
            write_png(target, mask.astype(np.uint8) if few else mask.astype(np.uint16))
            written.append(target)
    if len(channels) > 1:
        raise TransectError(
            f"some pictures have {min(channels)} channels and some {max(channels)}, and nnU-Net "
            "needs the same in all. Convert them in two parts."
        )
    bands = ("grey",) if channels == {1} else ("red", "green", "blue")
    said = {
        "channel_names": {str(k): name for k, name in enumerate(bands)},
        "labels": {"background": 0, **{name: k for k, name in enumerate(classes, start=1)}},
        "numTraining": len(written),
        "file_ending": ".png",
    }
    write_json(path / "dataset.json", said)
    return [*written, path / "dataset.json"]


# --- DSB 2018 -----------------------------------------------------------------------------------


def matches_dsb(head: Head) -> bool:
    """Whether folders of pictures hold images/ and masks/, as the Data Science Bowl 2018 has it."""
    return head.is_dir and not (head.path / "images").is_dir() and bool(_dsb_cases(head.path)[:1])


def read_dsb(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read ``ID/images/ID.png`` with ``ID/masks/*.png``, a mask file per object.

    Args:
        path: The folder of the IDs.
        pictures: Not needed: they lie in ``path``.

    Returns:
        The annotations; what is faulty is left out and listed. An ID without masks/ has not been
        labelled.

    Raises:
        TransectError: If there is no such folder.
    """
    cases = _dsb_cases(path)
    if not cases:
        raise TransectError(f"{path} has no ID/images beside ID/masks. Name the folder of the IDs.")
    pictures = Pictures(path)
    builder = Builder(pictures)
    for case in cases:
        inside = list(list_pictures(case / "images")[0])
        if len(inside) != 1:
            what = f"{case.name}/images holds {len(inside)} pictures, and one is needed. Mend it."
            builder.problem(case.name, what, objects=0, pictures=1)
            continue
        name = builder.picture(f"{case.name}/images/{inside[0]}")
        if not (case / "masks").is_dir():
            builder.unlabelled(name)
            builder.reread("no masks: not labelled yet", objects=0, pictures=1)
            continue
        for shown, file in list_pictures(case / "masks")[0].items():
            try:
                labels = read_labels(file)
                if labels.shape != builder.known_size(name):
                    raise TransectError(f"{case.name}/masks/{shown} is of another size. Mend it.")
                found = list(instances_of((labels > 0).astype(np.int32), ("object",)))
                if not found:
                    raise TransectError(f"{case.name}/masks/{shown} is empty. Remove it.")
            except TransectError as error:
                builder.problem(name, error)
                continue
            builder.add(name, found[0])
    return builder.done()


def _dsb_cases(path: Path) -> list[Path]:
    """The folders of a data set, if one of them holds images/ and masks/."""
    inside = sorted(p for p in path.iterdir() if (p / "images").is_dir()) if path.is_dir() else []
    return inside if any((p / "masks").is_dir() for p in inside) else []
