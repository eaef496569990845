import time

from tests.train.toy import Line, Net, score, squared
from transect.recipe import Optimizer, Stage
from transect.train.budget import Pace, measure
from transect.train.plan import StagePlan


def test_pace_sees_slow_steps_and_slow_batches():
    class Slow(Line):
        def epoch(self, epoch):
            for batch in super().epoch(epoch):
                time.sleep(0.03)
                yield batch

    def slow(model, batch, progress):
        time.sleep(0.02)
        return squared(model, batch, progress)

    pace = measure(Net, StagePlan(Stage(), Slow(), slow), evaluate=score)
    assert pace.step_seconds > 0.02
    assert pace.batch_seconds > 0.03
    assert pace.evaluate_seconds > 0


def test_an_epoch_hides_the_making_of_batches():
    pace = Pace(1.0, 0.5, 2.0, 3.0)
    assert pace.epoch_seconds(10) == 12


class Told:
    """A loss that is told of updates, each of which takes its time, and sees gradients."""

    def __init__(self):
        self.updates, self.norms = 0, []

    def __call__(self, model, batch, progress):
        return squared(model, batch, progress)

    def after_update(self, model):
        self.updates += 1
        self.norms.append(sum(float(p.grad.square().sum()) for p in model.parameters()) ** 0.5)
        time.sleep(0.04)


def test_what_is_timed_is_the_update_that_trains():
    told = Told()
    stage = Stage(accumulate=4, average="ema", optimizer=Optimizer(clip=1e-3))
    pace = measure(Net, StagePlan(stage, Line(), told), steps=2)
    assert told.updates == 3
    assert max(told.norms) < 1.1e-3  # clipped
    assert 0.01 < pace.step_seconds < 0.04  # a quarter of an update


def test_repeated_batches_are_part_of_the_pace():
    seen = []

    def slow(model, batch, progress):
        seen.append(1)
        time.sleep(0.03)
        return squared(model, batch, progress)

    pace = measure(Net, StagePlan(Stage(repeat_worst=2), Line(steps=4), slow))
    assert pace.step_seconds > 0.045  # six updates for four batches
