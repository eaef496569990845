"""The demo of this question: simulated flukes, trained on and scored against the truth."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transect.data.survey import open_survey
from transect.identify.boxes import subjects_beside
from transect.identify.identifier import Identifier
from transect.identify.oof import score_held_out
from transect.identify.photos import Photos
from transect.identify.source_ablation import decided_by, kinds_of_sources
from transect.openset.evidence import UNKNOWN, rewards
from transect.run import RunFolder
from transect.simulate.flukes import write_fluke_survey
from transect.types import Progress, Survey

__all__ = ["judge", "simulate"]

_IDENTITIES, _IMAGES = 40, 330


def simulate(folder: Path, *, seed: int, progress: Progress) -> Path:
    """Write the demo's survey.

    Args:
        folder: Where.
        seed: Of the simulator.
        progress: Told what happens.

    Returns:
        The survey, with the truth of its test photos beside it.
    """
    root = write_fluke_survey(folder, identities=_IDENTITIES, images=_IMAGES, seed=seed)
    progress.say(f"wrote {_IMAGES} photos of {_IDENTITIES} simulated whales to {root}")
    return root


def opened(root: Path) -> Survey:
    """The demo's survey."""
    return open_survey(root)


def judge(
    run: RunFolder,
    root: Path,
    photos: Photos,
    folds: NDArray[np.int64],
    *,
    device: str,
    progress: Progress,
) -> list[str]:
    """Compare a run on the demo's survey with each of its own sources alone.

    Args:
        run: The run.
        root: From ``simulate``.
        photos: Of the survey, decoded.
        folds: (N,) fold of each.
        device: Where the networks answer.
        progress: Told what happens.

    Returns:
        Lines with the score on the test photos, each source's alone, and the leak.
    """
    survey, recipe = open_survey(root), run.recipe()
    identifier = Identifier(run, device=device)
    tests = [image for image in survey.images if image.split == "test"]
    asked = identifier.open_photos(subjects_beside(root, tests)[0], None, progress)
    scores = identifier.score(asked, progress)
    truth = _truth(root, [s.key for s in asked.subjects], identifier)
    answers = {"all together": identifier.decisions}
    people = identifier.people
    held_out = score_held_out(run, recipe, photos, folds, people, device=device, progress=progress)
    names = photos.named()
    sources = held_out.scores.candidates.sources
    asked_alone = kinds_of_sources(sources) | {f"{name} alone": (name,) for name in sources}
    for name, part in asked_alone.items():
        answers[name] = decided_by(part, held_out, recipe, identifier.decisions.share_new)
    unknown = truth == UNKNOWN
    lines = [
        f"score on {len(truth)} test photos, {unknown.mean():.0%} of them of unknown individuals "
        "(mean of 1 / place of the truth among five answers, 'new' being one):"
    ]
    for name, decisions in answers.items():
        ranked = identifier.decide_with(decisions, asked, scores).decision.ranked
        lines.append(f"  {name:<22} {rewards(ranked, truth).mean():.3f}")
    lines.append(
        f"  {'always new, then the commonest':<22} {_trivial(truth, names, photos.unknown):.3f}"
    )
    leak = run.read_json("facts.json")["leak"]
    if leak:
        lines.append(
            f"the leak: with photos of the same encounter in the gallery {leak['source']} names "
            f"{leak['with']:.0%} rightly, without {leak['without']:.0%}"
        )
    return lines


def _truth(root: Path, keys: list[str], identifier: Identifier) -> NDArray[np.int64]:
    """The simulator's own identities of the test photos."""
    with (root / "truth" / "identities.csv").open(newline="", encoding="utf-8") as file:
        named = {row["image"]: row["identity"] for row in csv.DictReader(file)}
    number = {str(name): i for i, name in enumerate(identifier.people)}
    return np.array([number.get(named[key], UNKNOWN) for key in keys], np.int64)


def _trivial(truth: NDArray[np.int64], names: NDArray[np.str_], unknown: str) -> float:
    """What "new" first and then the four commonest individuals scores."""
    people, counts = np.unique(names[names != unknown], return_counts=True)
    common = np.argsort(-counts, kind="stable")[:4]
    ranked = np.tile(np.concatenate([[UNKNOWN], common]), (len(truth), 1)).astype(np.int64)
    assert len(people)
    return float(rewards(ranked, truth).mean())
