"""A survey folder opened and checked once: its question, what it holds, what is broken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import get_args

from transect.data.annotations import read_identities
from transect.data.describe import fingerprint, fold_table, survey_summary
from transect.data.folder import Progress, list_images, list_pictures
from transect.data.folder import with_table as _with_table
from transect.data.labels import mask_labels
from transect.data.manifest import labels_said, masks_said, read_manifest
from transect.data.missing import missing_ones
from transect.data.tables import read_table, table_file
from transect.data.void import with_void
from transect.data.with_counts import with_counts
from transect.data.with_labels import with_labels
from transect.data.with_masks import with_masks
from transect.errors import TransectError, unknown_name
from transect.files import read_json
from transect.types import LabelKind, MaskKind, Problem, Question, Survey

__all__ = [
    "fingerprint",
    "fold_table",
    "list_images",
    "mask_labels",
    "open_survey",
    "survey_summary",
    "without_images",
]

_MISSING = ("empty", "unlabelled")


def open_survey(
    root: Path,
    *,
    question: str | None = None,
    missing: str | None = None,
    unknown: str | None = None,
    mask_kind: MaskKind | None = None,
    label_kind: LabelKind | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Open a survey folder and check everything that can be checked without training.

    The folder holds ``images/`` (at any depth) and ``masks/`` (the same names, any picture
    suffix), ``points.csv``, ``counts.csv``, ``boxes.csv``, ``identities.csv`` or ``labels.csv``;
    ``images.csv`` and ``classes.csv`` (value,name) if there is more to say. Only headers of images
    are read; masks are read through (see ``with_masks.CHECKED_PX``).

    Args:
        root: The folder.
        question: segment, count, identify or classify; None reads it from what is there: masks,
            then dots, counts or boxes, then identities, then labels. ``count`` with nothing but
            instance masks counts their centres.
        missing: What a training image without annotation is: ``empty`` (nothing is on it),
            ``unlabelled`` (it gets the split ``test``), or None to refuse. In points.csv and
            boxes.csv an image without rows is empty anyway: they cannot say it otherwise.
        unknown: The identity that stands for "none we know"; None asks ``survey.json``, then takes
            "unknown", or the "new_whale" of the whale competitions where that is used.
        mask_kind: binary, classes or instances, unless ``read_as`` says otherwise; None
            asks ``survey.json``, then the masks.
        label_kind: single, several or grades, unless ``read_as`` says otherwise; None asks
            ``survey.json``, then the table.
        progress: Called with (done, all) for images, then for masks.

    Returns:
        The survey. Files and rows that cannot be used are left out and listed in ``problems``.

    Raises:
        TransectError: If nothing usable is left, or one mistake runs through the whole survey.
    """
    _check_words(root, question, missing)
    mask_kind = masks_said() or mask_kind  # what the user says now counts most
    images, problems = list_images(root / "images", progress=progress)
    survey = Survey(root, _question(root, question), images, ())
    survey, more = with_void(survey, progress=progress)
    images, found = survey.images, [*problems, *more]
    if table := table_file(root, "images"):
        images, more = _with_table(images, table)
        survey, found = replace(survey, images=images), found + more
    names, more = _class_names(root)
    found += more
    if survey.question == "segment":
        survey, more = with_masks(survey, names, missing, mask_kind, progress)
    elif survey.question == "count":
        survey, more = with_counts(survey, names, missing, mask_kind, progress)
    elif survey.question == "identify":
        survey, more = _with_identities(survey, missing, unknown or read_manifest(root).unknown)
    else:
        said = labels_said() or label_kind or read_manifest(root).labels
        survey, more = with_labels(survey, names, missing, said)
    _refuse_external(survey)
    if not survey.training():
        raise TransectError(
            f"{root} has no image left to train on (first problem: "
            f"{(found + more or [Problem('', 'every split is test')])[0].what})."
        )
    return replace(survey, problems=tuple(found + more))


def without_images(survey: Survey, problems: Iterable[Problem]) -> Survey:
    """Leave out images that turned out to be broken, with all that is known of them.

    Args:
        survey: Any survey.
        problems: Each named after its image, as ``PixelCache.problems``.

    Returns:
        The survey without them, the problems added to its own.

    Raises:
        TransectError: If no image is left to train on.
    """
    found = tuple(problems)
    gone = {problem.name for problem in found}
    tables = {}
    for name in ("points", "counts", "identities", "boxes", "labels"):
        table = getattr(survey, name)
        if table is not None:
            tables[name] = table[~table["image"].isin(sorted(gone))].reset_index(drop=True)
    left = replace(
        survey,
        images=tuple(image for image in survey.images if image.name not in gone),
        masks={name: path for name, path in survey.masks.items() if name not in gone},
        problems=(*survey.problems, *found),
        **tables,
    )
    if not left.training():
        raise TransectError(
            f"{survey.root} has no image left to train on (first problem: {found[0].what})."
        )
    return left


# --- reading the folder ------------------------------------------------------------------------


