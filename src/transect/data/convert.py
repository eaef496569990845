"""From one annotation format to another: ``transect convert FROM TO``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transect.data.exchange import Annotations, Pictures, matched
from transect.data.formats import FORMATS, detect, format_of
from transect.data.images import IMAGE_SUFFIXES
from transect.errors import TransectError

__all__ = ["ConvertResult", "convert", "read_annotations", "write_annotations"]

_BY_SUFFIX = {".json": "coco", ".geojson": "geo", ".gpkg": "geo", ".xml": "cvat"}


@dataclass(frozen=True)
class ConvertResult:
    """What a conversion did.

    Attributes:
        written: The file or folder.
        problems: What was left out, one sentence each.
        pictures: Pictures written.
        instances: Objects written.
        source_format: As detected or given.
        target_format: As chosen or given.
    """

    written: Path
    problems: tuple[str, ...]
    pictures: int = 0
    instances: int = 0
    source_format: str = ""
    target_format: str = ""


def convert(
    source: Path,
    target: Path,
    *,
    source_format: str | None = None,
    target_format: str | None = None,
    images: Path | None = None,
) -> ConvertResult:
    """Read annotations in one format and write them in another.

    Args:
        source: A file or folder in any of ``formats.FORMATS``.
        target: What to write. A name without suffix is a folder in our own layout, .json is
            COCO, .geojson and .gpkg a map, .xml CVAT, and .csv what fits the content: run-length
            codes, identities, dots or boxes.
        source_format: If the content does not tell.
        target_format: If the name does not tell, or tells another.
        images: The folder of the pictures, if it is not beside the annotations.

    Returns:
        What was written and what was left out.

    Raises:
        TransectError: If the source cannot be read, or the target cannot hold it.
    """
    if source.resolve() == target.resolve():
        raise TransectError(f"{source} is both source and target. Name another target.")
    if target_format is not None and format_of(target_format).write is None:
        writable = [f.name for f in FORMATS.values() if f.write]
        raise TransectError(f"{target_format} cannot be written. Choose of {', '.join(writable)}.")
    source_format = source_format or detect(source)
    if source_format == "dicom":
        return _convert_dicom(source, target, target_format)
    annotations, pictures = read_annotations(source, source_format=source_format, images=images)
    target_format = target_format or _target_format(target, annotations)
    write_annotations(annotations, target, target_format=target_format, pictures=pictures)
    return ConvertResult(
        target,
        tuple(dict.fromkeys(problem.what for problem in annotations.problems)),
        len(annotations.pictures),
        len(annotations),
        source_format,
        target_format,
    )


def read_annotations(
    source: Path, *, source_format: str | None = None, images: Path | None = None
) -> tuple[Annotations, Pictures | None]:
    """Read annotations and find their pictures.

    Args:
        source: A file or folder.
        source_format: If the content does not tell.
        images: The folder of the pictures, if it is not beside the annotations.

    Returns:
        The annotations, with the pictures' own names and sizes where there are pictures; and
        the pictures, or None.

    Raises:
        TransectError: If the source cannot be read, or none of its pictures is in ``images``.
    """
    chosen = format_of(source_format or detect(source))
    if not source.exists():
        raise TransectError(f"{source} does not exist. Name the annotations' file or folder.")
    pictures = _pictures(source, images, chosen.name)
    try:
        annotations = chosen.read(source, pictures=pictures)
    except OSError as error:
        raise TransectError(f"{source} cannot be read ({error.strerror}). Restore it.") from error
    if pictures is not None and pictures.paths:
        near = images is None and chosen.name not in ("survey", "folders", "yolo", "dotted")
        if not near or any(pictures.find(p.name) for p in annotations.pictures):
            annotations = matched(annotations, pictures)
    return annotations, pictures


def write_annotations(
    annotations: Annotations,
    target: Path,
    *,
    target_format: str | None = None,
    pictures: Pictures | None = None,
) -> list[Path]:
    """Write annotations, also those that a prediction made, in any format.

    Args:
        annotations: See ``predictions.from_labels`` and ``predictions.from_points``.
        target: The file or folder.
        target_format: None takes it from the name and content.
        pictures: The picture files; maps and our own folder need them.

    Returns:
        The files written.

    Raises:
        TransectError: If the format cannot hold them.
    """
    chosen = format_of(target_format or _target_format(target, annotations))
    if chosen.write is None:
        raise TransectError(f"{chosen.name} cannot be written. Choose another format.")
    if not chosen.suffixes and target.is_file():
        raise TransectError(f"{target} is a file, and {chosen.name} is a folder. Name a folder.")
    if chosen.suffixes and target.is_dir():
        raise TransectError(
            f"{target} is a folder. Name a file, e.g. {target}/a{chosen.suffixes[0]}."
        )
    return chosen.write(annotations, target, pictures=pictures)


def _target_format(target: Path, annotations: Annotations) -> str:
    """The format that a target's name, and what it is to hold, ask for."""
    suffix = target.suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix != ".csv":
        return "survey"
    every = [i for p in annotations.pictures for i in p.instances]
    if any(i.has_area for i in every):
        return "kaggle"
    if every and all(i.identity is not None and i.box is None for i in every):
        return "identities"
    return "table" if any(i.point or i.box for i in every) else "kaggle"


def _pictures(source: Path, images: Path | None, name: str) -> Pictures | None:
    """The pictures: as told, else in or beside the source."""
    if images is not None:
        return Pictures(images)
    if name in ("survey", "folders"):
        return Pictures(source) if source.is_dir() else None
    if name == "dotted":
        return None
    folder = source if source.is_dir() else source.parent
    if (folder / "images").is_dir():
        return Pictures(folder / "images")
    if name == "dicom":
        return None
    if source.is_dir() or any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.iterdir()):
        return Pictures(folder)
    return None


def _convert_dicom(source: Path, target: Path, target_format: str | None) -> ConvertResult:
    """Slices as the pictures of a survey, grouped by series; nothing is annotated yet."""
    from transect.data.formats import dicom, survey_folder

    if (target_format or "survey") != "survey":
        raise TransectError(
            f"{source} holds pictures without annotations. Convert it to a folder (survey)."
        )
    annotations = dicom.read(source)
    _, problems = dicom.write_pictures(source, target / "images")
    survey_folder.write_tables(annotations, target)
    every = dict.fromkeys(p.what for p in (*annotations.problems, *problems))
    return ConvertResult(target, tuple(every), len(annotations.pictures), 0, "dicom", "survey")
