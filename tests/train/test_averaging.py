import pytest
import torch
from torch import nn

from transect.errors import TransectError
from transect.train.averaging import Ema, ema_decay, mean_weights, refresh_batch_norm


def test_ema_agrees_with_a_slow_loop():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    ema = Ema(model, 0.5)
    expected = model[0].weight.detach().clone()
    for n in range(6):
        with torch.no_grad():
            model[0].weight.add_(torch.randn(3, 2))
        ema.update(model)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    assert torch.allclose(ema.model[0].weight, expected, atol=1e-6)
    assert not ema.model.training


def test_ema_copies_counters():
    model = nn.BatchNorm1d(3)
    ema = Ema(model, 0.9)
    model(torch.randn(4, 3))
    ema.update(model)
    assert ema.model.num_batches_tracked == 1


def test_ema_decay_warms_up():
    assert ema_decay(0.999, 0) == 0.1
    assert ema_decay(0.999, 10**6) == 0.999
    with pytest.raises(TransectError, match="ema must be"):
        Ema(nn.Linear(1, 1), 1.0)


def test_mean_of_weights_by_hand():
    states = [{"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(k)} for k in (1, 2)]
    states[1]["w"] = torch.tensor([3.0, 6.0])
    mean = mean_weights(states)
    assert mean["w"].tolist() == [2.0, 4.0]
    assert mean["n"] == 2


def test_refreshed_statistics_are_those_of_all_items_whatever_the_batches():
    torch.manual_seed(0)
    data = torch.randn(10, 4) * 3 + 5
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4))
    batches = [{"x": part} for part in data.split([4, 4, 2])]
    refresh_batch_norm(model, batches, lambda batch: model(batch["x"]))
    assert torch.allclose(model[1].running_mean, data.mean(0), atol=1e-5)
    expected = sum(len(b["x"]) * b["x"].var(0) for b in batches) / 10
    assert torch.allclose(model[1].running_var, expected, atol=1e-5)
    assert model[1].momentum == 0.1
    assert not model.training


def test_model_without_batch_norm_is_left_alone():
    def never(batch):
        raise AssertionError

    refresh_batch_norm(nn.Linear(1, 1), [{"x": torch.zeros(1, 1)}], never)