def _check_words(root: Path, question: str | None, missing: str | None) -> None:
    """Check the arguments and that the folder is laid out as a survey."""
    if question is not None and question not in get_args(Question):
        raise unknown_name("question", question, get_args(Question))
    if missing is not None and missing not in _MISSING:
        raise unknown_name("missing", missing, _MISSING)
    if not root.is_dir():
        raise TransectError(f"{root} is not a folder. Give the folder that holds images/.")
    if not (root / "images").is_dir():
        loose, _ = list_pictures(root)
        here = f"; its {len(loose)} pictures lie elsewhere in it" if loose else ""
        raise TransectError(
            f"{root} has no folder images/{here}. Move the pictures into {root / 'images'} and "
            "keep masks and tables beside it."
        )


def _question(root: Path, asked: str | None) -> Question:
    """Which question the annotations answer."""
    masks = (root / "masks").is_dir()
    counts = any(table_file(root, name) for name in ("points", "counts", "boxes"))
    identities = table_file(root, "identities") is not None
    labels = table_file(root, "labels") is not None
    able: dict[Question, bool] = {
        "segment": masks,
        "count": counts or masks,
        "identify": identities,
        "classify": labels,
    }
    needs = {
        "segment": "masks/",
        "count": "points.csv, counts.csv, boxes.csv or masks/",
        "identify": "identities.csv",
        "classify": "labels.csv",
    }
    if asked is not None:
        chosen: Question = asked  # type: ignore[assignment]
        if not able[chosen]:
            raise TransectError(
                f"{root} cannot be asked to {chosen}: it has no {needs[chosen]}. Add it, or ask "
                "another question."
            )
        return chosen
    order: tuple[Question, ...] = ("segment", "count", "identify", "classify")
    there = {"segment": masks, "count": counts, "identify": identities, "classify": labels}
    for question in order:
        if there[question]:
            return question
    raise TransectError(
        f"{root} has no annotations: neither masks/ nor points.csv, counts.csv, boxes.csv, "
        "identities.csv or labels.csv. Add one of them; to apply a finished run, use transect "
        "predict."
    )


def _refuse_external(survey: Survey) -> None:
    """Images of other surveys that train and are not scored are for labels only, yet."""
    outside = [image.name for image in survey.images if image.split == "external"]
    if outside and survey.question != "classify":
        raise TransectError(
            f"images.csv gives {outside[0]} the split external, which only labels know. Write "
            "train, or ask another question with --question classify."
        )
    if outside and len(outside) == len(survey.training()):
        raise TransectError(
            f"every labelled image of {survey.root} is external, and none is left to score. Give "
            "some the split train."
        )


def _class_names(root: Path) -> tuple[dict[int, str], list[Problem]]:
    """Values and names of classes.csv (value,name) or classes.json ({value: name} or [names])."""
    if (root / "classes.json").exists():
        read = read_json(root / "classes.json")
        if isinstance(read, list):
            read = {str(i): name for i, name in enumerate(read, start=1)}
        good = isinstance(read, dict) and all(
            str(key).isdigit() and isinstance(name, str) for key, name in read.items()
        )
        if not good:
            raise TransectError(
                f"{root / 'classes.json'} must map mask values to names, as {{'1': 'salt'}}. "
                "Write it so."
            )
        return {int(key): name for key, name in sorted(read.items(), key=lambda i: int(i[0]))}, []
    path = root / "classes.csv"
    if not path.exists():
        return {}, []
    table, problems = read_table(path, ["name"], optional=["value"])
    if "value" not in table:
        table["value"] = [str(i) for i in range(1, len(table) + 1)]
    names: dict[int, str] = {}
    for value, name, line in zip(table["value"], table["name"], table["line"], strict=True):
        if not value.isdigit() or int(value) in names or name in names.values():
            raise TransectError(
                f"{path} line {line} must give a new whole number and a new name; got "
                f"{value!r}, {name!r}. Correct it."
            )
        names[int(value)] = name
    return names, problems


def _with_identities(
    survey: Survey, missing: str | None, unknown: str | None
) -> tuple[Survey, list[Problem]]:
    """Read identities; images without one are asked about."""
    notes: list[str] = []
    path = table_file(survey.root, "identities")
    assert path is not None  # the question was chosen by it
    table, problems = read_identities(path, survey.images, notes=notes)
    unknown = unknown or _unknown_label(table["identity"])
    survey = replace(survey, unknown=unknown, notes=(*survey.notes, *notes))
    known = set(table["image"])
    without = [image.name for image in survey.training() if image.name not in known]
    if missing == "empty":
        raise TransectError(
            'missing="empty" has no meaning for identities. Pass missing="unlabelled", or write '
            f"{survey.unknown} for individuals that nobody knows."
        )
    survey = missing_ones(survey, without, missing, "identity", "identities.csv")
    classes = tuple(sorted(set(table["identity"]) - {survey.unknown}))
    if "group" in table:
        groups = table.drop_duplicates("image").set_index("image")["group"].to_dict()
        images = (replace(i, group=i.group or groups.get(i.name) or None) for i in survey.images)
        survey = replace(survey, images=tuple(images))
    return replace(survey, identities=table, classes=classes), problems


def _unknown_label(identities: Iterable[str]) -> str:
    """What a survey calls the unknown individual: the usual word, or that of the competitions."""
    used = set(identities)
    return next((word for word in ("unknown", "new_whale") if word in used), "unknown")
