import pytest
import torch
from torch import nn

from tests.train.toy import Net
from transect.errors import TransectError
from transect.recipe import Optimizer
from transect.train.optim import (
    OPTIMIZERS,
    build_optimizer,
    freeze,
    hold_frozen_norms,
    set_lr,
)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_learns(name):
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(model, Optimizer(name, 0.02, weight_decay=0.0))
    x = torch.linspace(-1, 1, 8)[:, None]
    for _ in range(200):
        optimizer.zero_grad()
        loss = (model(x) - 2 * x).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def test_encoder_gets_its_own_rate():
    model = Net()
    optimizer = build_optimizer(model, Optimizer(lr=1.0, encoder_lr=0.1))
    set_lr(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.5]
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))


def test_freezing_and_releasing():
    model = Net()
    freeze(model, "all_but_head")
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        "head.1.weight",
        "head.1.bias",
    }
    model.train()
    hold_frozen_norms(model)
    assert not model.encoder[1].training
    freeze(model, "none")
    model.train()
    hold_frozen_norms(model)
    assert model.encoder[1].training
    assert all(p.requires_grad for p in model.parameters())


def test_models_without_parts_are_refused_with_a_sentence():
    with pytest.raises(TransectError, match=r"encoder_parameters\(\); Linear has none"):
        build_optimizer(nn.Linear(1, 1), Optimizer(encoder_lr=0.1))
    with pytest.raises(TransectError, match="head_parameters"):
        freeze(nn.Linear(1, 1), "all_but_head")
    with pytest.raises(TransectError, match="left to train"):
        build_optimizer(nn.Linear(1, 1).requires_grad_(False), Optimizer())
    with pytest.raises(TransectError, match="Did you mean 'encoder'"):
        freeze(nn.Linear(1, 1), "encode")


def test_the_first_step_of_rmsprop_is_as_long_as_in_keras():
    weight = nn.Parameter(torch.zeros(1))
    model = nn.Module()
    model.weight = weight
    optimizer = build_optimizer(model, Optimizer("rmsprop", lr=0.1, weight_decay=0.0, momentum=0.0))
    weight.grad = torch.ones(1)
    optimizer.step()
    assert float(weight.detach()) == pytest.approx(-0.1 / 0.1**0.5, rel=1e-3)
