"""Pixels without data: counted when a survey is opened, so that nothing learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transect.data.folder import Progress, in_threads
from transect.data.images import open_reader
from transect.data.tiff import TiffReader
from transect.errors import TransectError
from transect.types import Image, Problem, Survey

__all__ = ["with_void"]

_BAND_PX = 16_000_000
_SUFFIXES = (".tif", ".tiff")


def with_void(survey: Survey, *, progress: Progress | None = None) -> tuple[Survey, list[Problem]]:
    """Count the pixels without data of every picture of a survey; see ``holding_data``.

    Returns:
        The survey with ``Image.void`` filled in and a note if there are any; and a problem for
        each picture that holds nothing else, which is left out.
    """
    notes = survey.notes
    others = [i for i in survey.images if i.path.suffix.lower() not in _SUFFIXES]
    if unused := [i.name for i in others if i.path.with_name(i.path.name + ".msk").is_file()]:
        note = (
            f"{len(unused)} of GDAL's masks lie beside pictures that are no TIFF (first: "
            f"{unused[0]}.msk) and are not used: save these pictures as GeoTIFF to have them count"
        )
        notes = (*notes, note)
    images, note, problems = holding_data(survey.images, progress=progress)
    if note:
        notes = (*notes, f"{note}: they count neither in statistics nor in losses")
    return replace(survey, images=images, notes=notes), problems


def holding_data(
    images: Sequence[Image], *, progress: Progress | None = None
) -> tuple[tuple[Image, ...], str, list[Problem]]:
    """Count the pixels without data (see ``images.read_void``) of pictures.

    Args:
        images: Any pictures.
        progress: Called with (done, all).

    Returns:
        Those that hold data, with ``Image.void`` filled in; a clause on those that lack some, or
        ""; and a problem for each picture that holds none.
    """
    able = [i for i in images if i.path.suffix.lower() in _SUFFIXES]
    found = dict(zip((i.name for i in able), in_threads(_share, able, progress), strict=True))
    kept, problems = [], []
    for image in images:
        share = found.get(image.name, 0.0)
        if share == 1:
            what = f"{image.name} holds no data at all, and is left out. Remove it."
            problems.append(Problem(image.name, what))
        else:
            kept.append(replace(image, void=share) if share else image)
    some = [image for image in kept if image.void]
    if not some:
        return tuple(kept), "", problems
    area = sum(i.size_hw[0] * i.size_hw[1] for i in some)
    lost = sum(i.void * i.size_hw[0] * i.size_hw[1] for i in some)
    note = (
        f"{len(some)} of {len(kept)} images hold pixels without data (NaN, or the number of "
        f"their nodata tag; {100 * lost / area:.1f} % of their pixels; first: {some[0].name})"
    )
    return tuple(kept), note, problems


def _share(image: Image) -> float:
    """The share of pixels without data, in [0, 1]; 0 for a picture that cannot be read."""
    try:
        reader = open_reader(image.path)
        if not isinstance(reader, TiffReader) or not reader.may_be_void:
            return 0.0
        height, width = image.size_hw
        rows = max(_BAND_PX // width, 1)
        tops = range(0, height, rows)
        lost = sum(int(reader.void(t, 0, min(rows, height - t), width).sum()) for t in tops)
    except TransectError:
        return 0.0  # told when it is decoded
    return lost / (height * width)
