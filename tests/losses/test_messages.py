"""The messages of losses, one by one."""

import importlib

import pytest
import torch

from transect.errors import TransectError
from transect.losses import density, parse_loss
from transect.losses.metric_learning import LOSSES

lovasz = importlib.import_module("transect.losses.lovasz")  # the room has a loss of that name
MAPS = torch.zeros(1, 1, 2, 2)


class Wide:
    """Stands for a row of two thousand million pixels."""

    shape = (1, 2**31)

    def __gt__(self, other):
        return self


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: density.density_sum(MAPS, MAPS, kind="x"), "kind must be one of"),
        (lambda: parse_loss("bce(3)"), "cannot be read"),
        (lambda: parse_loss("bce(weight=open())"), "cannot be read"),
        (lambda: lovasz.lovasz_skip_empty(MAPS, MAPS, divide="x"), "divide must be one of"),
        (lambda: lovasz.lovasz_softmax(MAPS, MAPS, classes="x"), "classes must be one of"),
        (lambda: lovasz.lovasz(MAPS, MAPS, activation="x"), "activation must be one of"),
    ],
)
def test_parameters_of_losses(call, words):
    with pytest.raises(TransectError, match=words):
        call()


def test_a_row_too_long_to_sort(monkeypatch):
    monkeypatch.setattr(lovasz, "_rows", lambda tensor, per_image: Wide())
    with pytest.raises(TransectError, match="fewer than"):
        lovasz.lovasz(MAPS, MAPS)


def test_sampling_of_triplets():
    kind = next(loss for name, loss in LOSSES.items() if "margin" in name)
    with pytest.raises(TransectError, match="sampling must be one of"):
        kind(sampling="x")
