import pytest
import torch
from torch import nn

from tests.train.test_engine import contents
from tests.train.toy import Line, Net
from transect.errors import TransectError
from transect.recipe import Stage
from transect.train.distill import MeanTeacher, Teachers, ramp_up, squared_difference
from transect.train.engine import fit
from transect.train.plan import StagePlan


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, x):
        return {"logits": self.net(x)}


class Both(Line):
    def epoch(self, epoch):
        for batch in super().epoch(epoch):
            yield {**batch, "unlabelled": batch["x"] + 1}


def supervised(model, batch, progress):
    assert set(batch) == {"x", "y"}
    return (model(batch["x"])["logits"] - batch["y"]).square().mean(), {}


def train(folder, stop=None, **settings):
    step = MeanTeacher(supervised, **settings)

    def breaking(event):
        if stop is not None and (event.epoch, event.step) == stop:
            raise KeyboardInterrupt

    plan = StagePlan(Stage(epochs=3), Both(), step)
    return fit(Dense, [plan], folder=folder, seed=0, progress=breaking)


def test_consistency_enters_the_loss_and_the_parts(tmp_path):
    result = train(tmp_path / "with", weight=5.0, ramp=0.0)
    assert result.history[-1]["parts"]["consistency"] > 0
    train(tmp_path / "without", weight=0.0)
    assert contents(tmp_path / "with") != contents(tmp_path / "without")


def test_teacher_is_part_of_the_state(tmp_path):
    train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", stop=(3, 2))
    train(tmp_path / "broken")
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")


def test_ramp_rises_from_almost_nothing_to_one():
    values = [ramp_up(t / 10, 0.5) for t in range(11)]
    assert values == sorted(values)
    assert values[0] < 0.01
    assert values[5] == values[10] == 1


def test_outputs_that_cannot_be_compared_are_named():
    with pytest.raises(TransectError, match="embedding"):
        squared_difference({"embedding": torch.zeros(1)}, {})


def test_teachers_answer_with_their_mean():
    class Fixed(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, x):
            return {"logits": x + self.value, "deep": [x]}

    answer = Teachers([Fixed(1.0), Fixed(3.0)])(torch.zeros(2))
    assert set(answer) == {"logits"}
    assert answer["logits"].tolist() == [2.0, 2.0]
