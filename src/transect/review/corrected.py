"""A survey with the corrections of a review in it; what nobody corrected is as it was."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.images import read_labels
from transect.data.manifest import Manifest, read_manifest, write_manifest
from transect.data.png import write_png
from transect.errors import TransectError
from transect.files import safe_join, spreadsheet_safe, write_json, write_text
from transect.review.folder import ReviewFolder
from transect.review.journal import read_journal
from transect.review.marks import Mark, Surface
from transect.review.opening import reopened
from transect.review.start import Start
from transect.types import IMAGE_COLUMNS, Image, Survey

__all__ = ["CORRECTIONS", "corrected_data", "corrected_survey", "write_corrected"]

CORRECTIONS = "corrections.json"
"""What a corrected survey says of where it comes from."""
_TABLE_SUFFIXES = (".csv", ".tsv", ".xlsx", ".xlsm")
_WRITTEN: dict[Surface, tuple[str, ...]] = {
    "areas": ("images",),
    "places": ("points", "boxes", "counts", "images"),
    "individuals": ("identities", "images"),
    "labels": ("labels", "images"),
}
"""Tables that are written anew; totals beside dots would contradict them."""


def corrected_data(review: Path, data: Path, name: str | None) -> tuple[Path, str | None]:
    """What ``transect train DATA --from-review FOLDER`` trains on.

    Args:
        review: The folder of the review.
        data: The survey that it is a review of.
        name: Whose corrections; None if only one person made some.

    Returns:
        The corrected survey's folder, and what is said of its images without annotation.

    Raises:
        TransectError: If the survey is another one now, or nothing was corrected.
    """
    folder = ReviewFolder(review)
    missing = folder.record()["missing"]
    return corrected_survey(folder, reopened(folder, data), name), missing


def corrected_survey(folder: ReviewFolder, survey: Survey, name: str | None) -> Path:
    """The survey with one person's corrections, below the review's folder; made if it is not there.

    Args:
        folder: The review.
        survey: What it is a review of.
        name: Whose corrections; None if only one person made some.

    Returns:
        Its folder, the same as long as nothing more is corrected.

    Raises:
        TransectError: If nothing was corrected or accepted.
    """
    who = folder.chosen(name)
    state = read_journal(folder.journal(who)).sum[:8]
    out = folder.path / "corrected" / f"{survey.root.resolve().name}-{who}-{state}"
    if not (out / CORRECTIONS).is_file():
        write_corrected(folder, survey, who, out)
    return out


def write_corrected(folder: ReviewFolder, survey: Survey, name: str | None, out: Path) -> int:
    """Write a survey with one person's corrections in it.

    Pictures are linked where the disk allows it, else copied. An image that had no annotation
    takes part in training once it is accepted; before that it is half done.

    Args:
        folder: The review.
        survey: What it is a review of.
        name: Whose corrections; None if only one person made some.
        out: A new folder; it is there as a whole or not at all.

    Returns:
        How many images were corrected.

    Raises:
        TransectError: If ``out`` holds something, or nothing was corrected or accepted.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TransectError(f"{out} exists and is not empty. Choose another folder.")
    who = folder.chosen(name)
    sheets = folder.sheets(who)
    if not (sheets.corrected or sheets.looked_at):
        raise TransectError(
            f"{who} has corrected and accepted nothing yet. Correct an image first."
        )
    start = Start(survey)
    pages = [
        _Page(image, start.annotated(image), image.name in sheets.corrected,
              sheets.accepted(image.name), sheets.marks(image.name, start.marks(image)))
        for image in survey.images
    ]  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".part-") as made:
        root = Path(made) / "survey"
        _link_tree(survey.root / "images", root / "images")
        _copy_rest(survey, start.surface, root)
        if survey.mask_kind is not None:
            _write_masks(survey, pages, root)
        else:
            _write_tables(survey, pages, root)
        _write_images_table(pages, start.surface, root)
        before = read_manifest(survey.root)
        manifest = Manifest(survey.mask_kind or before.masks, before.unknown, survey.label_kind)
        write_manifest(root, manifest)
        corrected = sorted(page.image.name for page in pages if page.corrected and page.counts)
        run = folder.run
        record = {
            "of": survey.root.resolve().name,
            "who": who,
            "images": len(pages),
            "corrected": corrected,
            "accepted": sorted(sheets.looked_at),
            "run": None if run is None else os.path.relpath(run.resolve(), out.resolve()),
        }
        write_json(root / CORRECTIONS, record)
        if out.is_dir():
            out.rmdir()
        root.replace(out)
    return len(corrected)


@dataclass(frozen=True)
class _Page:
    """One image with what is to be written of it."""

    image: Image
    annotated: bool
    corrected: bool
    accepted: bool
    marks: Sequence[Mark]

    @property
    def counts(self) -> bool:
        """Whether its annotation is whole: it was there before, or somebody accepted it."""
        return self.annotated or self.accepted

    @property
    def named(self) -> list[Mark]:
        """Marks that say something; "cannot tell" does not."""
        return [mark for mark in self.marks if mark.label]

    def split(self, surface: Surface) -> str:
        """Who may train on it: nobody, where somebody must be on it and nobody can tell who."""
        if surface == "individuals" and not self.named:
            return "test"
        if self.image.split == "test" and not self.annotated and self.accepted:
            return "train"
        return self.image.split


