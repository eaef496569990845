import numpy as np
import pytest

from tests.train.toy import Line, Net, squared
from transect.errors import TransectError
from transect.recipe import Optimizer, Stage
from transect.train.lr_finder import find_lr, suggest
from transect.train.plan import StagePlan


def test_suggestion_is_a_tenth_of_the_steepest_descent():
    lrs = np.logspace(-6, 1, 71)
    losses = 1 / (1 + (lrs / 1e-2)) + (lrs > 1) * lrs  # steepest against log(lr) at 1e-2
    assert suggest(lrs.tolist(), losses.tolist()) == pytest.approx(1e-3, rel=0.3)


def test_sweep_on_a_network_finds_a_rate_that_learns():
    plan = StagePlan(Stage(optimizer=Optimizer("sgd", nesterov=False)), Line(), squared)
    sweep = find_lr(Net, plan, seed=0, steps=60)
    assert 1e-5 < sweep.lr < 1.0
    assert len(sweep.lrs) == len(sweep.losses) > 20
    assert find_lr(Net, plan, seed=0, steps=60) == sweep


def test_hopeless_sweeps_say_so():
    with pytest.raises(TransectError, match="never fell"):
        suggest([1e-3, 1e-2, 1e-1, 1, 10], [1, 2, 3, 4, 5])
    with pytest.raises(TransectError, match="after 2 steps"):
        suggest([1e-3, 1e-2], [1, 2])


def test_what_is_swept_is_the_update_that_trains():
    class Told:
        updates = 0

        def __call__(self, model, batch, progress):
            return squared(model, batch, progress)

        def after_update(self, model):
            Told.updates += 1

    seen = []

    class Counted(Line):
        def epoch(self, epoch):
            for batch in super().epoch(epoch):
                seen.append(1)
                yield batch

    sweep = find_lr(Net, StagePlan(Stage(accumulate=3), Counted(), Told()), seed=0, steps=20)
    assert Told.updates >= len(sweep.lrs)
    assert len(seen) == 3 * Told.updates
