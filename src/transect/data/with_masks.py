"""A survey completed by its masks: paired, checked, and what their numbers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from transect.data.folder import Progress, in_threads
from transect.data.labels import (
    class_labels,
    object_sentence,
    size_sentence,
    value_sentence,
)
from transect.data.manifest import MANIFEST, read_manifest
from transect.data.masks import MaskFacts, mask_facts
from transect.data.meaning import BACKGROUND, VOID, Meaning, meaning_of
from transect.data.missing import kept_apart, missing_ones, unsure_images
from transect.data.objects import ObjectClasses, read_objects
from transect.data.pairing import pair_masks
from transect.errors import TransectError
from transect.types import Image, MaskKind, Problem, Survey

__all__ = ["CHECKED_PX", "unused_note", "with_masks"]

CHECKED_PX = 4_000_000_000
"""Masks are read through when the survey is opened, up to this many pixels; beyond it an even
sample of them is, and the rest is checked when it is first decoded."""


def with_masks(
    survey: Survey,
    names: Mapping[int, str],
    missing: str | None,
    told: MaskKind | None,
    progress: Progress | None,
) -> tuple[Survey, list[Problem]]:
    """Find, pair and check the masks, and tell what their numbers mean.

    Args:
        survey: With its images.
        names: Of classes.csv: mask value to name.
        missing: What a training image without mask is; see ``open_survey``.
        told: How the user says that masks are to be read; None asks ``survey.json``, then the
            masks.
        progress: Called with (done, all).

    Returns:
        The survey with masks and classes, images with faulty masks left out; and problems.

    Raises:
        TransectError: If no mask can be used, or nobody can tell what they mean.
    """
    pairs = pair_masks(survey.root, survey.images)
    masks, problems = dict(pairs.masks), list(pairs.problems)
    survey = kept_apart(survey, unsure_images(problems) - set(masks))
    without = [i.name for i in survey.training() if i.name not in masks]
    survey = missing_ones(survey, without, missing, "mask", "masks/")
    labelled = [image for image in survey.images if image.name in masks]
    chosen = labelled[:: max(1, -(-sum(_pixels(i) for i in labelled) // CHECKED_PX))]
    results = in_threads(lambda i: _checked(survey.root, masks[i.name], i), chosen, progress)
    facts = {i.name: r for i, r in zip(chosen, results, strict=True) if isinstance(r, MaskFacts)}
    faulty = {i.name: r for i, r in zip(chosen, results, strict=True) if isinstance(r, Problem)}
    if not facts:
        what = next(iter(faulty.values())).what
        if "has colours" in what and (survey.root / "labelmap.txt").is_file():
            what += f" Or let transect convert {survey.root} OUT read the colours of labelmap.txt."
        elif "has colours" in what:
            what += f" Or let transect convert {survey.root} OUT read a class or object per colour."
        raise TransectError(
            f"none of the masks in {survey.root / 'masks'} can be used (first: {what})"
        )
    stored = read_manifest(survey.root).masks
    notes: list[str] = []
    named = read_objects(survey.root, survey.images, classes=_allowed(names), notes=notes)
    if named is not None and told in (None, "classes"):
        survey = replace(survey, masks=masks, notes=(*survey.notes, *pairs.notes, *notes))
        survey, more = _with_objects(survey, named, facts, faulty, names)
        return survey, [*problems, *named.problems, *more]
    meaning = meaning_of(
        [masks[name] for name in facts],
        list(facts.values()),
        names=names,
        told=told or stored,
        objects="objects are to be counted" if survey.question == "count" else pairs.objects,
    )
    if told is None and stored is not None:
        meaning = replace(meaning, why=f"{MANIFEST} says so")
    survey = replace(survey, masks=masks, notes=(*survey.notes, *pairs.notes))
    survey = _with_meaning(survey, meaning, names, complete=len(chosen) == len(labelled))
    if meaning.kind == "classes":
        faulty |= _of_no_class(survey, facts)
    survey = replace(
        survey,
        images=tuple(i for i in survey.images if i.name not in faulty),
        masks={name: path for name, path in masks.items() if name not in faulty},
    )
    return survey, problems + list(faulty.values())


def _allowed(names: Mapping[int, str]) -> tuple[str, ...]:
    """The classes of classes.csv that an object can have."""
    return tuple(n for v, n in names.items() if v and n.lower() not in (*VOID, *BACKGROUND))


def _with_objects(
    survey: Survey,
    named: ObjectClasses,
    facts: Mapping[str, MaskFacts],
    faulty: Mapping[str, Problem],
    names: Mapping[int, str],
) -> tuple[Survey, list[Problem]]:
    """Masks of numbered objects whose classes a table names: read as class masks."""
    numbers = {label: k for k, label in enumerate(named.classes, start=1)}
    objects = {
        image: {k: numbers[label] for k, label in some.items()}
        for image, some in named.of_image.items()
    }
    broken, absent = dict(faulty), 0
    for image, fact in facts.items():
        there, known = set(fact.foreground.tolist()), set(objects.get(image, {}))
        absent += len(known - there)
        if strange := sorted(there - known):
            shown = survey.masks[image].relative_to(survey.root).as_posix()
            broken[image] = Problem(shown, object_sentence(shown, strange))
    problems = list(broken.values())
    if absent:
        what = f"objects.csv names {absent} objects that no mask holds. Remove their rows."
        problems.append(Problem("objects.csv", what))
    notes = [
        "masks number objects, and objects.csv names their classes: they are read as class masks; "
        "if only the objects count, say --masks instances"
    ]
    if unused := [n for n in _allowed(names) if n not in named.classes]:
        notes.append(unused_note(unused, "object"))
    survey = replace(
        survey,
        images=tuple(i for i in survey.images if i.name not in broken),
        masks={name: path for name, path in survey.masks.items() if name not in broken},
        mask_kind="classes",
        classes=named.classes,
        class_values=tuple(numbers.values()),
        objects=objects,
        notes=(*survey.notes, *notes),
    )
    return survey, problems


def _checked(root: Path, path: Path, image: Image) -> MaskFacts | Problem:
    """What a mask holds, or what is wrong with it."""
    shown = path.relative_to(root).as_posix()
    try:
        facts = mask_facts(path)
    except TransectError as error:
        return Problem(shown, str(error))
    if facts.size_hw != image.size_hw:
        return Problem(shown, size_sentence(shown, facts.size_hw, image.size_hw))
    return facts


def _of_no_class(survey: Survey, facts: Mapping[str, MaskFacts]) -> dict[str, Problem]:
    """Masks with values that no class has, by image."""
    known = class_labels(survey)
    faulty = {}
    for name, fact in facts.items():
        if strange := sorted(set(fact.values.tolist()) - {0, *known}):
            shown = survey.masks[name].relative_to(survey.root).as_posix()
            faulty[name] = Problem(shown, value_sentence(shown, strange, known))
    return faulty


def _with_meaning(
    survey: Survey, meaning: Meaning, names: Mapping[int, str], *, complete: bool
) -> Survey:
    """Name the classes of masks; of those in classes.csv only the ones that occur."""
    aside = {0, *meaning.void, *meaning.background}
    named = {value: name for value, name in names.items() if value not in aside}
    notes = [_kind_note(meaning), *meaning.notes]
    classes: tuple[str, ...]
    values: tuple[int, ...] = ()
    if meaning.kind == "instances":
        classes = (next(iter(named.values()), "object"),)
    elif meaning.kind == "binary":
        classes = (next(iter(named.values()), "foreground"),)
        values = (max(meaning.values, default=1),)
    else:
        used = named or {value: str(value) for value in meaning.values}
        unused = [name for value, name in used.items() if value not in meaning.values]
        if complete and 0 < len(unused) < len(used):
            used = {value: name for value, name in used.items() if value in meaning.values}
            notes.append(unused_note(unused, "pixel"))
        classes, values = tuple(used.values()), tuple(used)
    return replace(
        survey,
        mask_kind=meaning.kind,
        classes=classes,
        class_values=values,
        void_values=meaning.void,
        background_values=meaning.background,
        notes=(*survey.notes, *notes),
    )


def _kind_note(meaning: Meaning) -> str:
    """How masks are read, why, and how to say otherwise."""
    others = [kind for kind in get_args(MaskKind) if kind != meaning.kind]
    values = ", ".join(map(str, meaning.values[:12])) or "0 only"
    more = f" and {len(meaning.values) - 12} more" if len(meaning.values) > 12 else ""
    return (
        f"masks are read as {meaning.kind} ({meaning.why}; values {values}{more}); if that is "
        f"wrong, say --masks {others[0]} or --masks {others[1]}"
    )


def unused_note(names: Sequence[str], what: str) -> str:
    """The sentence for classes of classes.csv that nothing shows."""
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"classes.csv names {shown}, of which there is no {what}: left out of the classes"


def _pixels(image: Image) -> int:
    """Pixels of an image."""
    return image.size_hw[0] * image.size_hw[1]
