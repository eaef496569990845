"""The messages of the engine that other tests do not reach."""

import pytest

from tests.train.toy import Line, Net
from transect.errors import TransectError
from transect.recipe import Stage
from transect.train.engine import fit
from transect.train.plan import StagePlan


def step(model, batch, progress):
    loss = ((model(batch["x"]) - batch["y"]) ** 2).mean()
    return loss, {"mse": float(loss)}


def test_nothing_to_train(tmp_path):
    with pytest.raises(TransectError, match="nothing to train"):
        fit(Net, [], folder=tmp_path, seed=0)


def test_a_stage_without_batches(tmp_path):
    class Empty(Line):
        def epoch(self, epoch):
            return iter(())

    with pytest.raises(TransectError, match="got no batches"):
        fit(Net, [StagePlan(Stage(epochs=1), Empty(), step)], folder=tmp_path, seed=0)