def _write_masks(survey: Survey, pages: Iterable[_Page], root: Path) -> None:
    """Write the masks of corrected images; the others were copied."""
    for page in pages:
        before = survey.masks.get(page.image.name)
        if not page.counts or not (page.corrected or before is None):
            continue
        if before is None:
            place = root / "masks" / f"{page.image.stem}.png"
        else:
            old = safe_join(root, before.relative_to(survey.root).as_posix())
            place = old.with_suffix(".png")
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink()
        write_png(place, _painted(survey, page, before))


def _painted(survey: Survey, page: _Page, before: Path | None) -> NDArray[Any]:
    """The numbers of a mask; what counted for nothing before and is not painted stays so."""
    labels = np.zeros(page.image.size_hw, np.int32)
    if before is not None and survey.void_values:
        stored = read_labels(before)
        void = np.isin(stored, survey.void_values)
        labels[void] = stored[void]
    values = dict(zip(survey.classes, survey.class_values, strict=False))
    for number, mark in enumerate(page.marks, start=1):
        assert mark.area is not None
        value = {"binary": 255, "instances": number}.get(
            survey.mask_kind or "binary", values.get(mark.label, 0)
        )
        labels[mark.area.place][mark.area.mask()] = value
    if labels.max(initial=0) > 65535:
        raise TransectError(f"{page.image.name} has more than 65535 objects, and masks end there.")
    return labels.astype(np.uint16 if survey.mask_kind == "instances" else np.uint8)


def _write_tables(survey: Survey, pages: Sequence[_Page], root: Path) -> None:
    """Write the tables of dots, boxes, individuals or labels anew."""
    corners = ("x0", "y0", "x1", "y1")
    if survey.identities is not None:
        _write_identities(survey.identities, pages, root)
    elif survey.labels is not None:
        _write_labels(survey, pages, root)
    else:
        kept = [(page.image.name, mark) for page in pages if page.counts for mark in page.marks]
        dots = [(name, *mark.dot, mark.label) for name, mark in kept if mark.dot is not None]
        boxes = [(name, *mark.box, mark.label) for name, mark in kept if mark.box is not None]
        if dots or survey.boxes is None:
            _write(root / "points.csv", ("image", "x", "y", "class"), dots)
        if boxes:
            _write(root / "boxes.csv", ("image", *corners, "class"), boxes)


def _write_identities(table: pd.DataFrame, pages: Sequence[_Page], root: Path) -> None:
    """Write who is on the photos; a row keeps its other columns when its name changes."""
    more = [str(column) for column in table.columns if column not in ("image", "identity")]
    rows = []
    for page in pages:
        own = table[table["image"] == page.image.name].to_dict("records")
        known = {f"i{n}": row for n, row in enumerate(own)}
        for mark in page.named if page.counts else ():
            row = known.get(mark.id, {})
            cells = ["" if pd.isna(row.get(c, "")) else row.get(c, "") for c in more]
            rows.append((page.image.name, mark.label, *cells))
    _write(root / "identities.csv", ("image", "identity", *more), rows)


def _write_labels(survey: Survey, pages: Sequence[_Page], root: Path) -> None:
    """Write labels: one a row, or a column of 0 and 1 for each where there may be several."""
    told = [page for page in pages if page.counts]
    if survey.label_kind == "several":
        rows: list[Sequence[Any]] = []
        for page in told:
            there = {mark.label for mark in page.marks}
            rows.append((page.image.name, *(int(label in there) for label in survey.classes)))
        _write(root / "labels.csv", ("image", *survey.classes), rows)
        return
    rows = [(page.image.name, mark.label) for page in told for mark in page.named[:1]]
    _write(root / "labels.csv", ("image", "label"), rows)


def _write_images_table(pages: Sequence[_Page], surface: Surface, root: Path) -> None:
    """Write what is known of the images, and which of them may be trained on."""
    splits = [page.split(surface) for page in pages]
    plain = Image("", Path(), (1, 1), 1)
    used = [
        column
        for column in IMAGE_COLUMNS
        if column != "split"
        and any(getattr(page.image, column) != getattr(plain, column) for page in pages)
    ]
    if not used and set(splits) == {"train"}:
        return
    rows = []
    for page, split in zip(pages, splits, strict=True):
        said = [getattr(page.image, column) for column in used]
        rows.append((page.image.name, split, *("" if value is None else value for value in said)))
    _write(root / "images.csv", ("image", "split", *used), rows)


def _copy_rest(survey: Survey, surface: Surface, root: Path) -> None:
    """Copy masks and whatever else lies beside the images and is not written anew."""
    for path in sorted(survey.root.iterdir()):
        table = path.stem.lower() if path.suffix.lower() in _TABLE_SUFFIXES else ""
        if path.is_file() and path.name != CORRECTIONS and table not in _WRITTEN[surface]:
            shutil.copyfile(path, root / path.name)
    if (survey.root / "masks").is_dir():
        shutil.copytree(survey.root / "masks", root / "masks")


def _link_tree(source: Path, target: Path) -> None:
    """The same files by links, or by copies where the disk has no links."""

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copyfile(one, other)

    shutil.copytree(source, target, copy_function=link)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV that no spreadsheet runs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(spreadsheet_safe, header))
    for row in rows:
        writer.writerow([spreadsheet_safe(c) if isinstance(c, str) else _plain(c) for c in row])
    write_text(path, text.getvalue())


def _plain(value: Any) -> Any:
    """A number without a useless fraction."""
    with contextlib.suppress(TypeError, ValueError):
        if float(value).is_integer():
            return int(value)
    return value
