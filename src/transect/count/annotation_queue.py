"""Crops to dot next as a small survey with the dots that a run proposes, and the way back."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from transect.count.annotate import Suggestion
from transect.count.predicting import CountPredictor
from transect.count.tables import write_table
from transect.data.folder import list_new
from transect.data.images import open_reader
from transect.data.survey import open_survey
from transect.errors import TransectError, listed
from transect.files import safe_join
from transect.predict.outputs import write_picture
from transect.report.pictures import shown
from transect.run import RunFolder
from transect.types import Image

__all__ = ["take_back", "write_todo"]


def write_todo(
    path: Path, images: Path, chosen: list[Suggestion], out: Path, *, device: str = "cpu"
) -> Path:
    """Write the suggested crops as a survey folder whose dots are to be corrected.

    Args:
        path: The run.
        images: The folder that was searched.
        chosen: From ``next_to_annotate``.
        out: Gets ``images/``, ``points.csv`` with proposed dots, and ``suggestions.csv``.
        device: Where.

    Returns:
        ``out``.

    Raises:
        TransectError: If ``out`` has something in it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TransectError(f"{out} exists and is not empty. Choose another folder.")
    predictor = CountPredictor(RunFolder.open(path), device=device)
    listed, _ = list_new(images)
    by_name = {image.name: image for image in listed}
    dots: list[tuple[str, str, str, str]] = []
    rows = []
    for one in chosen:
        image = by_name[one.image]
        name = _write_crop(image, one, out)
        answer = predictor.answer(predictor.map(image), image)
        x0, y0, x1, y1 = one.box
        kinds = answer.kinds
        if (kinds < 0).any():  # classes share a map: the most frequent one is proposed
            kinds = np.full(len(kinds), int(np.argmax(answer.counts)))
        for (x, y), kind in zip(answer.points, kinds, strict=True):
            if x0 - 0.5 <= x < x1 - 0.5 and y0 - 0.5 <= y < y1 - 0.5:
                dots.append((name, f"{x - x0:.1f}", f"{y - y0:.1f}", predictor.classes[kind]))
        scores = (one.score, one.doubt, one.strangeness, one.width)
        rows.append((name, one.image, *one.box, *(f"{value:.3f}" for value in scores)))
    write_table(out / "points.csv", ("image", "x", "y", "class"), dots)
    header = ("crop", "image", "x0", "y0", "x1", "y1", "score", "doubt", "strangeness", "width")
    write_table(out / "suggestions.csv", header, rows)
    return out


def take_back(todo: Path, root: Path) -> int:
    """Add corrected crops and their dots to a survey.

    Args:
        todo: A survey folder: what ``write_todo`` wrote, corrected; or any other with dots.
        root: The survey that grows: its ``images/`` and ``points.csv``.

    Returns:
        Images that were added.

    Raises:
        TransectError: If either has no usable dots, or a picture of the same name is there.
    """
    new, old = open_survey(todo, question="count"), open_survey(root, question="count")
    if new.points is None or not (root / "points.csv").is_file():
        raise TransectError(f"{root} and {todo} must both have points.csv. Write them.")
    for problem in new.problems:
        raise TransectError(f"{todo}: {problem.name}: {problem.what}")
    strange = sorted(set(new.classes) - set(old.classes))
    if strange:
        raise TransectError(
            f"{todo} has the class {strange[0]!r}, which {root} does not ({listed(old.classes)})"
            ". Correct it, or add a dot of this class to the survey first."
        )
    for image in new.images:
        if safe_join(root / "images", image.name).exists():
            raise TransectError(
                f"{root / 'images' / image.name} is there already. Remove it from {todo}, or "
                "rename it."
            )
    for image in new.images:
        target = safe_join(root / "images", image.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image.path, target)
    table = pd.read_csv(root / "points.csv", dtype=str, keep_default_na=False)
    more = new.points[["image", "x", "y", "class"]].astype(str)
    if "class" not in table:
        more = more.drop(columns="class")
    joined = pd.concat([table, more]).fillna("")
    write_table(root / "points.csv", list(joined.columns), joined.to_numpy().tolist())
    return len(new.images)


def _write_crop(image: Image, one: Suggestion, out: Path) -> str:
    """Write the crop as a picture and give its name."""
    x0, y0, x1, y1 = one.box
    pixels = open_reader(image.path).window(y0, x0, y1 - y0, x1 - x0)
    stem = Path(image.name)
    name = str(stem.with_name(f"{stem.stem}_x{x0}_y{y0}.png"))
    write_picture(safe_join(out / "images", name), shown(pixels))
    return name
