"""Finding what is to be reviewed: a survey, or a run with the survey that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from transect.data.describe import fingerprint
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.review.folder import ReviewFolder
from transect.run import RunFolder
from transect.types import Survey

__all__ = ["reopened", "survey_and_run"]


def survey_and_run(
    path: Path,
    data: Path | None = None,
    *,
    question: str | None = None,
    missing: str | None = None,
) -> tuple[Survey, Path | None, str | None]:
    """Open what ``transect review`` was given.

    A run does not know where its survey lies. Without ``data`` a folder of the survey's name is
    looked for here and beside the run, and taken if it holds what the run was trained on.

    Args:
        path: A survey, or a run.
        data: The survey, if ``path`` is a run.
        question: If the survey could answer several.
        missing: What a training image without annotation is: ``empty``, or ``unlabelled``, which
            is how it can be annotated here; None takes the run's word, or ``unlabelled``.

    Returns:
        The survey, the run or None, and ``missing`` as it was settled.

    Raises:
        TransectError: If the survey of a run is not found.
    """
    if not (path / "recipe.json").is_file():
        if data is not None:
            raise TransectError(f"{path} is no run. Give a RUN and its DATA, or DATA alone.")
        missing = missing or "unlabelled"
        return open_survey(path, question=question, missing=missing), None, missing
    run = RunFolder.open(path)
    facts = run.data()
    missing = missing or facts.get("missing") or "unlabelled"
    question = run.recipe().question
    if data is not None:
        return open_survey(data, question=question, missing=missing), path, missing
    for place in _near(path, str(facts["folder"])):
        survey = open_survey(place, question=question, missing=missing)
        if run.same_data(fingerprint(survey)):
            return survey, path, missing
    raise TransectError(
        f"the survey that {path} was trained on, a folder called {facts['folder']}, was not found. "
        f"Say where it is: transect review {path} DATA."
    )


def reopened(folder: ReviewFolder, data: Path) -> Survey:
    """Open the survey of a review as it was when the review began.

    Raises:
        TransectError: If it is another survey now.
    """
    said = folder.record()
    survey = open_survey(
        data,
        question=said["question"],
        missing=said["missing"],
        mask_kind=said["mask_kind"],
        label_kind=said["label_kind"],
    )
    folder.begin(survey, None)
    return survey


def _near(run: Path, name: str) -> Iterator[Path]:
    """Places where the survey of a run may be."""
    for parent in (Path(), run.resolve().parent, run.resolve().parent.parent):
        if (parent / name / "images").is_dir():
            yield parent / name
