"""A survey described: a few lines to read, a table for the folds, a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from transect.data.folder import Progress, in_threads
from transect.data.manifest import MANIFEST
from transect.data.masks import MaskFacts, mask_facts
from transect.data.tables import table_file
from transect.errors import TransectError, listed
from transect.files import digest_of
from transect.types import Image, Survey

__all__ = ["KIND_WORDS", "changed_files", "counted", "fingerprint", "fold_table", "survey_summary"]

_TABLES = ("points", "counts", "boxes", "identities", "labels", "images", "classes", "objects")
KIND_WORDS = {"binary": "binary", "classes": "class", "instances": "instance"}


def fold_table(survey: Survey, *, progress: Progress | None = None) -> pd.DataFrame:
    """What ``folds.make_folds`` balances: one row per training image.

    Args:
        survey: Any survey.
        progress: Called with (done, all) while masks are read.

    Returns:
        Columns image, and as far as known coverage (share of foreground pixels), class (the most
        frequent class; of several labels the rarest), depth, count (objects, or dots), identity,
        kind, group.
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
            table["class"] = [
                _main_class(f, survey, i.name) for f, i in zip(facts, images, strict=True)
            ]
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
    if survey.labels is not None:
        table["class"] = _rarest_label(survey, table["image"])
    return pd.DataFrame(table)


def survey_summary(survey: Survey) -> tuple[str, ...]:
    """Say in a few lines what a survey holds.

    Args:
        survey: Any survey.

    Returns:
        Lines without line ends, for the terminal and the report.
    """
    lines = [f"{counted(len(survey.images), 'image')}: {_sizes_line(survey.images)}"]
    test = len(survey.images) - len(survey.training())
    if test:
        lines.append(f"{len(survey.training())} to train on, {test} kept apart (split test)")
    lines.append(_truth_line(survey))
    for column in ("group", "kind"):
        values = Counter(getattr(i, column) for i in survey.images if getattr(i, column))
        if values:
            (most, times), *_ = values.most_common(1)
            lines.append(
                f"{counted(len(values), column)}, the largest {most!r} with {times} images"
            )
    depths = [image.depth for image in survey.images if image.depth is not None]
    if depths:
        lines.append(f"depth {min(depths):g} to {max(depths):g} for {len(depths)} images")
    lines += survey.notes
    if survey.problems:
        what = counted(len(survey.problems), "problem")
        lines.append(f"{what}, left out or to be looked at; the first: {survey.problems[0].what}")
    return tuple(lines)


def fingerprint(survey: Survey) -> dict[str, Any]:
    """What a run notes of its data, to tell later whether it is still the same.

    Args:
        survey: Any survey.

    Returns:
        JSON values: question, classes, number of images, pixel sizes with their frequency,
        ``files`` (image to a digest of its bytes and its mask's), ``tables`` (table to a digest)
        and ``sha256`` over all of it. Two folders with equal contents give equal values wherever
        they lie.

    Raises:
        TransectError: If an image or mask has vanished since the survey was opened.
    """
    digest = hashlib.sha256()
    files = dict(
        zip(
            [image.name for image in survey.images],
            in_threads(lambda image: _contents(image, survey), survey.images, None),
            strict=True,
        )
    )
    for image in survey.images:
        row = [image.name, *image.size_hw, image.channels, image.dtype, image.split]
        digest.update(json.dumps([*row, files[image.name]]).encode() + b"\n")
    tables = {}
    for path in [*(table_file(survey.root, name) for name in _TABLES), survey.root / MANIFEST]:
        if path is not None and path.is_file():
            tables[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.name} {tables[path.name]}\n".encode())
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
        "files": files,
        "sha256": digest.hexdigest(),
    }


