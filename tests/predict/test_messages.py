"""The messages of predicting that other tests do not reach."""

import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from transect.errors import TransectError
from transect.predict import onnx
from transect.predict.dense import load_weights
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
        onnx.export_onnx(nn.Conv2d(3, 1, 1), tmp_path / "a.onnx", **options)
    with pytest.raises(TransectError, match="onnx"):
        onnx.onnx_forward(tmp_path / "a.onnx")


def test_an_onnx_file_that_gives_other_maps_is_not_kept(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    real = onnx.onnx_forward
    monkeypatch.setattr(onnx, "onnx_forward", lambda path: lambda x: real(path)(x) + 1)
    with pytest.raises(TransectError, match="maps that differ"):
        onnx.export_onnx(nn.Conv2d(3, 1, 1), tmp_path / "a.onnx", in_channels=3, tile_hw=(8, 8))
    assert not (tmp_path / "a.onnx").exists()
