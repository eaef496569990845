"""The messages of predicting that other tests do not reach."""

import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from transect.errors import TransectError
from transect.predict.dense import load_weights
from transect.predict.export import export_network, onnx_forward
from transect.predict.outputs import label_dtype


def test_snapshots_that_do_not_fit(tmp_path):
    with pytest.raises(TransectError, match="is missing"):
        load_weights(nn.Linear(1, 1), tmp_path / "a.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(TransectError, match="does not hold the weights"):
        load_weights(nn.Linear(1, 1), tmp_path / "a.safetensors")


def test_more_labels_than_a_mask_holds():
    with pytest.raises(TransectError, match="do not fit into a mask file"):
        label_dtype(2**32)


def test_onnx_needs_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    options = {"in_channels": 3, "tile_hw": (8, 8)}
    with pytest.raises(TransectError, match="onnx"):
        export_network(nn.Conv2d(3, 1, 1), tmp_path / "a.onnx", to="onnx", **options)
    with pytest.raises(TransectError, match="onnx"):
        onnx_forward(tmp_path / "a.onnx")