def changed_files(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two fingerprints.

    Args:
        before: From ``fingerprint``, perhaps read from a run.
        now: Of the survey as it is.

    Returns:
        Images, which stand for their masks too, and tables that were added, removed or changed,
        sorted; empty if only the question or the classes differ.
    """
    return sorted(
        name
        for part in ("files", "tables")
        for name in {*before.get(part, {}), *now.get(part, {})}
        if before.get(part, {}).get(name) != now.get(part, {}).get(name)
    )


def _contents(image: Image, survey: Survey) -> str:
    """A digest of the bytes of an image and its mask."""
    mask = survey.masks.get(image.name)
    both = [_digest(path, survey) if path else "" for path in (image.path, mask)]
    return hashlib.sha256(" ".join(both).encode()).hexdigest()[:32]


def _digest(path: Path, survey: Survey) -> str:
    """The digest of a file, or of the files of a folder, that was there a moment ago."""
    try:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file())
            text = "".join(f"{p.relative_to(path)} {_digest(p, survey)}\n" for p in inside)
            return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        return digest_of(path)
    except OSError as error:
        name = path.relative_to(survey.root) if path.is_relative_to(survey.root) else path
        raise TransectError(
            f"{name} vanished while the survey was read. Restore it, or repeat without it."
        ) from error


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
    wanted = ~np.isin(facts.values, [0, *survey.background_values, *survey.void_values])
    counted = ~np.isin(facts.values, survey.void_values)
    return float(facts.pixels[wanted].sum() / max(facts.pixels[counted].sum(), 1))


def _main_class(facts: MaskFacts | None, survey: Survey, image: str) -> str:
    """The class with the most pixels, or nothing."""
    if facts is None:
        return ""
    names = dict(zip(survey.class_values, survey.classes, strict=True))
    numbers = survey.objects.get(image, {})
    sums: Counter[str] = Counter()
    for value, n in zip(facts.values.tolist(), facts.pixels.tolist(), strict=True):
        value = numbers.get(value, 0) if survey.objects else value
        if value in names:
            sums[names[value]] += n
    return max((n, name) for name, n in sums.items())[1] if sums else ""


def _rarest_label(survey: Survey, names: Sequence[str]) -> list[str]:
    """Of every image the label that fewest others have: what folds must share out; "" for none."""
    assert survey.labels is not None
    marks = survey.labels.set_index("image")[list(survey.classes)].reindex(
        list(names), fill_value=0
    )
    there = np.asarray(marks, bool)
    rarity = np.where(there, there.sum(axis=0), len(there) + 1)
    words = np.array(survey.classes, object)[rarity.argmin(axis=1)]
    return [str(word) for word in np.where(there.any(axis=1), words, "")]


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
        line = f"{KIND_WORDS[survey.mask_kind or 'binary']} masks, {len(survey.masks)}; foreground "
        line += f"{100 * coverage.mean():.1f} % of the pixels, "
        line += f"{100 * (coverage == 0).mean():.1f} % of the masks empty"
        if survey.mask_kind == "instances":
            objects = [len(f.foreground) if f else 0 for f in facts]
            line += f"; {sum(objects)} objects, {min(objects)} to {max(objects)} an image"
        if survey.mask_kind == "classes":
            line += f"; classes {listed(survey.classes)}"
        return line
    if survey.question == "identify":
        assert survey.identities is not None
        table = survey.identities
        photos = table.loc[table["identity"] != survey.unknown, "identity"].value_counts()
        line = f"{counted(len(photos), 'individual')}, {(photos == 1).sum()} with a single photo"
        new = int((table["identity"] == survey.unknown).sum())
        return f"{line}; {new} photos of {survey.unknown}" if new else line
    if survey.labels is not None:
        return _labels_line(survey)
    if survey.points is not None:
        per_class = survey.points["class"].value_counts()
        shown = listed([f"{name} {n}" for name, n in per_class.items()])
        empty = len(survey.training()) - survey.points["image"].nunique()
        return f"{len(survey.points)} dots: {shown}; {max(empty, 0)} images without any"
    assert survey.counts is not None
    totals = survey.counts[list(survey.classes)].sum()
    return "counts: " + listed([f"{name} {total:g}" for name, total in totals.items()])


def _labels_line(survey: Survey) -> str:
    """How the labels were read, and how many there are of each."""
    assert survey.labels is not None
    images = {image.name for image in survey.training()}
    marks = survey.labels[survey.labels["image"].isin(images)][list(survey.classes)]
    sums = marks.sum()
    order = sums.index if survey.label_kind == "grades" else sums.sort_values(
        ascending=False, kind="stable"
    ).index  # fmt: skip
    shown = ", ".join(f"{name} {sums[name]}" for name in order[:12])
    more = f" and {len(sums) - 12} more" if len(sums) > 12 else ""
    what = {"single": "one label each", "several": "any number of labels each",
            "grades": "one grade each"}[survey.label_kind or "single"]  # fmt: skip
    line = f"labels, {what} (--labels says otherwise): {shown}{more}"
    none = int((marks.sum(axis=1) == 0).sum())
    return f"{line}; {none} without any" if none else line


def counted(n: int, word: str) -> str:
    """A number and its noun.

    Example:
        >>> counted(1, "image"), counted(3, "image")
        ('1 image', '3 images')
    """
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
