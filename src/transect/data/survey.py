"""A survey folder opened and checked once: its question, what it holds, what is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from transect.data.annotations import read_boxes, read_counts, read_identities, read_points
from transect.data.describe import KIND_WORDS, counted, fingerprint, fold_table, survey_summary
from transect.data.folder import Progress, in_threads, list_images, list_pictures, stem_of
from transect.data.folder import with_table as _with_table
from transect.data.images import read_labels
from transect.data.labels import class_labels, mask_labels, size_sentence, value_sentence
from transect.data.masks import MaskFacts, centroids, mask_facts, mask_kind_of
from transect.data.tables import read_table
from transect.errors import TransectError, unknown_name
from transect.files import read_json
from transect.types import Image, MaskKind, Problem, Question, Survey

__all__ = [
    "fingerprint",
    "fold_table",
    "list_images",
    "mask_labels",
    "open_survey",
    "survey_summary",
    "without_images",
]

CHECKED_PX = 4_000_000_000
"""Masks are read through when the survey is opened, up to this many pixels; beyond it an even
sample of them is, and the rest is checked when it is first decoded."""
_MISSING = ("empty", "unlabelled")


def open_survey(
    root: Path,
    *,
    question: str | None = None,
    missing: str | None = None,
    unknown: str = "new_whale",
    mask_kind: MaskKind | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Open a survey folder and check everything that can be checked without training.

    The folder holds ``images/`` (at any depth) and ``masks/`` (the same names, any picture
    suffix), ``points.csv``, ``counts.csv``, ``boxes.csv`` or ``identities.csv``; ``images.csv``
    and ``classes.csv`` (value,name) if there is more to say. Only headers of images are read;
    masks are read through (see ``CHECKED_PX``).

    Args:
        root: The folder.
        question: segment, count or identify; None reads it from what is there: masks, then
            dots, counts or boxes, then identities. ``count`` with nothing but instance masks
            counts their centres.
        missing: What a training image without annotation is: ``empty`` (nothing is on it),
            ``unlabelled`` (it gets the split ``test``), or None to refuse. In points.csv and
            boxes.csv an image without rows is empty anyway: they cannot say it otherwise.
        unknown: The identity that stands for "none we know".
        mask_kind: binary, classes or instances; None tells from the masks.
        progress: Called with (done, all) for images, then for masks.

    Returns:
        The survey. Files and rows that cannot be used are left out and listed in ``problems``.

    Raises:
        TransectError: If nothing usable is left, or one mistake runs through the whole survey.
    """
    _check_words(root, question, missing)
    images, problems = list_images(root / "images", progress=progress)
    survey = Survey(root, _question(root, question), images, (), unknown=unknown)
    found = list(problems)
    if (root / "images.csv").exists():
        images, more = _with_table(images, root / "images.csv")
        survey, found = replace(survey, images=images), found + more
    names, more = _class_names(root)
    found += more
    if survey.question == "segment":
        survey, more = _with_masks(survey, names, missing, mask_kind, progress)
    elif survey.question == "count":
        survey, more = _with_counts(survey, names, missing, mask_kind, progress)
    else:
        survey, more = _with_identities(survey, missing)
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
    for name in ("points", "counts", "identities", "boxes"):
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
    counts = any((root / f"{name}.csv").exists() for name in ("points", "counts", "boxes"))
    identities = (root / "identities.csv").exists()
    able: dict[Question, bool] = {
        "segment": masks,
        "count": counts or masks,
        "identify": identities,
    }
    needs = {
        "segment": "masks/",
        "count": "points.csv, counts.csv, boxes.csv or masks/",
        "identify": "identities.csv",
    }
    if asked is not None:
        chosen: Question = asked  # type: ignore[assignment]
        if not able[chosen]:
            raise TransectError(
                f"{root} cannot be asked to {chosen}: it has no {needs[chosen]}. Add it, or ask "
                "another question."
            )
        return chosen
    if masks or counts or identities:
        return "segment" if masks else "count" if counts else "identify"
    raise TransectError(
        f"{root} has no annotations: neither masks/ nor points.csv, counts.csv, boxes.csv or "
        "identities.csv. Add one of them; to apply a finished run, use transect predict."
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


def _with_masks(
    survey: Survey,
    names: Mapping[int, str],
    missing: str | None,
    kind: MaskKind | None,
    progress: Progress | None,
) -> tuple[Survey, list[Problem]]:
    """Find, match and check the masks."""
    masks, problems, broken = _matched_masks(survey)
    survey = replace(survey, images=tuple(i for i in survey.images if i.name not in broken))
    without = [i.name for i in survey.training() if i.name not in masks]
    survey = _missing_ones(survey, without, missing, "mask", "masks/")
    survey = replace(survey, masks=masks)
    labelled = [image for image in survey.images if image.name in masks]
    chosen = labelled[:: max(1, -(-sum(_pixels(i) for i in labelled) // CHECKED_PX))]

    def check(image: Image) -> MaskFacts | Problem:
        path = masks[image.name]
        shown = path.relative_to(survey.root).as_posix()
        try:
            facts = mask_facts(path)
        except TransectError as error:
            return Problem(shown, str(error))
        if facts.size_hw != image.size_hw:
            return Problem(shown, size_sentence(shown, facts.size_hw, image.size_hw))
        return facts

    results = in_threads(check, chosen, progress)
    facts = {i.name: r for i, r in zip(chosen, results, strict=True) if isinstance(r, MaskFacts)}
    faulty = {i.name: r for i, r in zip(chosen, results, strict=True) if isinstance(r, Problem)}
    if not facts:
        raise TransectError(
            f"none of the masks in {survey.root / 'masks'} can be used "
            f"(first: {next(iter(faulty.values())).what})"
        )
    if kind is None:
        in_order = list(facts)
        kind = (
            "classes"
            if len(names) > 1
            else mask_kind_of([masks[n] for n in in_order], [facts[n] for n in in_order])
        )
    classes, values = _classes(kind, names, facts)
    survey = replace(survey, mask_kind=kind, classes=classes, class_values=values)
    if kind == "classes":
        allowed = {0, *class_labels(survey)}
        for name, fact in facts.items():
            strange = sorted(set(fact.values.tolist()) - allowed)
            if strange:
                shown = masks[name].relative_to(survey.root).as_posix()
                faulty[name] = Problem(shown, value_sentence(shown, strange, class_labels(survey)))
    survey = replace(
        survey,
        images=tuple(i for i in survey.images if i.name not in faulty),
        masks={name: path for name, path in masks.items() if name not in faulty},
    )
    return survey, problems + list(faulty.values())


def _matched_masks(survey: Survey) -> tuple[dict[str, Path], list[Problem], set[str]]:
    """Give every image its mask: the same name, or the same name with another suffix."""
    folder = survey.root / "masks"
    files, problems = list_pictures(folder)
    problems = [Problem(f"masks/{p.name}", p.what) for p in problems]
    by_stem: dict[str, list[str]] = {}
    for name in files:
        by_stem.setdefault(stem_of(name), []).append(name)
    owners = Counter(stem_of(image.name) for image in survey.images)
    masks: dict[str, Path] = {}
    broken: set[str] = set()
    for image in survey.images:
        options = by_stem.get(stem_of(image.name), [])
        if image.name in files:
            masks[image.name] = files[image.name]
        elif len(options) == 1 and owners[stem_of(image.name)] == 1:
            masks[image.name] = files[options[0]]
        elif options:
            broken.add(image.name)
            what = f"masks/{options[0]} does not say which image it belongs to: "
            what += f"{counted(len(options), 'mask')} and {owners[stem_of(image.name)]} images are "
            what += f"called {stem_of(image.name)}. Rename them; {image.name} is left out."
            problems.append(Problem(f"masks/{options[0]}", what))
    if not files or not masks:
        example = next(iter(files), None)
        found = f"masks/{example} has no image" if example else "it is empty"
        raise TransectError(
            f"no mask in {folder} has the name of an image ({found}; an image is "
            f"images/{survey.images[0].name}). Give each mask its image's name."
        )
    used = set(masks.values())
    unread = {
        stem_of(path.relative_to(survey.root / "images").as_posix()) for path in _unread(survey)
    }
    ambiguous = {stem_of(name) for name in broken}
    for name, path in files.items():
        if path not in used and stem_of(name) not in unread | ambiguous:
            what = f"masks/{name} has no image of that name. Add the image or remove the mask."
            problems.append(Problem(f"masks/{name}", what))
    return masks, problems, broken


def _unread(survey: Survey) -> Iterable[Path]:
    """Pictures below images/ that could not be read; they are listed already."""
    known = {image.path for image in survey.images}
    return (path for path in list_pictures(survey.root / "images")[0].values() if path not in known)


def _classes(
    kind: MaskKind, names: Mapping[int, str], facts: Mapping[str, MaskFacts]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names and the mask value of each."""
    if kind == "instances":
        return (next(iter(names.values()), "object"),), ()
    union = sorted({int(v) for fact in facts.values() for v in fact.foreground})
    if kind == "binary":
        return (next((n for v, n in names.items() if v), "foreground"),), (max(union, default=1),)
    known = {v: n for v, n in names.items() if v} or {v: str(v) for v in union}
    return tuple(known.values()), tuple(known)


def _with_counts(
    survey: Survey,
    names: Mapping[int, str],
    missing: str | None,
    kind: MaskKind | None,
    progress: Progress | None,
) -> tuple[Survey, list[Problem]]:
    """Dots, else centres of boxes, else counts, else centres of instance masks."""
    allowed = tuple(name for value, name in names.items() if value)
    root, problems = survey.root, []
    points = boxes = counts = None
    if (root / "boxes.csv").exists():
        boxes, more = read_boxes(root / "boxes.csv", survey.images, classes=allowed)
        problems += more
    if (root / "points.csv").exists():
        points, more = read_points(root / "points.csv", survey.images, classes=allowed)
        problems += more
    elif boxes is not None:
        x, y = (boxes["x0"] + boxes["x1"]) / 2, (boxes["y0"] + boxes["y1"]) / 2
        columns = {"image": boxes["image"], "x": x, "y": y, "class": boxes["class"]}
        points = pd.DataFrame(columns)
    if (root / "counts.csv").exists():
        counts, more = read_counts(root / "counts.csv", survey.images, classes=allowed)
        problems += more
        if points is None:
            without = sorted({i.name for i in survey.training()} - set(counts["image"]))
            survey = _missing_ones(survey, without, missing, "row in counts.csv", "counts.csv")
            if missing == "empty" and without:
                zeros = pd.DataFrame({"image": without}).reindex(columns=counts.columns)
                counts = pd.concat([counts, zeros.fillna(0.0)], ignore_index=True)
    if points is None and counts is None:
        survey, more = _with_masks(survey, names, missing, kind, progress)
        problems += more
        if survey.mask_kind != "instances":
            what = KIND_WORDS[survey.mask_kind or "binary"]
            raise TransectError(
                f"{root / 'masks'} holds {what} masks, and counting needs one number per object. "
                "Add points.csv, or number the objects 1, 2, 3 ... in each mask."
            )
        points = _centres(survey, progress)
    counted = [] if counts is None else [str(c) for c in counts.columns if c != "image"]
    dotted = set() if points is None else set(points["class"]) - set(counted)
    order = allowed or (*counted, *sorted(dotted))
    if not order:
        raise TransectError(f"{root} has not a single dot. Add rows to points.csv.")
    if counts is not None:
        counts = counts.reindex(columns=["image", *order], fill_value=0.0)
        if points is not None:
            problems += _disagreeing(points, counts, order)
    return replace(survey, points=points, counts=counts, boxes=boxes, classes=order), problems


def _centres(survey: Survey, progress: Progress | None) -> pd.DataFrame:
    """The centres of the objects of instance masks, as dots."""
    names = [image.name for image in survey.images if image.name in survey.masks]
    found = in_threads(lambda n: centroids(read_labels(survey.masks[n])), names, progress)
    owners = np.repeat(np.array(names, object), [len(dots) for dots in found])
    dots = np.concatenate(found) if found else np.zeros((0, 2))
    columns = {"image": owners, "x": dots[:, 0], "y": dots[:, 1], "class": survey.classes[0]}
    return pd.DataFrame(columns)


def _disagreeing(
    points: pd.DataFrame, counts: pd.DataFrame, classes: Sequence[str]
) -> list[Problem]:
    """Images whose dots and counts differ."""
    dots = pd.crosstab(points["image"], points["class"]).reindex(
        index=counts["image"], columns=list(classes), fill_value=0
    )
    differ = (dots.to_numpy() != counts[list(classes)].to_numpy(float)).any(axis=1)
    names = counts.loc[differ, "image"].tolist()
    if not names:
        return []
    what = f"counts.csv and points.csv differ for {counted(len(names), 'image')} (first: "
    return [Problem("counts.csv", f"{what}{names[0]}); the dots are used. Correct one of them.")]


def _with_identities(survey: Survey, missing: str | None) -> tuple[Survey, list[Problem]]:
    """Read identities; images without one are asked about."""
    table, problems = read_identities(survey.root / "identities.csv", survey.images)
    known = set(table["image"])
    without = [image.name for image in survey.training() if image.name not in known]
    if missing == "empty":
        raise TransectError(
            'missing="empty" has no meaning for identities. Pass missing="unlabelled", or write '
            f"{survey.unknown} for individuals that nobody knows."
        )
    survey = _missing_ones(survey, without, missing, "identity", "identities.csv")
    classes = tuple(sorted(set(table["identity"]) - {survey.unknown}))
    if "group" in table:
        groups = table.drop_duplicates("image").set_index("image")["group"].to_dict()
        images = (replace(i, group=i.group or groups.get(i.name) or None) for i in survey.images)
        survey = replace(survey, images=tuple(images))
    return replace(survey, identities=table, classes=classes), problems


def _missing_ones(
    survey: Survey, without: Sequence[str], missing: str | None, what: str, where: str
) -> Survey:
    """Refuse training images without annotation, or keep them from training, as asked."""
    if not without or missing == "empty":
        return survey
    if missing is None:
        hint = (
            'pass missing="unlabelled" to keep them from training'
            if what == "identity"
            else 'pass missing="empty" if that means there is nothing on them, or '
            'missing="unlabelled" to keep them from training'
        )
        raise TransectError(
            f"{len(without)} of {len(survey.training())} images have no {what} (first: "
            f"{without[0]}). Add them to {where}, or {hint}."
        )
    names = set(without)
    images = (replace(i, split="test") if i.name in names else i for i in survey.images)
    return replace(survey, images=tuple(images))


def _pixels(image: Image) -> int:
    """Pixels of an image."""
    return image.size_hw[0] * image.size_hw[1]
