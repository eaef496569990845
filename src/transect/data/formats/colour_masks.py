"""Masks in colours: CVAT's with labelmap.txt, VOC's, and any others by their colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.exchange import Annotations, Builder, Pictures
from transect.data.folder import list_images, list_pictures, stem_of
from transect.data.formats import checked
from transect.data.formats.head import Head
from transect.data.formats.label_images import instances_of, painted, visible
from transect.data.images import read_image, read_labels
from transect.data.pairing import pair_masks
from transect.data.png import write_png
from transect.data.tally import Tally
from transect.errors import TransectError
from transect.files import safe_join, write_text
from transect.types import MaskKind

__all__ = [
    "cvat_made",
    "cvat_pictures",
    "matches_colours",
    "matches_cvat",
    "matches_voc",
    "read_colours",
    "read_cvat",
    "read_voc",
    "write_cvat",
]

_PICTURES, _CLASSES, _OBJECTS = "JPEGImages", "SegmentationClass", "SegmentationObject"
_NAMES = ("class_names.txt", "labels.txt", "classes.txt")
_VOID = 255  # VOC's border between objects, which counts for nothing
_MOST = 64  # more colours than any survey has classes; our guess
_SOFT = 1024  # more colours in one mask than objects have: soft edges; our guess
_RECUR, _ONCE = 1.5, 1.1  # masks per colour: of classes at least, of objects at most; our guess


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
            objects = _voc_numbers(_codes(apart)) if apart.is_file() else None
        except TransectError as error:
            builder.problem(shown, error, objects=0, pictures=1)
            continue
        name = builder.picture(found)
        there = set(np.unique(codes).tolist())
        for code in [*(c for c in colours if c in there), *sorted(there - {*colours})]:
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


def cvat_made(annotations: Annotations) -> Annotations:
    """What colour masks can show: objects wholly under others are told."""
    tally = Tally(annotations.told)
    pictures = [
        replace(p, instances=tuple(visible(p.instances, p.size_hw, tally)))
        if p.instances and p.size_hw is not None
        else p
        for p in annotations.pictures
    ]
    return replace(annotations, pictures=tuple(pictures), told=tally.done())


def write_cvat(
    annotations: Annotations, path: Path, *, pictures: Pictures | None = None
) -> list[Path]:
    """Write CVAT's "Segmentation mask 1.1": labelmap.txt, a colour per class, another per object.

    Args:
        annotations: As ``cvat_made`` leaves them; every picture needs its size.
        path: The folder, to be zipped for CVAT's import.
        pictures: Not needed.

    Returns:
        The files written.

    Raises:
        TransectError: If a picture has no size, or a class a name that labelmap.txt cannot hold.
    """
    classes = list(annotations.classes)
    if strange := [c for c in classes if ":" in c or c.lower() == "background" or c[0] == "#"]:
        raise TransectError(
            f"labelmap.txt cannot hold a class called {strange[0]!r}. Rename it in classes.csv."
        )
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    lines += [f"{c}:{','.join(map(str, _voc_colour(k)))}::" for k, c in enumerate(classes, 1)]
    write_text(path / "labelmap.txt", "\n".join(lines) + "\n")
    written = [path / "labelmap.txt"]
    for picture in annotations.pictures:
        if picture.size_hw is None:
            raise TransectError(
                f"the size of {picture.name} is not known, and a mask needs it. Name the folder of "
                "the pictures with --images."
            )
        solid = picture.instances
        numbers = {
            _CLASSES: [1 + classes.index(i.label) for i in solid],
            _OBJECTS: range(1, len(solid) + 1),
        }
        for folder, of_objects in numbers.items():
            target = safe_join(path / folder, stem_of(picture.name) + ".png")
            image = painted(solid, picture.size_hw, of_objects)
            palette = np.array([_voc_colour(k) for k in range(int(image.max(initial=0)) + 1)])
            write_png(target, palette.astype(np.uint8)[image])
            written.append(target)
    names = "".join(f"{stem_of(p.name)}\n" for p in annotations.pictures)
    write_text(path / "ImageSets" / "Segmentation" / "default.txt", names)
    return [*written, path / "ImageSets" / "Segmentation" / "default.txt"]


def _voc_colour(number: int) -> tuple[int, int, int]:
    """The colour of a number in VOC's map: its bits dealt out to red, green and blue."""
    rgb = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            rgb[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
    return rgb[0], rgb[1], rgb[2]


def _voc_numbers(codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """The numbers whose colours in VOC's map these are, so that objects keep their order."""
    values, index = np.unique(codes, return_inverse=True)
    numbers = np.zeros(len(values), np.int32)
    for place in range(8):
        for channel in range(3):
            bit = values >> (16 - 8 * channel + 7 - place) & 1
            numbers |= (bit << (3 * place + channel)).astype(np.int32)
    return numbers[index].reshape(codes.shape)


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


# --- VOC's segmentation folders -----------------------------------------------------------------


def matches_voc(head: Head) -> bool:
    """Whether a folder has VOC's JPEGImages and SegmentationClass, and no labelmap.txt."""
    folder = head.path
    return (
        head.is_dir
        and (folder / _PICTURES).is_dir()
        and any((folder / (_CLASSES + end)).is_dir() for end in ("", "PNG"))
        and not (folder / "labelmap.txt").is_file()
    )


def read_voc(path: Path, *, pictures: Pictures | None = None) -> Annotations:
    """Read VOC's segmentation masks, as the challenge and labelme2voc write them.

    SegmentationClass (or SegmentationClassPNG) holds class numbers, as a palette or in VOC's
    colours, 255 what is not labelled; SegmentationObject numbers the objects. class_names.txt
    names the classes, its first line being 0; without it they are called by their numbers.

    Args:
        path: The folder with JPEGImages.
        pictures: The pictures; None takes JPEGImages.

    Returns:
        The annotations; faulty masks are left out and listed. Pictures without a mask have not
        been labelled.

    Raises:
        TransectError: If there is no folder of masks.
    """
    folders = {
        what: next((path / (what + e) for e in ("PNG", "") if (path / (what + e)).is_dir()), None)
        for what in (_CLASSES, _OBJECTS)
    }
    folder, apart = folders[_CLASSES], folders[_OBJECTS]
    if folder is None:
        raise TransectError(f"{path} has no {_CLASSES}. Name the folder that holds it.")
    file = next((path / n for n in _NAMES if (path / n).is_file()), None)
    names = [] if file is None else checked.read_text(file, 1 << 20).splitlines()
    if names and names[0].strip() == "__ignore__":  # labelme's -1
        names = names[1:]
    pictures = pictures or Pictures(path / _PICTURES)
    builder = Builder(pictures)
    masked: set[str] = set()
    for shown, mask in list_pictures(folder)[0].items():
        found = pictures.find(stem_of(shown))
        try:
            if found is None:
                raise TransectError(f"{folder.name}/{shown} has no picture of that name. Add it.")
            numbers = _voc_mask(mask)
            if pictures.size(found) != numbers.shape:
                raise TransectError(f"{folder.name}/{shown} is of another size than its picture.")
            other = None if apart is None else apart / shown
            objects = _voc_mask(other) if other is not None and other.is_file() else None
        except TransectError as error:
            builder.problem(shown, error, objects=0, pictures=1)
            continue
        name = builder.picture(found)
        masked.add(name)
        for number in np.unique(numbers).tolist():
            if number in (0, _VOID):
                continue
            label = names[number].strip() if number < len(names) else str(number)
            inside = numbers == number
            of_class = (inside if objects is None else np.where(inside, objects, 0)).astype(
                np.int32
            )
            of_class[of_class == _VOID] = 0
            for instance in instances_of(of_class, (checked.label(label, shown),)):
                builder.add(name, instance)
        if (numbers == _VOID).any():
            builder.reread("pixels of VOC's border (255) are in no object", objects=0, pictures=1)
    for name in pictures.paths:
        if name not in masked:
            builder.unlabelled(builder.picture(name))
            builder.reread("no mask file: not labelled yet", objects=0, pictures=1)
    return builder.done()


def _voc_mask(file: Path) -> NDArray[np.int32]:
    """The numbers of a mask: of a palette or grey picture as stored, else by VOC's colours."""
    try:
        return read_labels(file)
    except TransectError as error:
        if "has colours" not in str(error):
            raise
    return _voc_numbers(_codes(file))


# --- colours without a table --------------------------------------------------------------------


def matches_colours(head: Head) -> bool:
    """Whether a folder holds images/ and masks/ of colours."""
    folder = head.path
    if not (head.is_dir and (folder / "images").is_dir() and (folder / "masks").is_dir()):
        return False
    first = next(iter(list_pictures(folder / "masks")[0].values()), None)
    try:
        image = None if first is None else read_image(first)
    except TransectError:
        return False
    if first is None or image is None or image.dtype != np.uint8 or image.shape[2] != 3:
        return False
    return not _is_palette(first) and bool((image != image[..., :1]).any())


def read_colours(
    path: Path, *, pictures: Pictures | None = None, mask_kind: MaskKind | None = None
) -> Annotations:
    """Read masks in colours that no table names: a class, or an object, is a colour; black is none.

    Colours that recur in several masks are classes, called after their hexadecimal number
    (``#ff0000``); those of one mask each are objects. What may be either is asked.

    Args:
        path: A folder with images/ and masks/.
        pictures: Not needed.
        mask_kind: classes or instances; None as the colours tell.

    Returns:
        The annotations; faulty masks are left out and listed.

    Raises:
        TransectError: If the colours may be either, are many more than there are objects (soft
            edges), or no mask has an image.
    """
    images, problems = list_images(path / "images")
    pairs = pair_masks(path, images)
    builder = Builder(None)
    codes: dict[str, NDArray[np.int32]] = {}
    for problem in (*problems, *pairs.problems):
        builder.problem(problem.name, problem.what, why="file left out", objects=0)
    for image in images:
        name = builder.picture(image.name, image.size_hw)
        if image.name not in pairs.masks:
            builder.unlabelled(name)
            builder.reread("no mask file: not labelled yet", objects=0, pictures=1)
            continue
        file = pairs.masks[image.name]
        try:
            coded = _codes(file)
            if coded.shape != image.size_hw:
                raise TransectError(f"masks/{file.name} is of another size than its picture.")
            codes[name] = coded
        except TransectError as error:
            builder.problem(f"masks/{file.name}", error, objects=0, pictures=1)
            builder.unlabelled(name)
    classes = _are_classes(path, codes, mask_kind)
    why = "a colour is a class" if classes else "a colour is an object"
    builder.reread(f"masks in colours without a table: {why} (--masks says otherwise)", objects=0)
    for name, found in codes.items():
        for code in np.unique(found[found > 0]).tolist():
            label = f"#{code:06x}" if classes else "object"
            for instance in instances_of((found == code).astype(np.int32), (label,)):
                builder.add(name, instance)
    return builder.done()


def _are_classes(path: Path, codes: Mapping[str, NDArray[np.int32]], told: MaskKind | None) -> bool:
    """Whether colours are classes; asked where they may be objects as well."""
    found = {name: set(np.unique(coded).tolist()) - {0} for name, coded in codes.items()}
    worst = max(found, key=lambda name: len(found[name]), default="")
    if found and len(found[worst]) > _SOFT:
        raise TransectError(
            f"the mask of {worst} has {len(found[worst])} colours, as JPEG or resizing leaves "
            "them. Save masks as PNG with one colour per class or object."
        )
    if told is not None:
        return told != "instances"
    masks = Counter(code for some in found.values() for code in some)
    mean = sum(masks.values()) / max(len(masks), 1)
    if len(masks) <= _MOST and len(codes) > 1 and mean >= _RECUR:
        return True
    if len(masks) >= 8 and len(codes) > 1 and mean <= _ONCE:
        return False
    raise TransectError(
        f"the {len(masks)} colours of the masks in {path / 'masks'} may mean classes or objects. "
        "Say which with --masks classes or --masks instances, or name them in a labelmap.txt "
        "(label:r,g,b::)."
    )


def _is_palette(file: Path) -> bool:
    """Whether a PNG stores numbers and shows them in colours."""
    with file.open("rb") as handle:
        return handle.read(26)[25:26] == b"\x03"
