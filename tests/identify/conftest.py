"""A survey of ten invented animals, and one run on it that a second pays for."""

import dataclasses

import cv2
import numpy as np
import pytest

from tests.verbs import identify
from transect.data.describe import fingerprint
from transect.data.survey import open_survey
from transect.recipe import (
    Augment,
    Embedding,
    Folds,
    Geometry,
    IdentifyDecide,
    Member,
    Recipe,
)
from transect.run import RunFolder, data_record
from transect.types import Quiet

TINY = Recipe(
    name="tiny",
    question="identify",
    members=(
        Member(
            "frozen",
            Embedding(head="none", neck="none", pooling="layout", project="lda", jitter=1),
            Geometry(fit="whole", size_hw=(32, 64)),
            Augment(shift=0.05),
            stages=(),
        ),
    ),
    folds=Folds(count=2),
    decide=IdentifyDecide(
        sources=("embedding", "geometry", "lnbnn"),
        policies=("constant", "override"),
        share_new=0.25,
        shortlist=0,
        keypoints=60,
        keypoint_side=128,
        abstain=3.0,
    ),
)


class Said(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def pattern(person):
    """(64, 128) what an invented animal looks like."""
    rng = np.random.default_rng([5, person])
    rough = rng.normal(size=(8, 16)).astype(np.float32)
    fine = rng.normal(size=(24, 48)).astype(np.float32)
    grown = cv2.resize(rough, (176, 112)) + 0.7 * cv2.resize(fine, (176, 112))
    return np.clip(128 + 60 * grown, 0, 255)


def photo(person, encounter, frame):
    """(64, 128, 3) uint8 of it, shifted, lit and noisy."""
    rng = np.random.default_rng([6, person, encounter, frame])
    top, left = rng.integers(0, 48), rng.integers(0, 48)
    view = pattern(person)[top : top + 64, left : left + 128]
    lit = view * rng.uniform(0.8, 1.1) + rng.normal(0, 14, view.shape)
    return np.repeat(np.clip(lit, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def write_animals(root, people=10, encounters=3, frames=2, first=0):
    """Photos by person and encounter; the last two persons have no name."""
    (root / "images").mkdir(parents=True)
    lines = ["image,identity,group"]
    for person in range(first, first + people):
        name = f"a{person}" if person < first + people - 2 else "new_whale"
        for encounter in range(encounters):
            for frame in range(frames):
                file = f"{person:02d}_{encounter}_{frame}.png"
                cv2.imwrite(str(root / "images" / file), photo(person, encounter, frame))
                lines.append(f"{file},{name},e{person}_{encounter}")
    (root / "identities.csv").write_text("\n".join(lines) + "\n")
    return root


def begin(root, path, recipe=TINY):
    """The prepared photos, and a run folder that has begun."""
    survey = open_survey(root)
    run = RunFolder(path)
    photos = identify.prepare(survey, path / "cache", Quiet())
    run.begin(recipe, data_record(survey, fingerprint(survey)))
    return photos, run


def with_decide(recipe, **changes):
    return dataclasses.replace(recipe, decide=dataclasses.replace(recipe.decide, **changes))


@pytest.fixture(scope="session")
def animals(tmp_path_factory):
    return write_animals(tmp_path_factory.mktemp("animals") / "survey")


@pytest.fixture(scope="session")
def photos(animals, tmp_path_factory):
    return identify.prepare(open_survey(animals), tmp_path_factory.mktemp("cut"), Quiet())


@pytest.fixture(scope="session")
def tiny_run(animals, tmp_path_factory):
    """A run on sixty small photos; nothing in it is trained."""
    prepared, run = begin(animals, tmp_path_factory.mktemp("run") / "run")
    identify.train(prepared, TINY, run.path, progress=Quiet(), device="cpu")
    return run


@pytest.fixture(scope="session")
def asked(tmp_path_factory):
    """New photos: fresh encounters of four known animals and two strangers, as a survey."""
    root = tmp_path_factory.mktemp("asked") / "survey"
    (root / "images").mkdir(parents=True)
    lines = ["image,identity,group"]
    for person in (0, 1, 2, 3, 20, 21):
        for frame in range(2):
            file = f"new{person}_{frame}.png"
            cv2.imwrite(str(root / "images" / file), photo(person, 9, frame))
            lines.append(f"{file},a{person},n{person}")
    (root / "identities.csv").write_text("\n".join(lines) + "\n")
    return root
