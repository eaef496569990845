import numpy as np
import pytest
import torch
from torch import nn

from transect.errors import TransectError
from transect.predict import forward as room
from transect.predict.forward import image_forward, network_forward


class Toy(nn.Module):
    def __init__(self, bias=0.0):
        super().__init__()
        self.bias = bias
        self.seen = []

    def forward(self, x):
        self.seen.append(torch.is_inference(x))
        logits = x[:, :2] + self.bias
        return {"logits": logits, "empty": x.mean((1, 2, 3))[:, None]}


def batch(n=2, h=4, w=5):
    return np.random.default_rng(0).normal(size=(n, h, w, 3)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_probabilities_are_averaged_by_weight():
    x = batch()
    run = network_forward([(Toy(), 1), (Toy(1.0), 3)], precision="fp32")
    maps = run(x)
    logits = x.transpose(0, 3, 1, 2)[:, :2]
    np.testing.assert_allclose(maps, 0.25 * sigmoid(logits) + 0.75 * sigmoid(logits + 1), atol=1e-6)
    assert maps.dtype == np.float32
    assert maps.flags["C_CONTIGUOUS"]


def test_softmax_adds_up_to_one_and_none_changes_nothing():
    x = batch()
    maps = network_forward([(Toy(), 1)], activation="softmax", precision="fp32")(x)
    np.testing.assert_allclose(maps.sum(1), 1, atol=1e-6)
    maps = network_forward([(Toy(), 1)], activation="none", precision="fp32")(x)
    np.testing.assert_array_equal(maps, x.transpose(0, 3, 1, 2)[:, :2])


def test_no_gradients_and_evaluation_mode():
    toy = Toy().train()
    network_forward([(toy, 1)])(batch())
    assert all(toy.seen)
    assert not toy.training


def test_views_are_part_of_it():
    x = batch(h=4, w=4)
    plain = network_forward([(Toy(), 1)], precision="fp32")(x)
    turned = network_forward([(Toy(), 1)], precision="fp32", views=["hflip", "rot90"])(x)
    np.testing.assert_allclose(plain, turned, atol=1e-6)


def test_image_head_gives_one_probability_per_picture():
    x = batch(3)
    found = image_forward([(Toy(), 2)])(x)
    np.testing.assert_allclose(found, sigmoid(x.mean((1, 2, 3))), atol=1e-6)


def test_bf16_is_kept_when_it_is_close_and_left_when_it_is_not(monkeypatch):
    monkeypatch.setattr(room, "cpu_has_bf16", lambda: True)
    x = batch()
    kinds = []

    class Spy(nn.Module):
        def __init__(self, wrong):
            super().__init__()
            self.wrong = wrong
            self.conv = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            found = self.conv(x)
            kinds.append(found.dtype)
            return found + (self.wrong if found.dtype == torch.bfloat16 else 0)

    run = network_forward([(Spy(0.0), 1)])
    first, second = run(x), run(x)
    assert kinds == [torch.float32, torch.bfloat16, torch.bfloat16, torch.bfloat16]
    np.testing.assert_array_equal(first, second)  # whichever batch comes first, after a kill too
    kinds.clear()
    run = network_forward([(Spy(1.0), 1)])
    run(x), run(x)
    assert kinds == [torch.float32, torch.bfloat16, torch.float32, torch.float32]


def test_the_precision_does_not_depend_on_which_pictures_come_first(monkeypatch):
    monkeypatch.setattr(room, "cpu_has_bf16", lambda: True)

    class Fragile(nn.Module):
        """In bf16, wrong for bright pictures only."""

        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            found = self.conv(x)
            return found + (x.mean() > 3) * (found.dtype == torch.bfloat16)

    dark, bright = batch(), batch() + 5
    first = network_forward([(Fragile(), 1)])
    second = network_forward([(Fragile(), 1)])
    np.testing.assert_array_equal(
        [first(dark), first(bright)], [second(bright), second(dark)][::-1]
    )


def test_mistakes_are_explained():
    with pytest.raises(TransectError, match="activation must be one of"):
        network_forward([(Toy(), 1)], activation="sigmoidal")
    with pytest.raises(TransectError, match="precision must be one of"):
        network_forward([(Toy(), 1)], precision="fp8")
    with pytest.raises(TransectError, match="no network"):
        network_forward([])
    with pytest.raises(TransectError, match="no output 'pixel'"):
        image_forward([(Toy(), 1)], output="pixel")(batch())
