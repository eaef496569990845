"""Every stage, cycle, round and average of the recipes, walked by a network of a few weights."""

import dataclasses

import pytest
import torch
from torch import nn

from transect import api, models, recipes
from transect.files import read_json
from transect.recipe import Network
from transect.segment.pseudo import stages_of_round
from transect.simulate.salt import write_salt_survey
from transect.train.engine import fit
from transect.train.plan import StagePlan

NAMES = recipes.names()
ROUNDS = [
    pytest.param(name, marks=pytest.mark.slow) if name == "salt-1st-resize" else name
    for name in NAMES
    if recipes.load(name).pseudo
]


def shortened(stage):
    """A stage with all its rules and as few epochs as they can do with, of one step each."""
    cycles = stage.drop_first + 2 if stage.keep.startswith("cycle") else 1
    cycles = min(cycles, stage.schedule.cycles)
    epochs = cycles if stage.keep.startswith("cycle") else min(stage.keep_k + 1, 3)
    return dataclasses.replace(
        stage,
        epochs=epochs,
        steps=1,
        batch=2,
        schedule=dataclasses.replace(stage.schedule, cycles=cycles),
    )


def expected(stage):
    """How many snapshots of a shortened stage answer."""
    if stage.average == "swa" or stage.keep in {"last", "best"}:
        return 1
    if stage.keep.startswith("cycle"):
        return stage.schedule.cycles - stage.drop_first
    return min(stage.keep_k, stage.epochs)


class _Noise:
    """One small batch an epoch."""

    steps = 1

    def epoch(self, epoch):
        yield {"image": torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(epoch))}


class _Few(nn.Module):
    """A few weights and a norm."""

    def __init__(self):
        super().__init__()
        self.encoder, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

    def forward(self, x):
        return self.norm(self.encoder(x))

    def encoder_parameters(self):
        yield from self.encoder.parameters()

    def head_parameters(self):
        yield from self.norm.parameters()


@pytest.mark.parametrize("name", NAMES)
def test_stages_go_through_their_cycles_and_leave_the_snapshots_of_their_rule(name, tmp_path):
    recipe = recipes.load(name)
    for member in recipe.members:
        stages = [shortened(stage) for stage in member.stages]
        if not stages:  # a frozen network, which is asked as it is
            continue
        plans = [StagePlan(s, _Noise(), lambda m, b, _: (m(b["image"]).square().mean(), {}))
                 for s in stages]  # fmt: skip
        scores = iter(range(1, 10_000))
        result = fit(
            _Few,
            plans,
            folder=tmp_path / member.name,
            seed=0,
            evaluate=lambda _, s=scores: dict.fromkeys(("score", "other"), next(s)),
        )
        used = [s for s in stages if s.weight or (s.weight is None and s is stages[-1])]
        found = [snapshot.stage for snapshot in result.snapshots]
        assert found == [s.name for s in used for _ in range(expected(s))]
        assert sum(s.weight for s in result.snapshots) == pytest.approx(1)
        averaged = [s.name for s in used if s.average == "swa"]
        assert [s.stage for s in result.snapshots if "swa" in s.path.name] == averaged


class _Stand(nn.Module):
    """Answers like a dense network: salt above. All agree and are sure, so that labels pass."""

    def __init__(self, network, in_channels, outputs):
        super().__init__()
        self.network, self.multiple = network, 1
        self.body = nn.Conv2d(in_channels, outputs, 1)
        self.weights_source = "scratch"

    def forward(self, x):
        upper = torch.linspace(1, -1, x.shape[2])[:, None]
        logits = 300 * upper + 0 * self.body(x)
        heads = {"empty": logits.mean((2, 3))[:, :1], "pixel": logits, "deep": [logits]}
        asked = {"empty": self.network.image_head, "pixel": self.network.pixel_head,
                 "deep": self.network.deep_supervision}  # fmt: skip
        return {"logits": logits, **{head: heads[head] for head in heads if asked[head]}}

    def encoder_parameters(self):
        yield from self.body.parameters()

    def head_parameters(self):
        yield from ()


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    root = tmp_path_factory.mktemp("salt") / "survey"
    return write_salt_survey(root, n_train=18, n_test=9, seed=3)


@pytest.mark.parametrize("name", ROUNDS)
def test_rounds_train_every_stage_in_its_place(name, survey, tmp_path, monkeypatch):
    def build(network, *, in_channels, outputs, pretrained_allowed=True):
        assert isinstance(network, Network)
        return _Stand(network, in_channels, outputs)

    monkeypatch.setattr(models, "build", build)
    recipe = recipes.load(name)
    recipe = dataclasses.replace(
        recipe,
        members=tuple(
            dataclasses.replace(
                m,
                stages=tuple(shortened(s) for s in m.stages),
                geometry=dataclasses.replace(m.geometry, size_hw=(32, 32), resize_hw=(28, 28)),
            )
            for m in recipe.members
        ),
        folds=dataclasses.replace(recipe.folds, count=2, use=1),
        decide=dataclasses.replace(recipe.decide, pictures=2, crf="never"),
    )
    out = tmp_path / "run"
    run = api.train(survey, recipe=recipe, out=out, device="cpu", threads=1, audit=False)
    for member in recipe.members:
        folder = run.path / "members" / member.name / "fold0"
        for number in range(len(recipe.pseudo) + 1):
            stages = stages_of_round(member, number)
            done = (folder / f"round{number}" if number else folder) / "done.json"
            trained = {row["stage"] for row in read_json(done)["history"]} if stages else set()
            assert trained == {stage.name for stage in stages}
