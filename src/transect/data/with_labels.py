"""A survey completed by the labels of its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from transect.data.label_table import read_labels
from transect.data.missing import kept_apart, missing_ones, unsure_images
from transect.data.tables import table_file
from transect.errors import TransectError
from transect.types import LabelKind, Problem, Survey

__all__ = ["with_labels"]


def with_labels(
    survey: Survey, names: Mapping[int, str], missing: str | None, kind: LabelKind | None
) -> tuple[Survey, list[Problem]]:
    """Read labels; images without one are asked about.

    Args:
        survey: With its images.
        names: Of classes.csv, in their order; none allows any label.
        missing: What a training image without a row is; see ``open_survey``.
        kind: What the labels are; None tells it from the table.

    Returns:
        The survey with labels, their kind and classes; and problems.

    Raises:
        TransectError: If nothing can be used.
    """
    path = table_file(survey.root, "labels")
    assert path is not None  # the question was chosen by it
    notes: list[str] = []
    read = read_labels(path, survey.images, classes=tuple(names.values()), kind=kind, notes=notes)
    rows = read.rows
    survey = kept_apart(survey, unsure_images(read.problems))
    labelled = set(rows["image"])
    without = [image.name for image in survey.training() if image.name not in labelled]
    if missing == "empty" and read.kind != "several":
        raise TransectError(
            'missing="empty" has no meaning where every image has one label. Pass '
            'missing="unlabelled", or say --labels several.'
        )
    what = "labels" if read.kind == "several" else "label"
    survey = missing_ones(survey, without, missing, what, path.name)
    if missing == "empty" and without:
        none = pd.DataFrame({"image": without}).reindex(columns=rows.columns, fill_value=0)
        rows = pd.concat([rows, none], ignore_index=True)
    survey = replace(survey, labels=rows, label_kind=read.kind, classes=read.classes)
    return replace(survey, notes=(*survey.notes, *notes)), read.problems
