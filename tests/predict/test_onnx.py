import numpy as np
import pytest
import torch
from torch import nn

from transect.errors import TransectError
from transect.predict.forward import network_forward

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from transect.predict.onnx import export_onnx, onnx_forward


def test_the_file_gives_the_same_maps(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    path = tmp_path / "model.onnx"
    assert export_onnx(model, path, in_channels=3, tile_hw=(16, 24)) < 1e-5
    x = np.random.default_rng(0).normal(size=(3, 16, 24, 3)).astype(np.float32)
    ours = network_forward([(model, 1)], precision="fp32")(x)
    np.testing.assert_allclose(onnx_forward(path)(x), ours, atol=1e-5)


def test_a_damaged_file_is_explained(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(TransectError, match="no ONNX file"):
        onnx_forward(tmp_path / "bad.onnx")
