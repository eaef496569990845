import pytest
import torch

from transect.errors import TransectError
from transect.models.detectors import DETECTORS, build_detector
from transect.recipe import Network

SMALL = Network(encoder="plain", width=8, levels=5, weights=None)


def test_all_are_tried():
    assert set(DETECTORS) == {"retinanet", "faster_rcnn", "mask_rcnn"}


@pytest.mark.parametrize(
    "name",
    [
        "retinanet",
        pytest.param("faster_rcnn", marks=pytest.mark.slow),
        pytest.param("mask_rcnn", marks=pytest.mark.slow),
    ],
)
def test_every_detector_trains_and_answers(name):
    torch.manual_seed(0)
    model = build_detector(name, SMALL, classes=2, size_hw=(64, 64))
    image = torch.rand(3, 64, 64)
    target = {
        "boxes": torch.tensor([[5.0, 5.0, 30.0, 40.0]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, 64, 64, dtype=torch.uint8),
    }
    losses = model.train()([image], [target])
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    with torch.no_grad():
        answer = model.eval()([image])[0]
    assert answer["boxes"].shape[1] == 4
    assert ("masks" in answer) == (name == "mask_rcnn")


def test_unknown_detector_and_shallow_encoder():
    with pytest.raises(TransectError, match="Did you mean 'mask_rcnn'"):
        build_detector("mask_rcn", SMALL, classes=1, size_hw=(64, 64))
    shallow = Network(encoder="plain", width=8, levels=2, weights=None)
    with pytest.raises(TransectError, match="stride 4"):
        build_detector("retinanet", shallow, classes=1, size_hw=(64, 64))
