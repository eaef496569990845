"""Which one is it: from photos of individuals to ranked identities, "none we know" among them.

Read ``train`` from top to bottom for the whole story; each line is a room or a file here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.catalogue.store import Catalogue, Photo
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.folds import read_folds, write_folds
from transect.identify import auto
from transect.identify.deciding import decide_out_of_fold, expected_share
from transect.identify.demonstration import judge, simulate
from transect.identify.duplicates import duplicate_photos, resolve_duplicates
from transect.identify.folds import identity_folds
from transect.identify.leak import same_encounter_leak
from transect.identify.leakfree import keep_doubtful_names, score_without
from transect.identify.oof import assemble, fold_vectors, look_at_photos, used_folds, write_people
from transect.identify.pages import write_report
from transect.identify.photos import Photos, subjects_of
from transect.identify.predicting import Identifier, answer_folder, layout_of, submission
from transect.identify.scorers import source_names
from transect.identify.scoring import score_answers
from transect.identify.thumbnails import Album
from transect.identify.training import fit_fold
from transect.openset.decider import share_weights
from transect.openset.evidence import UNKNOWN
from transect.recipe import IdentifyDecide, Recipe
from transect.run import RunFolder
from transect.train.distributed import is_main_process
from transect.train.plan import told
from transect.types import Progress, Survey

__all__ = [
    "judge",
    "plan",
    "predict",
    "prepare",
    "report",
    "score",
    "score_without",
    "simulate",
    "submit",
    "train",
    "within_budget",
]

plan = auto.plan
within_budget = auto.within_budget


def prepare(survey: Survey, scratch: Path, progress: Progress) -> Photos:
    """Cut all animals out; broken photos and copies are told and left out.

    Raises:
        TransectError: If nothing is left to train on.
    """
    photos = Photos(
        subjects_of(survey),
        unknown=survey.unknown,
        scratch=scratch,
        prints=True,
        progress=lambda done, total: progress.step("decoding", done, total),
    )
    for problem in (*survey.problems, *photos.problems):
        progress.say(f"left out: {problem.name}: {problem.what}")
    return _without_copies(photos, progress)


def train(photos: Photos, recipe: Recipe, path: Path, *, progress: Progress, device: str) -> None:
    """Train every member on every fold, ask all sources, decide out of fold, score, report.

    Called again on the same folder, it goes on where it stopped.

    Args:
        photos: From ``prepare``.
        recipe: With every number settled.
        path: The run folder.
        progress: Told what happens.
        device: Where.
    """
    run = RunFolder(path)
    names = photos.named()
    people = np.unique(names[names != photos.unknown])
    if len(people) < 2:
        raise TransectError(
            f"recognising needs photos of at least two individuals; there are {len(people)}. Add "
            "photos, or names in identities.csv."
        )
    source_names(recipe)  # a misspelt source is said before training
    run.write_json(
        "inputs.json",
        {"unknown": photos.unknown, "channels": photos.channels, "longest": photos.longest},
    )
    folds = folds_of(run, recipe, photos)
    for member in recipe.members:
        for fold in used_folds(recipe):
            rows = np.flatnonzero(folds != fold)
            write_people(run, member, fold, names[rows], photos.unknown)
            if member.stages:
                fit_fold(
                    photos,
                    member,
                    rows,
                    folder=run.fold(member.name, fold),
                    seed=recipe.seed * 1000 + fold,
                    device=device,
                    progress=told(progress, member.name, fold),
                )
        if is_main_process():
            look_at_photos(run, recipe, member, photos, folds, device=device, progress=progress)
    if not is_main_process():
        return
    asked = assemble(
        run,
        recipe,
        photos,
        folds,
        people,
        device=device,
        workers=os.cpu_count() or 1,
        progress=progress,
    )
    metrics = decide_out_of_fold(run, recipe, photos, asked, people, progress)
    run.write_json("metrics.json", metrics)
    run.write_json("facts.json", _facts(run, recipe, photos, folds, people))
    keep_doubtful_names(run)
    _write_catalogue(run, recipe, photos)
    report(path)
    main = next(iter(metrics))
    low, high = metrics[main]["interval"]
    progress.say(f"out of fold: {main} {metrics[main]['value']:.4f} [{low:.4f}, {high:.4f}]")


def score(path: Path, truth: Path | None, *, progress: Progress) -> dict[str, Any]:
    """Scores out of fold, or against a survey with known identities.

    Returns:
        Metric name to value, interval and folds.
    """
    run = RunFolder.open(path)
    if truth is None:
        return dict(run.read_json("metrics.json"))
    identifier = Identifier(run, device="cpu")
    survey = open_survey(truth, question="identify", unknown=identifier.unknown)
    named = {s.key: s.identity for s in subjects_of(survey)}
    boxes = {s.key: s.box for s in subjects_of(survey) if s.box is not None}
    photos = identifier.open_photos(survey.training(), None, progress, boxes)
    decision = identifier.answer(photos, progress).decision
    number = {str(name): i for i, name in enumerate(identifier.people)}
    real = np.array([number.get(str(named[s.key]), UNKNOWN) for s in photos.subjects], np.int64)
    names = np.array([str(named[s.key]) for s in photos.subjects], dtype=np.str_)
    share = expected_share(identifier.decide, names, identifier.unknown)
    return score_answers(
        decision,
        real,
        people=identifier.people,
        unknown=identifier.unknown,
        groups=np.array([s.group or s.key for s in photos.subjects], dtype=np.str_),
        folds=np.full(len(real), -1),
        weights=share_weights(real, share),
        top_k=identifier.decide.top_k,
    )


def predict(
    path: Path, images: Path, out: Path, *, device: str, progress: Progress, **options: Any
) -> dict[str, Any]:
    """Write ranked identities for every photo of a folder; see ``predicting.answer_folder``."""
    return answer_folder(
        RunFolder.open(path), images, out, device=device, progress=progress, **options
    )


def submit(path: Path, images: Path, out: Path, *, device: str, progress: Progress) -> None:
    """Write the competition's file: Image,Id with five identities each."""
    submission(RunFolder.open(path), images, out, device=device, progress=progress)


