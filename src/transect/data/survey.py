"""A survey folder opened and checked once: its question, what it holds, what is broken."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from transect.data.annotations import read_boxes, read_counts, read_identities, read_points
from transect.data.folder import Progress, in_threads, list_images, list_pictures, stem_of
from transect.data.folder import with_table as _with_table
from transect.data.images import read_labels
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
]

CHECKED_PX = 4_000_000_000
"""Masks are read through when the survey is opened, up to this many pixels; beyond it an even
sample of them is, and the rest is checked when it is first decoded."""
IGNORED = ("ignore", "void", "unlabelled", "unlabeled")
"""Class names in classes.csv whose pixels count for nothing."""

_TABLES = ("points.csv", "counts.csv", "boxes.csv", "identities.csv", "images.csv", "classes.csv")
_KIND_WORDS = {"binary": "binary", "classes": "class", "instances": "instance"}
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


def mask_labels(survey: Survey, name: str) -> NDArray[np.int32]:
    """Read one image's mask as numbers that mean the same in every survey.

    Args:
        survey: With masks.
        name: The image.

    Returns:
        (H, W) int32: 0 is background; for binary masks 1 is foreground, for classes 1, 2, ...
        in the order of ``survey.classes``, for instances the object's number; -1 is to be
        ignored. All 0 if the image has no mask.

    Raises:
        TransectError: If the mask cannot be read, has another size, or values of no class.
    """
    image = next(i for i in survey.images if i.name == name)
    if name not in survey.masks:
        return np.zeros(image.size_hw, np.int32)
    return labels_from(survey.masks[name], image.size_hw, survey)


def labels_from(path: Path, size_hw: tuple[int, int], survey: Survey) -> NDArray[np.int32]:
    """Read a mask file as ``mask_labels`` does, without looking the image up."""
    labels = read_labels(path)
    if labels.shape != tuple(size_hw):
        raise TransectError(_size_sentence(path.as_posix(), labels.shape, size_hw))
    if survey.mask_kind == "instances":
        return labels
    if survey.mask_kind == "binary":
        return (labels > 0).astype(np.int32)
    top = int(labels.max(initial=0))
    values = _values(survey)
    if top > 1 << 20:
        raise TransectError(_value_sentence(path.as_posix(), [top], values))
    table = np.full(top + 1, -2, np.int32)
    table[0] = 0
    for value, index in values.items():
        if value <= top:
            table[value] = index
    mapped = table[labels]
    if (mapped == -2).any():
        strange = np.unique(labels[mapped == -2]).tolist()
        raise TransectError(_value_sentence(path.as_posix(), strange, values))
    return mapped


def fold_table(survey: Survey, *, progress: Progress | None = None) -> pd.DataFrame:
    """What ``folds.make_folds`` balances: one row per training image.

    Args:
        survey: Any survey.
        progress: Called with (done, all) while masks are read.

    Returns:
        Columns image, and as far as known coverage (share of foreground pixels), class (the most
        frequent class), depth, count (objects, or dots), identity, kind, group.
    """
    images = survey.training()
    table: dict[str, list[Any]] = {"image": [image.name for image in images]}
    for column in ("depth", "kind", "group"):
        values = [getattr(image, column) for image in images]
        if any(value is not None for value in values):
            table[column] = values
    if survey.masks:
        facts = _facts(survey, images, progress)
        table["coverage"] = [_coverage(f, survey) for f in facts]
        if survey.mask_kind == "instances":
            table["count"] = [len(f.foreground) if f else 0 for f in facts]
        if survey.mask_kind == "classes":
            table["class"] = [_main_class(f, survey) for f in facts]
    dots = survey.points if survey.points is not None else survey.boxes
    if survey.counts is not None:
        totals = survey.counts.set_index("image")[list(survey.classes)]
        table["count"] = [float(totals.loc[n].sum()) for n in table["image"]]
        table["class"] = [
            str(totals.loc[n].idxmax()) if totals.loc[n].sum() else "" for n in table["image"]
        ]
    elif dots is not None:
        by_image = {str(n): part for n, part in dots.groupby("image")["class"]}
        some = [by_image.get(n) for n in table["image"]]
        table["count"] = [0 if part is None else len(part) for part in some]
        table["class"] = ["" if part is None else str(part.mode().iloc[0]) for part in some]
    if survey.identities is not None:
        first = survey.identities.drop_duplicates("image").set_index("image")
        table["identity"] = [first["identity"].get(n) for n in table["image"]]
        if "group" in first and "group" not in table:
            table["group"] = [first["group"].get(n) or None for n in table["image"]]
    return pd.DataFrame(table)


def survey_summary(survey: Survey) -> tuple[str, ...]:
    """Say in a few lines what a survey holds.

    Args:
        survey: Any survey.

    Returns:
        Lines without line ends, for the terminal and the report.
    """
    lines = [f"{_count(len(survey.images), 'image')}: {_sizes_line(survey.images)}"]
    test = len(survey.images) - len(survey.training())
    if test:
        lines.append(f"{len(survey.training())} to train on, {test} kept apart (split test)")
    lines.append(_truth_line(survey))
    for column in ("group", "kind"):
        values = Counter(getattr(i, column) for i in survey.images if getattr(i, column))
        if values:
            (most, times), *_ = values.most_common(1)
            lines.append(f"{_count(len(values), column)}, the largest {most!r} with {times} images")
    depths = [image.depth for image in survey.images if image.depth is not None]
    if depths:
        lines.append(f"depth {min(depths):g} to {max(depths):g} for {len(depths)} images")
    if survey.problems:
        what = _count(len(survey.problems), "problem")
        lines.append(f"{what}, left out or to be looked at; the first: {survey.problems[0].what}")
    return tuple(lines)


def fingerprint(survey: Survey) -> dict[str, Any]:
    """What a run notes of its data, to tell later whether it is still the same.

    Args:
        survey: Any survey.

    Returns:
        JSON values: question, classes, number of images, pixel sizes with their frequency, and
        ``sha256`` over the names, pixel sizes and bytes of all images and masks and the contents
        of all tables. Two folders with equal contents give equal values wherever they lie.
    """
    digest = hashlib.sha256()
    for image in survey.images:
        mask = survey.masks.get(image.name)
        sizes = [image.path.stat().st_size, mask.stat().st_size if mask else -1]
        row = [image.name, *image.size_hw, image.channels, image.dtype, image.split, *sizes]
        digest.update(json.dumps(row).encode() + b"\n")
    tables = {}
    for name in _TABLES:
        path = survey.root / name
        if path.is_file():
            tables[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{name} {tables[name]}\n".encode())
    sizes_hw = Counter(f"{i.size_hw[0]}x{i.size_hw[1]}" for i in survey.images)
    return {
        "question": survey.question,
        "images": len(survey.images),
        "training": len(survey.training()),
        "classes": list(survey.classes),
        "mask_kind": survey.mask_kind,
        "sizes_hw": dict(sorted(sizes_hw.items(), key=lambda item: (-item[1], item[0]))[:20]),
        "problems": len(survey.problems),
        "tables": tables,
        "sha256": digest.hexdigest(),
    }


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
            return Problem(shown, _size_sentence(shown, facts.size_hw, image.size_hw))
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
        allowed = {0, *_values(survey)}
        for name, fact in facts.items():
            strange = sorted(set(fact.values.tolist()) - allowed)
            if strange:
                shown = masks[name].relative_to(survey.root).as_posix()
                faulty[name] = Problem(shown, _value_sentence(shown, strange, _values(survey)))
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
            what += f"{_count(len(options), 'mask')} and {owners[stem_of(image.name)]} images are "
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


def _values(survey: Survey) -> dict[int, int]:
    """Mask value to label: 1, 2, ... by class, -1 for classes that are to be ignored."""
    pairs = zip(survey.class_values, survey.classes, strict=True)
    return {v: -1 if n.lower() in IGNORED else i for i, (v, n) in enumerate(pairs, start=1)}


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
            what = _KIND_WORDS[survey.mask_kind or "binary"]
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
    what = f"counts.csv and points.csv differ for {_count(len(names), 'image')} (first: "
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


# --- describing it -----------------------------------------------------------------------------


def _facts(
    survey: Survey, images: Sequence[Image], progress: Progress | None
) -> list[MaskFacts | None]:
    """What the masks of the images hold; None where there is no mask."""

    def look(image: Image) -> MaskFacts | None:
        path = survey.masks.get(image.name)
        return mask_facts(path) if path is not None else None

    return in_threads(look, images, progress)


def _coverage(facts: MaskFacts | None, survey: Survey) -> float:
    """Share of foreground pixels, those to be ignored aside."""
    if facts is None:
        return 0.0
    void = [v for v, label in _values(survey).items() if label < 0] if survey.class_values else []
    wanted = ~np.isin(facts.values, [0, *void])
    counted = ~np.isin(facts.values, void)
    return float(facts.pixels[wanted].sum() / max(facts.pixels[counted].sum(), 1))


def _main_class(facts: MaskFacts | None, survey: Survey) -> str:
    """The class with the most pixels, or nothing."""
    if facts is None:
        return ""
    names = dict(zip(survey.class_values, survey.classes, strict=True))
    pairs = [
        (int(n), names[int(v)])
        for v, n in zip(facts.values, facts.pixels, strict=True)
        if int(v) in names and names[int(v)].lower() not in IGNORED
    ]
    return max(pairs)[1] if pairs else ""


def _sizes_line(images: Sequence[Image]) -> str:
    """Sizes, channels and types, the most frequent first."""
    sizes = Counter(image.size_hw for image in images).most_common()
    shown = ", ".join(f"{h} x {w} ({n})" for (h, w), n in sizes[:3])
    if len(sizes) > 3:
        heights, widths = zip(*(size for size, _ in sizes), strict=True)
        shown += f" and {len(sizes) - 3} more sizes, {min(heights)}-{max(heights)} high and "
        shown += f"{min(widths)}-{max(widths)} wide"
    channels = "/".join(str(c) for c in sorted({image.channels for image in images}))
    types = "/".join(sorted({image.dtype for image in images}))
    return f"{shown} pixels (height x width); {channels} channels, {types}"


def _truth_line(survey: Survey) -> str:
    """One line on masks, dots, counts or identities."""
    if survey.question == "segment":
        images = survey.training()
        # A sample is enough for a summary; counting in 100,000 masks is the audit's work.
        facts = _facts(survey, images[:: max(1, len(images) // 2000)], None)
        coverage = np.array([_coverage(f, survey) for f in facts])
        line = (
            f"{_KIND_WORDS[survey.mask_kind or 'binary']} masks, {len(survey.masks)}; foreground "
        )
        line += f"{100 * coverage.mean():.1f} % of the pixels, "
        line += f"{100 * (coverage == 0).mean():.1f} % of the masks empty"
        if survey.mask_kind == "instances":
            objects = [len(f.foreground) if f else 0 for f in facts]
            line += f"; {sum(objects)} objects, {min(objects)} to {max(objects)} an image"
        if survey.mask_kind == "classes":
            line += f"; classes {', '.join(survey.classes[:12])}"
        return line
    if survey.question == "identify":
        assert survey.identities is not None
        table = survey.identities
        photos = table.loc[table["identity"] != survey.unknown, "identity"].value_counts()
        line = f"{_count(len(photos), 'individual')}, {(photos == 1).sum()} with a single photo"
        new = int((table["identity"] == survey.unknown).sum())
        return f"{line}; {new} photos of {survey.unknown}" if new else line
    if survey.points is not None:
        per_class = survey.points["class"].value_counts()
        shown = ", ".join(f"{name} {n}" for name, n in per_class.items())
        empty = len(survey.training()) - survey.points["image"].nunique()
        return f"{len(survey.points)} dots: {shown}; {max(empty, 0)} images without any"
    assert survey.counts is not None
    totals = survey.counts[list(survey.classes)].sum()
    return "counts: " + ", ".join(f"{name} {total:g}" for name, total in totals.items())


def _count(n: int, word: str) -> str:
    """A number and its noun.

    Example:
        >>> _count(1, "image"), _count(3, "image")
        ('1 image', '3 images')
    """
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _pixels(image: Image) -> int:
    """Pixels of an image."""
    return image.size_hw[0] * image.size_hw[1]


def _size_sentence(name: str, got: Sequence[int], want: Sequence[int]) -> str:
    """The sentence for a mask that does not fit its image."""
    turned = " It seems to be turned by 90 degrees." if tuple(got) == (want[1], want[0]) else ""
    return (
        f"{name} is {got[0]} x {got[1]} and its image {want[0]} x {want[1]} pixels (height x "
        f"width).{turned} Export the mask again at the size of the image."
    )


def _value_sentence(name: str, strange: Sequence[int], known: Iterable[int]) -> str:
    """The sentence for mask values that are no classes."""
    values = ", ".join(str(v) for v in strange[:5])
    classes = ", ".join(str(v) for v in sorted({0, *known})[:12])
    return (
        f"{name} has the value {values}, which is no class (they are {classes}). Correct the mask "
        "or add the value to classes.csv."
    )
