import dataclasses

import pytest
import torch

from transect.errors import TransectError
from transect.models.detectors import DETECTORS, build_detector
from transect.recipe import Network

SMALL = Network(encoder="plain", width=8, levels=5, weights=None)


def built(name, **more):
    torch.manual_seed(0)
    channels = more.pop("decoder_channels", (32,))
    network = dataclasses.replace(SMALL, decoder=name, decoder_channels=channels)
    return build_detector(network, **{"in_channels": 2, "classes": 2, **more})


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_trains_and_answers(name):
    model = built(name)
    image = torch.rand(2, 2, 64, 64)
    boxes = torch.full((2, 3, 5), -1.0)
    boxes[0, 0] = torch.tensor([1.0, 5.0, 5.0, 30.0, 40.0])
    losses = model.train()(image, boxes)
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    with torch.no_grad():
        answer = model.eval()(image)
    assert len(answer) == 2
    for one in answer:
        assert one["boxes"].shape == (len(one["scores"]), 4)
        assert set(one["labels"].tolist()) <= {0, 1}
    assert set(model.train()(image)) == {"0", "1", "2"}  # batch norms are measured without boxes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcos", "faster_rcnn"])  # retinanet begins too slowly for a test
def test_it_learns_where_bright_squares_of_two_sizes_are(name):
    model = built(name, in_channels=1, smallest_px=8.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    draw = torch.Generator().manual_seed(1)

    def batch():
        image, boxes = torch.zeros(4, 1, 64, 64), torch.full((4, 2, 5), -1.0)
        for k in range(4):
            for kind, side in enumerate((8, 16)):
                x, y = (torch.randint(0, 32 - side, (2,), generator=draw) + 32 * kind).tolist()
                image[k, 0, y : y + side, x : x + side] = 1
                boxes[k, kind] = torch.tensor([kind, x, y, x + side, y + side])
        return image, boxes

    for _ in range(80):
        image, boxes = batch()
        loss = sum(model.train()(image, boxes).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    image, boxes = batch()
    with torch.no_grad():
        found = model.eval()(image)
    right = 0
    for one, real in zip(found, boxes, strict=True):
        for kind in (0, 1):
            own = one["labels"] == kind
            if own.any():
                best = one["boxes"][own][one["scores"][own].argmax()]
                right += int((best - real[kind, 1:]).abs().max() < 4)
    assert right >= 6


def test_unknown_detector_and_shallow_encoder():
    with pytest.raises(TransectError, match="Did you mean 'faster_rcnn'"):
        built("faster_rcn")
    with pytest.raises(TransectError, match="multiple of 32"):
        built("fcos", decoder_channels=(48,))
    shallow = dataclasses.replace(SMALL, levels=2, decoder="fcos", decoder_channels=(32,))
    with pytest.raises(TransectError, match="stride 4"):
        build_detector(shallow, in_channels=1, classes=1)
