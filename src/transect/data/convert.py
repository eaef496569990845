"""From one annotation format to another: ``transect convert FROM TO``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from transect.data.exchange import Annotations, Pictures
from transect.data.fitting import cut_to_pictures, kind_of, matched
from transect.data.formats import FORMATS, colour_masks, detect, format_of, survey_folder
from transect.data.images import IMAGE_SUFFIXES
from transect.data.tally import Tally, Told, tally_lines
from transect.errors import TransectError
from transect.types import MaskKind

__all__ = ["ConvertResult", "convert", "read_annotations", "write_annotations"]

_BY_SUFFIX = {
    ".json": "coco",
    ".geojson": "geo",
    ".gpkg": "geo",
    ".shp": "geo",
    ".xml": "cvat",
    ".pnt": "dotdotgoose",
}
_KINDS = ("outline", "box", "dot", "word")


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
        told: How much was left out or is there otherwise, by reason.
        counts: Objects written by class, then outlines, boxes, dots and words about a whole
            picture.
        empty: Pictures with nothing on them.
        unlabelled: Pictures that nobody has labelled yet.
        individuals: Objects that have an identity.
    """

    written: Path
    problems: tuple[str, ...]
    pictures: int = 0
    instances: int = 0
    source_format: str = ""
    target_format: str = ""
    told: tuple[Told, ...] = ()
    counts: tuple[tuple[str, tuple[int, int, int, int]], ...] = ()
    empty: int = 0
    unlabelled: int = 0
    individuals: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing of the source was left out."""
        return not self.problems and not any(told.lost for told in self.told)

    def summary(self) -> list[str]:
        """The table that ends a conversion: pictures, objects, what was left out or re-read."""
        aside = [(self.empty, "with nothing on it"), (self.unlabelled, "not labelled yet")]
        lines = [
            "pictures  " + ", ".join([str(self.pictures), *(f"{n} {w}" for n, w in aside if n)])
        ]
        if self.counts:
            width = max(len("class"), *(len(label) for label, _ in self.counts))
            heads = [kind + ("es" if kind == "box" else "s") for kind in _KINDS]
            lines.append("  ".join(["class".ljust(width), *heads]))
            lines += [
                "  ".join(
                    [
                        label.ljust(width),
                        *(str(n).rjust(len(h)) for n, h in zip(row, heads, strict=True)),
                    ]
                )
                for label, row in self.counts
            ]
        if self.individuals:
            lines.append(f"identified  {self.individuals} of {self.instances} objects")
        lines += tally_lines(self.told)
        lines.append(f"wrote {self.written} ({self.target_format})")
        if not self.complete:
            touched = any(t.lost and (t.objects or t.pictures) for t in self.told)
            why = (
                "something was left out"
                if touched
                else ("files were passed over; no annotated picture and no object was lost")
            )
            lines.append(f"exit code 1: {why}")
        return lines


def convert(
    source: Path,
    target: Path,
    *,
    source_format: str | None = None,
    target_format: str | None = None,
    images: Path | None = None,
    masks: MaskKind | None = None,
) -> ConvertResult:
    """Read annotations in one format and write them in another.

    Args:
        source: A file or folder in any of ``formats.FORMATS``.
        target: What to write. A name without suffix is a folder in our own layout, .json is
            COCO, .geojson and .gpkg a map, .xml CVAT, and .csv what fits the content: run-length
            codes, identities, dots, boxes or labels.
        source_format: If the content does not tell.
        target_format: If the name does not tell, or tells another.
        images: The folder of the pictures, if it is not beside the annotations.
        masks: How the masks of a survey are to be read, if survey.json and they do not tell.

    Returns:
        What was written and what was left out.

    Raises:
        TransectError: If the source cannot be read, nothing of it can be used, or the target
            cannot hold it.
    """
    if source.resolve() == target.resolve():
        raise TransectError(f"{source} is both source and target. Name another target.")
    if target_format is not None and format_of(target_format).write is None:
        writable = [f.name for f in FORMATS.values() if f.write]
        raise TransectError(f"{target_format} cannot be written. Choose of {', '.join(writable)}.")
    source_format = source_format or detect(source)
    if source_format == "dicom":
        return _convert_dicom(source, target, target_format)
    annotations, pictures = read_annotations(
        source, source_format=source_format, images=images, masks=masks
    )
    if not annotations.pictures:
        first = annotations.problems[0].what if annotations.problems else "it names no picture"
        raise TransectError(f"nothing of {source} can be used, so nothing is written: {first}")
    target_format = target_format or _target_format(target, annotations)
    made = format_of(target_format).fit(annotations)
    if not made.pictures:
        reasons = "; ".join(tally_lines(made.told))
        raise TransectError(
            f"nothing of {source} can be written as {target_format} ({reasons}). Choose another "
            "format with --to."
        )
    _write(made, target, target_format, pictures)
    return _result(made, target, source_format, target_format)


def read_annotations(
    source: Path,
    *,
    source_format: str | None = None,
    images: Path | None = None,
    masks: MaskKind | None = None,
) -> tuple[Annotations, Pictures | None]:
    """Read annotations and find their pictures.

    Args:
        source: A file or folder.
        source_format: If the content does not tell.
        images: The folder of the pictures, if it is not beside the annotations.
        masks: How the masks of a survey are to be read, if survey.json and they do not tell.

    Returns:
        The annotations, with the pictures' own names and sizes where there are pictures; and
        the pictures, or None.

    Raises:
        TransectError: If the source cannot be read, or none of its pictures is in ``images``.
    """
    chosen = format_of(source_format or detect(source))
    if not source.exists():
        raise TransectError(f"{source} does not exist. Name the annotations' file or folder.")
    by_kind = {"survey": survey_folder.read, "colour-masks": colour_masks.read_colours}
    if masks is not None and chosen.name not in by_kind:
        raise TransectError(f"--masks is for surveys, and {source} is {chosen.name}. Leave it out.")
    pictures = _pictures(source, images, chosen.name)
    read = chosen.read if masks is None else partial(by_kind[chosen.name], mask_kind=masks)
    try:
        annotations = read(source, pictures=pictures)
    except OSError as error:
        raise TransectError(f"{source} cannot be read ({error.strerror}). Restore it.") from error
    if pictures is not None and pictures.paths:
        near = images is None and not chosen.own_pictures
        if not near or any(pictures.find(p.name) for p in annotations.pictures):
            annotations = _with_files(annotations, pictures)
    return cut_to_pictures(annotations), pictures


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
    name = target_format or _target_format(target, annotations)
    return _write(format_of(name).fit(annotations), target, name, pictures)


def _write(
    made: Annotations, target: Path, target_format: str, pictures: Pictures | None
) -> list[Path]:
    """Write what a format has made of annotations."""
    chosen = format_of(target_format)
    if chosen.write is None:
        raise TransectError(f"{chosen.name} cannot be written. Choose another format.")
    if not chosen.suffixes and target.is_file():
        raise TransectError(f"{target} is a file, and {chosen.name} is a folder. Name a folder.")
    if chosen.suffixes and target.is_dir():
        raise TransectError(
            f"{target} is a folder. Name a file, e.g. {target}/a{chosen.suffixes[0]}."
        )
    return chosen.write(made, target, pictures=pictures)


def _with_files(annotations: Annotations, pictures: Pictures) -> Annotations:
    """The annotated pictures with their files, and a word about the pictures that none names."""
    found = matched(annotations, pictures)
    if annotations.pictures and not found.pictures:
        raise TransectError(
            f"none of the {len(annotations.pictures)} annotated pictures is in {pictures.folder} "
            f"(first: {annotations.pictures[0].name}: {found.problems[-1].what}). Name the folder "
            "of the pictures with --images."
        )
    tally = Tally(found.told)
    spare = (
        len(pictures.paths) - len(found.pictures) - sum(t.pictures for t in found.told if t.lost)
    )
    if spare > 0:
        why = f"in {pictures.folder}, and no annotation names them; not taken"
        tally.tell(why, lost=False, pictures=spare)
    return replace(found, told=tally.done())


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
    if any(i.point or i.box for i in every):
        return "table"
    return "labels" if every else "kaggle"


def _pictures(source: Path, images: Path | None, name: str) -> Pictures | None:
    """The pictures: as told, else in or beside the source."""
    if images is not None:
        return Pictures(images)
    if name in ("survey", "folders", "class-folders", "dsb2018", "colour-masks"):
        return Pictures(source) if source.is_dir() else None
    chosen = format_of(name)
    if chosen.pictures_in is not None:
        folder = chosen.pictures_in(source)
        return Pictures(folder) if folder.is_dir() else None
    folder = source if source.is_dir() else source.parent
    if (folder / "images").is_dir():
        return Pictures(folder / "images")
    if name == "dicom":
        return None
    if source.is_dir() or any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.iterdir()):
        return Pictures(folder)
    return None


def _result(
    made: Annotations, target: Path, source_format: str, target_format: str
) -> ConvertResult:
    """What was written, counted."""
    sums = Counter((i.label, kind_of(i)) for p in made.pictures for i in p.instances)
    labels = dict.fromkeys([*made.classes, *(label for label, _ in sums)])
    counts = [(label, tuple(sums[label, kind] for kind in _KINDS)) for label in labels]
    return ConvertResult(
        target,
        tuple(dict.fromkeys(problem.what for problem in made.problems)),
        len(made.pictures),
        len(made),
        source_format,
        target_format,
        made.told,
        tuple((label, (a, b, c, d)) for label, (a, b, c, d) in counts),
        sum(p.labelled and not p.instances for p in made.pictures),
        sum(not p.labelled for p in made.pictures),
        sum(i.identity is not None for p in made.pictures for i in p.instances),
    )


def _convert_dicom(source: Path, target: Path, target_format: str | None) -> ConvertResult:
    """Slices as the pictures of a survey, grouped by series; nothing is annotated yet."""
    from transect.data.formats import dicom

    if (target_format or "survey") != "survey":
        raise TransectError(
            f"{source} holds pictures without annotations. Convert it to a folder (survey)."
        )
    annotations = dicom.read(source)
    _, problems = dicom.write_pictures(source, target / "images")
    survey_folder.write_tables(annotations, target)
    every = (*annotations.problems, *problems)
    return _result(replace(annotations, problems=every), target, "dicom", "survey")
