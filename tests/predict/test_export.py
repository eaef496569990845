import numpy as np
import pytest
import torch
from torch import nn

from transect.errors import TransectError
from transect.predict import export
from transect.predict.export import FORMATS, export_network, onnx_forward
from transect.predict.forward import network_forward


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))


def needs(to):
    if to == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("to", FORMATS)
def test_the_file_gives_the_same_maps(tmp_path, to):
    needs(to)
    path = tmp_path / "model"
    assert export_network(network(), path, to=to, in_channels=3, tile_hw=(16, 24)) < 1e-5
    x = np.random.default_rng(0).normal(size=(5, 16, 24, 3)).astype(np.float32)
    ours = network_forward([(network(), 1)], precision="fp32")(x)
    if to == "onnx":
        found = onnx_forward(path)(x)
    else:
        found = torch.jit.load(str(path))(torch.from_numpy(x).permute(0, 3, 1, 2)).detach().numpy()
    np.testing.assert_allclose(found, ours, atol=1e-5)


class Fickle(nn.Module):
    """Gives other maps once it was traced: the batch size is frozen into the file."""

    def forward(self, x):
        return x[:, :1] * len(x)


@pytest.mark.parametrize("to", FORMATS)
def test_a_file_that_gives_other_maps_is_not_kept(tmp_path, to, monkeypatch):
    needs(to)
    real = FORMATS[to]

    def wrong(*given):
        run = real(*given)
        return lambda x: run(x) + 0.01

    monkeypatch.setitem(export.FORMATS, to, wrong)
    with pytest.raises(TransectError, match=r"maps that differ by 0\.01"):
        export_network(network(), tmp_path / "a", to=to, in_channels=3, tile_hw=(8, 8))
    assert list(tmp_path.iterdir()) == []


def test_a_batch_size_that_was_frozen_into_the_file_is_found(tmp_path):
    with pytest.raises(TransectError, match="maps that differ"):
        export_network(Fickle(), tmp_path / "a", to="torchscript", in_channels=3, tile_hw=(8, 8))


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(TransectError, match="Did you mean 'onnx'"):
        export_network(network(), tmp_path / "a", to="onyx", in_channels=3, tile_hw=(8, 8))


def test_a_damaged_file_is_explained(tmp_path):
    needs("onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(TransectError, match="no ONNX file"):
        onnx_forward(tmp_path / "bad.onnx")
