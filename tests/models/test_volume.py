import importlib.util
import sys

import pytest
import torch

from transect.errors import TransectError
from transect.models.volume import build_volume, slide_volume

HAS_MONAI = importlib.util.find_spec("monai") is not None


def test_c3d_takes_any_size():
    network = build_volume("c3d", in_channels=2, outputs=3, width=8)
    out = network(torch.randn(1, 2, 5, 9, 7))
    assert out.shape == (1, 3)
    out.sum().backward()


def test_unknown_network():
    with pytest.raises(TransectError, match="Did you mean 'unet3d'"):
        build_volume("unet3", in_channels=1, outputs=1)


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai", None)  # as if it were not installed
    with pytest.raises(TransectError, match=r"transect\[volume\]"):
        build_volume("unet3d", in_channels=1, outputs=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not HAS_MONAI, reason="needs the extra volume")
@pytest.mark.parametrize("name", ["unet3d", "resnet3d"])
def test_dense_volume_networks_slide(name):
    network = build_volume(name, in_channels=1, outputs=2, width=8).eval()
    with torch.no_grad():
        out = slide_volume(network, torch.randn(1, 1, 20, 40, 18), window=(32, 32, 32))
    assert out.shape == (1, 2, 20, 40, 18)
