import dataclasses

import pytest

from tests.verbs import count
from transect.count.pictures import CountPictures
from transect.data.survey import fingerprint, open_survey
from transect.recipe import (
    Augment,
    CountDecide,
    Folds,
    Geometry,
    Member,
    Network,
    Optimizer,
    Recipe,
    Schedule,
    Stage,
)
from transect.run import RunFolder
from transect.simulate.colony import write_colony_survey
from transect.types import Quiet

TINY = Recipe(
    name="tiny",
    question="count",
    members=(
        Member(
            network=Network(
                encoder="plain", weights=None, width=8, levels=3, decoder_channels=(16, 8)
            ),
            geometry=Geometry(fit="tile", size_hw=(64, 64), overlap=0.25),
            augment=Augment(hflip=0.5, vflip=0.5, rot90=0.5),
            stages=(
                Stage(
                    epochs=2,
                    steps=30,
                    batch=4,
                    loss="bce",
                    sampler="object",
                    sampler_share=0.5,
                    optimizer=Optimizer(lr=5e-3),
                    schedule=Schedule(name="cosine"),
                ),
            ),
        ),
    ),
    folds=Folds(count=2, use=2, stratify=("count",), group=False),
    decide=CountDecide(
        target="gaussian",
        target_px=2.5,
        downscale=2,
        window=16,
        stride=8,
        merge_classes=True,
        regressors=("extratrees_small",),
        test_scale="none",
    ),
)


class Said(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="session")
def colony(tmp_path_factory):
    root = tmp_path_factory.mktemp("colony") / "survey"
    return write_colony_survey(
        root, n_train=10, n_test=4, seed=2, size_hw=(128, 160), scale=0.25, animals=16
    )


@pytest.fixture(scope="session")
def tiny_run(colony, tmp_path_factory):
    """A run on ten small photos, trained for a few seconds."""
    path = tmp_path_factory.mktemp("run") / "run"
    survey = open_survey(colony)
    run = RunFolder(path)
    pictures = count.prepare(survey, path / "cache", Quiet())
    assert isinstance(pictures, CountPictures)
    run.begin(TINY, {"folder": str(colony), "fingerprint": fingerprint(survey), "problems": []})
    count.train(pictures, TINY, path, progress=Quiet(), device="cpu")
    return run


def with_decide(recipe, **changes):
    return dataclasses.replace(recipe, decide=dataclasses.replace(recipe.decide, **changes))