def report(path: Path) -> Path:
    """Write ``report.html`` from what is in the run folder."""
    return write_report(RunFolder.open(path))


def _without_copies(photos: Photos, progress: Progress) -> Photos:
    """Leave out copies of photos, and photos that stand under several names."""
    found = duplicate_photos(photos.prints)
    if not found:
        return photos
    sizes = [s.image.size_hw[0] * s.image.size_hw[1] for s in photos.subjects]
    out, ambiguous = resolve_duplicates(
        found, photos.named().tolist(), sizes, unknown=photos.unknown
    )
    for rows in ambiguous:
        names = sorted({str(photos.subjects[r].identity) for r in rows})
        progress.say(
            f"ambiguous: {photos.subjects[rows[0]].key} stands under {', '.join(names)}; its "
            f"{len(rows)} copies are left out. Keep the right one."
        )
    copies = len(out) - sum(len(rows) for rows in ambiguous)
    if copies:
        progress.say(f"copies: {copies} photos are copies of others and are left out")
    keep = np.setdiff1d(np.arange(len(photos)), out)
    return photos.take(keep)


def folds_of(run: RunFolder, recipe: Recipe, photos: Photos) -> NDArray[np.int64]:
    """The fold of every photo; written once."""
    path = run.path / "folds.csv"
    keys = [s.key for s in photos.subjects]
    if path.exists():
        return read_folds(path, keys)
    decide = recipe.decide
    assert isinstance(decide, IdentifyDecide)
    share = expected_share(decide, photos.named(), photos.unknown)
    folds = identity_folds(
        photos.named().tolist(),
        photos.groups() if recipe.folds.group else None,
        count=recipe.folds.count,
        share_unknown=share or 0.0,
        unknown=photos.unknown,
        seed=recipe.folds.seed,
    )
    write_folds(path, keys, folds)
    return folds


def _facts(
    run: RunFolder,
    recipe: Recipe,
    photos: Photos,
    folds: NDArray[np.int64],
    people: NDArray[np.str_],
) -> dict[str, Any]:
    """What the report says of the survey."""
    names = photos.named()
    named = names[names != photos.unknown]
    met = {
        str(person): len({photos.subjects[i].group or i for i in np.flatnonzero(names == person)})
        for person in people
    }
    return {
        "photos": len(photos),
        "people": people.tolist(),
        "keys": [s.key for s in photos.subjects],
        "identities": names.tolist(),
        "counts": np.unique(named, return_counts=True)[1].tolist(),
        "encounters": len({s.group or s.key for s in photos.subjects}),
        "once": sum(count == 1 for count in met.values()),
        "unnamed": int((names == photos.unknown).sum()),
        "leak": same_encounter_leak(run, recipe, photos, folds),
    }


def _write_catalogue(run: RunFolder, recipe: Recipe, photos: Photos) -> None:
    """Begin the run's catalogue: all photos, with the vectors of every member and fold."""
    Album(run.path / "album").keep(photos)
    folder = run.path / "catalogue"
    if (folder / "catalogue.json").is_file() and Catalogue.open(folder).photos:
        return
    names = source_names(recipe)
    parts: list[NDArray[np.float32]] = []
    shapes: dict[tuple[str, int], tuple[int, ...]] = {}
    for member in recipe.members:
        if member.name not in names:
            continue
        for fold in used_folds(recipe):
            vectors = fold_vectors(run, member, fold)
            shapes[member.name, fold] = vectors.shape[1:]
            parts.append(np.asarray(vectors).reshape(len(photos), -1))
    if not (folder / "catalogue.json").is_file():
        Catalogue.create(folder, about={"layout": layout_of(shapes)})
    together = np.concatenate(parts, axis=1) if parts else np.zeros((len(photos), 1), np.float32)
    Catalogue.open(folder).add(
        [
            Photo(s.key, s.identity or photos.unknown, s.group or "", s.date or "", s.side or "")
            for s in photos.subjects
        ],
        together,
        who="transect train",
    )
