"""Out-of-fold probabilities of every member, as files, and the decision that they settle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from transect.classify.dataset import LabelledImages
from transect.classify.deciding import (
    Decision,
    Evidence,
    fit_decision,
    nested_answers,
    parts_of,
    trivial_answers,
)
from transect.classify.members import MemberModels, facts_of, stored_vectors
from transect.classify.scoring import rows_of, unit_values
from transect.errors import TransectError
from transect.files import atomic_path
from transect.recipe import ClassifyDecide, Member, Recipe
from transect.run import RunFolder
from transect.task import Rows, Work

__all__ = ["decide_out_of_fold", "decision_of", "members_in_order", "predict_held_out"]


def members_in_order(recipe: Recipe) -> tuple[Member, ...]:
    """Members without training first: of equal ones the simplest answers."""
    return tuple(sorted(recipe.members, key=lambda member: bool(member.stages)))


def predict_held_out(work: Work[LabelledImages]) -> None:
    """Write what every member says of the images that each fold held out."""
    facts, dataset = facts_of(work.run, work.recipe), work.dataset
    for member in work.recipe.members:
        for fold in work.used:
            path = work.run.oof(member.name) / f"fold{fold}.npy"
            if path.is_file():
                continue
            rows = np.flatnonzero(work.folds == fold)
            models = MemberModels(work.run, work.recipe, member, facts, (fold,), work.device)
            if member.stages:
                part = dataset.take(rows)
                phase = f"predicting {member.name}, fold {fold}"
                p = models.ask(
                    part.pixels,
                    part.images,
                    lambda done, total, phase=phase: work.progress.step(phase, done, total),  # type: ignore[misc]
                )
            else:
                p = models.from_vectors(stored_vectors(work.run, member)[rows])
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, p)


def decide_out_of_fold(work: Work[LabelledImages]) -> Rows:
    """Fit the decision on all folds, and give every image the answer of one fitted without it."""
    decide = work.recipe.decide
    assert isinstance(decide, ClassifyDecide)
    dataset = work.dataset
    rows = np.flatnonzero((work.folds >= 0) & (work.folds < len(work.used)))
    images = [dataset.images[i] for i in rows.tolist()]
    together = [image.group or f"#{image.name}" for image in images]
    groups = np.unique(together, return_inverse=True)[1].astype(np.int64)
    evidence = Evidence(
        _stored(work, rows),
        dataset.truth[rows].astype(bool),
        parts_of(work.folds[rows], groups),
        dataset.kind,
        groups,
    )
    p, said, share = nested_answers(evidence, decide)
    decision = fit_decision(evidence, decide)
    record = decision.save(work.run.path) | {"nested": share}
    work.run.write_json("decide.json", record)
    told = ", ".join(f"{name} {score:.4f}" for name, score in decision.scores.items())
    work.progress.say(f"out of fold: {told}; {decision.source} answers")
    found = rows_of(
        [image.name for image in images],
        work.folds[rows],
        [image.group for image in images],
        p,
        said,
        evidence.truth,
    )
    blind = {"said": trivial_answers(evidence, decide), "truth": evidence.truth}
    _, values = unit_values(replace(found, values=blind))
    return replace(found, trivial={"always answering the commonest label": values})


def decision_of(run: RunFolder) -> Decision:
    """The decision of a run."""
    return Decision.load(run.read_json("decide.json"), run.path)


def _stored(
    work: Work[LabelledImages], rows: NDArray[np.int64]
) -> Mapping[str, NDArray[np.float32]]:
    """Out-of-fold probabilities of every member for some rows."""
    found = {}
    for member in members_in_order(work.recipe):
        p = np.zeros((len(work.dataset), len(work.dataset.classes)), np.float32)
        for fold in work.used:
            path = work.run.oof(member.name) / f"fold{fold}.npy"
            try:
                p[work.folds == fold] = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise TransectError(
                    f"{path} cannot be read ({error}). Remove it, and go on with --resume."
                ) from error
        found[member.name] = p[rows]
    return found
