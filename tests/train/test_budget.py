import time

from tests.train.toy import Line, Net, score, squared
from transect.recipe import Stage
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
